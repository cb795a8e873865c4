"""Messages to other programs, at the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.doors.cli import main
from fhir_bridge.settings import load
from fhir_bridge.store import Store
from fhir_bridge.webhooks import Webhooks, keys
from tests.simulators.hostile_server import HostileServer, Says


@dataclass
class Desk:
    folder: Path
    server: HostileServer
    answers: list[Says]
    capsys: pytest.CaptureFixture[str]

    @property
    def settings(self) -> Path:
        return self.folder / "fhir-bridge.toml"

    def run(self, *words: str) -> tuple[int, str]:
        code = main([*words, "--settings", str(self.settings)])
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def deliver(self) -> None:
        settings = load(self.settings, store=None, environ={})
        with Store.open(settings.store, log_origin=settings.log_origin) as store:
            Webhooks(settings.webhooks, store, Clock()).deliver_due()

    def transfer(self) -> str:
        settings = load(self.settings, store=None, environ={})
        with Store.open(settings.store, log_origin=settings.log_origin) as store:
            return store.create_transfer(
                key="a" * 64, state="requested", source="a", destination="b", request=b"{}"
            ).id


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    answers = [Says(status=204)]
    with HostileServer(lambda _: answers[0]) as server:
        secret = tmp_path / "secret"
        assert main(["webhooks", "new-secret", str(secret)]) == 0
        (tmp_path / "fhir-bridge.toml").write_text(
            f"store = '{tmp_path / 'store'}'\n[[webhooks]]\nname = 'ehr'\n"
            f"url = '{server.base}/hook'\nsecret_file = '{secret}'\n"
        )
        capsys.readouterr()
        yield Desk(tmp_path, server, answers, capsys)


def test_a_new_secret_goes_into_a_file_of_its_own_and_is_never_shown_or_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"

    assert main(["webhooks", "new-secret", str(file)]) == 0
    made = file.read_text()
    assert keys(made, "here")
    assert file.stat().st_mode & 0o777 == 0o600
    assert made.strip() not in capsys.readouterr().out
    assert main(["webhooks", "new-secret", str(file)]) == 2
    assert file.read_text() == made


def test_a_test_message_says_whether_it_was_taken(desk: Desk) -> None:
    code, said = desk.run("webhooks", "test", "ehr")
    assert (code, "taken (204)" in said) == (0, True)

    desk.answers[0] = Says(status=500)
    code, said = desk.run("webhooks", "test", "ehr")
    assert (code, "not taken (500)" in said) == (6, True)

    code, said = desk.run("webhooks", "test", "other")
    assert (code, "not a target" in said) == (2, True)


def test_targets_are_listed_with_what_waits_and_what_lies_dead(desk: Desk) -> None:
    transfer = desk.transfer()
    desk.answers[0] = Says(status=410)
    desk.deliver()

    _, said = desk.run("webhooks", "list")
    assert "wants nothing more since" in said
    assert "1 waiting since" in said
    assert "/hook" not in said

    desk.answers[0] = Says(status=204)
    assert desk.run("webhooks", "replay", "ehr")[0] == 0
    desk.deliver()
    _, said = desk.run("webhooks", "list")
    assert "0 waiting, 0 dead" in said
    assert transfer in desk.server.asked[-1].body.decode()


def test_what_was_taken_is_sent_again_from_a_number_on(desk: Desk) -> None:
    desk.transfer()
    desk.deliver()

    assert desk.run("webhooks", "replay", "ehr", "--after", "0")[0] == 0
    desk.deliver()

    assert len(desk.server.asked) == 2
    assert desk.run("webhooks", "replay", "other")[0] == 2
