"""What the bridge relies on when it searches and pages, over every server."""

from __future__ import annotations

import pytest

from tests.simulators.contract import contract
from tests.simulators.counterparty import LABORATORY, Counterparty, entry, found, link


def _results(server: Counterparty, count: int) -> str:
    """Store a patient with so many results, and another patient with one."""
    patient = server.patient()
    other = server.patient("other")
    results = [server.observation(f"o{i:03}", patient) for i in range(count)]
    answer = server.transact(*map(entry, [*results, server.observation("foreign", other)]))
    assert answer.status_code == 200, answer.text[:500]
    return patient


@contract
def test_a_search_by_patient_finds_that_patients_records_only(server: Counterparty) -> None:
    patient = _results(server, 3)

    for name in ("patient", "subject"):
        bundle = server.search("Observation", **{name: patient, "_count": "100"})
        assert sorted(found(bundle)) == [f"Observation/{server.id(f'o{i:03}')}" for i in range(3)]
    assert server.search("Observation", patient=patient.partition("/")[2])["total"] == 3


@contract
def test_following_the_next_links_gives_every_match_once(server: Counterparty) -> None:
    patient = _results(server, 12)

    bundle = server.search("Observation", patient=patient, _count="5", _sort="_id")
    pages = [found(bundle)]
    while address := link(bundle, "next"):
        bundle = server.ask("GET", address).json()
        pages.append(found(bundle))

    assert [len(page) for page in pages] == [5, 5, 2]
    refs = [ref for page in pages for ref in page]
    assert refs == sorted(set(refs))
    assert len(refs) == 12


@contract
def test_offset_paging_gives_every_match_once(server: Counterparty) -> None:
    patient = _results(server, 12)

    bundle = server.search("Observation", patient=patient, _count="5", _sort="_id", _offset="0")
    refs = found(bundle)
    while address := link(bundle, "next"):
        assert "_offset=" in address
        bundle = server.ask("GET", address).json()
        refs += found(bundle)

    assert len(refs) == len(set(refs)) == 12


@contract
def test_a_count_is_told_without_the_records(server: Counterparty) -> None:
    bundle = server.search("Observation", patient=_results(server, 4), _summary="count")

    assert (bundle["total"], found(bundle)) == (4, [])


@contract
def test_a_list_of_ids_can_be_posted(server: Counterparty) -> None:
    _results(server, 6)
    wanted = [server.id(f"o{i:03}") for i in (0, 2, 5)]

    answer = server.ask(
        "POST",
        "Observation/_search",
        body=f"_id={','.join([*wanted, server.id('absent')])}&_count=100".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert answer.status_code == 200
    assert sorted(found(answer.json())) == [f"Observation/{id_}" for id_ in wanted]


@contract
def test_a_patient_is_found_by_identifier_by_post(server: Counterparty) -> None:
    patient = server.patient(identifier=[{"system": "urn:oid:2.999.2", "value": server.prefix}])

    answer = server.ask(
        "POST",
        "Patient/_search",
        body=f"identifier=urn:oid:2.999.2%7C{server.prefix}".encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    assert found(answer.json()) == [patient]


@contract
def test_a_patient_is_found_by_name_and_birth_date(server: Counterparty) -> None:
    family = server.prefix.title()
    patient = server.patient(name=[{"family": family}], birthDate="1971-02-03")

    assert found(server.search("Patient", family=family.lower(), birthdate="1971-02-03")) == [
        patient
    ]
    assert found(server.search("Patient", family=family, birthdate="1971-02-04")) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"code": "http://loinc.org|718-7"},
        {"code": "718-7,789-8"},
        {"category": f"{LABORATORY}|laboratory"},
        {"status": "final"},
        {"date": "ge2020-03-04"},
        {"date": "2020-03"},
        {"_lastUpdated": "gt2020-01-01T00:00:00Z"},
    ],
    ids=str,
)
@contract
def test_records_are_found_by_code_category_status_and_time(
    server: Counterparty, asked: dict[str, str]
) -> None:
    patient = _results(server, 2)

    assert len(found(server.search("Observation", patient=patient, **asked))) == 2


@pytest.mark.parametrize(
    "asked",
    [{"code": "http://loinc.org|789-8"}, {"status": "amended"}, {"date": "lt2020-03-04"}],
    ids=str,
)
@contract
def test_records_of_another_code_status_or_time_are_not_found(
    server: Counterparty, asked: dict[str, str]
) -> None:
    patient = _results(server, 2)

    assert found(server.search("Observation", patient=patient, **asked)) == []


@contract
def test_provenance_comes_with_what_it_is_about(server: Counterparty) -> None:
    patient = _results(server, 2)
    provenance = {
        "resourceType": "Provenance",
        "id": server.id("prov"),
        "target": [{"reference": f"Observation/{server.id('o001')}"}],
        "recorded": "2020-03-04T05:06:07Z",
        "agent": [{"who": {"display": "a laboratory"}}],
    }
    assert server.put(provenance).status_code == 201

    bundle = server.search("Observation", patient=patient, _revinclude="Provenance:target")

    assert found(bundle, "include") == [f"Provenance/{provenance['id']}"]
    assert len(found(bundle, "match")) == bundle["total"] == 2


@contract
def test_a_search_with_an_unknown_parameter_is_refused_when_strict(server: Counterparty) -> None:
    answer = server.ask(
        "GET", "Observation", params={"nonsense": "1"}, headers={"Prefer": "handling=strict"}
    )

    assert answer.status_code == 400


@contract
def test_the_self_link_tells_which_parameters_were_honoured(server: Counterparty) -> None:
    patient = _results(server, 1)

    address = link(server.search("Observation", patient=patient), "self") or ""

    assert "patient=" in address


@contract
def test_everything_gives_the_patients_records_and_what_they_refer_to(
    server: Counterparty,
) -> None:
    patient = _results(server, 3)
    organization = {"resourceType": "Organization", "id": server.id("org"), "name": "A"}
    server.put(organization)
    referring = server.observation(
        "performed", patient, performer=[{"reference": f"Organization/{organization['id']}"}]
    )
    server.put(referring)

    refs = set(found(server.search(f"{patient}/$everything", _count="500")))

    assert {patient, f"Observation/{referring['id']}", f"Organization/{organization['id']}"} <= refs
    assert len([ref for ref in refs if ref.startswith("Observation/")]) == 4
    assert f"Observation/{server.id('foreign')}" not in refs


@contract
def test_everything_brings_what_is_linked_wrongly_too(server: Counterparty) -> None:
    patient = _results(server, 1)
    foreign = f"Observation/{server.id('foreign')}"
    linking = server.observation("linking", patient, hasMember=[{"reference": foreign}])
    server.put(linking)

    refs = found(server.search(f"{patient}/$everything", _count="500"))

    assert foreign in refs
    assert f"Patient/{server.id('other')}" not in refs


@contract
def test_everything_can_be_limited_to_types(server: Counterparty) -> None:
    patient = _results(server, 2)

    refs = found(server.search(f"{patient}/$everything", _type="Observation", _count="500"))

    assert {ref.partition("/")[0] for ref in refs} <= {"Observation", "Patient"}
    assert len(refs) >= 2


@contract
def test_everything_of_an_unknown_patient_is_not_found(server: Counterparty) -> None:
    assert server.status(f"Patient/{server.id('absent')}/$everything") == 404


@contract
def test_what_was_just_written_is_found_at_once(server: Counterparty) -> None:
    patient = server.patient()
    for number in range(1, 4):
        server.put(server.observation(f"o{number}", patient))
        assert server.search("Observation", patient=patient)["total"] == number
