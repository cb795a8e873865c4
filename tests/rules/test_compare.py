"""What a server writes differently is told from what it changes; paths are named, never values."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.codes import mapping
from fhir_bridge.compare import Comparison, Verdict, differences, known_normalisations

HAPI = known_normalisations("HAPI FHIR Server", "8.8.0")
UNKNOWN = known_normalisations("Some server", "1.0")
BASE = "https://second.example.org/fhir"


def compared(sent: str, read: str, known: tuple[str, ...] = HAPI) -> Comparison:
    return differences(
        lossless.decode(sent.encode()), lossless.decode(read.encode()), known, base=BASE
    )


def test_the_same_content_in_another_order_is_identical() -> None:
    assert compared('{"a":5.10,"b":[1,2]}', '{"b":[1,2],"a":5.10}') == Comparison(Verdict.IDENTICAL)


def test_what_the_server_sets_for_itself_is_not_compared() -> None:
    read = '{"a":1,"meta":{"versionId":"2","lastUpdated":"2026-01-01T00:00:00Z","source":"#x"}}'

    assert compared('{"a":1}', read).verdict is Verdict.IDENTICAL
    assert compared('{"a":1,"meta":{"source":"http://a"}}', read).verdict is Verdict.IDENTICAL


NORMALISED = [
    ("number-form", '{"v":1E-3}', '{"v":0.001}', "v"),
    ("number-form", '{"v":1e+2}', '{"v":1E2}', "v"),
    ("quoted", '{"v":"5.10"}', '{"v":5.10}', "v"),
    ("quoted", '{"v":"1"}', '{"v":1}', "v"),
    ("quoted", '{"v":"true"}', '{"v":true}', "v"),
    ("quoted", '{"v":"false"}', '{"v":false}', "v"),
    ("empty-removed", '{"v":1,"a":null}', '{"v":1}', "a"),
    ("empty-removed", '{"v":1,"a":{"b":[" "]}}', '{"v":1}', "a"),
    ("empty-removed", '{"v":[{"a":1},{}]}', '{"v":[{"a":1}]}', "v"),
    ("empty-removed", '{"w":{"a":[{"b":""}]}}', '{"w":{}}', "w.a"),
    ("empty-removed", '{"a":1,"v":[]}', '{"a":1,"v":""}', "v"),
    ("single-wrapped", '{"v":{"a":1}}', '{"v":[{"a":1}]}', "v"),
    ("single-wrapped", '{"v":["male"]}', '{"v":"male"}', "v"),
    ("contained-id", '{"contained":[{"a":1}]}', '{"contained":[{"a":1,"id":"x"}]}', None),
    (
        "contained-meta",
        '{"contained":[{"a":1,"meta":{"versionId":"1"}}]}',
        '{"contained":[{"a":1}]}',
        "contained[0].meta",
    ),
    (
        "contained-meta",
        '{"contained":[{"meta":{"versionId":"1","tag":[{"code":"a"}]}}]}',
        '{"contained":[{"meta":{"tag":[{"code":"a"}]}}]}',
        "contained[0].meta.versionId",
    ),
    (
        "base64-form",
        '{"contentType":"a","data":"QU I="}',
        '{"contentType":"a","data":"QUI="}',
        "data",
    ),
    (
        "base64-form",
        '{"contentType":"a","data":"QUI"}',
        '{"contentType":"a","data":"QUI="}',
        "data",
    ),
    (
        "base64-form",
        '{"contentType":"a","data":"-_8="}',
        '{"contentType":"a","data":"+/8="}',
        "data",
    ),
    ("base64-form", '{"when":"x","data":"QUI"}', '{"when":"x","data":"QUI="}', "data"),
    ("base64-form", '{"url":"x","hash":"QUI"}', '{"url":"x","hash":"QUI="}', "hash"),
    ("base64-form", '{"valueBase64Binary":"QUI"}', '{"valueBase64Binary":"QUI="}', None),
    ("own-base", f'{{"reference":"{BASE}/Patient/1"}}', '{"reference":"Patient/1"}', "reference"),
    ("narrative-form", '{"div":"a"}', '{"div":"<div>a</div>"}', "div"),
]


@pytest.mark.parametrize(("way", "sent", "read", "path"), NORMALISED)
def test_each_known_way_of_writing_the_same_is_normalised_and_named(
    way: str, sent: str, read: str, path: str | None
) -> None:
    seen = compared(sent, read)

    assert (seen.verdict, seen.notes) == (Verdict.NORMALISED, (way,))
    assert path is None or seen.paths == (path,)


@pytest.mark.parametrize(("way", "sent", "read", "path"), NORMALISED)
def test_at_an_unknown_server_each_of_them_is_a_change(
    way: str, sent: str, read: str, path: str | None
) -> None:
    seen = compared(sent, read, UNKNOWN)

    assert (seen.verdict, seen.notes) == (Verdict.CHANGED, (way,))
    assert path is None or seen.paths == (path,)


LOSSES = [
    ("precision", '{"v":1E2}', '{"v":100}', "v"),
    ("precision", '{"v":5.10}', '{"v":5.1}', "v"),
    ("negative-zero", '{"v":-0.00}', '{"v":0.00}', "v"),
    ("reference-version", '{"reference":"P/1/_history/3"}', '{"reference":"P/1"}', "reference"),
    ("ids-only", '{"a":1,"_given":[{"id":"x"},null]}', '{"a":1}', "_given"),
    (
        "empty-div",
        '{"text":{"status":"empty","div":"<div/>"}}',
        '{"text":{"status":"empty"}}',
        None,
    ),
    (
        "labels-kept",
        '{"meta":{"tag":[{"code":"a"}]}}',
        '{"meta":{"tag":[{"code":"a"},{"code":"b"}]}}',
        "meta.tag",
    ),
    ("labels-kept", '{"a":1}', '{"a":1,"meta":{"security":[{"code":"b"}]}}', "meta.security"),
    (
        "label-reworded",
        '{"meta":{"security":[{"code":"K"}]}}',
        '{"meta":{"security":[{"system":"http://s","code":"K","display":"d"}]}}',
        "meta.security",
    ),
]


@pytest.mark.parametrize(("way", "sent", "read", "path"), LOSSES)
def test_each_known_loss_is_a_change_and_named(
    way: str, sent: str, read: str, path: str | None
) -> None:
    seen = compared(sent, read)

    assert (seen.verdict, seen.notes) == (Verdict.CHANGED, (way,))
    assert path is None or seen.paths == (path,)


@pytest.mark.parametrize(
    ("sent", "read", "path"),
    [
        ('{"v":5.10}', '{"v":5.2}', "v"),
        ('{"v":true}', '{"v":1}', "v"),
        ('{"v":1}', '{"v":true}', "v"),
        ('{"v":true}', '{"v":false}', "v"),
        ('{"v":"a"}', '{"v":"b"}', "v"),
        ('{"v":"a"}', '{"v":null}', "v"),
        ('{"v":"5.1"}', '{"v":5.10}', "v"),
        ('{"v":{"a":1}}', '{"v":1}', "v"),
        ('{"v":1,"unknown":2}', '{"v":1}', "unknown"),
        ('{"v":1}', '{"v":1,"added":2}', "added"),
        ('{"v":[1,2]}', '{"v":[1]}', "v"),
        ('{"v":[{"a":1},{"a":2}]}', '{"v":[{"a":1},{"a":3}]}', "v[1].a"),
        ('{"v":[1,2]}', '{"v":1}', "v"),
        ('{"_given":[{"id":"x","extension":[{"url":"u"}]}]}', '{"a":1}', "_given"),
        ('{"_given":5}', '{"g":1}', "_given"),
        ('{"reference":"Patient/1"}', '{"reference":"Patient/2"}', "reference"),
        ('{"reference":"https://x.example/Patient/1"}', '{"reference":"Patient/1"}', "reference"),
        ('{"contentType":"a","data":"QUI="}', '{"contentType":"a","data":"QUM="}', "data"),
        ('{"contentType":"a","data":"***"}', '{"contentType":"a","data":"+++"}', "data"),
        ('{"dimensions":1,"data":"12 34"}', '{"dimensions":1,"data":"1 234"}', "data"),
        ('{"other":1,"hash":"QUI"}', '{"other":1,"hash":"QUI="}', "hash"),
        ('{"meta":{"security":[{"code":"R"}]}}', '{"meta":{}}', "meta.security"),
        ('{"meta":{"security":[{"code":"R"}]}}', '{"meta":{"security":[]}}', "meta.security"),
        (
            '{"meta":{"profile":["http://a"]}}',
            '{"meta":{"profile":["http://b"]}}',
            "meta.profile",
        ),
        ('{"contained":[{"meta":5}]}', '{"contained":[{"a":1}]}', "contained[0].meta"),
        ('{"meta":"x"}', '{"meta":{}}', "meta"),
    ],
)
def test_everything_else_is_a_change_and_its_path_is_named(sent: str, read: str, path: str) -> None:
    seen = compared(sent, read)

    assert seen.verdict is Verdict.CHANGED
    assert path in seen.paths


def test_when_something_changed_only_what_changed_is_named() -> None:
    seen = compared('{"a":1E-3,"b":1}', '{"a":0.001,"b":2}')

    assert seen == Comparison(Verdict.CHANGED, ("b",), ("number-form",))


def test_labels_tags_and_profiles_are_compared_as_sets_at_every_server() -> None:
    sent = '{"meta":{"security":[{"code":"b"},{"code":"a"},{"code":"b"}],"profile":["b","a"]}}'
    read = '{"meta":{"security":[{"code":"a"},{"code":"b"}],"profile":["a","b"]}}'

    assert compared(sent, read, UNKNOWN) == Comparison(
        Verdict.NORMALISED, ("meta.profile", "meta.security"), ("meta-sets",)
    )


def test_a_label_that_was_not_sent_and_is_there_is_a_change() -> None:
    seen = compared(
        '{"meta":{"tag":[{"code":"a"}],"security":[{"code":"x"}]}}',
        '{"meta":{"tag":[{"code":"a"}],"security":[{"code":"x"},{"code":"R"}]}}',
    )

    assert (seen.verdict, seen.paths) == (Verdict.CHANGED, ("meta.security",))


def test_a_comparison_never_holds_a_value() -> None:
    seen = compared('{"note":[{"text":"CANARY"}],"x":1}', '{"note":[{"text":"CANARY2"}],"x":2}')

    assert "CANARY" not in repr(seen)


def narrative(sent: str, read: str) -> Comparison:
    return differences({"text": {"div": sent}}, {"text": {"div": read}}, HAPI)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("<div>a&#160;b&nbsp;&eacute;</div>", "<div>a\u00a0b\u00a0\u00e9</div>"),
        ("<div><br></br><b></b></div>", "<div><br/><b/></div>"),
        ("<div class='a'>x</div>", '<div class="a">x</div>'),
        ('<div id="a" class="b">x</div>', '<div class="b" id="a">x</div>'),
        ("<div>x</div>", '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'),
        ("a text only", '<div xmlns="http://www.w3.org/1999/xhtml">a text only</div>'),
        ("<div><![CDATA[a]]></div>", "<div>a</div>"),
        ("<div>a&lt;b</div>", "<div>a<![CDATA[<]]>b</div>"),
        ("<div><input checked></input></div>", '<div><input checked=""/></div>'),
    ],
)
def test_a_narrative_that_shows_the_same_is_normalised(sent: str, read: str) -> None:
    assert narrative(sent, read) == Comparison(
        Verdict.NORMALISED, ("text.div",), ("narrative-form",)
    )


def test_blanks_before_a_comment_are_a_way_of_writing() -> None:
    seen = narrative("<div><!--a-->x y</div>", "<div>    <!--a-->x y</div>")

    assert seen == Comparison(Verdict.NORMALISED, ("text.div",), ("narrative-blanks",))


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("<div>5.10</div>", "<div>5.1</div>"),
        ("<div><b>no</b> cancer</div>", "<div>no <b>cancer</b></div>"),
        ("<div><!--a--></div>", "<div><!--b--></div>"),
        ("<div>no cancer</div>", "<div>nocancer</div>"),
        ("<div>a</div>", "<div></div>"),
    ],
)
def test_a_narrative_that_shows_something_else_is_changed(sent: str, read: str) -> None:
    assert narrative(sent, read).verdict is Verdict.CHANGED


def test_a_product_is_known_by_the_beginning_of_its_name_and_version() -> None:
    assert "number-form" in HAPI
    assert known_normalisations("hapi fhir jpa", "8.10.0") == HAPI
    assert known_normalisations("HAPI FHIR Server", "7.6.0") == UNKNOWN == ("meta-sets",)


def test_a_loss_is_never_listed_as_a_way_of_writing_the_same() -> None:
    data: Any = mapping("normalisations.json")
    ways = data["ways"]

    for server in data["servers"]:
        assert not any(ways[way]["loss"] for way in [*data["always"], *server["normalises"]])
        assert all(ways[way]["loss"] for way in server["loses"])
        assert server["month"]
        assert server["versions"]
    listed = itertools.chain(NORMALISED, LOSSES, [("meta-sets",), ("narrative-blanks",)])
    assert {row[0] for row in listed} == set(ways)
