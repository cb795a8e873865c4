"""How far each watched server was looked at."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Begin with none: each is made when it is first looked at."""
    op.create_table(
        "watch",
        Column("name", Text, primary_key=True),
        Column("since", Text, nullable=False),
        Column("looked", Text, nullable=False),
        sqlite_strict=True,
    )
