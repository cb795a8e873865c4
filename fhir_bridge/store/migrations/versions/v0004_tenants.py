"""Whose transfer it is: the organisation that answers for the records."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Give each transfer its organisation; older ones have none, and only the store's owner."""
    op.add_column("transfer", Column("tenant", Text, nullable=False, server_default=""))
    op.create_index("transfer_of_tenant", "transfer", ["tenant", "created", "id"])
