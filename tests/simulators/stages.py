"""
Empty stores with every table made, once for each database, and copied for each test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulators.crew import DATABASE, Crew, Nest
from tests.simulators.stores import create_database, drop_database


@dataclass(frozen=True)
class Stage:
    """A store with nothing in it."""

    nest: Nest
    folder: Path
    """The store's."""
    url: str
    """Of its database; empty for SQLite."""

    @classmethod
    def set(cls, nest: Nest, folder: Path, database: str) -> Stage:
        """Make the tables."""
        url = create_database() if database == "postgresql" else ""
        crew = Crew(nest, folder, settings(url, ""), url=url)
        with crew.open() as bridge:
            bridge.engine().migrate()
        return cls(nest, crew.store, url)

    def crew(self, folder: Path, servers: str, *, limits: dict[str, Any] | None = None) -> Crew:
        """A crew on a copy of it, for servers that the settings name."""
        url = create_database(self.url) if self.url else ""
        written = settings(url, servers)
        return Crew(self.nest, folder, written, limits=limits, like=self.folder, url=url)

    def remove(self) -> None:
        """Remove its database."""
        if self.url:
            drop_database(self.url)


def settings(url: str, servers: str) -> str:
    """The text of a settings file."""
    written = servers or '[log]\norigin = "test.example"\n'
    return (f'database_env = "{DATABASE}"\n' if url else "") + written
