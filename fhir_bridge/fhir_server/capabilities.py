"""
What a server may be asked: its CapabilityStatement, and what is known of the product.

Silence in a statement is not a no: HAPI 8.8.0 declares neither `updateCreate`
nor `batch` and has both (seen 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.compare import known_normalisations
from fhir_bridge.errors import BridgeError, ForeignLink, NotFhir
from fhir_bridge.fhir_server.quirks import Quirks, quirks_of
from fhir_bridge.wire import Answer, Wire

_READ_OF_A_TYPE = (
    *("type", "interaction", "updateCreate", "conditionalCreate", "conditionalUpdate"),
    *("searchParam", "searchRevInclude", "operation"),
)
_R4 = "4.0"
_NAMES = {"1": "DSTU2", "3": "STU3", "4": "R4B", "5": "R5", "6": "R6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this transfer may ask of one server."""

    software: str
    version: str
    fhir_version: str
    transaction: bool
    batch: bool
    update_create: bool | None
    """None: not said, and not known of the product."""
    conditional_create: bool
    conditional_update: bool
    everything: bool
    """Whether `$everything` is there, and worth asking."""
    search_params: Mapping[str, frozenset[str]]
    """By resource type; a type that is not declared is missing."""
    revincludes: Mapping[str, frozenset[str]]
    interactions: Mapping[str, frozenset[str]]
    normalisations: tuple[str, ...]
    """Ids of `mappings/normalisations.json`: what the product writes differently without loss."""
    quirks: Quirks

    @property
    def entry_limit(self) -> int:
        """Return how many entries one transaction may have."""
        return self.quirks.entry_limit

    @property
    def byte_limit(self) -> int:
        """Return how long one transaction may be."""
        return self.quirks.byte_limit

    @property
    def create_only(self) -> str | None:
        """Return the If-Match of a PUT that never writes over anything; None: there is none."""
        matches = self.quirks.create_only.items()
        return next((one for begin, one in matches if self.version.startswith(begin)), None)

    @property
    def product(self) -> str:
        """Return the product's name in `mappings/`."""
        return self.quirks.product


def ask(wire: Wire) -> Mapping[str, Any]:
    """
    Ask for the CapabilityStatement.

    Returns:
        What `read` takes: its shape is not trusted.

    Raises:
        NotFhir: The address is no FHIR R4 server that speaks JSON; says what it is.
        SourceUnreachable: or DestinationUnreachable.
    """
    try:
        answer = wire.request("GET", "metadata")
    except ForeignLink as error:
        raise NotFhir(str(error)) from error
    statement = _statement(wire, answer)
    version = _text(statement.get("fhirVersion"))
    if not version.startswith(_R4):
        name = _NAMES.get(version[:1])
        said = f"FHIR {version} ({name})" if name else "a FHIR version that it does not tell"
        raise NotFhir(
            f"{wire.faults.who} speaks {said}, and the bridge needs R4 (4.0): ask its operator for"
            " the address of its R4 endpoint"
        )
    return statement


def reduced(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a CapabilityStatement what `read` reads, and nothing else."""
    rest = next(iter(_rows(statement.get("rest"))), {})
    kept = {name: rest[name] for name in ("interaction", "operation") if name in rest}
    return {
        **{name: statement[name] for name in ("software", "fhirVersion") if name in statement},
        "rest": [
            {
                **kept,
                "resource": [
                    {name: row[name] for name in _READ_OF_A_TYPE if name in row}
                    for row in _rows(rest.get("resource"))
                ],
            }
        ],
    }


def read(statement: Mapping[str, Any]) -> Capabilities:
    """Turn a CapabilityStatement, whose shape is not trusted, into what may be asked."""
    software = statement.get("software")
    software = software if isinstance(software, dict) else {}
    name, version = _text(software.get("name")), _text(software.get("version"))
    quirks = quirks_of(name)
    rest = next(iter(_rows(statement.get("rest"))), {})
    system = set(_codes(rest.get("interaction")))
    types = {_text(row.get("type")): row for row in _rows(rest.get("resource"))}
    return Capabilities(
        software=name,
        version=version,
        fhir_version=_text(statement.get("fhirVersion")),
        transaction=_known(quirks.transaction, said="transaction" in system),
        batch=_known(quirks.batch, said="batch" in system),
        update_create=quirks.update_create or _update_create(types),
        conditional_create=any(row.get("conditionalCreate") is True for row in types.values()),
        conditional_update=any(row.get("conditionalUpdate") is True for row in types.values()),
        everything=quirks.everything is not False
        and _has_everything(rest, types.get("Patient", {})),
        search_params={
            name: frozenset(_text(one.get("name")) for one in _rows(row.get("searchParam")))
            for name, row in types.items()
        },
        revincludes={
            name: frozenset(_texts(row.get("searchRevInclude"))) for name, row in types.items()
        },
        interactions={
            name: frozenset(_codes(row.get("interaction"))) for name, row in types.items()
        },
        normalisations=known_normalisations(name, version),
        quirks=quirks,
    )


def _statement(wire: Wire, answer: Answer) -> Mapping[str, Any]:
    who = wire.faults.who
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        raise NotFhir(
            f"{who} has no FHIR server at this address (its metadata answers {answer.status}):"
            " check the base, for example whether it ends in /fhir or /fhir/R4"
        )
    try:
        content = lossless.decode(answer.body)
    except BridgeError as error:
        raise NotFhir(f"{who} does not answer in FHIR JSON: check the base") from error
    if not isinstance(content, dict) or content.get("resourceType") != "CapabilityStatement":
        old = isinstance(content, dict) and content.get("resourceType") == "Conformance"
        what = "speaks FHIR DSTU2, and the bridge needs R4 (4.0)" if old else "is no FHIR server"
        raise NotFhir(f"{who} {what}: check the base")
    return content


def _known(quirk: bool | None, *, said: bool) -> bool:  # noqa: FBT001 - three values
    return said if quirk is None else quirk


def _update_create(types: Mapping[str, Mapping[str, Any]]) -> bool | None:
    said = {row.get("updateCreate") for row in types.values()} - {None}
    return None if not said else True in said


def _has_everything(rest: Mapping[str, Any], patient: Mapping[str, Any]) -> bool:
    rows = [*_rows(patient.get("operation")), *_rows(rest.get("operation"))]
    return any(
        _text(row.get("name")).lstrip("$") in {"everything", "patient-everything"}
        or _text(row.get("definition")).endswith("/Patient-everything")
        for row in rows
    )


def _codes(rows: Any) -> list[str]:
    return [_text(row.get("code")) for row in _rows(rows)]


def _rows(value: Any) -> Iterable[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [row for row in value if isinstance(row, str)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
