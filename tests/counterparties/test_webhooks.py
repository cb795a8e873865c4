"""Messages to other programs: signed, in order, kept until they are taken, led nowhere."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from standardwebhooks.webhooks import Webhook

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError
from fhir_bridge.settings import Secret, WebhookSettings
from fhir_bridge.store import Store
from fhir_bridge.webhooks import Round, Webhooks, new_secret
from tests.simulators.hostile_server import HANG_UP, Asked, HostileServer, Says
from tests.simulators.stores import Place
from tests.simulators.ticking import START, Ticking

SECRET = new_secret()
TENANT = "urn:oid:1.2|first"
NOW = START + timedelta(minutes=10)
TAKEN = Says(status=204)


def target(base: str, name: str = "ehr", **changes: Any) -> WebhookSettings:
    changes = {"secret": Secret(value=SECRET), **changes}
    return WebhookSettings(name=name, url=base + "/hook?from=bridge", **changes)


class Desk:
    """A store in which transfers change, and what tells of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW

    def transfer(self, *states: str, tenant: str = TENANT) -> str:
        row = self.store.create_transfer(
            key=uuid.uuid4().hex * 2,
            state="requested",
            source="first",
            destination="second",
            request=b"{}",
            tenant=tenant,
        )
        for state in states:
            self.store.set_state(row.id, state)
        return row.id

    def webhooks(self, *targets: WebhookSettings) -> Webhooks:
        # The published library compares with the wall clock, so messages are sent by it.
        return Webhooks(targets, self.store, Clock())

    def deliver(self, webhooks: Webhooks, *, later_seconds: float = 0) -> Round:
        self.now += timedelta(seconds=later_seconds)
        return webhooks.deliver_due(self.now)


@pytest.fixture
def desk(place: Place) -> Iterator[Desk]:
    with place.open(Ticking()) as store:
        yield Desk(store)


@pytest.fixture
def simple(tmp_path: Path) -> Iterator[Desk]:
    """Where the database makes no difference."""
    with Store.open(tmp_path / "s", clock=Ticking().clock(), log_origin="b.example") as store:
        yield Desk(store)


def told(server: HostileServer) -> list[tuple[str, str]]:
    """Transfer and state of each message, each verified by the published library."""
    return [(one["data"]["transfer"], one["data"]["state"]) for one in verified(server.asked)]


def verified(asked: Sequence[Asked]) -> list[Any]:
    return [Webhook(SECRET).verify(one.body, dict(one.headers)) for one in asked]


# What is told


def test_each_state_is_told_in_order_and_signed(desk: Desk) -> None:
    with HostileServer([TAKEN]) as server:
        webhooks = desk.webhooks(target(server.base))
        one = desk.transfer("permitted", "gathered", "closed")

        assert desk.deliver(webhooks) == Round(taken=4)

        states = ("requested", "permitted", "gathered", "closed")
        assert told(server) == [(one, state) for state in states]
        assert server.asked[0].method == "POST"
        assert server.asked[0].target == "/fhir/hook?from=bridge"
        assert server.asked[0].headers["content-type"] == "application/json"
        assert desk.deliver(webhooks) == Round()


def test_a_message_names_the_transfer_its_state_and_numbers_and_nothing_else(simple: Desk) -> None:
    with HostileServer([TAKEN]) as server:
        one = simple.transfer("verified")
        simple.deliver(simple.webhooks(target(server.base)))

        message = json.loads(server.asked[1].body)
        assert message["type"] == "transfer.verified"
        assert datetime.fromisoformat(message["timestamp"]).tzinfo is not None
        assert message["data"] == {
            "transfer": one,
            "state": "verified",
            "attempt": 1,
            "number": 2,
            "tenant": TENANT,
            "counts": {"released": 0, "verified": 0},
        }
        assert set(json.loads(server.asked[0].body)["data"]) == {
            *("transfer", "state", "attempt", "number", "tenant")
        }


def test_a_target_is_told_only_of_the_states_and_the_organisation_it_asked_for(
    simple: Desk,
) -> None:
    with HostileServer([TAKEN]) as server, HostileServer([TAKEN]) as other:
        webhooks = simple.webhooks(
            target(server.base, events=("closed", "held"), tenant=TENANT),
            target(other.base, name="other", tenant="urn:oid:1.2|other"),
        )
        one = simple.transfer("permitted", "closed")
        two = simple.transfer("permitted", tenant="urn:oid:1.2|other")
        simple.deliver(webhooks)

        assert told(server) == [(one, "closed")]
        assert told(other) == [(two, "requested"), (two, "permitted")]


def test_a_new_target_is_told_what_happened_in_the_last_hour(simple: Desk) -> None:
    with HostileServer([TAKEN]) as server:
        simple.transfer("closed")
        simple.now += timedelta(hours=2)
        simple.deliver(simple.webhooks(target(server.base)))

        assert server.asked == []


# Order, and what happens when a target is away


def test_a_target_that_was_away_is_told_everything_in_order_when_it_is_back(desk: Desk) -> None:
    away = [True]
    with HostileServer(lambda _: Says(status=503) if away[0] else TAKEN) as server:
        webhooks = desk.webhooks(target(server.base))
        transfers = [desk.transfer("permitted", "gathered") for _ in range(5)]
        for number in range(6):
            desk.deliver(webhooks, later_seconds=3600 * bool(number))
        for one in transfers:
            desk.store.set_state(one, "closed")
        refused = len(server.asked)
        away[0] = False
        desk.deliver(webhooks, later_seconds=3600)

        came = told(server)[refused:]
        assert refused == 6
        assert len(came) == 20
        for one in transfers:
            states = [state for transfer, state in came if transfer == one]
            assert states == ["requested", "permitted", "gathered", "closed"]


@pytest.mark.parametrize(
    "answer",
    [
        Says(status=429, headers={"Retry-After": "2"}),
        Says(status=502),
        Says(status=408),
        HANG_UP,
        Says(b"x" * 200_000),
        Says(b"\x00" * 5_000_000, zipped=True),
        Says(pieces=[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]),
        Says(pieces=[b"not http\r\n\r\n"]),
    ],
)
def test_a_target_that_is_away_or_hostile_is_left_alone_as_a_whole(
    answer: Says, simple: Desk
) -> None:
    with HostileServer(lambda _: answer) as server:
        webhooks = simple.webhooks(target(server.base))
        for _ in range(5):
            simple.transfer("closed")

        assert simple.deliver(webhooks) == Round(failed=1)
        assert simple.deliver(webhooks, later_seconds=4) == Round()
        assert simple.deliver(webhooks, later_seconds=2) == Round(failed=1)
        assert simple.deliver(webhooks, later_seconds=20) == Round()
        assert len(server.asked) == 2
        assert simple.store.outbox_of("ehr").waiting == 10


def test_a_target_that_nobody_answers_at_loses_nothing(simple: Desk) -> None:
    with HostileServer([TAKEN]) as server:
        base = server.base
    webhooks = simple.webhooks(target(base))
    simple.transfer("closed")

    for number in range(40):
        simple.deliver(webhooks, later_seconds=3600 * bool(number))

    assert simple.store.outbox_of("ehr").waiting == 2
    assert webhooks.deliveries == {("ehr", "away"): 40}


def test_a_target_asked_to_be_left_alone_is_left_alone_so_long_but_not_for_days(
    simple: Desk,
) -> None:
    busy = Says(status=429, headers={"Retry-After": "600"})
    with HostileServer(
        [busy, Says(status=503, headers={"Retry-After": "999999"}), TAKEN]
    ) as server:
        webhooks = simple.webhooks(target(server.base))
        simple.transfer()
        simple.deliver(webhooks)
        simple.deliver(webhooks, later_seconds=590)
        assert len(server.asked) == 1
        simple.deliver(webhooks, later_seconds=20)
        assert len(server.asked) == 2
        simple.deliver(webhooks, later_seconds=3590)
        assert len(server.asked) == 2

        assert simple.deliver(webhooks, later_seconds=20) == Round(taken=1)


def test_a_message_that_its_target_refuses_holds_up_its_own_transfer_only(desk: Desk) -> None:
    poisoned: list[str] = []

    def refuses(asked: Asked) -> Says:
        return Says(status=500) if poisoned[0] in asked.body.decode() else TAKEN

    with HostileServer(refuses) as server:
        webhooks = desk.webhooks(target(server.base))
        poisoned.append(desk.transfer("permitted"))
        healthy = desk.transfer("permitted", "closed")

        assert desk.deliver(webhooks) == Round(taken=3, failed=1)
        assert [one for one in told(server) if one[0] == healthy] == [
            (healthy, state) for state in ("requested", "permitted", "closed")
        ]
        assert [one for one in told(server) if one[0] != healthy] == [(poisoned[0], "requested")]


def test_the_waits_grow_from_seconds_to_a_day_and_then_the_message_is_dead(simple: Desk) -> None:
    with HostileServer([Says(status=400)]) as server:
        webhooks = simple.webhooks(target(server.base))
        one = simple.transfer()
        assert simple.deliver(webhooks) == Round(failed=1)
        waits = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400)
        for number, wait in enumerate(waits, start=1):
            assert simple.deliver(webhooks, later_seconds=wait - 1) == Round()
            done = simple.deliver(webhooks, later_seconds=1)
            assert done == Round(failed=1, dead=int(number == len(waits)))

        (message,) = simple.store.outbox_dead("ehr")
        assert (message.transfer, message.dead) == (one, "400")
        assert simple.store.outbox_of("ehr").waiting == 0


def test_a_target_that_refuses_one_message_after_the_other_is_left_alone(simple: Desk) -> None:
    with HostileServer([Says(status=500)]) as server:
        webhooks = simple.webhooks(target(server.base))
        for _ in range(20):
            simple.transfer()

        assert simple.deliver(webhooks) == Round(failed=5)
        assert simple.deliver(webhooks, later_seconds=50) == Round()
        assert simple.deliver(webhooks, later_seconds=11) == Round(failed=5)


def test_what_lies_dead_is_sent_again_in_its_order_when_a_person_says_so(desk: Desk) -> None:
    refusing = [True]
    with HostileServer(lambda _: Says(status=422) if refusing[0] else TAKEN) as server:
        webhooks = desk.webhooks(target(server.base))
        one = desk.transfer("permitted", "closed")
        for number in range(3 * 11):
            desk.deliver(webhooks, later_seconds=86_400 * bool(number))
        assert desk.store.outbox_of("ehr").dead == 3
        refusing[0] = False
        before = len(server.asked)

        assert desk.store.outbox_replay("ehr") == 3
        assert desk.deliver(webhooks) == Round(taken=3)

        assert told(server)[before:] == [
            (one, state) for state in ("requested", "permitted", "closed")
        ]
        ids = [asked.headers["webhook-id"] for asked in server.asked]
        assert set(ids[before:]) == set(ids[:before])


def test_a_message_that_was_taken_can_be_sent_again_from_a_number_on(simple: Desk) -> None:
    with HostileServer([TAKEN]) as server:
        webhooks = simple.webhooks(target(server.base))
        one = simple.transfer("permitted", "closed")
        simple.deliver(webhooks)

        assert simple.store.outbox_replay("ehr", after=1) == 0
        simple.deliver(webhooks)

        assert told(server)[3:] == [(one, "permitted"), (one, "closed")]


def test_a_target_that_is_gone_gets_nothing_more_until_a_person_says_so(simple: Desk) -> None:
    answers = [Says(status=410), TAKEN]
    with HostileServer(answers) as server:
        webhooks = simple.webhooks(target(server.base))
        one = simple.transfer()
        simple.deliver(webhooks)
        simple.store.set_state(one, "closed")
        for _ in range(5):
            simple.deliver(webhooks, later_seconds=90_000)
        assert len(server.asked) == 1
        assert simple.store.outbox_standing("ehr").disabled is not None

        simple.store.outbox_replay("ehr")
        simple.deliver(webhooks)

        assert told(server)[1:] == [(one, "requested"), (one, "closed")]


def test_nothing_can_be_sent_again_to_whom_nothing_was_ever_written(simple: Desk) -> None:
    with pytest.raises(SettingsError, match="nothing was ever written"):
        simple.store.outbox_replay("other")


def test_a_slow_target_holds_up_no_other(simple: Desk) -> None:
    taken = threading.Event()

    def waits(_: Asked) -> Says:
        assert taken.wait(20)  # until the other target has its message
        return TAKEN

    def takes(_: Asked) -> Says:
        taken.set()
        return TAKEN

    with HostileServer(waits) as slow, HostileServer(takes) as quick:
        simple.transfer()
        webhooks = simple.webhooks(target(slow.base, name="slow"), target(quick.base, name="quick"))

        assert simple.deliver(webhooks) == Round(taken=2)


def test_a_target_that_drips_is_given_up(simple: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from fhir_bridge.webhooks import sending
    from fhir_bridge.wire import Limits

    monkeypatch.setattr(sending, "_LIMITS", Limits(read_seconds=0.2, header_seconds=0.3))
    drips = Says(pieces=[b"H"] * 100, between_seconds=0.05)
    with HostileServer([drips]) as server:
        simple.transfer()

        assert simple.deliver(simple.webhooks(target(server.base))) == Round(failed=1)


# To whom


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_message_follows_no_redirect(status: int, simple: Desk) -> None:
    with HostileServer([TAKEN]) as other:
        away = Says(status=status, headers={"Location": other.base})
        with HostileServer([away]) as server:
            simple.transfer()

            assert simple.deliver(simple.webhooks(target(server.base))) == Round(failed=1)
            assert other.asked == []


def test_proxies_of_the_environment_are_not_used(
    simple: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostileServer([TAKEN]) as server, HostileServer([TAKEN]) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        simple.transfer()

        assert simple.deliver(simple.webhooks(target(server.base))) == Round(taken=1)
        assert proxy.asked == []


def test_a_name_that_comes_to_mean_a_link_local_machine_is_sent_nothing(
    simple: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with HostileServer([TAKEN]) as server:
        simple.transfer()
        webhooks = simple.webhooks(target(server.base))
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("169.254.169.254", 80))

        assert simple.deliver(webhooks) == Round(failed=1)
        assert server.asked == []


def test_a_target_whose_certificate_is_not_accepted_is_sent_nothing(
    simple: Desk, tmp_path: Path
) -> None:
    pems = {name: tmp_path / f"{name}.pem" for name in ("ours", "server", "theirs")}
    authority = trustme.CA()
    authority.cert_pem.write_to_path(pems["theirs"])
    trustme.CA().cert_pem.write_to_path(pems["ours"])
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pems["server"])
    with HostileServer([TAKEN], certificate=pems["server"]) as server:
        simple.transfer()
        strange = simple.webhooks(target(server.base, ca_file=pems["ours"]))
        assert simple.deliver(strange) == Round(failed=1)
        assert server.asked == []

        known = simple.webhooks(target(server.base, ca_file=pems["theirs"]))
        assert simple.deliver(known, later_seconds=6) == Round(taken=1)


def test_each_target_is_signed_to_with_its_own_secret(simple: Desk) -> None:
    other_secret = new_secret()
    with HostileServer([TAKEN]) as server, HostileServer([TAKEN]) as other:
        webhooks = simple.webhooks(
            target(server.base), target(other.base, name="other", secret=Secret(value=other_secret))
        )
        simple.transfer()
        simple.deliver(webhooks)

        Webhook(SECRET).verify(server.asked[0].body, dict(server.asked[0].headers))
        Webhook(other_secret).verify(other.asked[0].body, dict(other.asked[0].headers))


# One sender, whatever dies


def test_two_processes_that_send_at_the_same_time_send_each_message_once(place: Place) -> None:
    with HostileServer([TAKEN]) as server, place.open(Ticking()) as one, place.open() as two:
        desk = Desk(one)
        for _ in range(10):
            desk.transfer("permitted", "closed")
        senders = [Webhooks([target(server.base)], store, Clock()) for store in (one, two)]
        gate = threading.Barrier(2)
        rounds: list[Round] = []

        def send(webhooks: Webhooks) -> None:
            gate.wait()
            rounds.append(webhooks.deliver_due(NOW))

        threads = [threading.Thread(target=send, args=(each,)) for each in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rounds.append(senders[0].deliver_due(NOW))

        assert sum(each.taken for each in rounds) == len(server.asked) == 30
        assert len({asked.headers["webhook-id"] for asked in server.asked}) == 30


def test_a_message_whose_answer_was_lost_is_sent_again_under_the_same_id(simple: Desk) -> None:
    lost = Says(pieces=[])
    with HostileServer([lost, TAKEN]) as server:
        webhooks = simple.webhooks(target(server.base))
        simple.transfer()
        simple.deliver(webhooks)
        simple.deliver(webhooks, later_seconds=10)

        ids = [asked.headers["webhook-id"] for asked in server.asked]
        assert len(ids) == 2
        assert len(set(ids)) == 1
        assert server.asked[0].body == server.asked[1].body


def test_messages_outlive_the_process(place: Place) -> None:
    with HostileServer([Says(status=503), TAKEN]) as server:
        with place.open(Ticking()) as store:
            desk = Desk(store)
            desk.transfer("closed")
            desk.deliver(desk.webhooks(target(server.base)))
        with place.open(Ticking()) as store:
            again = Desk(store)
            assert again.deliver(again.webhooks(target(server.base)), later_seconds=3) == Round()
            assert again.deliver(again.webhooks(target(server.base)), later_seconds=6) == Round(
                taken=2
            )


# What stops before anything is sent


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"events": ("done",)}, r"webhooks\.ehr\.events: done is not one of"),
        ({"secret": Secret(value="short")}, r"secret of webhooks\.ehr"),
        ({"secret": Secret(env="FB_NOT_SET")}, "FB_NOT_SET"),
        ({"ca_file": Path("/none.pem")}, r"webhooks\.ehr\.ca_file"),
    ],
)
def test_a_wrong_target_stops_the_start(
    changes: dict[str, Any], sentence: str, simple: Desk
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        simple.webhooks(target("https://a.example", **changes))


def test_a_secret_that_goes_missing_while_the_bridge_runs_loses_nothing(
    simple: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    with HostileServer([TAKEN]) as server:
        webhooks = simple.webhooks(target(server.base, secret=Secret(file=file)))
        simple.transfer()
        file.unlink()
        assert simple.deliver(webhooks) == Round()
        file.write_text(SECRET)

        assert simple.deliver(webhooks) == Round(taken=1)


def test_a_test_message_says_nothing_but_that_it_arrives(simple: Desk) -> None:
    with HostileServer([TAKEN, Says(status=500)]) as server:
        webhooks = simple.webhooks(target(server.base))

        assert webhooks.test("ehr").taken
        assert webhooks.test("ehr").reason == "500"
        assert verified(server.asked)[0]["data"] == {}
        with pytest.raises(SettingsError, match="known: ehr"):
            webhooks.test("other")


def test_no_secret_is_in_what_is_kept_or_shown(desk: Desk, place: Place) -> None:
    with HostileServer([Says(SECRET.encode(), 500)]) as server:
        webhooks = desk.webhooks(target(server.base))
        desk.transfer("closed")
        desk.deliver(webhooks)

    assert SECRET.encode() not in place.everything()
    assert SECRET not in repr(target("https://a.example"))
