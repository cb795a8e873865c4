"""Weigh every Consent of a patient: which count, which can be used, and what they then say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.consent.answers import ConsentState
from fhir_bridge.consent.asking import Ask
from fhir_bridge.consent.counting import SourcePaper, paper_fault, rejection
from fhir_bridge.consent.directive import Directive, directive
from fhir_bridge.consent.parties import Lookup
from fhir_bridge.consent.shape import Fault
from fhir_bridge.consent.standing import Standing
from fhir_bridge.consent.terms import identifiers_of
from fhir_bridge.records import Json, RecordRef


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weighed:
    state: ConsentState
    directive: Directive | None
    written: bytes
    """Two Consents of one name are told apart by what they say, not by their order."""


def weigh(
    consents: Sequence[Json],
    ask: Ask,
    resolve: Callable[[str], Json | None],
    *,
    brought: Sequence[Json] = (),
    source_paper: SourcePaper,
) -> Standing:
    """
    Weigh every Consent of a patient for one disclosure.

    Args:
        consents: All that the source holds, every page, in any order. Untrusted.
        ask: Who sends to whom, for what, when.
        resolve: Reads what a Consent or a record refers to, by the text of the
            reference; None when it cannot be had. Asked once for each.
        brought: Consents that the operator brought. They add to those found,
            and each needs its signed paper whatever the policy says.
        source_paper: Tells whether a Consent's signed paper is there and whole.

    Returns:
        What they say together. Nothing is kept from one call to the next:
        whoever sends weighs again.
    """
    assert ask.now.tzinfo is not None, "a time without zone proves no period"
    scales = _Scales(ask, Lookup(resolve), source_paper)
    weighed = [scales.weigh(one) for one in consents]
    weighed += [scales.weigh_brought(one, consents) for one in brought]
    weighed.sort(key=lambda one: (one.state.ref, one.state.version or "", one.written))
    return Standing(
        (one.state for one in weighed),
        (one.directive for one in weighed if one.directive is not None),
        ask,
    )


class _Scales:
    """Weighs one Consent after the other for the same disclosure."""

    def __init__(self, ask: Ask, lookup: Lookup, source_paper: SourcePaper) -> None:
        self._ask = ask
        self._lookup = lookup
        self._source_paper = source_paper

    def weigh(self, consent: Any) -> _Weighed:
        rejected = rejection(consent, self._ask, self._lookup)
        if rejected is not None:
            return _without_effect(consent, rejected.fault, counts=rejected.counts, brought=False)
        paper = None if self._ask.waive_paper else paper_fault(consent, self._source_paper)
        if paper is not None:
            return _without_effect(consent, paper, counts=True, brought=False)
        return self._in_force(consent, brought=False)

    def weigh_brought(self, consent: Any, found: Sequence[Any]) -> _Weighed:
        """A brought Consent shows its paper; what the source holds of it goes before it."""
        rejected = rejection(consent, self._ask, self._lookup)
        if rejected is not None:
            return _without_effect(consent, rejected.fault, counts=rejected.counts, brought=True)
        fault = next(_known_otherwise(consent, found), None)
        fault = fault or paper_fault(consent, self._source_paper)
        if fault is not None:
            return _without_effect(consent, fault, counts=True, brought=True)
        return self._in_force(consent, brought=True)

    def _in_force(self, consent: Json, *, brought: bool) -> _Weighed:
        name = _name(consent, brought=brought)
        compiled = directive(consent, name, self._ask, self._lookup)
        reason, path, sentence = _concern(compiled)
        return _Weighed(
            state=ConsentState(
                ref=name[0],
                version=name[1],
                counts=compiled.concerns,
                usable=True,
                reason=reason,
                path=path,
                sentence=sentence,
                brought=brought,
                paper_waived=self._ask.waive_paper and not brought,
            ),
            directive=compiled,
            written=lossless.canonical(consent),
        )


_ELSEWHERE = {
    "actor": "names another recipient (provision.actor)",
    "purpose": "is for another purpose (provision.purpose)",
    "action": "is about something else than disclosing (provision.action)",
    "period": "is not certain to be in force at this hour (provision.period)",
}


def _concern(compiled: Directive) -> Fault:
    if compiled.concerns or compiled.missing is None:
        return Fault("in-force", "provision", "is in force (provision)")
    element = compiled.missing
    return Fault(f"consent-{element}", f"provision.{element}", _ELSEWHERE[element])


def _without_effect(consent: Any, fault: Fault, *, counts: bool, brought: bool) -> _Weighed:
    ref, version = _name(consent, brought=brought)
    return _Weighed(
        state=ConsentState(
            ref=ref,
            version=version,
            counts=counts,
            usable=not counts,
            reason=fault.reason,
            path=fault.path,
            sentence=fault.sentence,
            brought=brought,
        ),
        directive=None,
        written=lossless.canonical(consent),
    )


def _known_otherwise(consent: Json, found: Sequence[Any]) -> Iterator[Fault]:
    """
    Yield when the source holds the brought Consent itself, in another form.

    A paper does not know that it was revoked; the source does.
    """
    names = identifiers_of(consent.get("identifier"))
    for one in found:
        if not isinstance(one, dict) or lossless.canonical(one) == lossless.canonical(consent):
            continue
        same_id = "id" in consent and one.get("id") == consent["id"]
        if same_id or names & identifiers_of(one.get("identifier")):
            yield Fault(
                "consent-brought-differs",
                "identifier",
                "was brought, but the first provider holds it in another form (identifier)",
            )


def _name(consent: Any, *, brought: bool) -> tuple[RecordRef, str | None]:
    holder = consent if isinstance(consent, dict) else {}
    id_, meta = holder.get("id"), holder.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    nameless = "brought" if brought else "without-id"
    return (
        RecordRef(f"Consent/{id_ if isinstance(id_, str) else nameless}"),
        version if isinstance(version, str) else None,
    )
