"""
Compare what was sent with what the second provider's server gives back.

The answer names elements, never values. A server may write the same thing
differently; which ways are known of which product, and which of them lose
something, stands in `mappings/normalisations.json`. What is not known there
counts as a change: a doubt is shown, not explained away.
"""

from fhir_bridge.compare.differing import Comparison, Verdict, differences
from fhir_bridge.compare.known import known_normalisations

__all__ = ["Comparison", "Verdict", "differences", "known_normalisations"]
