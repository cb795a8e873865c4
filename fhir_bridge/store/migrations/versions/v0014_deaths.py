"""How many workers died over a transfer, one after the other."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Count from here on."""
    op.add_column("transfer", Column("deaths", Integer, nullable=False, server_default="0"))
