"""How far each audit repository has what the log's entries commit to."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, Text

revision = "0009"
down_revision = "0008"

Count = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Begin with no repository: each is made when it is first sent to."""
    op.create_table(
        "audit_repository",
        Column("repository", Text, primary_key=True),
        Column("log", Text, primary_key=True),
        Column("next", Count, nullable=False),
        Column("tried", Text),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_repository_refused",
        Column("repository", Text, primary_key=True),
        Column("log", Text, primary_key=True),
        Column("idx", Count, primary_key=True, autoincrement=False),
        sqlite_strict=True,
    )
