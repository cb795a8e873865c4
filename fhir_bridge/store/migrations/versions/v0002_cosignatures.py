"""Signatures of witnesses, beside the checkpoints that they are under."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0002"
down_revision = "0001"

Count = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "audit_cosignature",
        Column("log", Text, primary_key=True),
        Column("size", Count, primary_key=True, autoincrement=False),
        Column("line", Text, primary_key=True),
        sqlite_strict=True,
    )
