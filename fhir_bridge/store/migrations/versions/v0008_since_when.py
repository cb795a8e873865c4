"""Since when a copy is at a destination."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; of copies made before, nothing is known."""
    op.add_column("pairing", Column("since", Text, nullable=False, server_default=""))
