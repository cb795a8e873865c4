"""Two sandboxes with as many invented patients as a test names."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from fhir_bridge.clock import Clock
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Faults, Profile, Sandbox
from fhir_bridge.transfer import Order
from tests.benchmarks import patients

FIRST, SECOND, THIRD = "first", "second", "third"


class Pair:
    """The first and the second provider, and a third that may be sent to instead."""

    def __init__(self, *, resources: int = 20, entry_limit: int = 8) -> None:
        self.faults = Faults()
        self._resources = resources
        profile = Profile(entry_limit=entry_limit)
        clock = Clock()
        self.first = Sandbox(name=FIRST, faults=self.faults, clock=clock)
        self.second = Sandbox(name=SECOND, faults=self.faults, profile=profile, clock=clock)
        self.third = Sandbox(name=THIRD, faults=self.faults, clock=clock)
        self._before: set[RecordRef] = set()

    def __enter__(self) -> Self:
        self.first.__enter__()
        self.second.__enter__()
        self.third.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.third.__exit__(kind, error, trace)
        self.second.__exit__(kind, error, trace)
        self.first.__exit__(kind, error, trace)

    @property
    def bases(self) -> tuple[str, ...]:
        return self.first.base, self.second.base, self.third.base

    def settings(self, more: str = "") -> str:
        """The settings that name them."""
        custodian, recipient = ("|".join(one) for one in (patients.CUSTODIAN, patients.RECIPIENT))
        return (
            '[log]\norigin = "test.example"\n'
            + _server(FIRST, self.first.base, custodian)
            + _server(SECOND, self.second.base, recipient)
            + _server(THIRD, self.third.base, recipient)
            + more
        )

    def order(self, name: str, *, to: str = SECOND, **changes: Any) -> Order:
        """Load a patient everywhere, unless that was done; ask for the record."""
        if RecordRef(f"Patient/{name}") not in self.first.resources:
            self.first.load(patients.record(name, self._resources))
            there = patients.destination(name)
            self.second.load(there)
            self.third.load(there)
            self._before |= {RecordRef(f"{one['resourceType']}/{one['id']}") for one in there}
        return Order(source=FIRST, destination=to, patient=f"Patient/{name}", **changes)

    def doubled(self) -> list[RecordRef]:
        """Copies at the second provider that were written more than once."""
        return [
            ref
            for ref in self.second.resources
            if ref not in self._before and self.second.versions(ref) != 1
        ]


def _server(name: str, base: str, organisation: str) -> str:
    return (
        f'[servers.{name}]\nbase = "{base}"\nidentity = "https://{name}.example/fhir"\n'
        f'organisations = [{{ identifier = "{organisation}", name = "{name}" }}]\n'
    )
