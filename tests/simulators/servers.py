"""
Real FHIR servers and the official validator, when this machine has them.

`.ci/run` starts them and says where they are. Where none is, the tests marked
`real` are left out with one line; with FHIR_BRIDGE_REAL=required they fail instead,
so that the build cannot pass by having nothing to test against.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_VARIABLES = (
    "FHIR_BRIDGE_HAPI",
    "FHIR_BRIDGE_SEKMET",
    "FHIR_BRIDGE_VALIDATOR_DIR",
    "FHIR_BRIDGE_POSTGRES",
    "FHIR_BRIDGE_OIDC_DIR",
    "FHIR_BRIDGE_SEKMET_DIR",
    "FHIR_BRIDGE_CHROMIUM",
    "FHIR_BRIDGE_LITEWITNESS",
    "FHIR_BRIDGE_SUMDB",
    "FHIR_BRIDGE_SIGSTORE",
)

ABSENT = f"`bash .ci/run` starts them and sets {', '.join(_VARIABLES)}"


def hapi_bases() -> tuple[str, str]:
    """The addresses of two HAPI FHIR servers with referential integrity on write."""
    bases = os.environ.get("FHIR_BRIDGE_HAPI", "").split(",")
    if len(bases) != 2 or not all(bases):
        leave_out()
    return bases[0], bases[1]


def sekmet_base() -> str:
    """The address of a SEKMET server."""
    return os.environ.get("FHIR_BRIDGE_SEKMET") or leave_out()


def postgres_url() -> str:
    """The URL of a PostgreSQL server, with a role that may create databases."""
    return os.environ.get("FHIR_BRIDGE_POSTGRES") or leave_out()


def chromium() -> str:
    """The program of a Chromium browser."""
    return os.environ.get("FHIR_BRIDGE_CHROMIUM") or leave_out()


def litewitness_program() -> str:
    """The program of the reference witness."""
    return os.environ.get("FHIR_BRIDGE_LITEWITNESS") or leave_out()


def sumdb_program() -> str:
    """The program that verifies an export with Go's `x/mod/sumdb`; built from `.ci/sumdb`."""
    return os.environ.get("FHIR_BRIDGE_SUMDB") or leave_out()


def sigstore_python() -> str:
    """A Python that has sigstore, which is none of our dependencies."""
    return os.environ.get("FHIR_BRIDGE_SIGSTORE") or leave_out()


def plain_tool(name: str) -> str:
    """A program that any machine may have, e.g. ``openssl``."""
    return shutil.which(name) or leave_out()


def validator_folder() -> Path:
    """The folder that holds the built validator: `validate.sh` and `target/`."""
    return Path(os.environ.get("FHIR_BRIDGE_VALIDATOR_DIR") or leave_out())


def oidc_folder() -> Path:
    """The folder that holds oidc-provider: `serve.mjs` and `node_modules/`."""
    return Path(os.environ.get("FHIR_BRIDGE_OIDC_DIR") or leave_out())


def sekmet_folder() -> Path:
    """The folder that holds SEKMET, for tests that start it with settings of their own."""
    return Path(os.environ.get("FHIR_BRIDGE_SEKMET_DIR") or leave_out())


def leave_out() -> NoReturn:
    """Leave the test out; in the build, fail it."""
    if real_required():
        pytest.fail(f"a real server is missing: {ABSENT}", pytrace=False)
    pytest.skip(f"a real server is not here: {ABSENT}")


def any_real_server() -> bool:
    """Whether at least one real server, or the validator, is said to be here."""
    return any(os.environ.get(name) for name in _VARIABLES)


def real_required() -> bool:
    """Whether a missing server is a failure, as in the build."""
    return os.environ.get("FHIR_BRIDGE_REAL") == "required"
