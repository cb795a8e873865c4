"""Who calls the API, which servers were registered there, and which triggers were seen."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of the API."""
    op.create_table(
        "api_key",
        Column("id", Text, primary_key=True),
        Column("tenant", Text, nullable=False),
        Column("roles", Text, nullable=False),
        Column("label", Text, nullable=False),
        Column("created", Text, nullable=False),
        Column("expires", Text, nullable=False),
        Column("revoked", Text),
        Column("digest", LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "server",
        Column("alias", Text, primary_key=True),
        Column("described", Text, nullable=False),
        Column("secret", LargeBinary),
        Column("updated", Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "api_trigger",
        Column("name", Text, primary_key=True),
        Column("asked", Text, nullable=False),
        Column("transfer", Text, nullable=False, unique=True),
        Column("done", Integer, nullable=False),
        Column("at", Text, nullable=False),
        sqlite_strict=True,
    )
