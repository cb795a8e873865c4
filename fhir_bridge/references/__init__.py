"""
References: find every one of them, follow by policy, rewrite, and take back.

A transfer is complete when everything that a record refers to has arrived, and
safe when nothing names what the patient keeps back. Both depend on finding
every reference, wherever it stands. Nothing here reads from a server.
"""

from fhir_bridge.references.closure import ClosurePolicy, Follow
from fhir_bridge.references.dangling import Suspect, dangling
from fhir_bridge.references.order import strongly_connected_order
from fhir_bridge.references.places import Found, FoundAttachment, Survey, attachments, survey, walk
from fhir_bridge.references.plan import NAMESPACE, Plan, copy_id, copy_ref
from fhir_bridge.references.removal import breaks_minimum
from fhir_bridge.references.rewriting import REDACTED, Rewritten, rewrite, undo
from fhir_bridge.references.targets import (
    Contained,
    Foreign,
    Local,
    Logical,
    Malformed,
    Target,
    Urn,
    target,
)
from fhir_bridge.references.urls import without_secrets

__all__ = [
    "NAMESPACE",
    "REDACTED",
    "ClosurePolicy",
    "Contained",
    "Follow",
    "Foreign",
    "Found",
    "FoundAttachment",
    "Local",
    "Logical",
    "Malformed",
    "Plan",
    "Rewritten",
    "Survey",
    "Suspect",
    "Target",
    "Urn",
    "attachments",
    "breaks_minimum",
    "copy_id",
    "copy_ref",
    "dangling",
    "rewrite",
    "strongly_connected_order",
    "survey",
    "target",
    "undo",
    "walk",
    "without_secrets",
]
