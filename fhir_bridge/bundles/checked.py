"""Check what we wrote against the R4B models before anyone sees it."""

from __future__ import annotations

from fhir_bridge.errors import BadRecord
from fhir_bridge.records import Json


def checked(content: Json) -> Json:
    """
    Return a resource that we wrote, if its structure is FHIR's.

    The models check names, shapes and types of elements and no codes; the
    official validator decides about those in the build. They are R4B, which is
    R4 for the types that we write.

    Raises:
        BadRecord: Something in it, taken from a record or from the settings,
            has a form that FHIR does not allow. Names elements, never values.
    """
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    model = get_fhir_model_class(content["resourceType"])
    try:
        model.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        named = "; ".join(
            sorted({f"{'.'.join(map(str, one['loc']))} ({one['type']})" for one in faults})
        )
        # Not chained: the library's error shows the values that it was given.
        raise BadRecord(
            f"the {content['resourceType']} for this referral cannot be written: {named}"
        ) from None
    return content
