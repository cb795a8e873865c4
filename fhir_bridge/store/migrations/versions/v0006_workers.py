"""What workers need to know of a transfer, and each change of its state."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Text

revision = "0006"
down_revision = "0005"

Count = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Transfers made before were carried by the command line: no worker takes them."""
    for name in ("joined", "actor", "trace", "wait_until", "wait_reason", "trouble", "cancelled"):
        op.add_column("transfer", Column(name, Text))
    op.add_column("transfer", Column("run", Integer, nullable=False, server_default="0"))
    op.create_index("transfer_that_joined", "transfer", ["joined"])
    op.create_index("transfer_in_state", "transfer", ["state"])
    op.create_table(
        "transfer_event",
        Column("number", Count, primary_key=True, autoincrement=False),
        Column("transfer", Text, ForeignKey("transfer.id"), nullable=False),
        Column("at", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("tenant", Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("transfer_event_of_transfer", "transfer_event", ["transfer", "number"])
