from __future__ import annotations

from pathlib import Path

import pytest

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings import Settings, load, organisation, read_server

GOOD = """
store = "~/bridge"
[log]
origin = "first.example"
[consent]
policies = ["https://first.example/policy"]
waive_paper = true
part2_programs = ["urn:oid:1.2|program"]
[sensitivity]
hepatitis = true
[servers.first]
base = "https://first.example/fhir/"
identity = "https://first.example/records"
timezone = "Europe/Zurich"
allow_treatment = true
organisations = [{ identifier = "urn:oid:1.2|first", name = "First Clinic", address = "1 Lane" }]
credential = { kind = "bearer", secret_env = "FIRST_TOKEN" }
[servers.here]
base = "http://127.0.0.1:8080/fhir"
"""


CREDENTIAL = "[servers.a]\nbase='https://a.example'\n[servers.a.credential]\n"
SMART = CREDENTIAL + "kind='smart'\nclient_id='a'\nkey_file='b'\n"
CLIENT = CREDENTIAL + (
    "kind='client-credentials'\nclient_id='a'\ntoken_url='https://a.example/token'\n"
)
WATCH = "[[watch]]\nsource = 'a'\ndestination = 'b'\n"
WEBHOOK = "[[webhooks]]\nname='a'\nurl='https://a.example/hook'\n"


def read(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "fhir-bridge.toml"
    file.write_text(text)
    return load(file, store=None, environ={})


def test_every_setting_is_read(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD)

    first = settings.server("first")
    assert first.base == "https://first.example/fhir"
    assert first.identity == "https://first.example/records"
    assert first.timezone is not None
    assert first.timezone.key == "Europe/Zurich"
    assert first.organisations[0].identifier == "urn:oid:1.2|first"
    assert first.allow_treatment
    assert first.registered
    assert settings.log_origin == "first.example"
    assert settings.accepted_policies == {"https://first.example/policy"}
    assert settings.waive_paper
    assert settings.part2_programs == {"urn:oid:1.2|program"}
    assert settings.sensitivity_answers == {"hepatitis": True}
    assert settings.store == Path.home() / "bridge"
    assert settings.server("here").loopback


def test_the_logs_passphrase_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("correct horse\n")
    by_variable = read(tmp_path, "[log]\npassphrase_env = 'PHRASE'").log_passphrase
    by_file = read(tmp_path, f"[log]\npassphrase_file = '{tmp_path / 'phrase'}'").log_passphrase

    assert read(tmp_path, GOOD).log_passphrase is None
    assert by_variable is not None
    assert by_file is not None
    assert by_variable.read({"PHRASE": "battery staple"}) == "battery staple"
    assert by_file.read({}) == "correct horse"


def test_the_signers_socket_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).log_signer is None
    assert read(tmp_path, "[log]\nsigner = 'unix:/run/s'").log_signer == Path("/run/s")


def test_the_database_is_sqlite_unless_the_settings_or_a_variable_name_another(
    tmp_path: Path,
) -> None:
    assert read(tmp_path, GOOD).database == ""
    assert read(tmp_path, "database = 'postgresql://b@h:5/d'").database == "postgresql://b@h:5/d"
    (tmp_path / "fhir-bridge.toml").write_text("database_env = 'URL'")
    environ = {"URL": "postgresql://b:secret@h/d"}

    assert load(tmp_path / "fhir-bridge.toml", store=None, environ=environ).database == (
        "postgresql://b:secret@h/d"
    )


def test_a_secret_is_read_from_the_environment_and_never_from_the_file(tmp_path: Path) -> None:
    secret = read(tmp_path, GOOD).server("first").credential.secret

    assert secret is not None
    assert secret.read({"FIRST_TOKEN": "t0ken"}) == "t0ken"
    with pytest.raises(SettingsError, match="FIRST_TOKEN is not set"):
        secret.read({})


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("t0ken\n")
    text = GOOD.replace('secret_env = "FIRST_TOKEN"', f'secret_file = "{file}"')
    secret = read(tmp_path, text).server("first").credential.secret

    assert secret is not None
    assert secret.read({}) == "t0ken"
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        secret.read({})


def test_a_smart_credential_is_read(tmp_path: Path) -> None:
    text = SMART + "scopes=['system/*.rs', 'system/*.rs']\nkid='k'\n"
    text += "token_url='http://127.0.0.1:9080/token'\n[smart]\npublish=['c.pem']"
    settings = read(tmp_path, text)
    credential = settings.server("a").credential

    assert (credential.client_id, credential.kid) == ("a", "k")
    assert credential.scopes == ("system/*.rs",)
    assert credential.token_url == "http://127.0.0.1:9080/token"
    assert credential.secret is not None
    assert credential.secret.file == Path("b")
    assert settings.smart_publish == (Path("c.pem"),)


def test_the_key_of_a_server_registered_through_the_api_stands_in_the_store() -> None:
    described = {
        "base": "https://a.example",
        "credential": {"kind": "smart", "client_id": "a", "scopes": ["system/*.rs"]},
    }
    secret = read_server("a", described, secret="PEM").credential.secret

    assert secret is not None
    assert secret.read({}) == "PEM"
    assert "PEM" not in repr(secret)


def test_a_watch_is_read(tmp_path: Path) -> None:
    text = WATCH + "custodian = 'urn:oid:1|c'\nrecipient = 'urn:oid:1|r'\nevery_seconds = 300"
    (watch,) = read(tmp_path, text).watches

    assert (watch.source, watch.destination, watch.every_seconds) == ("a", "b", 300)
    assert (watch.custodian, watch.recipient) == ("urn:oid:1|c", "urn:oid:1|r")


def test_a_webhook_is_read(tmp_path: Path) -> None:
    text = WEBHOOK + "secret_env='A'\nevents=['closed']\ntenant='urn:oid:1.2|first'\nca_file='c'"
    (target,) = read(tmp_path, text).webhooks

    assert (target.name, target.url, target.host) == ("a", "https://a.example/hook", "a.example")
    assert target.events == ("closed",)
    assert target.tenant == "urn:oid:1.2|first"
    assert target.ca_file == Path("c")
    assert target.secret.read({"A": "x"}) == "x"


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("bogus = 1", "unknown setting bogus"),
        ("[servers.a]\nbase='https://a.example'\nbogus=1", "unknown setting servers.a.bogus"),
        ("servers = 1", "servers must be a table"),
        ("[servers]\na = 1", "servers.a must be a table"),
        ("[servers.a]\nbase = 'a.example'", "starts with https"),
        ("[servers.a]\nbase = 'https://u:p@a.example'", "no user"),
        ("[servers.a]\nbase = 'https://a.example:x'", "not a URL"),
        ("[servers.a]\nbase='https://a.example'\ntimezone='Mars/One'", "not a time zone"),
        ("[servers.a]\nbase='https://a.example'\norganisations=[{name='x'}]", "identifier"),
        ("[servers.a]\nbase='https://a.example'\ncredential=1", "must be a table"),
        (
            "[servers.a]\nbase='https://a.example'\ncredential={kind='x'}",
            "one of none, basic, bearer",
        ),
        (
            "[servers.a]\nbase='https://a.example'\ncredential={kind='basic', user='u'}",
            "one of secret_env",
        ),
        ("[servers.a]\nbase='https://a.example'\ncredential={kind='basic'}", "needs user"),
        (CREDENTIAL + "kind='basic'\nscopes=['a']", "unknown setting servers.a.credential.scopes"),
        (CREDENTIAL + "kind='smart'", "of kind smart needs client_id"),
        (CREDENTIAL + "kind='smart'\nclient_id='a'\nscopes=['b']", "needs key_file"),
        (CREDENTIAL + "kind='smart'\nclient_id='a'\nkey_file='b'", "needs scopes"),
        (SMART + "scopes='system/*.rs'", "scopes is a list"),
        (SMART + "scopes=['two words']", "scopes is a list"),
        (SMART + "scopes=['']", "scopes is a list"),
        (SMART + "scopes=[7]", "scopes is a list"),
        (SMART + "scopes=['a']\nkid=\"a\\nb\"", "kid is one line"),
        (SMART + "scopes=['a']\nkid=7", "kid is one line"),
        (SMART + "scopes=['a']\ntoken_url='http://a.example/token'", "token_url starts with https"),
        (SMART + "scopes=['a']\ntoken_url='ftp://127.0.0.1/token'", "token_url starts with https"),
        (SMART + "scopes=['a']\ntoken_url='https://u@a.example/token'", "neither user"),
        (SMART + "scopes=['a']\ntoken_url='https://a.example/token#x'", "nor fragment"),
        (SMART + "scopes=['a']\ntoken_url='https:///token'", "names a host"),
        (SMART + "scopes=['a']\ntoken_url='https://a.example:x'", "not a URL"),
        (SMART + "scopes=['a']\ntoken_url=7", "not a URL"),
        (CREDENTIAL + "kind='mtls'\nkey_file='b'", "needs certificate_file"),
        (CREDENTIAL + "kind='client-credentials'\nclient_id='a'", "needs token_url"),
        (CLIENT, "one of secret_env and secret_file"),
        (CLIENT + "secret_env='A'\nmethod='jwt'", "method is one of basic, post"),
        ("watch = 1", "written as"),
        ("[[watch]]\nsource = 'a'", "needs destination"),
        ("[[watch]]\ndestination = 'a'", "needs source"),
        ("[[watch]]\nbogus = 'a'", "unknown setting watch.bogus"),
        (WATCH + "every_seconds = 1", "5 or more"),
        (WATCH + "every_seconds = true", "5 or more"),
        (WATCH + WATCH, "the same source and destination twice: a b"),
        ("webhooks = 1", "written as"),
        ("[webhooks]\nname = 'a'", "written as"),
        ("[[webhooks]]\nurl = 'https://a.example'", "needs a name"),
        ("[[webhooks]]\nname = 'Two Words'", "needs a name"),
        ("[[webhooks]]\nname = 'a'", "webhooks.a needs url"),
        ("[[webhooks]]\nname = 'a'\nbogus = 1", "unknown setting webhooks.a.bogus"),
        (WEBHOOK, "webhooks.a needs one of secret_env"),
        (WEBHOOK + "secret_env='A'\n" + WEBHOOK + "secret_env='B'", "two webhooks have the name"),
        (WEBHOOK + "secret_env='A'\nevents='closed'", "events is a list"),
        (WEBHOOK.replace("https", "http") + "secret_env='A'", "url starts with https"),
        ("[smart]\npublish = 'a.pem'", "smart.publish is a list of files"),
        ("[smart]\nbogus = 1", "unknown setting smart.bogus"),
        ("[consent]\nbogus = 1", "unknown setting consent.bogus"),
        ("database = 'postgresql://b:canary@h/d'", "name it with database_env"),
        ("database = 'postgresql://b@h/d?password=canary'", "name it with database_env"),
        ("database = 'postgresql://h/d'\ndatabase_env = 'X'", "both set"),
        ("database_env = 'X'", "variable X is not set"),
        ("[log]\nbogus = 1", "unknown setting log.bogus"),
        ("[log]\npassphrase_env = 'X'\npassphrase_file = 'y'", "both set"),
        ("[log]\nsigner = '/run/signer'", "unix:/PATH"),
        ("[log]\nsigner = 'unix:/s'\npassphrase_env = 'X'", "the signer has the key"),
        ("= 1", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, fault: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        read(tmp_path, fault)


def test_a_settings_file_that_was_named_and_is_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.toml", store=None, environ={})


def test_without_a_file_the_store_is_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path)}

    assert load(None, store=None, environ=environ).store == tmp_path / "data" / "fhir-bridge"


def test_the_settings_file_is_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fhir-bridge.toml").write_text('[log]\norigin = "here.example"\n')
    monkeypatch.chdir(tmp_path)

    assert load(None, store=tmp_path, environ={}).log_origin == "here.example"


def test_a_name_that_is_neither_alias_nor_url_is_refused_with_the_known_ones(
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingsError, match="known: first, here"):
        read(tmp_path, GOOD).server("second")


def test_a_bare_url_is_a_server_for_trying_out(tmp_path: Path) -> None:
    server = read(tmp_path, GOOD).server("https://try.example:8443/fhir/")

    assert not server.registered
    assert server.identity == "https://try.example:8443/fhir"
    assert server.name == "try.example:8443"


@pytest.mark.parametrize("text", ["", "a", "|b", "a|"])
def test_an_organisation_is_written_system_bar_value(text: str) -> None:
    with pytest.raises(SettingsError, match="SYSTEM"):
        organisation(text)


def test_a_server_of_the_store_has_its_secret_from_there_alone() -> None:
    table = {"base": "https://lab.example/fhir", "credential": {"kind": "bearer"}}

    secret = read_server("lab", table, secret="kept").credential.secret

    assert secret is not None
    assert secret.read({}) == "kept"
    assert "kept" not in repr(secret)
    with pytest.raises(SettingsError, match="needs one of"):
        read_server("lab", table)
    named = {**table, "credential": {"kind": "bearer", "secret_file": "/etc/secret"}}
    with pytest.raises(SettingsError, match="needs one of"):
        read_server("lab", named, secret="kept")


WITNESS = """
[witness]
ask = [{ vkey = "w1+00000000+AA==", url = "https://w1.example" }]
quorum = 1
without = "stop"
name = "first.example/witness"
peers = ["second.example/audit/2026+00000000+AA=="]
"""


def test_both_sides_of_witnessing_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, WITNESS).witnessing

    assert [(one.vkey, one.url) for one in found.asked] == [
        ("w1+00000000+AA==", "https://w1.example")
    ]
    assert (found.quorum, found.without, found.name) == (1, "stop", "first.example/witness")
    assert found.peers == ("second.example/audit/2026+00000000+AA==",)
    assert read(tmp_path, "").witnessing.asked == ()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("quorum = 1", "quorum = 2", "witness.quorum"),
        ("quorum = 1", "quorum = 'all'", "witness.quorum"),
        ("stop", "wait", "witness.without"),
        ('vkey = "w1+00000000+AA==", ', "", "witness.ask"),
        ("peers = [", "peers = [3, ", "witness.peers"),
        ('name = "first.example/witness"', "", "witness.name"),
        ("quorum", "threshold", "witness.threshold"),
        ("ask = [{", "ask = {", "TOML"),
    ],
)
def test_a_wrong_setting_of_witnessing_is_named(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        read(tmp_path, WITNESS.replace(old, new))
