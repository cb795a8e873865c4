"""What is shown to a server, and what is never shown to anyone else."""

from __future__ import annotations

import pytest

from fhir_bridge.errors import SettingsError
from fhir_bridge.tokens import Basic, Bearer, NoCredential


def test_a_secret_is_in_no_representation() -> None:
    shown = repr(Basic("user", "canary-secret")) + str(Bearer("canary-secret"))

    assert "canary-secret" not in shown


def test_user_name_and_password_are_written_as_rfc_7617_says() -> None:
    assert Basic("Aladdin", "open sesame").headers() == {
        "Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    }


def test_a_password_may_hold_any_letter() -> None:
    assert Basic("test", "123£").headers()["Authorization"] == "Basic dGVzdDoxMjPCow=="


def test_a_token_is_sent_as_it_is() -> None:
    assert Bearer("abc.def").headers() == {"Authorization": "Bearer abc.def"}


def test_no_credential_sends_nothing() -> None:
    assert NoCredential().headers() == {}


@pytest.mark.parametrize("secret", ["", "a\r\nX-Other: b", "a\x00"])
def test_a_secret_that_would_write_headers_of_its_own_is_refused(secret: str) -> None:
    with pytest.raises(SettingsError):
        Bearer(secret)
    with pytest.raises(SettingsError):
        Basic("user", secret)


@pytest.mark.parametrize("token", ["two words", "schlüssel"])
def test_a_token_is_one_word_of_ascii(token: str) -> None:
    with pytest.raises(SettingsError):
        Bearer(token)


@pytest.mark.parametrize("user", ["", "a:b"])
def test_a_user_name_that_would_end_early_is_refused(user: str) -> None:
    with pytest.raises(SettingsError):
        Basic(user, "secret")
