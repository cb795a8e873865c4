"""
Which records are sensitive, by the labels they carry and by what they are about.

Must never decide what is released: that is `consent`. Must never change a
record: computed labels stand in the manifest, not in the copy.
"""

from fhir_bridge.sensitivity.labels import Labels

__all__ = ["Labels"]
