"""The words of the command line: commands, options and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fhir_bridge.errors import SettingsError

if TYPE_CHECKING:
    from fhir_bridge.records import Kind

EXIT_CODES = {
    0: "done; complete except images counts as done",
    2: "usage or settings: the operator must act",
    3: "refused by a rule, or cancelled by a person: the requester or the patient must act",
    4: "incomplete, or lines are held for a person",
    5: "the first provider sent something that cannot be carried",
    6: "a server cannot be reached, or asks to wait longer than a command waits",
    7: "rejected by the second provider",
    8: "the audit log was tampered with",
    70: "an error that the bridge does not know",
}
"""Every exit code; README's table equals it."""

KINDS = {"lab": "laboratory", "pathology": "pathology", "imaging": "imaging"}
ROLES = (
    "integrator",
    "records-officer",
    "auditor",
    "auditor-bodies",
    "administrator",
    "monitor",
)
"""Roles of callers of the API; a list of its own, because the API loads slowly."""
PURPOSES = ("TREAT", "PATRQT", "COC")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; `command` names what was asked."""
    top = argparse.ArgumentParser(
        prog="fhir-bridge",
        description="Move a patient's whole record to the provider giving a second opinion:"
        " by consent, without loss, with signed proof.",
        epilog="Exit codes: " + "; ".join(f"{code} {what}" for code, what in EXIT_CODES.items()),
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _trying_out(commands)
    _transferring(commands)
    _deciding(commands)
    _consenting(commands)
    _auditing(commands)
    _signing_in(commands)
    _command(commands, "work", "carry what was asked for, until SIGTERM: a worker")
    _serving(commands)
    _telling(commands)
    return top


def kinds(text: str) -> tuple[Kind, ...]:
    """
    Read the value of `--kinds`.

    Raises:
        SettingsError: It names no kind, or one that there is not.
    """
    from fhir_bridge.records import Kind

    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in KINDS]:
        raise SettingsError(f"--kinds: {unknown[0]} is not one of {', '.join(KINDS)}")
    if not names:
        raise SettingsError(f"--kinds names at least one of {', '.join(KINDS)}")
    return tuple(sorted({Kind(KINDS[name]) for name in names}))


def _words(text: str) -> str:
    """Refuse an empty signature."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is signed, so it must not be empty")
    return text


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, purpose: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=purpose)
    command.add_argument("--store", type=Path, metavar="DIR", help="the store's folder")
    command.add_argument("--settings", type=Path, metavar="FILE", help="default: fhir-bridge.toml")
    return command


def _trying_out(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _command(commands, "demo", "carry a whole transfer between two servers in memory")
    demo.add_argument("--story", default="amelia", metavar="NAME", help="default: amelia")
    _command(commands, "stories", "list the invented patients that come with the bridge")
    seed = _command(commands, "seed", "load a story's records into a FHIR server")
    seed.add_argument("server", metavar="SERVER", help="alias or base URL")
    seed.add_argument("--story", required=True, metavar="NAME", help="see: fhir-bridge stories")
    seed.add_argument(
        "--as",
        dest="role",
        choices=("source", "destination"),
        default="source",
        help="the first provider's records, or what the second already has",
    )
    _command(commands, "doctor", "look at settings, store, keys, servers; say what to mend")
    check = _command(commands, "check", "say what a FHIR server is and what it can be used for")
    check.add_argument("server", metavar="SERVER", help="alias or base URL")


def _transferring(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    transfer = _command(commands, "transfer", "move a patient's record for a second opinion")
    add = transfer.add_argument
    add("--source", required=True, metavar="S", help="alias or base URL of the first provider")
    add("--destination", required=True, metavar="D", help="alias or base URL of the second")
    add("--patient", required=True, metavar="P", help="Patient/ID or 'SYSTEM|VALUE' at the source")
    add(
        "--at-destination",
        default="match",
        metavar="ID|match|create",
        help="the patient there: a given id, found by identifier (default), or created",
    )
    add("--custodian", metavar="SYSTEM|VALUE", help="organisation responsible for the records")
    add("--recipient", metavar="SYSTEM|VALUE", help="organisation that receives them")
    add("--requester", metavar="SYSTEM|VALUE", help="who asks; default: the custodian")
    add("--reason", action="append", default=[], metavar="CODE", help="of mappings/reasons.json")
    add("--question", default="", metavar="TEXT", help="what the second doctor is asked")
    add("--kinds", default="lab,pathology,imaging", metavar="LIST", help="default: all three")
    add("--purpose", default="TREAT", choices=PURPOSES, help="default: TREAT")
    add("--basis", default="consent", choices=("consent", "treatment"), help="default: consent")
    add("--reason-for-basis", default="", metavar="TEXT", help="signed, with --basis treatment")
    add("--consent", type=Path, metavar="FILE", help="a signed Consent as JSON")
    add("--override", default="", metavar="NAME", help="who confirms a given patient; signed")
    add("--new", action="store_true", help="ask again although the same was asked before")
    add("--queue", action="store_true", help="write it down for the workers; prints its id")
    add("--preview", action="store_true", help="show what would go; send nothing")
    add("--json", action="store_true", help="the result as one JSON object")


def _deciding(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, purpose in (
        ("show", "show a transfer: what went, what did not, and why"),
        ("resume", "go on with a transfer where it stopped"),
    ):
        command = _command(commands, name, purpose)
        command.add_argument("transfer", metavar="TRANSFER")
        command.add_argument("--json", action="store_true", help="the result as one JSON object")
    for name, purpose in (
        ("release", "let held lines travel; signed"),
        ("withhold", "keep held lines back; signed"),
    ):
        command = _command(commands, name, purpose)
        command.add_argument("transfer", metavar="TRANSFER")
        command.add_argument("refs", nargs="+", metavar="REF", help="e.g. DiagnosticReport/7")
        _signed(command)
    accept = _command(commands, "accept", "accept a gap of delivery, so that the doctor is told")
    accept.add_argument("transfer", metavar="TRANSFER")
    accept.add_argument("--gap", required=True, metavar="REF", help="as `show` names it")
    _signed(accept)
    erase = _command(commands, "erase", "erase what an ended transfer can be read by; signed")
    erase.add_argument("transfer", metavar="TRANSFER")
    _signed(erase)
    cancel = _command(commands, "cancel", "stop a transfer: nothing more of it leaves; signed")
    cancel.add_argument("transfer", metavar="TRANSFER")
    _signed(cancel)


def _signed(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--by", required=True, type=_words, metavar="NAME", help="who decides; signed"
    )
    command.add_argument("--reason", required=True, type=_words, metavar="TEXT", help="why; signed")


def _consenting(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    consent = commands.add_parser("consent", help="write a Consent ready to be signed")
    acts = consent.add_subparsers(dest="act", metavar="ACT", required=True)
    draft = _command(acts, "draft", "write a Consent from parties, purpose, kinds and period")
    add = draft.add_argument
    add("--patient", required=True, metavar="REF", help="Patient/ID at the source")
    add("--custodian", required=True, metavar="SYSTEM|VALUE")
    add("--recipient", required=True, metavar="SYSTEM|VALUE")
    add("--purpose", action="append", default=[], metavar="CODE", help="default: TREAT")
    add("--kinds", default="lab,pathology,imaging", metavar="LIST", help="default: all three")
    add("--except", dest="exceptions", action="append", default=[], metavar="LABEL", help="HIV …")
    add("--until", required=True, metavar="DATE", help="last day, YYYY-MM-DD")
    add("--policy", required=True, metavar="URI", help="the policy the patient agrees to")


def _auditing(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    audit = commands.add_parser("audit", help="check the signed log")
    acts = audit.add_subparsers(dest="act", metavar="ACT", required=True)
    _command(acts, "verify-db", "recompute the whole log from its rows and check each signature")
    _proving(acts)
    _keys(acts)
    _command(acts, "witness", "have each witness cosign the log, and say which did")
    page = _command(acts, "page", "write the page on which a patient checks a receipt")
    page.add_argument("file", type=Path, metavar="FILE", help="must not exist")
    disclosures = _command(acts, "disclosures", "account for what left about one patient")
    add = disclosures.add_argument
    add("patient", metavar="PATIENT", help="Patient/ID at the source, or 'SYSTEM|VALUE'")
    add("--source", metavar="S", help="the first provider; default: every one that is known")
    add("--since", metavar="DATE", help="only from this day on, YYYY-MM-DD (UTC)")
    shown = disclosures.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="the result as one JSON object")
    shown.add_argument("--html", type=Path, metavar="FILE", help="a page to print; a new file")


def _proving(acts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = _command(acts, "export", "hand the log out as files that anyone can verify; signed")
    add = export.add_argument
    add("path", type=Path, metavar="DIR|ZIP", help="must not exist")
    add("--log", metavar="NAME", help="default: the newest")
    add("--transfer", metavar="TRANSFER", help="only its entries, as receipts")
    add(
        "--without-bodies",
        dest="bodies",
        action="store_false",
        help="leave out what the entries commit to",
    )
    receipt = _command(acts, "receipt", "print the proof of one act of a transfer; signed")
    receipt.add_argument("transfer", metavar="TRANSFER")
    receipt.add_argument(
        "--act",
        dest="act_of",
        default="disclosure.result",
        metavar="ACT",
        help="default: disclosure.result; the last of its kind",
    )
    prove = _command(acts, "prove", "print the proof of one entry, not opened; signed")
    prove.add_argument("idx", type=int, metavar="IDX")
    prove.add_argument("--log", metavar="NAME", help="default: the newest")
    for name, what, path in (
        ("verify", "verify an export; needs no store", "DIR|ZIP"),
        ("verify-receipt", "verify a receipt; needs no store", "FILE"),
    ):
        verify = acts.add_parser(name, help=what, description=what)
        verify.add_argument("path", type=Path, metavar=path)
        verify.add_argument("--root-key", metavar="VKEY", help="the custodian's, from outside")
        verify.add_argument("--policy", type=Path, metavar="FILE", help="from outside")
        verify.add_argument("--json", action="store_true", help="the result as one JSON object")
        if name == "verify":
            verify.add_argument("--since", type=Path, metavar="FILE", help="a checkpoint you kept")
            verify.add_argument("--bodies", action="store_true", help="and what entries commit to")


def _keys(acts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    keys = acts.add_parser("keys", help="the log's keys, and a root key that vouches for them")
    key_acts = keys.add_subparsers(dest="key_act", metavar="KEY-ACT", required=True)
    _command(key_acts, "show", "print each key with the sizes of the log that it signs")
    _command(key_acts, "rotate", "have another key sign from here on; the old one is destroyed")
    root = key_acts.add_parser("root", help="make a root key, away from the bridge; encrypted")
    root.add_argument("file", type=Path, metavar="FILE", help="must not exist")
    root.add_argument("--name", required=True, metavar="NAME", help="e.g. bridge.example/root")
    policy = _command(key_acts, "policy", "sign the list of the log's keys and witnesses")
    policy.add_argument("--root-key", type=Path, required=True, metavar="FILE", help="the root key")
    signer = acts.add_parser("signer", help="hold the log's key in a process of its own")
    signer.add_argument("folder", type=Path, metavar="DIR", help="its own; made when missing")
    signer.add_argument("--socket", type=Path, required=True, metavar="PATH", help="to be asked at")
    signer.add_argument("--take-up", action="store_true", help="a key was just moved here")
    for one in (root, policy, signer):
        one.add_argument("--passphrase-env", metavar="NAME", help="variable with the passphrase")
        one.add_argument("--passphrase-file", type=Path, metavar="FILE", help="or a file with it")


def _signing_in(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    smart = commands.add_parser("smart", help="the keys that servers know the bridge by")
    acts = smart.add_subparsers(dest="act", metavar="ACT", required=True)
    key = _command(acts, "new-key", "make a private key that only this account may read")
    key.add_argument("file", type=Path, metavar="FILE", help="must not exist")
    key.add_argument(
        "--algorithm", choices=("ES384", "RS384"), default="ES384", help="default: ES384"
    )
    _command(acts, "jwks", "print the public half of each key, for the operators of servers")


def _serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = _command(commands, "serve", "serve the API, and carry what it is asked for")
    serve.add_argument("--host", metavar="ADDRESS", help="default: api.host, else 127.0.0.1")
    serve.add_argument("--port", type=int, metavar="PORT", help="default: api.port, else 8480")
    serve.add_argument(
        "--role",
        choices=("api", "worker", "all"),
        default="all",
        help="only the API, only a worker, or both in one process (default)",
    )
    keys = commands.add_parser("keys", help="keys of the API")
    acts = keys.add_subparsers(dest="act", metavar="ACT", required=True)
    add = _command(acts, "add", "make a key; it is printed once, and only its digest is kept")
    add.add_argument("--role", action="append", required=True, choices=ROLES, help="may repeat")
    add.add_argument("--organisation", metavar="SYSTEM|VALUE", help="whom it acts for")
    add.add_argument("--days", type=int, default=90, metavar="N", help="it lives; default: 90")
    add.add_argument("--label", default="", metavar="TEXT", help="what you call it")
    _command(acts, "list", "list the keys; none of them can be shown again")
    revoke = _command(acts, "revoke", "let a key open nothing any more")
    revoke.add_argument("key", metavar="KEY", help="its name: see keys list")
    trying = _command(commands, "sandbox", "run two FHIR servers in memory, for trying out")
    trying.add_argument("--story", default="amelia", metavar="NAME", help="default: amelia")
    trying.add_argument("--port", type=int, default=8482, metavar="PORT", help="of the first")


def _telling(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    webhooks = commands.add_parser("webhooks", help="messages to other programs")
    acts = webhooks.add_subparsers(dest="act", metavar="ACT", required=True)
    _command(acts, "list", "say how it stands with each target, and what lies dead")
    replay = _command(acts, "replay", "send again what lies dead, or everything after a number")
    replay.add_argument("target", metavar="TARGET", help="its name in fhir-bridge.toml")
    replay.add_argument("--after", type=int, metavar="NUMBER", help="of the last event not to send")
    test = _command(acts, "test", "send one message that says nothing, now")
    test.add_argument("target", metavar="TARGET", help="its name in fhir-bridge.toml")
    secret = _command(acts, "new-secret", "make a secret that only this account may read")
    secret.add_argument("file", type=Path, metavar="FILE", help="must not exist")
