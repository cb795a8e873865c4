"""
Which records are sensitive, by the labels they carry and by what they are about.

Must never decide what is released: that is `consent`. Must never change a
record: computed labels stand in the manifest, not in the copy.
"""

from fhir_bridge.sensitivity.book import SensitivityBook
from fhir_bridge.sensitivity.carried import is_test_data, sensitivity_codes
from fhir_bridge.sensitivity.labels import CONFIDENTIALITY, PART_2, Labels, highest
from fhir_bridge.sensitivity.rising import OwnLabels

__all__ = [
    "CONFIDENTIALITY",
    "PART_2",
    "Labels",
    "OwnLabels",
    "SensitivityBook",
    "highest",
    "is_test_data",
    "sensitivity_codes",
]
