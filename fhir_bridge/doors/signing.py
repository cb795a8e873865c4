"""The signer process at the command line: under its own account, until it is told to stop."""

from __future__ import annotations

import argparse
import base64
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from fhir_bridge.clock import Clock
from fhir_bridge.doors.stopping import Stopping
from fhir_bridge.errors import SettingsError
from fhir_bridge.settings import Secret, environment
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.keyring import Keyring
from fhir_bridge.store.signer_process import SignerProcess

_PASSPHRASE = "--passphrase-env or --passphrase-file"  # noqa: S105 - names of options
_RIGHTS = 0o660


def serve(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    """
    Sign for the bridge until SIGTERM or SIGINT.

    Raises:
        SettingsError: Key, memory or socket cannot be used.
    """
    env, file = arguments.passphrase_env, arguments.passphrase_file
    secret = None if env is None and file is None else Secret(env=env, file=file)
    passphrase = None if secret is None else secret.read(environment()).encode()
    folder = Folder.prepare(arguments.folder)
    keys = Keyring(folder, passphrase, where=_PASSPHRASE)
    alone = folder.locked(
        "signer", Clock(), wait_seconds=0, busy="another signer runs in this folder"
    )
    with alone, _listening(arguments.socket) as listening:
        process = SignerProcess(folder, keys, take_up=arguments.take_up)
        public = base64.b64encode(process.public).decode()
        stopping = Stopping()
        stopping.listen()
        threading.Thread(target=_sign, args=(process, listening, stopping), daemon=True).start()
        show(f"Signing at {arguments.socket} with key {public}. Stop with SIGTERM.")
        stopping.wait()
        listening.shutdown(socket.SHUT_RDWR)
    arguments.socket.unlink(missing_ok=True)
    show("Stopped.")
    return 0


def _sign(process: SignerProcess, listening: socket.socket, stopping: Stopping) -> None:
    """Sign until nobody can ask any more; the command ends with it."""
    try:
        process.serve(listening)
    finally:
        stopping.stop()


def _listening(path: Path) -> socket.socket:
    """Listen where only this account and its group may ask."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket():
            path.unlink()
        listening.bind(str(path))
        path.chmod(_RIGHTS)
        listening.listen()
    except OSError as error:
        raise SettingsError(f"nobody can be listened to at {path}") from error
    return listening
