"""
May this record go to that recipient, for that purpose, now; and by which provision.

This room decides about people. It fails closed: a permit needs certainty, a
deny only a doubt, and a Consent that cannot be read refuses. It reads codes,
never displays; it must never ask a server or a clock by itself, and never keep
a decision from one send to the next.
"""

from fhir_bridge.consent.answers import Answer, ConsentState, Decision
from fhir_bridge.consent.asking import Ask, Party, RecordFacts
from fhir_bridge.consent.standing import Standing
from fhir_bridge.consent.terms import purpose_codes
from fhir_bridge.consent.travelling import travelling_copy_needed
from fhir_bridge.consent.weighing import weigh

__all__ = [
    "Answer",
    "Ask",
    "ConsentState",
    "Decision",
    "Party",
    "RecordFacts",
    "Standing",
    "purpose_codes",
    "travelling_copy_needed",
    "weigh",
]
