"""
What holds for all tests: which of them this machine can run, which must share a
process, and that after the last of them no file that any of them wrote holds
what may never be at rest.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

import pytest

from tests.simulators.at_rest import Hit, hits
from tests.simulators.servers import ABSENT, any_real_server, real_required

_LEFT_OUT = pytest.StashKey[int]()
_AT_REST = pytest.StashKey[list[Hit]]()


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let temporary files lie where they are searched, those of other processes too."""
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("scratch"))
    tempfile.tempdir = None
    yield
    tempfile.tempdir = before[1]
    if before[0] is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before[0]


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Put back where log lines go as a test found it: its own stream is closed when it ends."""
    structlog = sys.modules.get("structlog")
    before = structlog.get_config() if structlog is not None and structlog.is_configured() else None
    yield
    if (structlog := sys.modules.get("structlog")) is None:
        return
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Search every file that the run wrote; one that holds what it may not fails the run."""
    config = session.config
    folder = config._tmp_path_factory._basetemp  # type: ignore[attr-defined]
    if folder is None or hasattr(config, "workerinput"):
        return  # nothing was written, or the process that started this one searches
    config.stash[_AT_REST] = found = list(hits(folder))
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs real servers; keep the tests of one validator in one process."""
    for item in items:
        if "validator" in getattr(item, "fixturenames", ()):
            # Each process would start a validator of its own: 1.5 GB and 15 seconds.
            item.add_marker(pytest.mark.xdist_group("validator"))
    if any_real_server() or real_required():
        return
    real = [item for item in items if item.get_closest_marker("real")]
    config.stash[_LEFT_OUT] = len(real)
    if real:
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if not item.get_closest_marker("real")]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was found at rest, and in one line what was left out."""
    for hit in config.stash.get(_AT_REST, [])[:20]:
        terminalreporter.write_line(f"AT REST: {hit.path} holds {hit.word!r}", red=True)
    if not any_real_server() and not real_required():
        count = config.stash.get(_LEFT_OUT, 0) or "the"
        terminalreporter.write_line(f"left out {count} tests that need real servers: {ABSENT}")


def pytest_report_header() -> Sequence[str]:
    """Say at the start whether real servers must be there."""
    return ["real servers are required"] if real_required() else []
