"""
Statements that run for each append, turned into SQL once.

SQLAlchemy looks a statement up, checks its parameters and wraps its result
anew each time; for the few statements of an append that took longer than the
commit. The SQL is still written by SQLAlchemy, for the database in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.elements import ClauseElement


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

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """
        Run it.

        Args:
            connection: In a transaction.
            values: The parameters, by name, as the driver takes them.

        Returns:
            Rows as the driver gives them.
        """
        dialect = connection.dialect
        written = self._written.get(dialect.name)
        if written is None:
            assert isinstance(self._statement, ClauseElement)
            compiled: Any = self._statement.compile(dialect=dialect, column_keys=self._columns)
            written = self._written[dialect.name] = (str(compiled), compiled.positiontup)
        sql, names = written
        parameters = dict(values) if names is None else tuple(values[name] for name in names)
        return connection.exec_driver_sql(sql, parameters)
