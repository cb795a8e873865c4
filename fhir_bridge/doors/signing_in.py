"""The keys that servers know the bridge by, at the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fhir_bridge import tokens
from fhir_bridge.settings import environment, load


def new_key(file: Path, algorithm: str) -> str:
    """
    Make a key and say what to do with it.

    Raises:
        SettingsError: The file exists or cannot be written.
    """
    key = tokens.new_key(file, algorithm)
    return (
        f"{file}: a private key ({key.algorithm}, kid {key.kid}), open to this account only.\n"
        "Name it as key_file, then give the server's operator what `fhir-bridge smart jwks` prints."
    )


def jwks(arguments: argparse.Namespace) -> str:
    """
    Return the key set that servers check our signatures with.

    Raises:
        SettingsError: A key cannot be read.
    """
    settings = load(arguments.settings, store=arguments.store, environ=environment())
    return json.dumps(tokens.public_jwks(settings), indent=2)
