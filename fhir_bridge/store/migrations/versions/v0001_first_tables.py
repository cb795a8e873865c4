"""The first tables: the log, transfers with their manifests, and what was paired."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Text,
)

revision = "0001"
down_revision = None

Count = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables of version 1."""
    _make_log()
    _make_transfers()
    _make_manifests()
    _make_pairings()


def _make_log() -> None:
    op.create_table(
        "audit_entry",
        Column("idx", Count, primary_key=True, autoincrement=False),
        Column("event_id", Text, nullable=False, unique=True),
        Column("transfer", Text),
        Column("leaf", LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("audit_entry_of_transfer", "audit_entry", ["transfer"])

    op.create_table(
        "audit_body",
        Column("idx", Count, primary_key=True, autoincrement=False),
        Column("salt", LargeBinary, nullable=False),
        Column("body", LargeBinary, nullable=False),
        sqlite_strict=True,
    )

    op.create_table(
        "audit_checkpoint",
        Column("n", Count, primary_key=True, autoincrement=False),
        Column("size", Count, nullable=False, unique=True),
        Column("at", Text, nullable=False),
        Column("note", Text, nullable=False),
        sqlite_strict=True,
    )

    op.create_table(
        "audit_head",
        Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        Column("log", Text, nullable=False),
        Column("size", Count, nullable=False),
        Column("checkpoints", Count, nullable=False),
        Column("frontier", LargeBinary, nullable=False),
        Column("at", Text, nullable=False),
        Column("behind", Integer, nullable=False),
        sqlite_strict=True,
    )


def _make_transfers() -> None:
    op.create_table(
        "transfer",
        Column("id", Text, primary_key=True),
        Column("key", Text, nullable=False, unique=True),
        Column("attempt", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("source", Text, nullable=False),
        Column("destination", Text, nullable=False),
        Column("created", Text, nullable=False),
        Column("updated", Text, nullable=False),
        Column("manifest", Integer, nullable=False),
        Column("request", LargeBinary),
        Column("transfer_key", LargeBinary),
        sqlite_strict=True,
    )


def _make_manifests() -> None:
    op.create_table(
        "manifest_line",
        Column("transfer", Text, ForeignKey("transfer.id"), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("ref", Text, primary_key=True),
        Column("kind", Text),
        Column("decision", Text, nullable=False),
        Column("rule", Text, nullable=False),
        Column("sentence", Text, nullable=False),
        Column("mac", Text, nullable=False),
        Column("size_bytes", Count, nullable=False),
        Column("attachment", Integer, nullable=False),
        Column("consent", Text),
        Column("consent_version", Text),
        Column("provision", Text),
        Column("bundle", Integer, nullable=False),
        Column("destination", Text),
        Column("outcome", Text),
        Column("paths", Text, nullable=False),
        Column("severed", Text, nullable=False),
        Column("documents", Text, nullable=False),
        sqlite_strict=True,
    )

    op.create_table(
        "manifest_gap",
        Column("transfer", Text, ForeignKey("transfer.id"), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("position", Integer, primary_key=True),
        Column("ref", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("sentence", Text, nullable=False),
        Column("place", Text, nullable=False),
        Column("referrer", Text),
        Column("accepted", Integer, nullable=False),
        sqlite_strict=True,
    )

    op.create_table(
        "ruling",
        Column("transfer", Text, ForeignKey("transfer.id"), primary_key=True),
        Column("ref", Text, primary_key=True),
        Column("word", Text, nullable=False),
        Column("mac", Text),
        sqlite_strict=True,
    )


def _make_pairings() -> None:
    op.create_table(
        "patient_key",
        Column("tag", Text, primary_key=True),
        Column("key", LargeBinary, nullable=False),
        sqlite_strict=True,
    )

    op.create_table(
        "pairing",
        Column("destination", Text, primary_key=True),
        Column("ref", Text, primary_key=True),
        Column("source", Text, nullable=False),
        Column("salt", LargeBinary, nullable=False),
        Column("mac", Text, nullable=False),
        Column("etag", Text),
        sqlite_strict=True,
    )
