"""Messages to other programs, and how it stands with each target."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "0007"
down_revision = "0006"

Count = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Begin with no target: each is made when it is first looked at."""
    op.create_table(
        "webhook_target",
        Column("target", Text, primary_key=True),
        Column("position", Count, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("quiet_until", Text),
        Column("disabled", Text),
        Column("delivered", Text),
        sqlite_strict=True,
    )
    op.create_table(
        "webhook_message",
        Column("target", Text, primary_key=True),
        Column("number", Count, primary_key=True, autoincrement=False),
        Column("transfer", Text, nullable=False),
        Column("since", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("due", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("dead", Text),
        sqlite_strict=True,
    )
    op.create_index(
        "webhook_message_of_transfer", "webhook_message", ["target", "transfer", "number"]
    )
