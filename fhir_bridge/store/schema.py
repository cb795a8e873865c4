"""
The tables, for SQLite and PostgreSQL: nothing here that only one of them has.

The log's tables follow the design of the C2SP tiled log (entries, bodies,
checkpoints, a head for each year's log). Hash tiles are not kept: they follow
from the rows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

Count = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits on both: SQLite's strict tables know INTEGER only, and it has 64."""

entry = Table(
    "audit_entry",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("idx", Count, primary_key=True, autoincrement=False),
    Column("event_id", Text, nullable=False, unique=True),
    Column("transfer", Text),
    Column("leaf", LargeBinary, nullable=False),
    sqlite_strict=True,
)
Index("audit_entry_of_transfer", entry.c.transfer)

body = Table(
    "audit_body",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("idx", Count, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_strict=True,
)

checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("n", Count, primary_key=True, autoincrement=False),
    Column("size", Count, nullable=False),
    Column("at", Text, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("year", "size"),
    sqlite_strict=True,
)

peer_log = Table(
    "peer_log",
    metadata,
    Column("log", Text, primary_key=True),
    Column("note", Text, nullable=False),
    Column("at", Text, nullable=False),
    sqlite_strict=True,
)

cosignature = Table(
    "audit_cosignature",
    metadata,
    Column("log", Text, primary_key=True),
    Column("size", Count, primary_key=True, autoincrement=False),
    Column("line", Text, primary_key=True),
    sqlite_strict=True,
)

head = Table(
    "audit_head",
    metadata,
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

transfer = Table(
    "transfer",
    metadata,
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
    Column("tenant", Text, nullable=False, server_default=""),
    Column("joined", Text),
    Column("actor", Text),
    Column("trace", Text),
    Column("wait_until", Text),
    Column("wait_reason", Text),
    Column("trouble", Text),
    Column("cancelled", Text),
    Column("run", Integer, nullable=False, server_default="0"),
    Column("waits", Integer, nullable=False, server_default="0"),
    Column("trouble_since", Text),
    Column("deaths", Integer, nullable=False, server_default="0"),
    sqlite_strict=True,
)
Index("transfer_that_joined", transfer.c.joined)
Index("transfer_in_state", transfer.c.state)
Index("transfer_of_tenant", transfer.c.tenant, transfer.c.created, transfer.c.id)

transfer_event = Table(
    "transfer_event",
    metadata,
    Column("number", Count, primary_key=True, autoincrement=False),
    Column("transfer", Text, ForeignKey("transfer.id"), nullable=False),
    Column("at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("tenant", Text, nullable=False),
    sqlite_strict=True,
)
Index("transfer_event_of_transfer", transfer_event.c.transfer, transfer_event.c.number)

server_pace = Table(
    "server_pace",
    metadata,
    Column("server", Text, primary_key=True),
    Column("next_ms", Count, nullable=False),
    sqlite_strict=True,
)

line = Table(
    "manifest_line",
    metadata,
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

gap = Table(
    "manifest_gap",
    metadata,
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

ruling = Table(
    "ruling",
    metadata,
    Column("transfer", Text, ForeignKey("transfer.id"), primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("word", Text, nullable=False),
    Column("mac", Text),
    sqlite_strict=True,
)

patient_key = Table(
    "patient_key",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    sqlite_strict=True,
)

pairing = Table(
    "pairing",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("mac", Text, nullable=False),
    Column("etag", Text),
    Column("since", Text, nullable=False, server_default=""),
    sqlite_strict=True,
)

api_key = Table(
    "api_key",
    metadata,
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

server = Table(
    "server",
    metadata,
    Column("alias", Text, primary_key=True),
    Column("described", Text, nullable=False),
    Column("secret", LargeBinary),
    Column("updated", Text, nullable=False),
    sqlite_strict=True,
)

trigger = Table(
    "api_trigger",
    metadata,
    Column("name", Text, primary_key=True),
    Column("asked", Text, nullable=False),
    Column("transfer", Text, nullable=False, unique=True),
    Column("done", Integer, nullable=False),
    Column("at", Text, nullable=False),
    sqlite_strict=True,
)

webhook_target = Table(
    "webhook_target",
    metadata,
    Column("target", Text, primary_key=True),
    Column("position", Count, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("quiet_until", Text),
    Column("disabled", Text),
    Column("delivered", Text),
    sqlite_strict=True,
)

webhook_message = Table(
    "webhook_message",
    metadata,
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
Index(
    "webhook_message_of_transfer",
    webhook_message.c.target,
    webhook_message.c.transfer,
    webhook_message.c.number,
)

audit_repository = Table(
    "audit_repository",
    metadata,
    Column("repository", Text, primary_key=True),
    Column("log", Text, primary_key=True),
    Column("next", Count, nullable=False),
    Column("tried", Text),
    sqlite_strict=True,
)

audit_repository_refused = Table(
    "audit_repository_refused",
    metadata,
    Column("repository", Text, primary_key=True),
    Column("log", Text, primary_key=True),
    Column("idx", Count, primary_key=True, autoincrement=False),
    sqlite_strict=True,
)

watch = Table(
    "watch",
    metadata,
    Column("name", Text, primary_key=True),
    Column("since", Text, nullable=False),
    Column("looked", Text, nullable=False),
    sqlite_strict=True,
)
