"""Who calls: by a key of ours, or by a token of the pinned issuer."""

from __future__ import annotations

import re

from fhir_bridge.clock import Clock
from fhir_bridge.doors.api import api_keys
from fhir_bridge.doors.api.bearer import Bearers, NotAToken
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.errors import SettingsError, Unreachable
from fhir_bridge.ledger import timestamp
from fhir_bridge.store import Store

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fhir-bridge"'}
_SHOWN = re.compile(r"bearer +([!-~]+)\Z", re.IGNORECASE)


class Callers:
    """Those who may call."""

    def __init__(self, store: Store, bearers: Bearers | None, clock: Clock) -> None:
        """Keep where keys lie and whose tokens count; None when no issuer is set."""
        self._store = store
        self._bearers = bearers
        self._clock = clock

    def caller(self, authorization: str) -> Caller:
        """
        Return who shows this header.

        Raises:
            Answered: Nobody we know, or not any more.
        """
        shown = _SHOWN.match(authorization)
        if shown is None:
            raise _unknown()
        key = api_keys.read(shown[1])
        if key is not None:
            return self._by_key(key)
        if self._bearers is None:
            raise _unknown()
        return self._by_token(self._bearers, shown[1])

    def _by_key(self, shown: api_keys.Shown) -> Caller:
        row = self._store.api_key(shown.id, shown.digest)
        if row is None:
            raise _unknown()
        if row.revoked is not None or row.expires <= timestamp(self._clock.now()):
            raise Answered(Problem.EXPIRED, headers=_CHALLENGE)
        return Caller(row.id, row.tenant, frozenset(map(Role, row.roles)))

    def _by_token(self, bearers: Bearers, token: str) -> Caller:
        try:
            return bearers.caller(token)
        except NotAToken as error:
            raise _unknown() from error
        except Answered as error:
            raise Answered(error.problem, headers=_CHALLENGE) from error
        except (Unreachable, SettingsError) as error:
            raise Answered(Problem.NOT_READY, headers={"Retry-After": "30"}) from error


def _unknown() -> Answered:
    return Answered(Problem.UNAUTHENTICATED, headers=_CHALLENGE)
