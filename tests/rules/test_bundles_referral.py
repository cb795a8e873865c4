"""What the bridge writes about the referral, and what it never says."""

from __future__ import annotations

import json
import uuid
from dataclasses import fields, replace
from typing import Any

import pytest

from fhir_bridge.bundles import (
    Involved,
    Purpose,
    Undelivered,
    authored_id,
    provenance,
    reason_codes,
    reason_system,
    service_request,
    task,
)
from fhir_bridge.errors import BadRecord, SettingsError
from fhir_bridge.records import RecordRef
from fhir_bridge.transfer import Party
from tests.simulators.authored import REFERRAL, everything, involved


def codes(concepts: list[dict[str, Any]]) -> list[str]:
    return [
        f"{coding['system'].rpartition('/')[2]}#{coding['code']}"
        for concept in concepts
        for coding in concept["coding"]
    ]


def request(**given: Any) -> dict[str, Any]:
    return service_request(REFERRAL, **{"reasons": [], **given})


def test_the_same_referral_asked_again_makes_the_same_resources() -> None:
    assert json.dumps(everything()) == json.dumps(everything())
    assert authored_id("key", "Task") == authored_id("key", "Task")


def test_another_referral_makes_other_resources() -> None:
    assert authored_id("key", "Task") != authored_id("other", "Task")
    assert authored_id("key", "Task") != authored_id("key", "ServiceRequest")
    assert uuid.UUID(authored_id("key", "Task")).version == 5


def test_the_request_is_coded_as_a_second_medical_opinion() -> None:
    content = request()

    assert codes([content["code"]]) == ["sct#77406008"]
    assert codes(content["category"]) == ["sct#386053000"]
    assert codes(content["orderDetail"]) == ["v2-0282#SO", "v2-0282#WR"]
    assert codes(content["reasonCode"]) == ["v2-0336#S"]
    assert content["status"] == "active"
    assert content["authoredOn"] == REFERRAL.written
    assert content["subject"]["reference"] == "Patient/p"
    assert content["identifier"][0]["type"]["coding"][0]["code"] == "PLAC"


@pytest.mark.parametrize(
    ("purpose", "by_patient", "intent"),
    [
        (Purpose.TREATMENT, False, "order"),
        (Purpose.TREATMENT, True, "order"),
        (Purpose.PATIENT_REQUESTED, False, "order"),
        (Purpose.PATIENT_REQUESTED, True, "directive"),
    ],
)
def test_the_intent_is_directive_only_when_the_patient_himself_directs_it(
    purpose: str, *, by_patient: bool, intent: str
) -> None:
    referral = replace(REFERRAL, purpose=purpose, by_patient=by_patient)

    assert service_request(referral, reasons=[])["intent"] == intent


def test_each_reason_has_its_words_and_the_standard_code_where_there_is_one() -> None:
    cancer, rare = request(reasons=["cancer", "rare-or-complex-diagnosis"])["reasonCode"][1:]

    assert codes([cancer])[0] == "sct#363346000"
    assert cancer["text"] == "Cancer"
    assert len(rare["coding"]) == 1
    assert rare["text"] == "Rare or complex diagnosis"


def test_a_reason_that_is_not_known_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'tired' is not known: use one of autoimmune, cancer"):
        request(reasons=["tired"])


def test_every_reason_of_the_mapping_can_be_given() -> None:
    assert len(request(reasons=list(reason_codes()))["reasonCode"]) == 1 + len(reason_codes())
    assert "cancer" in reason_codes()


def test_the_question_is_a_note_in_the_name_of_the_requester() -> None:
    [note] = request(question="Is surgery needed first?")["note"]

    assert note["text"] == "Is surgery needed first?"
    assert note["authorReference"]["reference"] == "Organization/1"
    assert "note" not in request(question="")


def test_records_and_diagnoses_are_referred_to_where_they_are_given() -> None:
    content = request(
        consent=RecordRef("Consent/c"),
        records=[RecordRef("DiagnosticReport/r")],
        conditions=[RecordRef("Condition/c")],
    )

    assert content["supportingInfo"] == [
        {"reference": "Consent/c"},
        {"reference": "DiagnosticReport/r"},
    ]
    assert content["reasonReference"] == [{"reference": "Condition/c"}]
    assert not {"supportingInfo", "reasonReference"} & request().keys()


def test_an_organisation_that_the_destination_has_not_is_named_by_identifier() -> None:
    there, only_named = involved("a", "Organization/1"), involved("b")

    assert there.reference()["reference"] == "Organization/1"
    assert only_named.reference() == {
        "type": "Organization",
        "identifier": {"system": "urn:oid:2.999.1.1", "value": "b"},
        "display": "B",
    }


def notes(undelivered: Undelivered) -> list[str]:
    return [note["text"] for note in task(REFERRAL, undelivered)["note"]]


def test_the_task_asks_the_recipient_to_fulfil_the_request() -> None:
    content = task(REFERRAL, Undelivered())

    assert content["focus"]["reference"] == f"ServiceRequest/{request()['id']}"
    assert codes([content["code"], content["businessStatus"]]) == [
        "task-code#fulfill",
        "TaskBusinessStatusCS#2.0",
    ]
    assert (content["status"], content["intent"]) == ("requested", "order")
    assert content["owner"]["identifier"]["value"] == "second-opinion-centre"


def test_the_task_says_how_many_items_could_not_be_obtained() -> None:
    assert notes(Undelivered()) == [
        "Each record that was released to you was delivered and read back."
    ]
    assert notes(Undelivered(unobtained=1))[1] == (
        "1 item that they refer to could not be obtained at the first provider."
    )
    assert notes(Undelivered(unobtained=3))[1].startswith("3 items that they refer to")


def test_the_recipient_is_told_complete_except_images() -> None:
    one = notes(Undelivered(studies=["Endpoint/e"]))
    assert one[1:] == [
        "Complete except images: those of 1 study were not transferred.",
        "Images: not transferred, held at Endpoint/e.",
    ]
    assert "of 2 studies" in notes(Undelivered(studies=["Endpoint/e", "Endpoint/f"]))[1]


def test_the_recipient_is_told_what_is_not_stored_as_it_was_sent() -> None:
    assert notes(Undelivered(differing=1))[1] == (
        "Of these, 1 item is not stored here as it was sent."
    )
    assert "2 items are not" in notes(Undelivered(differing=2))[1]


def test_an_organisation_without_a_name_is_called_by_its_identifier() -> None:
    nameless = Involved(party=Party(system="urn:oid:2.999.1.1", value="x", name=""))
    content = service_request(replace(REFERRAL, custodian=nameless), reasons=[])

    assert nameless.reference()["display"] == "x"
    assert content["identifier"][0]["assigner"] == {"display": "x"}


def test_withheld_records_are_never_counted_to_the_recipient() -> None:
    assert {field.name for field in fields(Undelivered)} == {
        "unobtained",
        "studies",
        "differing",
    }
    said = json.dumps(everything()).lower()
    assert not any(word in said for word in ("withheld", "held back", "redacted"))


def test_provenance_names_its_targets_without_version_and_its_source_by_identifier() -> None:
    content = everything()["Provenance"]

    assert [one["reference"] for one in content["target"]] == ["Observation/a", "Patient/p"]
    assert content["entity"][0]["what"]["identifier"] == {
        "system": f"{REFERRAL.source_identity}/Patient",
        "value": "1",
    }
    assert "reference" not in content["entity"][0]["what"]


def test_provenance_names_custodian_author_and_the_bridge_as_transmitter() -> None:
    agents = everything()["Provenance"]["agent"]

    assert [agent["type"]["coding"][0]["code"] for agent in agents] == [
        "custodian",
        "author",
        "transmitter",
    ]
    assert agents[2]["who"] == {"type": "Device", "display": "fhir-bridge"}
    assert agents[2]["onBehalfOf"]["reference"] == "Organization/1"


def test_each_delivered_bundle_has_a_provenance_of_its_own() -> None:
    def number(number: int) -> str:
        targets = [RecordRef("Observation/a")]
        content = provenance(
            REFERRAL,
            targets=targets,
            recorded=REFERRAL.written,
            proof="c2sp.org/tlog-proof@v1\n",
            source_patient=RecordRef("Patient/1"),
            number=number,
        )
        return str(content["id"])

    assert number(1) != number(2)


def test_what_the_bridge_writes_about_invented_data_says_so() -> None:
    for name, content in everything(test_data=True).items():
        labels = content.get("meta", {}).get("security", [])
        tested = [label for label in labels if label["code"] == "HTEST"]
        assert len(tested) == (name != "Patient"), name
    for content in everything().values():
        assert "HTEST" not in json.dumps(content)


def test_something_given_that_fhir_does_not_allow_is_named_without_its_value() -> None:
    broken = replace(REFERRAL, written="CANARY")

    with pytest.raises(BadRecord, match=r"the ServiceRequest .* authoredOn") as caught:
        service_request(broken, reasons=[])

    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_every_reason_is_a_code_of_one_system() -> None:
    system, codes = reason_system()

    assert codes == set(reason_codes())
    assert system.startswith(("http", "urn:"))
