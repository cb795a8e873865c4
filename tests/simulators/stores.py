"""
Where a test's store is, and what someone does there who may write every table.

The same tests run over SQLite and over PostgreSQL: a place opens the store,
alters its rows behind the bridge's back and reads all that it holds.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow

from fhir_bridge.store import Store
from tests.simulators.servers import postgres_url
from tests.simulators.ticking import Ticking

ORIGIN = "bridge.example"

OVER_BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.real)]
"""Parameters of a test that runs over each database."""

# What SQL has under another name in each database, under one name in both.
_FUNCTIONS = """
create function zeros(n integer) returns bytea language sql as
  $$ select decode(repeat('00', n), 'hex') $$;
create function rewritten(leaf bytea, old text, new text) returns bytea language sql as
  $$ select convert_to(replace(convert_from(leaf, 'UTF8'), old, new), 'UTF8') $$;
"""


class Place:
    """A store's folder and its database: SQLite in the folder."""

    product = "sqlite"
    url = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, ticking: Ticking | None = None, *, origin: str = ORIGIN) -> Store:
        clock = (ticking or Ticking()).clock()
        return Store.open(self.folder, clock=clock, log_origin=origin, database=self.url)

    def open_by_the_clock(self) -> Store:
        return Store.open(self.folder, log_origin=ORIGIN, database=self.url)

    def alter(self, *statements: str, values: tuple[Any, ...] = ()) -> None:
        """Run statements one by one; `?` stands for a value."""
        with self._connected() as connection:
            for statement in statements:
                connection.execute(statement, values)

    def rows(self, statement: str) -> list[Any]:
        with self._connected() as connection:
            return connection.execute(statement).fetchall()

    def everything(self) -> bytes:
        """All bytes that the store keeps, and the names that it keeps them under."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() + path.name.encode() for path in files)

    def copied(self, folder: Path) -> Place:
        shutil.copytree(self.folder, folder)
        return Place(folder)

    def remove(self) -> None:
        """Remove what the test's folder does not hold."""

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        connection = sqlite3.connect(self.folder / "store.db", isolation_level=None)
        connection.create_function("zeros", 1, bytes)
        connection.create_function("rewritten", 3, _rewritten)
        try:
            yield connection
        finally:
            connection.close()


class PostgresqlPlace(Place):
    """A store's folder for the keys, and a database of its own on a server."""

    product = "postgresql"

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url

    def alter(self, *statements: str, values: tuple[Any, ...] = ()) -> None:
        super().alter(*(one.replace("?", "%s") for one in statements), values=values)

    def everything(self) -> bytes:
        tables = self.rows("select relname from pg_stat_user_tables")
        cells = [
            cell if isinstance(cell, bytes) else str(cell).encode()
            for (table,) in tables
            for row in self.rows(f"select * from {table}")  # noqa: S608 - the server's names
            for cell in row
        ]
        return super().everything() + b"\n".join(cells)

    def copied(self, folder: Path) -> Place:
        shutil.copytree(self.folder, folder)
        return PostgresqlPlace(folder, create_database(self.url))

    def remove(self) -> None:
        drop_database(self.url)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[TupleRow]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield connection


def create_database(template: str = "") -> str:
    """Make a database on the tests' server; empty, or a copy of another."""
    name = f"test_{uuid.uuid4().hex}"
    source = template.rpartition("/")[2] or "template0"
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {source}".encode())
    url = f"{postgres_url().rpartition('/')[0]}/{name}"
    if not template:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_FUNCTIONS.encode())
    return url


def drop_database(url: str) -> None:
    """Remove what `create_database` made, whoever is still connected."""
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        connection.execute(f"drop database {url.rpartition('/')[2]} with (force)".encode())


def _rewritten(leaf: bytes, old: str, new: str) -> bytes:
    return leaf.replace(old.encode(), new.encode())
