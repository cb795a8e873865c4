"""
What the AuditEvent of each step says beyond who takes part: codes, counts, references.

It must never repeat what stands in a record; of the patient's identifiers only
their systems are named.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from fhir_bridge.audit import NO_PERMIT, Act, End, Form, NamedConsent, Said
from fhir_bridge.ledger import ConsentSeen, Content
from fhir_bridge.manifest import Manifest, root
from fhir_bridge.records import Kind, RecordRef
from fhir_bridge.transfer import Basis, Requested, State

if TYPE_CHECKING:
    from fhir_bridge.consent import ConsentState
    from fhir_bridge.journey.consenting import Consented
    from fhir_bridge.journey.gathering import Found
    from fhir_bridge.journey.matching import Matched
    from fhir_bridge.journey.parties import Provider

BROUGHT = RecordRef("Consent/brought-by-the-operator")
"""Names a Consent that the source does not hold: its own id could be anything."""

_SUPPORTING, _DOCUMENTS = "supporting", "documents"


def end(provider: Provider) -> End:
    """Return a provider as audit events name it."""
    return End(base=provider.server.base, identity=provider.identity)


def requested(asked: Requested) -> Act:
    """Tell what was asked for, without the question, which is clinical."""
    order = asked.order
    details: dict[str, str | int] = {
        "kinds": " ".join(sorted(order.kinds)),
        "basis": str(order.basis),
        "attempt": asked.attempt,
    }
    if order.reasons:
        details["reasons"] = " ".join(sorted(order.reasons))
    if order.preview:
        details["preview"] = "true"
    return Act(
        said=Said(reason=order.basis_reason),
        by_consent=order.basis is Basis.CONSENT,
        details=details,
    )


def permitted(consent: Consented) -> Act:
    """Tell which Consents are in force, each with the provision that permits."""
    sentence = "treatment is the basis" if consent.basis is Basis.TREATMENT else ""
    return Act(form=Form.AUTHORIZATION, consents=in_force(consent), sentence=sentence)


def changed(consent: Consented) -> Act:
    """Tell that the Consents are not what they were when weighed."""
    return Act(
        form=Form.AUTHORIZATION,
        consents=in_force(consent),
        sentence="a consent is new, changed or gone since these were weighed: nothing more is sent",
    )


def denied(consent: Consented | None, sentence: str) -> Act:
    """Tell which Consents were weighed and why none of them lets anything go."""
    found = [] if consent is None else consent.standing.consents
    return Act(
        form=Form.AUTHORIZATION,
        consents=[
            NamedConsent(
                ref=_named(one),
                version=one.version or "",
                provision=one.path or "",
                reason=one.reason,
            )
            for one in found
        ],
        sentence=sentence,
    )


def in_force(consent: Consented) -> list[NamedConsent]:
    """Name the Consents that count: those that permit, with the provision, and those that limit."""
    permits = consent.standing.permitting()
    return [_counting(one, permits) for one in consent.standing.consents if one.counts]


def _counting(one: ConsentState, permits: Mapping[RecordRef, str]) -> NamedConsent:
    reason = "paper-waived" if one.paper_waived else ""
    return NamedConsent(
        ref=_named(one),
        version=one.version or "",
        provision=permits.get(one.ref, ""),
        reason=reason if one.ref in permits else NO_PERMIT,
    )


def _named(one: ConsentState) -> RecordRef:
    return BROUGHT if one.brought else one.ref


def fetched(source: Provider, found: Found) -> Act:
    """Tell which searches were made and how much came."""
    return Act(
        form=Form.SEARCH,
        at=end(source),
        asked=[_search(type_, params) for type_, params in found.asked],
        details={
            **_by_kind(found.kinds.values()),
            "found": len(found.examined),
            "gaps": len(found.gaps),
        },
    )


def _search(type_: str, params: Mapping[str, str]) -> str:
    return f"GET {type_}?{urlencode(params, quote_via=quote, safe=',:/')}"


def asked(transfer: str, consent: Consented, systems: Sequence[str]) -> Act:
    """Tell that the patient's identifiers are shown to the second provider."""
    return Act(
        form=Form.DISCLOSURE,
        data=f"urn:uuid:{transfer}#patient",
        consents=in_force(consent),
        by_consent=consent.basis is Basis.CONSENT,
        details={"identifiers-of": " ".join(systems) or "none", "lines": 0},
    )


def matched(destination: Provider, found: Matched | None, asked: Sequence[str], by: str) -> Act:
    """
    Tell who the patient is there, and how that was found.

    Args:
        destination: The second provider.
        found: The patient there; None when a person must say.
        asked: Requests that were made; none when the patient was given.
        by: Who answers for it although data differ.
    """
    details = {} if found is None else {"at-destination": str(found.ref), "how": found.how}
    sentence = "a person must say who the patient is there" if found is None else ""
    if asked:
        return Act(
            form=Form.SEARCH, at=end(destination), asked=asked, details=details, sentence=sentence
        )
    return Act(
        form=Form.READ,
        at=end(destination),
        data="" if found is None else f"{destination.server.base}/{found.ref}",
        details=details,
        said=Said(by=by),
        sentence=sentence,
    )


def disclosed(  # noqa: PLR0913 - a disclosure is described by these
    transfer: str,
    manifest: Manifest,
    *,
    number: int,
    key: bytes,
    consent: Consented,
    sentence: str = "",
    counts: Mapping[str, int] | None = None,
) -> Act:
    """
    Tell what is disclosed: the manifest's root and its counts.

    Args:
        transfer: Its id.
        manifest: Whose released lines count.
        number: Of the manifest.
        key: The transfer's key.
        consent: What it rests on.
        sentence: How it went.
        counts: More of them.
    """
    released = manifest.released
    return Act(
        form=Form.DISCLOSURE,
        data=f"urn:uuid:{transfer}#manifest-{number}",
        consents=in_force(consent),
        by_consent=consent.basis is Basis.CONSENT,
        sentence=sentence,
        details={
            "manifest": number,
            "manifest-root": base64.b64encode(root(released, key)).decode(),
            "lines": len(released),
            "bytes": sum(line.size_bytes for line in released),
            **_by_kind(map(kind_of, released)),
            **(counts or {}),
        },
    )


class _Kept(Protocol):
    @property
    def kind(self) -> Kind | None: ...

    @property
    def attachment(self) -> bool: ...


def kind_of(line: _Kept) -> str:
    """Return what a line counts as when a disclosure is accounted for."""
    if line.attachment:
        return _DOCUMENTS
    return _SUPPORTING if line.kind is None else str(line.kind)


def confirmed(number: int, manifest: Manifest) -> Act:
    """Tell that everything released was read back and the second doctor was told."""
    counts = manifest.counts()
    verified = counts.identical + counts.normalised + counts.theirs
    return Act(details={"manifest": number, "verified": verified})


def settled(  # noqa: PLR0913 - a disclosure is described by these
    transfer: str,
    number: int,
    content: Content,
    consents: Sequence[ConsentSeen],
    *,
    kinds: Sequence[str],
    basis: Basis,
    sentence: str,
) -> Act:
    """
    Tell what had gone under an intent that an earlier run left without its result.

    Args:
        transfer: Its id.
        number: Of the manifest that was announced.
        content: What had gone.
        consents: What the intent rested on.
        kinds: Of what had gone, one for each line (`kind_of`).
        basis: Of the intent.
        sentence: How that is known.
    """
    return Act(
        form=Form.DISCLOSURE,
        data=f"urn:uuid:{transfer}#manifest-{number}",
        consents=[
            NamedConsent(ref=RecordRef(one.id), version=one.version, provision="", reason="")
            for one in consents
        ],
        by_consent=basis is Basis.CONSENT,
        sentence=sentence,
        details={
            "manifest": number,
            "manifest-root": content.root,
            "lines": content.count,
            "bytes": content.size_bytes,
            **_by_kind(kinds),
        },
    )


def closed(number: int, state: State, *, gaps: int = 0, images: int = 0, sentence: str = "") -> Act:
    """Tell how the transfer stands."""
    details: dict[str, str | int] = {
        "manifest": number,
        "state": str(state),
        "gaps": gaps,
        "images": images,
    }
    return Act(details=details, sentence=sentence)


def _by_kind(kinds: Iterable[str]) -> dict[str, int]:
    return {f"of-kind-{kind}": number for kind, number in sorted(Counter(map(str, kinds)).items())}


def searches_for_patient(systems: Sequence[str], own: RecordRef | None) -> tuple[str, ...]:
    """Return how the patient is looked for, without the values of identifiers."""
    asked = [f"POST Patient/_search identifier={system}|" for system in systems]
    return (*asked, *([f"GET {own}"] if own else []))
