"""
Which Consents count, and which of those a machine can use.

Out by itself is what is no consent in force for this custodian: another status,
another matter, another organisation, another time, a mere notice. Whatever is
in force but cannot be used refuses; dropping it would let an older permit
speak louder than a refusal that nobody could read.

Source: FHIR R4 Consent; IHE PCF; 45 CFR 164.508(c); HL7 Terminology.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fhir_bridge.codes import mapping
from fhir_bridge.consent.answers import Reading, Truth
from fhir_bridge.consent.asking import Ask
from fhir_bridge.consent.dates import Period, holds, instant, period, span
from fhir_bridge.consent.parties import Lookup, Naming, is_patient
from fhir_bridge.consent.policies import is_opt_out, policy_fault
from fhir_bridge.consent.shape import Fault, fault
from fhir_bridge.consent.terms import coding, codings
from fhir_bridge.records import Json

SourcePaper = Callable[[Json], bool | None]
"""True: the signed paper is there and whole; False: its hash differs; None: it is not there."""

_NOT_IN_FORCE = {
    "draft": "is a draft",
    "proposed": "is only proposed",
    "rejected": "was rejected",
    "inactive": "was ended (status)",
    "entered-in-error": "was entered in error",
}
_LEFT_OUT = {"SUBSETTED", "REDACTED", "MASKED", "ABSTRED", "AGGRED", "ANONYED", "PSEUDED"}
_MEANINGS = {"instance", "related", "authoredby"}


class Rejection(NamedTuple):
    """Why a Consent does not count, or cannot be used."""

    counts: bool
    fault: Fault


def rejection(consent: Any, ask: Ask, lookup: Lookup) -> Rejection | None:
    """
    Say why a Consent decides nothing; None when it can be compiled.

    Its paper is not asked for here: fetching it costs a request.
    """
    if not isinstance(consent, dict) or consent.get("resourceType") != "Consent":
        return _unusable("consent-shape", "", "is not a Consent")
    for check in (_status, _scope, _category, _organization, _period):
        found = check(consent, ask, lookup)
        if found is not None:
            return found
    unusable = fault(consent) or next(_faults(consent, ask, lookup), None)
    return None if unusable is None else Rejection(counts=True, fault=unusable)


def paper_fault(consent: Json, source_paper: SourcePaper) -> Fault | None:
    """Return what is wrong with the signed paper."""
    if "sourceAttachment" not in consent and "sourceReference" not in consent:
        return Fault("consent-paper-missing", "source", "names no signed paper (source)")
    whole = source_paper(consent)
    if whole is None:
        return Fault(
            "consent-paper-missing", "source", "has a signed paper that cannot be had (source)"
        )
    if not whole:
        return Fault(
            "consent-paper-altered",
            "source",
            "has a signed paper that is not the one its hash promises (source)",
        )
    return None


def _status(consent: Json, _ask: Ask, _lookup: Lookup) -> Rejection | None:
    status = consent.get("status")
    if status == "active":
        return None
    if isinstance(status, str) and status in _NOT_IN_FORCE:
        return _out("consent-status", "status", _NOT_IN_FORCE[status])
    return _unusable("consent-status-unknown", "status", "has a status that FHIR R4 does not know")


def _scope(consent: Json, _ask: Ask, _lookup: Lookup) -> Rejection | None:
    known = mapping("consent-policies.json")["scopes"]
    codes = {code for system, code in codings(consent.get("scope")) if system == known["system"]}
    if codes == {known["privacy"]}:
        return None
    if codes and codes <= set(known["others"]):
        return _out("consent-scope", "scope", "is about another matter (scope)")
    return _unusable("consent-scope-unknown", "scope", "does not clearly say its matter (scope)")


def _category(consent: Json, _ask: Ask, _lookup: Lookup) -> Rejection | None:
    known = mapping("consent-policies.json")["categories"]
    notice, unclear = tuple(known["notice"]), {tuple(pair) for pair in known["unclear"]}
    rows = consent.get("category")
    rows = rows if isinstance(rows, list) else []
    notices = [notice in codings(row) for row in rows]
    if notices and all(notices):
        return _out("consent-notice", "category", "only acknowledges a notice (category)")
    if any(notices) or any(unclear.intersection(codings(row)) for row in rows):
        return _unusable(
            "consent-category-unclear", "category", "is for a special case or a notice (category)"
        )
    return None


def _organization(consent: Json, ask: Ask, lookup: Lookup) -> Rejection | None:
    rows = consent.get("organization")
    naming = Naming(ask.custodian, lookup)
    said = [naming.names(row, consent) for row in rows] if isinstance(rows, list) else []
    if Truth.YES in said:
        return None
    if said and all(truth is Truth.NO for truth in said):
        return _out(
            "consent-custodian", "organization", "was given to another organisation (organization)"
        )
    return _unusable(
        "consent-custodian-unclear",
        "organization",
        "does not clearly say which organisation it was given to (organization)",
    )


def _period(consent: Json, ask: Ask, _lookup: Lookup) -> Rejection | None:
    """Leave out what is certainly not in force now, wherever the custodian is."""
    provision = consent.get("provision")
    written = provision.get("period") if isinstance(provision, dict) else None
    bounds, now = period(written, ask.timezone), instant(ask.now)
    if bounds is None or written is None or holds(bounds, now, Reading.DENY):
        return None
    if holds(Period(bounds.first, None), now, Reading.DENY):
        end = written["end"][:10]
        return _out("consent-ended", "provision.period", f"ended on {end} (provision.period)")
    return _out("consent-not-begun", "provision.period", "has not begun yet (provision.period)")


def _faults(consent: Json, ask: Ask, lookup: Lookup) -> Iterator[Fault]:
    """Yield what makes a well-shaped Consent unusable, the plainest first."""
    if not is_patient(consent.get("patient"), consent, ask, lookup):
        yield Fault("consent-patient-unclear", "patient", "is not clearly this patient's (patient)")
    yield from _incomplete(consent)
    yield from _dated(consent, ask)
    yield from _performers(consent, ask, lookup)
    yield from _verification(consent)
    if "provision" in consent:
        yield from _provisions(consent, ask)
    else:
        yield Fault("consent-provision-missing", "provision", "says nothing (provision)")


def _provisions(consent: Json, ask: Ask) -> Iterator[Fault]:
    provision = consent["provision"]
    yield from _types(consent, provision)
    found = policy_fault(consent, ask, permits=provision.get("type") == "permit")
    if found is not None:
        yield found
    yield from _details(provision, "provision", ask)
    for n, one in enumerate(provision.get("provision", ())):
        yield from _details(one, f"provision.provision[{n}]", ask)


def _incomplete(consent: Json) -> Iterator[Fault]:
    """A server that leaves elements out, and says so, may have left out an exception."""
    meta = consent.get("meta")
    holder = meta if isinstance(meta, dict) else {}
    for name in ("tag", "security"):
        rows = holder.get(name)
        for row in rows if isinstance(rows, list) else []:
            if coding(row)[1] in _LEFT_OUT:
                where = f"meta.{name}"
                yield Fault("consent-incomplete", where, f"was not given in full ({where})")


def _dated(consent: Json, ask: Ask) -> Iterator[Fault]:
    signed = span(consent.get("dateTime"), ask.timezone)
    if signed is None:
        yield Fault("consent-undated", "dateTime", "does not say when it was given (dateTime)")
    elif not holds(Period(signed.first, None), instant(ask.now), Reading.DENY):
        yield Fault("consent-from-the-future", "dateTime", "was given in the future (dateTime)")


def _performers(consent: Json, ask: Ask, lookup: Lookup) -> Iterator[Fault]:
    performers = consent.get("performer", [])
    if not performers:
        yield Fault("consent-performer", "performer", "does not say who gave it (performer)")
    for n, one in enumerate(performers):
        if not (is_patient(one, consent, ask, lookup) or _represents(one, consent, ask, lookup)):
            yield Fault(
                "consent-performer",
                f"performer[{n}]",
                "was given by someone who is neither the patient nor clearly a relative or"
                f" representative of the patient (performer[{n}])",
            )


def _represents(reference: Json, consent: Json, ask: Ask, lookup: Lookup) -> bool:
    """Tell whether a reference names a RelatedPerson of the patient, in office now."""
    found = lookup.find(reference.get("reference"), consent)
    if found is None or found.get("resourceType") != "RelatedPerson":
        return False
    if found.get("active") is False or not is_patient(found.get("patient"), found, ask, lookup):
        return False
    if "period" not in found:
        return True
    office = period(found["period"], ask.timezone)
    return office is not None and holds(office, instant(ask.now), Reading.PERMIT)


def _verification(consent: Json) -> Iterator[Fault]:
    for n, one in enumerate(consent.get("verification", ())):
        if one["verified"] is not True:
            where = f"verification[{n}].verified"
            yield Fault("consent-not-verified", where, f"was found not to be true ({where})")


def _types(consent: Json, provision: Json) -> Iterator[Fault]:
    if "type" not in provision and not is_opt_out(consent):
        yield _type_fault("provision.type")
    rows = [("provision", provision)] if "type" in provision else []
    rows += [
        (f"provision.provision[{n}]", one) for n, one in enumerate(provision.get("provision", ()))
    ]
    for path, one in rows:
        if one.get("type") not in set(Reading):
            yield _type_fault(f"{path}.type")


def _type_fault(path: str) -> Fault:
    return Fault(
        "consent-type-missing", path, f"does not say whether it permits or denies ({path})"
    )


def _details(provision: Json, path: str, ask: Ask) -> Iterator[Fault]:
    for name in ("period", "dataPeriod"):
        if name in provision and period(provision[name], ask.timezone) is None:
            where = f"{path}.{name}"
            yield Fault("consent-period", where, f"has a period that cannot be read ({where})")
    for n, one in enumerate(provision.get("data", ())):
        if one["meaning"] not in _MEANINGS:
            where = f"{path}.data[{n}].meaning"
            yield Fault(
                "consent-data-meaning", where, f"names data in a way not understood ({where})"
            )


def _out(reason: str, path: str, sentence: str) -> Rejection:
    return Rejection(counts=False, fault=Fault(reason, path, sentence))


def _unusable(reason: str, path: str, sentence: str) -> Rejection:
    return Rejection(counts=True, fault=Fault(reason, path, sentence))
