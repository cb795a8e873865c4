"""How often in a row a transfer could not go on, and since when."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, Text

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Count waits from here on."""
    op.add_column("transfer", Column("waits", Integer, nullable=False, server_default="0"))
    op.add_column("transfer", Column("trouble_since", Text))
