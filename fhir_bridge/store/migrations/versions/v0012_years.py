"""A log for each year: its rows bear the year, its head the key that signs it now."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text, UniqueConstraint, text

revision = "0012"
down_revision = "0011"

Count = BigInteger().with_variant(Integer(), "sqlite")

_TABLES = ("audit_entry", "audit_body", "audit_checkpoint", "audit_head")


def upgrade() -> None:
    """Make the tables anew and move the one log's rows into its year."""
    log = op.get_bind().execute(text("SELECT log FROM audit_head")).scalar() or "0000"
    year = int(log[-4:])
    op.drop_index("audit_entry_of_transfer", "audit_entry")
    for table in _TABLES:
        op.rename_table(table, f"former_{table}")
    _make()
    _move("audit_entry", year, "idx, event_id, transfer, leaf")
    _move("audit_body", year, "idx, salt, body")
    _move("audit_checkpoint", year, "n, size, at, note")
    _move("audit_head", year, "log, size, checkpoints, frontier, at, behind")
    for table in _TABLES:
        op.drop_table(f"former_{table}")
    op.create_index("audit_entry_of_transfer", "audit_entry", ["transfer"])


def _make() -> None:
    op.create_table(
        "audit_entry",
        Column("year", Integer, primary_key=True, autoincrement=False),
        Column("idx", Count, primary_key=True, autoincrement=False),
        Column("event_id", Text, nullable=False, unique=True),
        Column("transfer", Text),
        Column("leaf", LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_body",
        Column("year", Integer, primary_key=True, autoincrement=False),
        Column("idx", Count, primary_key=True, autoincrement=False),
        Column("salt", LargeBinary, nullable=False),
        Column("body", LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_checkpoint",
        Column("year", Integer, primary_key=True, autoincrement=False),
        Column("n", Count, primary_key=True, autoincrement=False),
        Column("size", Count, nullable=False),
        Column("at", Text, nullable=False),
        Column("note", Text, nullable=False),
        UniqueConstraint("year", "size"),
        sqlite_strict=True,
    )
    op.create_table(
        "audit_head",
        Column("year", Integer, primary_key=True, autoincrement=False),
        Column("log", Text, nullable=False),
        Column("size", Count, nullable=False),
        Column("checkpoints", Count, nullable=False),
        Column("frontier", LargeBinary, nullable=False),
        Column("at", Text, nullable=False),
        Column("behind", Integer, nullable=False),
        Column("vkey", Text, nullable=False, server_default=""),
        sqlite_strict=True,
    )


def _move(table: str, year: int, columns: str) -> None:
    op.execute(
        f"INSERT INTO {table} (year, {columns})"  # noqa: S608 - names that stand above
        f" SELECT {year}, {columns} FROM former_{table}"
    )
