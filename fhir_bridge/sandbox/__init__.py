"""
A small FHIR R4 server in memory, for the demo and the tests.

It loses nothing (numbers keep their text), speaks HTTP on loopback only and
passes the contract tests that real servers pass. It must never be offered as
a server for real use: it forgets everything, and anyone on this machine may ask.
"""

from fhir_bridge.sandbox.faults import (
    Call,
    ChangedBundle,
    DropAfter,
    DropBefore,
    Dropped,
    Failure,
    Faults,
    Says,
    Slow,
    SlowAfter,
    Status,
    StatusAfter,
    Watch,
)
from fhir_bridge.sandbox.outcomes import Problem, Reply
from fhir_bridge.sandbox.profile import Profile
from fhir_bridge.sandbox.server import Sandbox, Seen

__all__ = [
    "Call",
    "ChangedBundle",
    "DropAfter",
    "DropBefore",
    "Dropped",
    "Failure",
    "Faults",
    "Problem",
    "Profile",
    "Reply",
    "Sandbox",
    "Says",
    "Seen",
    "Slow",
    "SlowAfter",
    "Status",
    "StatusAfter",
    "Watch",
]
