"""What this bridge, as a witness, cosigned last for each log of others."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "peer_log",
        Column("log", Text, primary_key=True),
        Column("note", Text, nullable=False),
        Column("at", Text, nullable=False),
        sqlite_strict=True,
    )
