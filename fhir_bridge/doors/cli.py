"""
The command line: for operators, records departments and testers.

It reads arguments, hands over to the bridge and shows what came back: progress
on standard error, the result on standard output. Each failure is one plain
sentence and an exit code of README's table; a traceback is never shown, because
it could hold a value from a record.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhir_bridge.doors import running
from fhir_bridge.doors.arguments import kinds, parser
from fhir_bridge.errors import BridgeError, MalformedJson, Refused, SettingsError

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.transfer import Order

LOG_VARIABLE = "FHIR_BRIDGE_LOG"
"""Set to 1, each command ends with one line of JSON on standard error, for a log collector."""

_INTERRUPTED = 6
_UNKNOWN = 70


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: The arguments without the program's name; None reads the process's.

    Returns:
        An exit code of `arguments.EXIT_CODES`.
    """
    arguments = parser().parse_args(argv)
    name = " ".join(filter(None, (arguments.command, getattr(arguments, "act", None))))
    code = _run(name, arguments)
    if os.environ.get(LOG_VARIABLE) == "1":
        _log(name, code)
    return code


def _run(name: str, arguments: argparse.Namespace) -> int:
    try:
        return _ACTS[name](arguments)
    except BridgeError as error:
        _say(f"{_headline(error)}: {error}", error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        _say("Interrupted. Nothing is lost: the same command goes on where it stopped.", 6)
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("FHIR_BRIDGE_DEBUG") == "1":
            raise
        _say(f"Error {uuid.uuid4().hex[:12]}: {_place(error)}. Please report it.", _UNKNOWN)
        return _UNKNOWN


def _log(command: str, code: int) -> None:
    """Write one line that says which command ended how, and nothing that a log may not hold."""
    import structlog

    from fhir_bridge.logs import Log, configure

    configure(sys.stderr)
    structlog.get_logger().info(Log.COMMAND_ENDED, step=command.replace(" ", "."), exit_code=code)


def entry() -> None:
    """Run as a program."""
    sys.exit(main())


def _headline(error: BridgeError) -> str:
    if isinstance(error, Refused):
        return "Refused"
    return {2: "Cannot start", 4: "Incomplete", 6: "Not reached", 8: "Tampered"}.get(
        error.exit_code, "Stopped"
    )


def _place(error: Exception) -> str:
    """Name an unknown error by its kind and place; its text may hold a record's value."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return type(error).__name__
    file = Path(traceback.tb_frame.f_code.co_filename).name
    return f"{type(error).__name__} at {file}:{traceback.tb_lineno}"


def _say(sentence: str, exit_code: int) -> None:
    print(f"{sentence}  exit {exit_code}", file=sys.stderr)  # noqa: T201 - this is the door


_show = running.show


@contextmanager
def _open(arguments: argparse.Namespace) -> Iterator[Bridge]:
    """Open a bridge for one command; when it has ended, the audit repository gets its copies."""
    from fhir_bridge.doors.progress import listener

    with running.opened(arguments, listener(sys.stderr)) as bridge, bridge.copying():
        yield bridge


def _demo(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.demo import demo

    return demo(arguments.story, arguments.store, actor=running.actor(), show=_show)


def _stories(_: argparse.Namespace) -> int:
    from fhir_bridge import stories

    for name in stories.names():
        _show(f"{name:<10} {stories.load(name).title}")
    return 0


def _seed(arguments: argparse.Namespace) -> int:
    from fhir_bridge import stories

    told = stories.load(arguments.story)
    resources = told.source if arguments.role == "source" else told.destination
    with _open(arguments) as bridge:
        count = bridge.seed(arguments.server, resources)
    _show(f"{count} resources of story {told.name} are at {arguments.server}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.checking import render

    with _open(arguments) as bridge:
        _show(render(bridge.check(arguments.server)))
    return 0


def _transfer(arguments: argparse.Namespace) -> int:
    with _open(arguments) as bridge:
        if arguments.queue:
            _show(bridge.request(_order(arguments), new=arguments.new).id)
            return 0
        report = bridge.transfer(_order(arguments), preview=arguments.preview, new=arguments.new)
        return _result(report, as_json=arguments.json, store=arguments.store)


def _order(arguments: argparse.Namespace) -> Order:
    from fhir_bridge.transfer import Basis, Order

    return Order(
        source=arguments.source,
        destination=arguments.destination,
        patient=arguments.patient,
        at_destination=arguments.at_destination,
        custodian=arguments.custodian,
        recipient=arguments.recipient,
        requester=arguments.requester,
        purpose=arguments.purpose,
        kinds=kinds(arguments.kinds),
        reasons=tuple(arguments.reason),
        question=arguments.question,
        basis=Basis(arguments.basis),
        basis_reason=arguments.reason_for_basis,
        override=arguments.override,
        consent=_consent(arguments.consent) if arguments.consent else "",
    )


def _consent(path: Path) -> str:
    """Read the operator's file here, so that a fault in it is not blamed on the provider."""
    from fhir_bridge import lossless

    try:
        text = path.read_text(encoding="utf-8")
        lossless.decode(text.encode())
    except (OSError, UnicodeDecodeError, MalformedJson) as error:
        raise SettingsError(f"{path} cannot be read as JSON in UTF-8") from error
    return text


def _result(report: Any, *, as_json: bool, store: Path | None) -> int:
    from fhir_bridge.doors.report import as_object, exit_code, render

    if as_json:
        _show(json.dumps(as_object(report), ensure_ascii=False))
    else:
        _show(render(report, store=store))
    return exit_code(report)


def _stored(arguments: argparse.Namespace) -> int:
    with _open(arguments) as bridge:
        report = bridge.show(arguments.transfer)
        bridge.office.viewed([report.transfer], command="show")
        return _result(report, as_json=arguments.json, store=arguments.store)


def _resume(arguments: argparse.Namespace) -> int:
    with _open(arguments) as bridge:
        report = bridge.resume(arguments.transfer)
        return _result(report, as_json=arguments.json, store=arguments.store)


def _person(arguments: argparse.Namespace) -> int:
    with _open(arguments) as bridge:
        bridge.decide(
            arguments.transfer,
            arguments.refs,
            release=arguments.command == "release",
            by=arguments.by,
            reason=arguments.reason,
        )
    _show(
        f"Signed. `fhir-bridge resume {arguments.transfer}` gathers the lines again, compares them"
        " with what was decided about, and acts."
    )
    return 0


def _accept(arguments: argparse.Namespace) -> int:
    with _open(arguments) as bridge:
        bridge.accept(arguments.transfer, arguments.gap, by=arguments.by, reason=arguments.reason)
    _show(f"Signed. `fhir-bridge resume {arguments.transfer}` tells the second provider.")
    return 0


def _erase(arguments: argparse.Namespace) -> int:
    from fhir_bridge.audit import Said

    with _open(arguments) as bridge:
        bridge.office.erase(arguments.transfer, Said(by=arguments.by, reason=arguments.reason))
    _show("Erased. The log keeps its entries, and says by whom and why; it still verifies.")
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.cancelling import cancel

    with _open(arguments) as bridge:
        _show(cancel(bridge, arguments.transfer, by=arguments.by, reason=arguments.reason))
    return 0


def _disclosures(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.disclosing import show

    with _open(arguments) as bridge:
        _show(show(arguments, bridge))
    return 0


def _draft(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.drafting import draft

    _show(draft(arguments))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    with _open(arguments) as bridge:
        verified = bridge.verify_log()
    _show(f"verified: {verified.entries} entries, {verified.checkpoints} checkpoints")
    _show(f"the key that signs: {verified.key}")
    return 0


def _proving(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.proving import run

    return run(arguments, _show, _open)


def _witness(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.outside import ask_witnesses

    with _open(arguments) as bridge:
        text, code = ask_witnesses(bridge)
    _show(text)
    return code


def _page(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.outside import write_page

    write_page(arguments.file)
    _show(f"{arguments.file} opens in any browser, and needs no connection.")
    return 0


def _new_key(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.signing_in import new_key

    _show(new_key(arguments.file, arguments.algorithm))
    return 0


def _jwks(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.signing_in import jwks

    _show(jwks(arguments))
    return 0


def _keys(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.keys import run

    return run(arguments, _show, _open)


def _signer(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.signing import serve

    return serve(arguments, _show)


def _doctor(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.doctor import run

    return run(arguments, _show)


def _webhooks(arguments: argparse.Namespace) -> int:
    from fhir_bridge.doors.webhooks import run

    return run(arguments, _show)


_ACTS: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": _demo,
    "stories": _stories,
    "seed": _seed,
    "check": _check,
    "transfer": _transfer,
    "show": _stored,
    "resume": _resume,
    "release": _person,
    "withhold": _person,
    "accept": _accept,
    "erase": _erase,
    "cancel": _cancel,
    "consent draft": _draft,
    "audit verify-db": _verify,
    "audit export": _proving,
    "audit receipt": _proving,
    "audit prove": _proving,
    "audit verify": _proving,
    "audit verify-receipt": _proving,
    "audit keys": _keys,
    "audit signer": _signer,
    "audit witness": _witness,
    "audit page": _page,
    "audit disclosures": _disclosures,
    "smart new-key": _new_key,
    "smart jwks": _jwks,
    "doctor": _doctor,
    "webhooks list": _webhooks,
    "webhooks replay": _webhooks,
    "webhooks test": _webhooks,
    "webhooks new-secret": _webhooks,
    "work": running.work,
    "serve": running.serve,
    "keys add": running.keys,
    "keys list": running.keys,
    "keys revoke": running.keys,
    "sandbox": running.sandbox,
}
