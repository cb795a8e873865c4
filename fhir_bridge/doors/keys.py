"""
The log's keys at the command line: show, change, and a root key that vouches for them.

The root key is made and kept away from the bridge. Only for the moment of
signing a policy is its file within reach; its passphrase comes from a variable
or a file, never from the command line.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Epoch, Signer
from fhir_bridge.settings import Secret, environment
from fhir_bridge.store import keyfiles

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge

_FIRST_LINE = "fhir-bridge root key "
_PASSPHRASE = "--passphrase-env or --passphrase-file"  # noqa: S105 - names of options
_PASSPHRASE_CHARS_MIN = 12


def run(
    arguments: argparse.Namespace,
    show: Callable[[str], None],
    open_bridge: Callable[[argparse.Namespace], AbstractContextManager[Bridge]],
) -> int:
    """
    Run one of `fhir-bridge audit keys`.

    Args:
        arguments: `key_act` says which.
        show: Writes a result.
        open_bridge: Opens the bridge; making a root key needs none.

    Raises:
        SettingsError: A file or a passphrase is not as it must be.
    """
    if arguments.key_act == "root":
        show(_root(arguments))
        return 0
    root = _read_root(arguments) if arguments.key_act == "policy" else None
    with open_bridge(arguments) as bridge:
        if root is not None:
            show(f"{bridge.sign_policy(root)} is signed by  {root.verifier}")
        elif arguments.key_act == "rotate":
            show(f"The log is signed from here on by  {bridge.rotate_key()}")
        else:
            show("\n".join(map(_line, bridge.key_epochs())))
    return 0


def _line(epoch: Epoch) -> str:
    end = "and on" if epoch.end is None else f"to {epoch.end - 1}"
    return f"{epoch.key}  signs sizes {epoch.first} {end}"


def _root(arguments: argparse.Namespace) -> str:
    """Make a root key and say what to do with it."""
    passphrase = _passphrase(arguments)
    if len(passphrase) < _PASSPHRASE_CHARS_MIN:
        raise SettingsError(f"the passphrase has fewer than {_PASSPHRASE_CHARS_MIN} bytes")
    private = keyfiles.new_key()
    verifier = Signer(arguments.name, private).verifier
    content = f"{_FIRST_LINE}{arguments.name}\n".encode() + keyfiles.written(private, passphrase)
    path: Path = arguments.file
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written, or is there already") from error
    return (
        f"{path}: a root key, encrypted, open to this account only. Keep it away from the"
        f" bridge.\nGive auditors  {verifier}"
    )


def _read_root(arguments: argparse.Namespace) -> Signer:
    path: Path = arguments.root_key
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"the root key {path} cannot be read") from error
    first, _, pem = content.partition(b"\n")
    name = first.decode(errors="replace")
    if not name.startswith(_FIRST_LINE):
        raise SettingsError(f"{path} is not a root key that audit keys root has made")
    private = keyfiles.read(pem, _passphrase(arguments), name=str(path), where=_PASSPHRASE)
    return Signer(name.removeprefix(_FIRST_LINE), private)


def _passphrase(arguments: argparse.Namespace) -> bytes:
    env, file = arguments.passphrase_env, arguments.passphrase_file
    if (env is None) == (file is None):
        raise SettingsError(f"the root key's passphrase comes from {_PASSPHRASE}: give one")
    return Secret(env=env, file=file).read(environment()).encode()
