"""
Real FHIR servers and the official validator, when this machine has them.

`.ci/run` starts them and says where they are. Elsewhere the tests that need
them are left out with one line; with FHIR_BRIDGE_REAL=required they fail instead,
so that the build cannot pass by having nothing to test against.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

_ABSENT = (
    "no real FHIR servers or HL7 validator here: `bash .ci/run` starts them and sets"
    " FHIR_BRIDGE_HAPI, FHIR_BRIDGE_SEKMET and FHIR_BRIDGE_VALIDATOR_DIR"
)


def hapi_bases() -> tuple[str, str]:
    """The addresses of two HAPI FHIR servers with referential integrity on write."""
    bases = os.environ.get("FHIR_BRIDGE_HAPI", "").split(",")
    if len(bases) != 2 or not all(bases):
        leave_out()
    return bases[0], bases[1]


def sekmet_base() -> str:
    """The address of a SEKMET server."""
    return os.environ.get("FHIR_BRIDGE_SEKMET") or leave_out()


def validator_folder() -> Path:
    """The folder that holds the built validator: `validate.sh` and `target/`."""
    return Path(os.environ.get("FHIR_BRIDGE_VALIDATOR_DIR") or leave_out())


def leave_out() -> NoReturn:
    """Leave the test out; in the build, fail it."""
    if _required():
        pytest.fail(_ABSENT, pytrace=False)
    pytest.skip(_ABSENT)


def _required() -> bool:
    return os.environ.get("FHIR_BRIDGE_REAL") == "required"
