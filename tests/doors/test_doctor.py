"""Planted faults: each is named with its cure, and none hides another."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from fhir_bridge.clock import Clock
from fhir_bridge.doors.cli import main
from fhir_bridge.sandbox import Profile, Sandbox
from fhir_bridge.settings import load
from fhir_bridge.store import Store
from fhir_bridge.tokens import SigningKey, new_key
from fhir_bridge.webhooks import Webhooks, new_secret
from tests.simulators.authorization_server import Authorizing
from tests.simulators.hostile_server import HostileServer, Says, fhir
from tests.simulators.ticking import Ticking

SECRET = "canary-secret-token"


@dataclass
class Desk:
    """A folder with settings, keys and a store, and the servers that the settings name."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    open: ExitStack
    said: str = ""
    tables: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def file(self) -> Path:
        return self.folder / "fhir-bridge.toml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def server(self, name: str, base: str, more: str = "") -> None:
        self.tables[name] = (
            f"[servers.{name}]\nbase = '{base}'\n"
            f"organisations = [{{ identifier = 'urn:oid:1.2|{name}' }}]\n{more}\n"
        )

    def sandbox(self, name: str, profile: Profile | None = None, more: str = "") -> None:
        sandbox = self.open.enter_context(Sandbox(name=name, profile=profile))
        self.server(name, sandbox.base, more)

    def answering(self, name: str, says: Says, more: str = "") -> HostileServer:
        server = self.open.enter_context(HostileServer(lambda _: says))
        self.server(name, server.base, more)
        return server

    def secret(self, name: str, text: str = SECRET, mode: int = 0o600) -> Path:
        file = self.folder / name
        file.write_text(text)
        file.chmod(mode)
        return file

    def run(self) -> int:
        self.file.write_text(f"store = '{self.store}'\n" + "".join(self.tables.values()))
        code = main(["doctor", "--settings", str(self.file)])
        said = self.capsys.readouterr()
        self.said = said.out + said.err
        assert "Traceback" not in self.said
        assert SECRET not in self.said
        return code

    def problems(self) -> list[str]:
        return [line for line in self.said.splitlines() if line.startswith("PROBLEM")]


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, capsys, stack)


def make_store(desk: Desk) -> Store:
    return desk.open.enter_context(Store.open(desk.store, log_origin="fhir-bridge.localhost"))


def test_a_bridge_that_is_well_has_no_problem(desk: Desk) -> None:
    make_store(desk)
    desk.sandbox("first")
    desk.sandbox("second")

    assert desk.run() == 0
    assert "well     server first: fhir-bridge sandbox 1, FHIR 4.0.1" in desk.said
    assert "0 problems, 0 notes" in desk.said


def test_a_bridge_that_never_ran_is_well_and_gets_no_store(desk: Desk) -> None:
    desk.sandbox("first")

    assert desk.run() == 0
    assert not desk.store.exists()


# Each plants one fault; the sentence names it and says what to do.

Plant = Callable[[Desk], None]


def unknown_setting(desk: Desk) -> None:
    desk.tables["x"] = "bogus = 1\n"


def unknown_question(desk: Desk) -> None:
    desk.tables["x"] = "[sensitivity]\nbogus = true\n"


def variable_missing(desk: Desk) -> None:
    more = "credential = { kind = 'bearer', secret_env = 'FB_DOCTOR_NOT_SET' }"
    desk.sandbox("first", more=more)


def secret_open_to_others(desk: Desk) -> None:
    file = desk.secret("token", mode=0o644)
    profile = Profile(authorization=f"Bearer {SECRET}")
    desk.sandbox("first", profile, f"credential = {{ kind='bearer', secret_file='{file}' }}")


def smart(key: Path, scopes: str = "['system/*.rs']") -> str:
    return (
        "[servers.first.credential]\nkind = 'smart'\nclient_id = 'bridge'\n"
        f"key_file = '{key}'\nscopes = {scopes}\n"
    )


def key_open_to_others(desk: Desk) -> None:
    key = desk.folder / "key.pem"
    new_key(key, "ES384")
    key.chmod(0o640)
    desk.sandbox("first", more=smart(key))


def scope_not_granted(desk: Desk) -> None:
    key = desk.folder / "key.pem"
    jwk = new_key(key, "ES384").public_jwk()
    script = Authorizing(Ticking(), {"keys": [jwk]}, allowed=frozenset({"system/Patient.rs"}))
    script.time.moment = datetime.now(UTC)  # noqa: TID251 - the command's clock is the world's
    server = desk.open.enter_context(HostileServer(script))
    script.base = server.base
    desk.server("first", server.base, smart(key, "['system/Patient.rs', 'system/Task.c']"))


def key_unknown_to_the_server(desk: Desk) -> None:
    key, other = desk.folder / "key.pem", desk.folder / "other.pem"
    new_key(key, "ES384")
    jwk = new_key(other, "ES384").public_jwk()
    jwk["kid"] = SigningKey.of(key.read_text(), where="here").kid
    script = Authorizing(Ticking(), {"keys": [jwk]})
    server = desk.open.enter_context(HostileServer(script))
    script.base = server.base
    desk.server("first", server.base, smart(key))


def nobody_there(desk: Desk) -> None:
    with HostileServer([Says()]) as server:
        base = server.base
    desk.server("first", base)


def a_web_page(desk: Desk) -> None:
    desk.answering("first", Says(b"<!DOCTYPE html>", headers={"Content-Type": "text/html"}))


def another_fhir(desk: Desk) -> None:
    desk.answering("first", fhir({"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"}))


def wrong_password(desk: Desk) -> None:
    file = desk.secret("password")
    more = f"credential = {{ kind = 'basic', user = 'u', secret_file = '{file}' }}"
    desk.sandbox("first", Profile(authorization="Basic other"), more)


def clock_apart(desk: Desk) -> None:
    desk.sandbox("first", Profile(clock_skew_seconds=-900))


def certificate_of_nobody(desk: Desk) -> None:
    pem = desk.folder / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    server = desk.open.enter_context(HostileServer([Says()], certificate=pem))
    desk.server("first", server.base)


def client_certificate(desk: Desk, ends: datetime) -> None:
    authority = trustme.CA()
    papers = {name: desk.folder / f"{name}.pem" for name in ("ca", "server", "client", "key")}
    authority.cert_pem.write_to_path(papers["ca"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(papers["server"])
    client = authority.issue_cert("bridge@first.example", not_after=ends)
    client.cert_chain_pems[0].write_to_path(papers["client"])
    papers["key"].touch(0o600)
    client.private_key_pem.write_to_path(papers["key"])
    says = fhir({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"})
    server = desk.open.enter_context(HostileServer(lambda _: says, certificate=papers["server"]))
    desk.server(
        "first",
        server.base,
        f"ca_file = '{papers['ca']}'\n[servers.first.credential]\nkind = 'mtls'\n"
        f"certificate_file = '{papers['client']}'\nkey_file = '{papers['key']}'\n",
    )


def client_certificate_ended(desk: Desk) -> None:
    client_certificate(desk, datetime(2024, 1, 1, tzinfo=UTC))


def store_open_to_others(desk: Desk) -> None:
    make_store(desk).close()
    desk.store.chmod(0o755)


def store_key_missing(desk: Desk) -> None:
    make_store(desk).close()
    (desk.store / "log.key").rename(desk.folder / "taken")


def store_from_the_future(desk: Desk) -> None:
    make_store(desk).close()
    with sqlite3.connect(desk.store / "store.db") as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()


def store_of_another_log(desk: Desk) -> None:
    make_store(desk).close()
    desk.tables["x"] = "[log]\norigin = 'other.example'\n"


def log_altered(desk: Desk) -> None:
    make_store(desk).close()
    with sqlite3.connect(desk.store / "store.db") as connection:
        connection.execute("update audit_checkpoint set note = replace(note, 'fhir', 'fhur')")
    connection.close()


def webhook(desk: Desk, secret: str, url: str = "https://ehr.example/hook") -> None:
    file = desk.secret("hook", secret)
    desk.tables["hook"] = f"[[webhooks]]\nname='ehr'\nurl='{url}'\nsecret_file='{file}'\n"


def webhook_secret_is_none(desk: Desk) -> None:
    webhook(desk, SECRET)


def webhook_disabled(desk: Desk) -> None:
    server = desk.open.enter_context(HostileServer([Says(status=410)]))
    webhook(desk, new_secret(), server.base + "/hook")
    desk.run()
    settings = load(desk.file, store=None, environ={})
    with Store.open(desk.store, log_origin="fhir-bridge.localhost") as store:
        store.create_transfer(
            key="a" * 64, state="requested", source="", destination="", request=b""
        )
        Webhooks(settings.webhooks, store, Clock()).deliver_due()


def watch_of_nobody(desk: Desk) -> None:
    desk.sandbox("first")
    desk.tables["watch"] = "[[watch]]\nsource = 'first'\ndestination = 'nowhere'\n"


def watch_that_does_not_say_who_receives(desk: Desk) -> None:
    desk.sandbox("first")
    desk.sandbox("second")
    both = "organisations = [{identifier = 'urn:oid:1|a'}, {identifier = 'urn:oid:1|b'}]"
    desk.tables["second"] = re.sub("organisations = .*", both, desk.tables["second"])
    desk.tables["watch"] = "[[watch]]\nsource = 'first'\ndestination = 'second'\n"


def watch_for_another_recipient(desk: Desk) -> None:
    watch_that_does_not_say_who_receives(desk)
    desk.tables["watch"] += "recipient = 'urn:oid:1|c'\n"


PLANTED: list[tuple[Plant, int, str]] = [
    (unknown_setting, 2, "unknown setting bogus; known:"),
    (unknown_question, 2, "sensitivity: .*bogus"),
    (variable_missing, 2, "environment variable FB_DOCTOR_NOT_SET is not set"),
    (secret_open_to_others, 2, "open to other accounts: chmod 600"),
    (key_open_to_others, 2, "key file .* open to other accounts: chmod 600"),
    (scope_not_granted, 2, r"does not grant system/Task\.c .*ask its operator for it"),
    (key_unknown_to_the_server, 2, "invalid_client.* key or secret"),
    (nobody_there, 6, "cannot be reached: check the address"),
    (a_web_page, 2, "a web page instead of FHIR.* check the base"),
    (another_fhir, 2, r"FHIR 5\.0\.0 \(R5\).*ask its operator"),
    (wrong_password, 2, r"does not accept the credential \(401\): check it"),
    (clock_apart, 2, r"clock is \d+ seconds behind ours.*\(NTP\)"),
    (certificate_of_nobody, 2, "was not accepted.*ask its operator for a valid certificate"),
    (client_certificate_ended, 2, "ended on 2024-01-01: ask"),
    (store_open_to_others, 2, "open to other accounts: run chmod 700"),
    (store_key_missing, 2, "store: "),
    (store_from_the_future, 2, "newer fhir-bridge: install"),
    (store_of_another_log, 2, r"log\.origin is other\.example: set it back"),
    (log_altered, 8, "store: "),
    (webhook_secret_is_none, 2, r"secret of webhooks\.ehr is not whsec_.*make one with"),
    (watch_of_nobody, 2, r"nowhere is no alias of servers: write \[servers\.nowhere\]"),
    (watch_that_does_not_say_who_receives, 2, "2 organisations .* second: set its recipient"),
    (watch_for_another_recipient, 2, "its recipient does not stand behind second"),
    (webhook_disabled, 6, "wants nothing more since .*fhir-bridge webhooks replay ehr"),
]


@pytest.mark.parametrize(
    ("plant", "code", "sentence"), PLANTED, ids=[one[0].__name__ for one in PLANTED]
)
def test_a_planted_fault_is_named_with_its_cure(
    plant: Plant, code: int, sentence: str, desk: Desk
) -> None:
    plant(desk)

    assert desk.run() == code, desk.said
    assert re.search(sentence, desk.said), desk.said


def test_no_fault_hides_another_and_the_worst_decides_the_exit_code(desk: Desk) -> None:
    nobody_there(desk)
    desk.sandbox("second", Profile(clock_skew_seconds=-900))
    webhook_secret_is_none(desk)
    store_from_the_future(desk)

    assert desk.run() == 2
    subjects = [line.split()[1].rstrip(":") for line in desk.problems()]
    assert subjects == ["store", "server", "server", "webhook"]


@pytest.mark.parametrize(
    ("profile", "more", "sentence"),
    [
        (Profile(clock_skew_seconds=-120), "", "seconds behind ours"),
        (Profile(), "organisations = []", "no organisation stands behind it"),
    ],
)
def test_what_fails_nothing_yet_is_a_note(
    profile: Profile, more: str, sentence: str, desk: Desk
) -> None:
    desk.sandbox("first", profile)
    if more:
        desk.tables["first"] = re.sub("organisations = .*", more, desk.tables["first"])

    assert desk.run() == 0
    assert re.search(f"note     server first: .*{sentence}", desk.said), desk.said


def test_a_client_certificate_that_ends_soon_is_a_note(desk: Desk) -> None:
    from datetime import timedelta

    now = datetime.now(UTC)  # noqa: TID251 - the command's clock is the world's
    client_certificate(desk, now + timedelta(days=10))

    assert desk.run() == 0
    assert "note     server first: the client certificate ends on" in desk.said


def test_a_server_registered_through_the_api_is_looked_at_too(desk: Desk) -> None:
    store = make_store(desk)
    with HostileServer([Says()]) as server:
        base = server.base
    store.register_server("registered", f'{{"base": "{base}"}}', None)

    assert desk.run() == 6
    assert "PROBLEM  server registered: " in desk.said
