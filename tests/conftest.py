"""What holds for all tests: which of them this machine can run, and which must share a process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.simulators.servers import ABSENT, any_real_server, real_required

_LEFT_OUT = pytest.StashKey[int]()


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
    """Say in one line what was left out."""
    if not any_real_server() and not real_required():
        count = config.stash.get(_LEFT_OUT, 0) or "the"
        terminalreporter.write_line(f"left out {count} tests that need real servers: {ABSENT}")


def pytest_report_header() -> Sequence[str]:
    """Say at the start whether real servers must be there."""
    return ["real servers are required"] if real_required() else []
