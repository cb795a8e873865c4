"""
The shape a Consent must have before a word of it is believed.

Strict on purpose: an element that this room does not know could narrow or turn
round what the patient said (R5's `decision` does), so a Consent that holds one
is not usable. Plain extensions may not change a meaning and are passed over.

Source: https://hl7.org/fhir/R4/consent.html; one level of nested provisions,
as in IHE PCF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_TEXT, _FLAG, _ANY = "text", "flag", "any"

_SHAPES: dict[str, dict[str, str]] = {
    "Coding": {
        "system": _TEXT,
        "version": _TEXT,
        "code": _TEXT,
        "display": _TEXT,
        "userSelected": _FLAG,
    },
    "CodeableConcept": {"coding": "Coding*", "text": _TEXT},
    "Period": {"start": _TEXT, "end": _TEXT},
    "Identifier": {
        "use": _TEXT,
        "type": "CodeableConcept",
        "system": _TEXT,
        "value": _TEXT,
        "period": "Period",
        "assigner": "Reference",
    },
    "Reference": {
        "reference": _TEXT,
        "type": _TEXT,
        "identifier": "Identifier",
        "display": _TEXT,
    },
    "Policy": {"authority": _TEXT, "uri": _TEXT},
    "Verification": {
        "verified": _FLAG,
        "verifiedWith": "Reference",
        "verificationDate": _TEXT,
    },
    "Actor": {"role": "CodeableConcept", "reference": "Reference"},
    "Data": {"meaning": _TEXT, "reference": "Reference"},
    "Exception": {
        "type": _TEXT,
        "period": "Period",
        "actor": "Actor*",
        "action": "CodeableConcept*",
        "securityLabel": "Coding*",
        "purpose": "Coding*",
        "class": "Coding*",
        "code": "CodeableConcept*",
        "dataPeriod": "Period",
        "data": "Data*",
    },
    "Consent": {
        "resourceType": _TEXT,
        "language": _TEXT,
        "text": _ANY,
        "meta": _ANY,
        "contained": _ANY,
        "identifier": "Identifier*",
        "status": _TEXT,
        "scope": "CodeableConcept",
        "category": "CodeableConcept*",
        "patient": "Reference",
        "dateTime": _TEXT,
        "performer": "Reference*",
        "organization": "Reference*",
        "sourceAttachment": _ANY,
        "sourceReference": "Reference",
        "policy": "Policy*",
        "policyRule": "CodeableConcept",
        "verification": "Verification*",
        "provision": "Provision",
    },
}
_SHAPES["Provision"] = _SHAPES["Exception"] | {"provision": "Exception*"}

_NEEDED = {
    "Consent": ("status", "scope", "category"),
    "Actor": ("role", "reference"),
    "Data": ("meaning", "reference"),
    "Verification": ("verified",),
    "Policy": ("uri",),
}
_PRIMITIVE: dict[str, Callable[[Any], bool]] = {
    _ANY: lambda _: True,
    _TEXT: lambda value: isinstance(value, str) and bool(value.strip()),
    _FLAG: lambda value: isinstance(value, bool),
}
_EVERYWHERE = {"id": _TEXT, "extension": _ANY}
_PASSED_OVER = {"text", "meta"}
_SHADOW = {"id", "extension"}


class Fault(NamedTuple):
    """Why a Consent cannot be used."""

    reason: str
    path: str
    sentence: str


def fault(consent: dict[str, Any]) -> Fault | None:
    """Return the first thing about a Consent's shape that forbids using it."""
    return next(_forbidden(consent, ""), None) or next(_misshapen(consent, "Consent", ""), None)


def _forbidden(value: Any, path: str) -> Iterator[Fault]:
    """Find what may turn a meaning round, at any depth, in contained resources too."""
    if isinstance(value, list):
        for n, one in enumerate(value):
            yield from _forbidden(one, f"{path}[{n}]")
        return
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        where = _join(path, name)
        if name == "modifierExtension":
            yield Fault(
                "consent-modifier-extension",
                where,
                f"carries an extension that may turn its meaning round ({_words(where)})",
            )
        elif name == "implicitRules":
            yield Fault(
                "consent-implicit-rules", where, "was written under special rules (implicitRules)"
            )
        elif not (path == "" and name in _PASSED_OVER):
            yield from _forbidden(inner, where)


def _misshapen(value: Any, shape: str, path: str) -> Iterator[Fault]:
    if isinstance(value, dict) and value:
        yield from _members(value, shape, path)
    else:
        yield _wrong(path)


def _members(value: dict[str, Any], shape: str, path: str) -> Iterator[Fault]:
    known = _SHAPES[shape] | _EVERYWHERE
    for name, inner in value.items():
        where = _join(path, name)
        if name.startswith("_"):
            if not _is_shadow(value, name, known):
                yield _wrong(where)
        elif name in known:
            yield from _element(inner, known[name], where)
        else:
            yield _unknown(shape, name, where)
    for name in _NEEDED.get(shape, ()):
        if name not in value:
            yield _wrong(_join(path, name))


def _element(value: Any, form: str, path: str) -> Iterator[Fault]:
    if form in _PRIMITIVE:
        if not _PRIMITIVE[form](value):
            yield _wrong(path)
    elif not form.endswith("*"):
        yield from _misshapen(value, form, path)
    elif not (isinstance(value, list) and value):
        yield _wrong(path)
    else:
        for n, one in enumerate(value):
            yield from _misshapen(one, form[:-1], f"{path}[{n}]")


def _is_shadow(holder: dict[str, Any], name: str, known: dict[str, str]) -> bool:
    """
    Tell whether a member holds the id and extensions of a primitive that is there.

    Without the primitive, an extension says why a value is absent; an absent
    end would then read as no end at all.
    """
    plain, shadow = name[1:], holder[name]
    return (
        known.get(plain) in {_TEXT, _FLAG}
        and plain in holder
        and isinstance(shadow, dict)
        and shadow.keys() <= _SHADOW
    )


def _unknown(shape: str, name: str, path: str) -> Fault:
    if shape == "Exception" and name == "provision":
        return Fault("consent-nesting", path, f"nests exceptions in exceptions ({_words(path)})")
    return Fault(
        "consent-unknown-element",
        _parent(path) or "Consent",
        f"holds an element that FHIR R4 does not know there ({_parent(path) or 'Consent'})",
    )


def _wrong(path: str) -> Fault:
    return Fault("consent-shape", path, f"is not written as FHIR R4 says ({_words(path)})")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _parent(path: str) -> str:
    """Leave out the unknown name itself: it is text that somebody sent."""
    return path.rpartition(".")[0]


def _words(path: str) -> str:
    return path or "Consent"
