"""Whether the patient's own Consent may be shown to the recipient."""

from __future__ import annotations

from typing import Any

from fhir_bridge.consent.provisions import RECORD_ELEMENTS
from fhir_bridge.records import Json


def travelling_copy_needed(consent: Json) -> bool:
    """
    Tell whether the recipient gets a copy that we author instead of the Consent itself.

    A deny of a kind of record tells as much as the record: the original travels
    only when it denies nothing and limits nothing.

    Args:
        consent: As received; anything that is not plainly without limits needs
            the copy.
    """
    provision = consent.get("provision")
    return not isinstance(provision, dict) or _limits(provision)


def _limits(provision: Any) -> bool:
    if not isinstance(provision, dict) or provision.get("type") != "permit":
        return True
    nested = provision.get("provision", [])
    return (
        any(name in provision for name in RECORD_ELEMENTS)
        or not isinstance(nested, list)
        or any(_limits(one) for one in nested)
    )
