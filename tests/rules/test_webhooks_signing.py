"""Signatures of messages, judged by the published library of the convention."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fhir_bridge.errors import SettingsError
from fhir_bridge.webhooks import keys, new_secret, signed_headers

BODY = b'{"type":"transfer.closed","data":{}}'


def signed(*secrets: str, ago: timedelta = timedelta(), body: bytes = BODY) -> dict[str, str]:
    # The library compares with the wall clock, so these tests must sign by it too.
    at = datetime.now(UTC) - ago  # noqa: TID251
    return dict(signed_headers("evt_1_x", at, body, keys(" ".join(secrets), "here")))


def test_the_published_library_takes_our_signature() -> None:
    secret = new_secret()

    assert Webhook(secret).verify(BODY, signed(secret))["type"] == "transfer.closed"


def test_a_known_answer_of_the_convention_is_ours() -> None:
    # The example of the specification: id, timestamp, secret and signature are its own.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', keys(secret, "here")
    )

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_exchanged_old_and_new_ones_are_both_taken() -> None:
    old, new = new_secret(), new_secret()
    headers = signed(new, old)

    assert len(headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_nothing_signed_can_be_changed() -> None:
    secret = new_secret()
    headers = signed(secret)
    earlier = str(int(headers["webhook-timestamp"]) - 1)
    for change in ({"webhook-id": "evt_2_x"}, {"webhook-timestamp": earlier}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, headers | change)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", signed(secret))


def test_an_old_message_is_not_taken_for_a_new_one() -> None:
    secret = new_secret()
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, signed(secret, ago=timedelta(minutes=6)))


def test_each_new_secret_is_another() -> None:
    assert new_secret() != new_secret()
    assert new_secret().startswith("whsec_")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "hunter22",
        "whsec_",
        "whsec_not base64",
        "whsec_ü",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        base64.b64encode(b"x" * 32).decode(),
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="here") as caught:
        keys(text, "here")

    assert len(text) < 8 or text not in str(caught.value)
