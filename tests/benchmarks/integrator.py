"""An integrator's program: it triggers transfers through the API and looks where they stand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fhir_bridge.transfer import ENDED, State
from tests.benchmarks import patients
from tests.simulators.running import done

_REST = ENDED | {State.PARKED}


def settings(first: str, second: str, *, per_destination: int = 8) -> str:
    """The text of a settings file for two providers."""
    text = f'store = "store"\n[engine]\ntransfers = 8\nper_destination = {per_destination}\n'
    text += "[api]\nrate_per_minute = 1000000\n"
    for alias, base, party in (
        ("first", first, patients.CUSTODIAN),
        ("second", second, patients.RECIPIENT),
    ):
        organisation = f'{{ identifier = "{party[0]}|{party[1]}", name = "{party[1]}" }}'
        text += f'[servers.{alias}]\nbase = "{base}"\norganisations = [{organisation}]\n'
    return text


def new_key(folder: Path) -> str:
    """Make an integrator's key; the settings lie in the folder."""
    organisation = "|".join(patients.CUSTODIAN)
    return done(folder, "keys", "add", "--role", "integrator", "--organisation", organisation)


class Integrator:
    """Calls the API."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def trigger(self, patient: str, key: str, *, question: str = "") -> tuple[int, str]:
        """Trigger a transfer; the answer's status and the transfer's id."""
        body = {
            "source": "first",
            "destination": "second",
            "patient": {"reference": f"Patient/{patient}"},
            "referral": {"question": question or key},
        }
        headers = {"Idempotency-Key": key}
        answer = self.client.post("/v1/transfers", json=body, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        return answer.status_code, answer.json()["transfer"]

    def state(self, transfer: str) -> str:
        return str(self._get(f"/v1/transfers/{transfer}")["state"])

    def end(self, transfer: str, seconds: float) -> str:
        """Wait until it rests; its state, also when it does not rest in time."""
        late = time.monotonic() + seconds
        while (state := self.state(transfer)) not in _REST and time.monotonic() < late:
            time.sleep(0.2)  # noqa: TID251 - a benchmark waits for the world
        return state

    def cancel(self, transfer: str) -> bool:
        """Cancel it; whether that was still possible."""
        return self.client.post(f"/v1/transfers/{transfer}/cancel").status_code == 202

    def under_way(self) -> int:
        """Count the transfers that a worker carries."""
        states = ("permitted", "gathered", "matched", "announced", "delivered", "verified")
        pages = [self._get(f"/v1/transfers?state={state}") for state in states]
        return sum(len(page["transfers"]) for page in pages)

    def look(self, transfer: str) -> None:
        """Read what an integrator reads of a transfer that ended."""
        self._get(f"/v1/transfers/{transfer}/manifest")
        self._get("/v1/transfers?limit=20")

    def _get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def integrator(base: str, key: str) -> Iterator[Integrator]:
    """Call a service with a key."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
        yield Integrator(client)
