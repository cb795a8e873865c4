"""When each server may be asked again, whichever process asks."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0013"
down_revision = "0012"

Count = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "server_pace",
        Column("server", Text, primary_key=True),
        Column("next_ms", Count, nullable=False),
        sqlite_strict=True,
    )
