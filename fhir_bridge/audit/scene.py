"""Who takes part: the bridge, both servers, both organisations, the patient, who asked."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_bridge.audit import codings
from fhir_bridge.records import Json, RecordRef


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One provider's server."""

    base: str
    identity: str
    """What its records are named after."""

    def named(self, ref: RecordRef) -> Json:
        """
        Return a logical Reference to one of its resources.

        By identifier, not by address: a repository of audit events does not
        hold the record, and many refuse a reference that leads nowhere.
        """
        type_, _, id_ = ref.partition("/")
        return {"type": type_, "identifier": {"system": f"{self.identity}/{type_}", "value": id_}}

    def who(self) -> Json:
        """Return the Reference to the server itself."""
        return uri(self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everyone who takes part in the acts of one transfer."""

    host: str
    """Host in the log's name: what this bridge is called."""
    actor: str
    """Who asked, as the log names actors: ``cli:ada``, ``key:7``, ``svc:engine``."""
    transfer: str | None = None
    """The transfer's UUID."""
    trace: str | None = None
    """Sent to servers as ``X-Request-Id``."""
    purpose: str = ""
    """Code of v3-ActReason."""
    custodian: str = ""
    """Organisation identifier, ``system|value``."""
    recipient: str = ""
    source: End | None = None
    destination: End | None = None
    patient: Json | None = None
    """Reference to the patient at the source (`End.named`)."""
    test_data: bool = False
    """The patient carries HTEST."""

    def bridge(self) -> Json:
        """Return the Reference to this bridge."""
        return uri(f"https://{self.host}")

    def network(self) -> Json:
        """Return where this bridge is: by its name."""
        return {"address": self.host, "type": "1"}

    def operator(self, *, requestor: bool) -> Json:
        """Return the agent for who asked: an account of this machine, or an application."""
        role = codings.PERSON_AT_WORK if self.actor.startswith("cli:") else codings.APPLICATION
        identifier = {"system": f"https://{self.host}/accounts", "value": self.actor}
        return agent(role, {"identifier": identifier}, requestor=requestor)


def agent(role: Json, who: Json, *, requestor: bool = False, network: Json | None = None) -> Json:
    """Return an agent of an AuditEvent."""
    content: Json = {"type": {"coding": [role]}, "who": who, "requestor": requestor}
    if network is not None:
        content["network"] = network
    return content


def uri(value: str) -> Json:
    """Return a Reference by URI."""
    return {"identifier": {"system": codings.URI_SYSTEM, "value": value}}


def organisation(identifier: str) -> Json:
    """Return the Reference to an organisation named ``system|value``."""
    system, _, value = identifier.partition("|")
    return {"type": "Organization", "identifier": {"system": system, "value": value}}
