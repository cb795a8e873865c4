"""One that is suspected is carried alone; the others beside each other."""

from __future__ import annotations

import threading

import pytest

from fhir_bridge.bridge.quarantine import Quarantine


def test_many_are_inside_at_once_and_one_alone_waits_for_all_of_them() -> None:
    quarantine, leave, together = Quarantine(), threading.Event(), threading.Barrier(4)
    order: list[str] = []

    def beside() -> None:
        with quarantine.entered(alone=False):
            together.wait(10)
            leave.wait(10)
            order.append("beside")

    def alone() -> None:
        with quarantine.entered(alone=True):
            order.append("alone")

    def later() -> None:
        with quarantine.entered(alone=False):
            order.append("later")

    first = [threading.Thread(target=beside) for _ in range(3)]
    for thread in first:
        thread.start()
    together.wait(10)
    suspect = threading.Thread(target=alone)
    suspect.start()
    while not quarantine._waiting:
        leave.wait(0.001)
    last = threading.Thread(target=later)
    last.start()
    leave.set()
    for thread in (*first, suspect, last):
        thread.join(10)

    assert order == ["beside"] * 3 + ["alone", "later"]


def test_an_error_inside_lets_the_next_one_in() -> None:
    quarantine = Quarantine()
    for alone in (True, False, True):
        with pytest.raises(RuntimeError, match="inside"), quarantine.entered(alone=alone):
            raise RuntimeError("inside")
    with quarantine.entered(alone=True):
        assert quarantine._inside == 1
