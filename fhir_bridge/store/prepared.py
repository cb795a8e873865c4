"""
Statements that run for each append, turned into SQL once and given to the driver.

SQLAlchemy looks a statement up, checks its parameters and wraps its result anew
each time; for the few statements of an append that took longer than the commit.
The SQL is still written by SQLAlchemy, for the database in use. PostgreSQL gets
statements that do not wait for each other's result in one go. SQLite's driver
lets other threads run at each row that it writes, and gets the turn back late;
so it is given many rows in one statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ClauseElement

_SEVERAL = (64, 16, 4, 1)
"""Rows that SQLite is given in one statement; few sizes, so that each is parsed once."""


@dataclass(frozen=True, slots=True)
class Ready:
    """SQL as the driver takes it, with its parameters."""

    sql: str
    rows: Sequence[Any] = ()
    """One for each time that it runs; none when it has no parameters."""


class Prepared:
    """One statement with named parameters."""

    def __init__(self, statement: Executable, columns: Sequence[str] | None = None) -> None:
        """
        Keep a statement.

        Args:
            statement: A select, insert or update.
            columns: What an update sets; None sets or inserts all.
        """
        self._statement = statement
        self._columns = columns
        self._written: dict[str, tuple[str, Sequence[str] | None]] = {}

    def ready(self, connection: Connection, *values: Mapping[str, Any]) -> list[Ready]:
        """
        Write it for a database.

        Args:
            connection: Of that database.
            values: The parameters, by name; one mapping for each time that it runs.
        """
        sql, names = self._of(connection)
        if names is None:
            return [Ready(sql, values)]
        rows = [tuple(one[name] for name in names) for one in values]
        head, is_insert, _ = sql.partition("VALUES")
        if len(rows) == 1 or not is_insert:
            return [Ready(sql, rows)]
        return _several(head, len(names), rows)

    def _of(self, connection: Connection) -> tuple[str, Sequence[str] | None]:
        dialect = connection.dialect
        written = self._written.get(dialect.name)
        if written is None:
            assert isinstance(self._statement, ClauseElement)
            compiled: Any = self._statement.compile(dialect=dialect, column_keys=self._columns)
            written = self._written[dialect.name] = (str(compiled), compiled.positiontup)
        return written


class Among:
    """A select of the rows in which one column has one of many values, however many."""

    def __init__(self, select: str, rest: str = "") -> None:
        """
        Keep a statement.

        Args:
            select: Ends with the column's name.
            rest: What follows the condition.
        """
        among = {"sqlite": "IN (SELECT value FROM json_each(?))", "postgresql": "= ANY(%s)"}
        self._sql = {name: f"{select} {condition} {rest}" for name, condition in among.items()}

    def ready(self, connection: Connection, values: Sequence[str]) -> list[Ready]:
        """Write it for these values."""
        name = connection.dialect.name
        given = list(values) if name == "postgresql" else json.dumps(values)
        return [Ready(self._sql[name], [(given,)])]


def fetch(connection: Connection, *statements: Ready) -> list[list[Any]]:
    """
    Run selects, and return the rows of each as tuples.

    Args:
        connection: In a transaction.
        statements: They do not depend on each other.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    driver: Any = connection.connection.driver_connection
    cursors = []
    try:
        with _in_one_go(driver, statements):
            for one in statements:
                cursors.append(driver.cursor())
                cursors[-1].execute(one.sql, *one.rows[:1])
            return [cursor.fetchall() for cursor in cursors]
    except connection.dialect.loaded_dbapi.Error as error:
        raise _failed(connection, error) from error


def execute(connection: Connection, *statements: Ready) -> None:
    """
    Run statements that return nothing, in this order.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor()
    try:
        with _in_one_go(driver, statements):
            for one in statements:
                if not one.rows:
                    cursor.execute(one.sql)
                elif len(one.rows) == 1:
                    cursor.execute(one.sql, one.rows[0])
                else:
                    cursor.executemany(one.sql, one.rows)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _failed(connection, error) from error


def _in_one_go(driver: Any, statements: Sequence[Ready]) -> AbstractContextManager[Any]:
    """Let PostgreSQL's driver send all statements before it waits for an answer."""
    if len(statements) > 1 and hasattr(driver, "pipeline"):
        pipeline: AbstractContextManager[Any] = driver.pipeline()
        return pipeline
    return nullcontext()


def _several(head: str, width: int, rows: Sequence[tuple[Any, ...]]) -> list[Ready]:
    """Turn an insert of one row into inserts of several."""
    one = f"({', '.join('?' * width)})"
    written, at = [], 0
    while at < len(rows):
        size = next(size for size in _SEVERAL if size <= len(rows) - at)
        some = rows[at : at + size]
        flat = tuple(value for row in some for value in row)
        written.append(Ready(f"{head}VALUES {', '.join([one] * size)}", [flat]))
        at += size
    return written


def _failed(connection: Connection, error: Exception) -> Exception:
    """Return the driver's error as SQLAlchemy would, and give a dead connection up."""
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    lost = dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
    if lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=dialect,
    )
