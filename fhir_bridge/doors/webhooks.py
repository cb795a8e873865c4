"""Messages to other programs, at the command line: how they stand, and sending them again."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings import Settings, WebhookSettings, environment, load
from fhir_bridge.store import Store
from fhir_bridge.webhooks import Webhooks, new_secret

_NOT_TAKEN = 6


def run(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    """
    Run one of `fhir-bridge webhooks`.

    Args:
        arguments: `act` says which.
        show: Writes a result.

    Returns:
        An exit code of README's table.

    Raises:
        SettingsError: There is no such target, or a file cannot be written.
    """
    if arguments.act == "new-secret":
        show(_new_secret(arguments))
        return 0
    settings = load(arguments.settings, store=arguments.store, environ=environment())
    with Store.settled(settings, environ=environment()) as store:
        if arguments.act == "list":
            show("\n".join(_listed(settings, store)))
            return 0
        target = _target(settings, arguments.target)
        if arguments.act == "replay":
            count = store.outbox_replay(target.name, after=arguments.after)
            show(f"{target.name}: {count} dead messages wait again, and are sent by serve or work")
            return 0
        tried = Webhooks([target], store).test(target.name)
        show(
            f"{target.name} ({target.host}): {'taken' if tried.taken else 'not taken'}"
            f" ({tried.reason})"
        )
        return 0 if tried.taken else _NOT_TAKEN


def _target(settings: Settings, name: str) -> WebhookSettings:
    found = {one.name: one for one in settings.webhooks}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise SettingsError(f"{name} is not a target of webhooks in fhir-bridge.toml ({known})")
    return found[name]


def _listed(settings: Settings, store: Store) -> Iterator[str]:
    if not settings.webhooks:
        yield "No webhooks are set in fhir-bridge.toml."
    for target in settings.webhooks:
        standing, counts = store.outbox_standing(target.name), store.outbox_of(target.name)
        state = "wants nothing more since " + standing.disabled if standing.disabled else "on"
        if standing.quiet_until and not standing.disabled:
            state = f"away {standing.failures} times, asked again at {standing.quiet_until}"
        yield (
            f"{target.name}  {target.host}  {state}; {counts.waiting} waiting"
            f"{f' since {counts.oldest}' if counts.oldest else ''}, {counts.dead} dead,"
            f" last taken {standing.delivered or 'never'}"
        )
        for message in store.outbox_dead(target.name):
            yield f"  dead: number {message.number}, transfer {message.transfer} ({message.dead})"


def _new_secret(arguments: argparse.Namespace) -> str:
    """Write a secret where only this account may read it: it is never printed."""
    file = arguments.file
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(new_secret() + "\n")
    except FileExistsError as error:
        raise SettingsError(f"{file} exists already, and a secret is never overwritten") from error
    except OSError as error:
        raise SettingsError(f"{file} cannot be written") from error
    return f"{file}: a secret, open to this account only. Name it as secret_file, and give it away."
