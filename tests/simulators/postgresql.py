"""A PostgreSQL server that a test may stop, kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.simulators.process import free_port
from tests.simulators.servers import leave_out

_WAIT_SECONDS = 60


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else leave_out()


class PostgresqlServer:
    """One cluster in a folder of its own; durable, as in production."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bin = _programs()
        # It refuses to run as root, which is who builds.
        self._owner: dict[str, str] = {}
        if os.getuid() == 0:
            self._owner = {"user": "postgres", "group": "postgres"}
            shutil.chown(folder, **self._owner)
        self._port = free_port()
        self._run("initdb", "-D", folder / "data", "-U", "bridge", "-A", "trust", "-E", "UTF8")
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://bridge@127.0.0.1:{self._port}/postgres"

    def start(self, *settings: str) -> None:
        arguments = [
            *("-D", self._folder / "data", "-c", "listen_addresses=127.0.0.1"),
            *("-c", f"port={self._port}", "-c", f"unix_socket_directories={self._folder}"),
            *(part for setting in settings for part in ("-c", setting)),
        ]
        self._server = subprocess.Popen(
            [self._bin / "postgres", *arguments],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._owner,  # type: ignore[call-overload]
        )
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                assert self._server.poll() is None
                time.sleep(0.05)  # noqa: TID251 - another process's start
            else:
                return

    def stop(self) -> None:
        """Stop at once, as in a crash: nothing is flushed, no one is told."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(_WAIT_SECONDS)

    @property
    def runs(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            cwd=self._folder,
            check=True,
            capture_output=True,
            timeout=_WAIT_SECONDS,
            **self._owner,  # type: ignore[call-overload]
        )


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Make a cluster, and remove it afterwards; it is not started yet."""
    # Its owner could enter neither the folder that a test is given nor the run's own.
    with tempfile.TemporaryDirectory(prefix="postgresql-", dir="/tmp") as folder:
        server = PostgresqlServer(Path(folder))
        try:
            yield server
        finally:
            if server.runs:
                server.stop()
