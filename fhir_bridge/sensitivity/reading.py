"""
Reading one resource: every coding, label, text and reference in it.

What the reader does not know counts against a computed N, never for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from fhir_bridge.codes import mapping
from fhir_bridge.records import Json
from fhir_bridge.sensitivity.carried import LabelCodes
from fhir_bridge.sensitivity.findings import Findings
from fhir_bridge.sensitivity.labels import PART_2
from fhir_bridge.sensitivity.tables import Meaning, Standing, Tables

_CODING = frozenset(
    {"id", "extension", "system", "version", "code", "display", "userSelected"},
)
_TEXT_ONLY = frozenset({"id", "extension", "text"})
_UNITS = "http://unitsofmeasure.org"
"""Nearly every value has it: an ordinary administrative system, asked for no more."""

_BACKBONE = frozenset({"referenceRange"})
"""Elements that look like a concept with a text only, and are none."""

_NUMBER = re.compile(r"[<>=~±]{0,2}\s*[-+]?[\d.,:/\s^*-]+\s*%?\Z")

_MEMBERS = {
    "DiagnosticReport": frozenset({"result", "imagingStudy", "link"}),
    "Observation": frozenset({"hasMember", "derivedFrom"}),
    "DocumentReference": frozenset({"related", "target"}),
    "Composition": frozenset({"entry", "targetReference"}),
    "List": frozenset({"item"}),
}
"""Elements that say what a record contains or shows, by type (rule 6)."""

_NO_MEMBERS: frozenset[str] = frozenset()

_PARTS = frozenset({"result", "hasMember"})
"""Members for which the record speaks (rule 7)."""

_VOICES = frozenset(
    {
        *("performer", "author", "resultsInterpreter", "asserter", "recorder", "authenticator"),
        *("custodian", "serviceProvider", "organization", "practitioner", "actor", "operator"),
        *("managingOrganization", "encounter", "interpreter", "collector", "partOf", "location"),
    },
)
"""Elements that say who or where a record comes from (rule 5)."""


class Reader:
    """Reads resources with one set of tables."""

    def __init__(self, tables: Tables, programs: Iterable[str]) -> None:
        """
        Keep the tables.

        Args:
            tables: Which codes are sensitive, which ordinary.
            programs: Part 2 programs, each ``SYSTEM|VALUE`` or ``Organization/id``.
        """
        self._meaning = tables.meaning
        self._name = tables.systems.name
        self.label_codes = LabelCodes(tables.systems)
        rules = mapping("sensitivity/plain.json")
        self._plain = frozenset(rules["plain_strings"]["names"])
        self._named = frozenset(rules["named_strings"]["names"])
        self._attachments = frozenset(rules["attachments"])
        self._free = frozenset(rules["free_text"])
        self._extensions = frozenset(rules["plain_extensions"])
        self._short = frozenset(rules["short_words"])
        stems = "|".join(re.escape(stem) for stem in rules["words"]["stems"])
        self._word = re.compile(rf"\b(?:{stems})", re.IGNORECASE).search
        self._programs = frozenset(self._program(program) for program in programs)

    def walk(self, content: Json, found: Findings) -> Walk:
        """
        Begin to read one resource.

        Args:
            content: As received. Untrusted.
            found: Receives what is found.
        """
        type_ = content.get("resourceType")
        if self._programs and f"{type_}/{content.get('id')}" in self._programs:
            found.carried.policies.add(PART_2)
        members = _MEMBERS.get(type_, _NO_MEMBERS) if isinstance(type_, str) else _NO_MEMBERS
        return Walk(self, found, members)

    def element(self, name: str, value: Any) -> Findings:
        """Read one element that stands for itself."""
        found = Findings()
        Walk(self, found, _NO_MEMBERS).value(name, value)
        return found.close()

    def concept(self, name: str, codings: list[Any], text: Any, found: Findings) -> None:
        """
        Read codings that translate each other.

        Source:
            https://hl7.org/fhir/R4/datatypes.html#CodeableConcept; rules 1, 2, 4,
            8, 11 of the sensitivity codes.
        """
        meanings = [self._coding(coding, found) for coding in codings]
        standing = _together([meaning.standing for meaning in meanings])
        if standing is None and self._is_short(text):
            return
        found.see(Standing.LOCAL if standing is None else standing)
        if standing is None or standing is Standing.LOCAL:
            found.block(name, "no code that is known" if codings else "text without a code")
        elif standing is Standing.UNPROVEN:
            found.block(name, "code not known to be ordinary")
        for meaning in meanings:
            for question in meaning.questions:
                found.block(name, f"question {question} not answered")
        if any(meaning.decided for meaning in meanings):
            return  # whoever decided about the code knew its name
        texts = [text, *(c.get("display") for c in codings if isinstance(c, dict))]
        self.words(name, texts, found)

    def words(self, name: str, texts: Iterable[Any], found: Findings) -> None:
        """Look for words that an ordinary record does not hold (rule 11)."""
        if any(isinstance(text, str) and self._word(text) for text in texts):
            found.block(name, "word of the list")

    def text(self, name: str, value: str, found: Findings) -> None:
        """Read a string by the element it stands in (rule 9)."""
        if name in self._plain:
            return
        if name in self._named:
            self.words(name, (value,), found)
        elif not (name.startswith("value") and self._is_short(value)):
            found.block(name, "free text")

    def is_attachment(self, name: str) -> bool:
        """Tell whether an element holds attachments (rule 9)."""
        return name in self._attachments

    def is_free(self, name: str) -> bool:
        """Tell whether an element holds what people wrote (rule 9)."""
        return name in self._free

    def is_plain_extension(self, url: Any) -> bool:
        """Tell whether an extension is known to say nothing of its own."""
        return isinstance(url, str) and url in self._extensions

    def identifier(self, system: str, value: str, found: Findings) -> None:
        """Recognise the operator's Part 2 programs (rule 5)."""
        if self._programs and f"{self._name(system)}|{value.strip()}" in self._programs:
            found.carried.policies.add(PART_2)

    def voice(self, reference: str, found: Findings) -> None:
        """Take note of who or where a record comes from."""
        found.voices.append(reference)
        if reference.partition("/_history/")[0] in self._programs:
            found.carried.policies.add(PART_2)

    def _coding(self, coding: Any, found: Findings) -> Meaning:
        code = coding.get("code") if isinstance(coding, dict) else None
        if not isinstance(code, str):
            return Meaning(Standing.LOCAL)
        system = coding.get("system")
        meaning = self._meaning(system if isinstance(system, str) else None, code)
        for label in meaning.labels:
            found.labels.setdefault(label, meaning.listed)
        return meaning

    def _is_short(self, text: Any) -> bool:
        """Tell whether a text is one of the closed list of short words, or a number."""
        if not isinstance(text, str):
            return False
        return text.strip().lower() in self._short or bool(_NUMBER.match(text.strip()))

    def _program(self, program: str) -> str:
        system, bar, value = program.rpartition("|")
        return f"{self._name(system)}|{value.strip()}" if bar else program


class Walk:
    """One walk through one resource."""

    __slots__ = ("_found", "_members", "_reader")

    def __init__(self, reader: Reader, found: Findings, members: frozenset[str]) -> None:
        """Keep what to read with and where findings go."""
        self._reader = reader
        self._found = found
        self._members = members

    def root(self, name: str, value: Any) -> None:
        """Read an element of the resource itself."""
        read = self.OF_A_RESOURCE.get(name)
        if read is None:
            self.value(name, value)
        else:
            read(self, value)

    def value(self, name: str, value: Any) -> None:
        """Read the value of an element: a string, an object or a list of them."""
        if isinstance(value, str):
            self._reader.text(name, value, self._found)
        elif isinstance(value, dict):
            self._object(name, value)
        elif isinstance(value, list):
            for item in value:
                self.value(name, item)

    def _object(self, name: str, value: Json) -> None:
        if "reference" in value:
            self._reference(name, value)
        elif name in {"extension", "modifierExtension"}:
            self._extension(name, value)
        elif _is_concept(name, value) and not self._reader.is_free(name):
            self._concept(name, value)
        elif name in self._members:
            self._reference(name, value)
        elif "code" in value and value.keys() <= _CODING:
            self._reader.concept(name, [value], None, self._found)
            self._extensions(value)
        else:
            self._structure(name, value)

    def _structure(self, name: str, value: Json) -> None:
        if self._reader.is_attachment(name):
            self._found.block(name, "attachment")
        elif self._reader.is_free(name):
            self._found.block(name, "free text")
        system, text = value.get("system"), value.get("value")
        if isinstance(system, str) and isinstance(text, str):
            self._reader.identifier(system, text, self._found)
            self._identifier_type(value)
        elif isinstance(system, str) and system != _UNITS and "code" in value:
            self._reader.concept(name, [value], None, self._found)
        self._rest(value)

    def _identifier_type(self, value: Json) -> None:
        """Read the type of an identifier: it can earn a label, but says nothing of the record."""
        type_ = value.get("type")
        if isinstance(type_, dict):
            found = self._reader.element("type", type_)
            found.blocks.clear()
            self._found.merge(found)

    def _concept(self, name: str, value: Json) -> None:
        codings = value.get("coding")
        codings = codings if isinstance(codings, list) else []
        self._reader.concept(name, codings, value.get("text"), self._found)
        self._extensions(value)
        for coding in codings:
            if isinstance(coding, dict):
                self._extensions(coding)

    def _reference(self, name: str, value: Json) -> None:
        reference = value.get("reference")
        if name in self._members:
            if not isinstance(reference, str):
                self._found.block(name, "member that cannot be resolved")
            else:
                self._found.members.append(reference)
                if name in _PARTS:
                    self._found.parts.append(reference)
        elif isinstance(reference, str) and name in _VOICES:
            self._reader.voice(reference, self._found)
        if len(value) > 1:
            self._rest(value)

    def _extension(self, name: str, value: Json) -> None:
        url = value.get("url")
        if isinstance(url, str) and url in self._reader.label_codes.inline:
            self._label([value.get("valueCoding")])
            return
        if name == "modifierExtension" or not self._reader.is_plain_extension(url):
            self._found.block(name, "extension that is not known")
        self._rest(value)

    def _extensions(self, value: Json) -> None:
        """Read what a concept or coding holds beside its codes and texts."""
        for name, inner in value.items():
            if isinstance(inner, dict | list) and name != "coding":
                self.value(name, inner)

    def _rest(self, value: Json) -> None:
        """Read what else an object holds."""
        is_identifier = isinstance(value.get("value"), str)
        for name, inner in value.items():
            if not (is_identifier and name == "type"):
                self.value(name, inner)

    def _meta(self, value: Any) -> None:
        if not isinstance(value, dict):
            self._found.carried.unknown = True
        elif "security" in value:
            for coding in self._labels(value["security"]):
                self._label([coding])

    def _security_label(self, value: Any) -> None:
        for concept in self._labels(value):
            codings = concept.get("coding") if isinstance(concept, dict) else None
            self._label(codings if isinstance(codings, list) else [])

    def _labels(self, value: Any) -> list[Any]:
        """Return the labels; what is no list cannot be understood."""
        if isinstance(value, list):
            return value
        self._found.carried.unknown = True
        return []

    def _composition_confidentiality(self, value: Any) -> None:
        system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
        self._label([{"system": system, "code": value}])

    def _label(self, codings: list[Any]) -> None:
        """Read the codings of one label; one that is understood explains the others."""
        carried = self._found.carried
        understood = [self._reader.label_codes.add(coding, carried) for coding in codings]
        if not any(understood):
            carried.unknown = True

    def _narrative(self, value: Any) -> None:
        if not isinstance(value, dict) or value.get("status") != "generated":
            self._found.block("text", "narrative that is not generated")
        else:
            self._reader.words("text", (value.get("div"),), self._found)

    def _contained(self, value: Any) -> None:
        for resource in value if isinstance(value, list) else [value]:
            if isinstance(resource, dict):
                walk = self._reader.walk(resource, self._found)
                for name, inner in resource.items():
                    walk.root(name, inner)

    OF_A_RESOURCE: ClassVar[Mapping[str, Callable[[Walk, Any], None]]] = {
        "meta": _meta,
        "text": _narrative,
        "contained": _contained,
        "securityLabel": _security_label,
        "confidentiality": _composition_confidentiality,
    }
    """Elements of a resource itself that are read in a way of their own."""


def _is_concept(name: str, value: Json) -> bool:
    if "coding" in value:
        return True
    return "text" in value and value.keys() <= _TEXT_ONLY and name not in _BACKBONE


def _together(standings: list[Standing]) -> Standing | None:
    """Weigh codings that translate each other; a local one says nothing beside a known one."""
    known = [standing for standing in standings if standing is not Standing.LOCAL]
    for standing in (Standing.UNPROVEN, Standing.LISTED, Standing.ORDINARY, Standing.PLAIN):
        if standing in known:
            return standing
    return Standing.LOCAL if standings else None
