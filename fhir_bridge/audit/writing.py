"""
Write one AuditEvent.

The profiles for REST and for disclosures describe what succeeded, so an act
that failed is written in the same shape and claims none. A decision about
consent is one way or the other; both are its profile's.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import msgspec

from fhir_bridge.audit import codings
from fhir_bridge.audit.acting import Act, NamedConsent
from fhir_bridge.audit.codings import Form
from fhir_bridge.audit.scene import End, Scene, agent, organisation, uri
from fhir_bridge.ledger import Event
from fhir_bridge.records import Json

_SUCCESS = "0"
_NETWORK_URI = "5"
_TEXT_CHARS_MAX = 4_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_encoder = msgspec.json.Encoder()


def write(
    scene: Scene, act: Act, *, event: Event, id_: str, recorded: str, outcome: str = _SUCCESS
) -> bytes:
    """
    Write an act.

    Args:
        scene: Who takes part.
        act: What is particular to it.
        event: What the log calls it.
        id_: Id of the AuditEvent: the same act written again is the same resource.
        recorded: When, as a FHIR instant.
        outcome: Code of http://hl7.org/fhir/audit-event-outcome.

    Returns:
        The FHIR JSON whose exact bytes the log commits to.

    Source:
        IHE BALP 1.1.4 (PrivacyDisclosure.Source, PatientQuery, PatientRead,
        AuthZconsent); https://hl7.org/fhir/R4/auditevent.html.
    """
    what = codings.kind(act.form, event)
    content: Json = {
        "resourceType": "AuditEvent",
        "id": id_,
        **_meta(scene, act, outcome),
        "type": what.type,
        "subtype": [*what.subtype, *_own(act.form, event)],
        "action": what.action,
        "recorded": recorded,
        "outcome": outcome,
        **({"outcomeDesc": _text(act.sentence)} if act.sentence else {}),
        **_purpose(scene),
        "agent": list(_agents(scene, act)),
        "source": _source(scene, act),
    }
    if entities := list(_entities(scene, act)):
        content["entity"] = entities
    return _encoder.encode(content)


def _meta(scene: Scene, act: Act, outcome: str) -> Json:
    meta: Json = {}
    if _claims(scene, act, outcome):
        meta["profile"] = [codings.PROFILES[act.form]]
    if scene.test_data:
        meta["security"] = [codings.TEST_DATA]
    return {"meta": meta} if meta else {}


def _claims(scene: Scene, act: Act, outcome: str) -> bool:
    """Tell whether the act is all that its form's profile demands."""
    if act.form is Form.PLAIN or scene.patient is None:
        return False
    if act.form is Form.AUTHORIZATION:
        return bool(act.consents)
    return outcome == _SUCCESS


def _own(form: Form, event: Event) -> Iterator[Json]:
    """The log's word for the act, where the form leaves room for another code."""
    if form is not Form.AUTHORIZATION:
        yield codings.coding(codings.OWN_ACTS, str(event))


def _purpose(scene: Scene) -> Json:
    return {"purposeOfEvent": [_purpose_of_use(scene)]} if scene.purpose else {}


def _purpose_of_use(scene: Scene) -> Json:
    code = scene.purpose
    display = codings.PURPOSES.get(code, "")
    return {"coding": [codings.coding(codings.ACT_REASON, code, display)]}


def _source(scene: Scene, act: Act) -> Json:
    decides = act.form is Form.AUTHORIZATION
    role = codings.SECURITY_SERVER if decides else codings.APPLICATION_SERVER
    return {"observer": scene.bridge(), "type": [role]}


def _agents(scene: Scene, act: Act) -> Iterator[Json]:
    yield from _AGENTS[act.form](scene, act)
    # An event has one initiator; where a consent is decided about it is the recipient.
    yield scene.operator(requestor=act.form is not Form.AUTHORIZATION)
    if act.said.by:
        yield {
            "type": {"coding": [codings.PERSON_AT_WORK]},
            "name": _text(act.said.by),
            "requestor": False,
        }


def _who_disclosed(scene: Scene, act: Act) -> Iterator[Json]:
    bridge, network = scene.bridge(), scene.network()
    yield agent(codings.SOURCE_ROLE, bridge, network=network)
    yield agent(
        codings.DESTINATION_ROLE, organisation(scene.recipient), network=_address(scene.destination)
    )
    yield agent(codings.CUSTODIAN, organisation(scene.custodian))
    if act.by_consent and scene.patient is not None:
        yield agent(codings.PATIENT_ADVOCATE, scene.patient)


def _who_searched(scene: Scene, act: Act) -> Iterator[Json]:
    assert act.at is not None, "somebody was asked"
    yield agent(codings.SOURCE_ROLE, scene.bridge(), network=scene.network())
    yield agent(codings.DESTINATION_ROLE, act.at.who(), network=_address(act.at))


def _who_read(scene: Scene, act: Act) -> Iterator[Json]:
    """For a read BALP has the data's direction, not the request's."""
    assert act.at is not None, "somebody was asked"
    yield agent(codings.DESTINATION_ROLE, scene.bridge(), network=scene.network())
    yield agent(codings.SOURCE_ROLE, act.at.who(), network=_address(act.at))


def _who_decided(scene: Scene, _act: Act) -> Iterator[Json]:
    recipient = organisation(scene.recipient)
    yield agent(codings.APPLICATION, scene.bridge(), network=scene.network())
    asks = agent(codings.RECIPIENT, recipient, requestor=True)
    yield {**asks, "purposeOfUse": [_purpose_of_use(scene)]}
    yield agent(codings.PROVIDER, recipient)
    yield agent(codings.AUTHORIZATION_SERVER, scene.bridge())


def _who_acted(scene: Scene, _act: Act) -> Iterator[Json]:
    yield agent(codings.APPLICATION, scene.bridge(), network=scene.network())
    if scene.custodian:
        yield agent(codings.CUSTODIAN, organisation(scene.custodian))
    if scene.recipient:
        yield agent(codings.PROVIDER, organisation(scene.recipient))


_AGENTS = {
    Form.DISCLOSURE: _who_disclosed,
    Form.SEARCH: _who_searched,
    Form.READ: _who_read,
    Form.AUTHORIZATION: _who_decided,
    Form.PLAIN: _who_acted,
}


def _address(end: End | None) -> Json:
    assert end is not None, "the server is known"
    return {"address": end.base, "type": _NETWORK_URI}


def _entities(scene: Scene, act: Act) -> Iterator[Json]:
    if scene.patient is not None:
        yield {"what": scene.patient, "type": codings.PERSON, "role": codings.PATIENT_ROLE}
    for one in act.consents:
        yield _consent(scene, one)
    if act.form is Form.AUTHORIZATION:
        return  # its profile closes the list here
    if act.form is Form.SEARCH:
        yield _query(act)
    elif act.data:
        yield {
            "what": uri(act.data),
            "type": codings.SYSTEM_OBJECT,
            "role": codings.DOMAIN_RESOURCE,
        }
    yield from _job(scene, act)
    if scene.trace is not None:
        yield {"what": {"identifier": {"value": scene.trace}}, "type": codings.REQUEST_ID}


def _consent(scene: Scene, one: NamedConsent) -> Json:
    assert scene.source is not None, "a Consent is somewhere"
    details = {"version": one.version, "provision": one.provision, "reason": one.reason}
    named = [(name, value) for name, value in details.items() if value]
    return {
        "what": scene.source.named(one.ref),
        "type": codings.CONSENT,
        **({"detail": [_detail(*each) for each in named]} if named else {}),
    }


def _query(act: Act) -> Json:
    lines = "\n".join(map(_text, act.asked))
    return {
        "type": codings.SYSTEM_OBJECT,
        "role": codings.QUERY_ROLE,
        "description": lines,
        "query": base64.b64encode(lines.encode()).decode(),
    }


def _job(scene: Scene, act: Act) -> Iterator[Json]:
    """The transfer, with what is to be told of the act: codes, counts, what a person said."""
    details = [_detail(name, value) for name, value in act.details.items()]
    if act.said.reason:
        details.append(_detail("reason", act.said.reason))
    details += [_detail("ref", ref) for ref in act.said.refs]
    if scene.transfer is None and not details:
        return
    yield {
        **({"what": uri(f"urn:uuid:{scene.transfer}")} if scene.transfer else {}),
        "type": codings.OTHER,
        "role": codings.JOB,
        **({"detail": details} if details else {}),
    }


def _detail(name: str, value: str | int) -> Json:
    return {"type": name, "valueString": _text(str(value))}


def _text(said: str) -> str:
    """FHIR's strings hold no control characters, and none is empty; people type what they like."""
    return (_CONTROL.sub(" ", said).strip() or "-")[:_TEXT_CHARS_MAX]
