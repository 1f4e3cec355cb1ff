"""Statements and JSON as Go writes them; more of it in tests/property, against the original."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarcast.exporter import gojson
from tarcast.exporter.gojson import JSONError, Object, compact, indented, parsed, quoted
from tarcast.exporter.intoto import statement_json

STATEMENT = b"""{
  "_type": "https://in-toto.io/Statement/v1",
  "predicateType": "https://spdx.dev/Document",
  "subject": [
    {
      "name": "bin/\\u003ca\\u003e\\ufffd",
      "digest": {
        "sha1": "2",
        "sha256": "1"
      }
    },
    {
      "name": "b",
      "digest": {}
    }
  ],
  "predicate": {
    "z": 1.50,
    "a": [
      1E5,
      {},
      []
    ],
    "z": "\\u0026\xff\\u0041"
  }
}"""


def test_a_whole_statement() -> None:
    subjects = [("bin/<a>\udcff", {"sha256": "1", "sha1": "2"}), ("b", {})]
    predicate = b' {"z":1.50,\n"a":[1E5,{ },[ ]],"z":"&\xff\\u0041"}\t'
    assert statement_json("https://spdx.dev/Document", subjects, predicate) == STATEMENT


def test_nothing_to_say() -> None:
    made = statement_json("", [], b"")
    assert made.endswith(b'"predicateType": "",\n  "subject": [],\n  "predicate": null\n}')


def test_a_predicate_is_one_level_below_its_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarcast.exporter.intoto.MAX_DEPTH", 4)
    statement_json("", [], b'[[{"a":1}],[[]]]')
    with pytest.raises(JSONError, match="deeper than 3 levels"):
        statement_json("", [], b"[[[[]]]]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 😀 \x7f", "plain é 😀 \x7f"),
        ('"\\/', '\\"\\\\/'),
        ("\b\f\n\r\t\0\x1f", "\\b\\f\\n\\r\\t\\u0000\\u001f"),
        ("<>&\u2028\u2029\u2027", "\\u003c\\u003e\\u0026\\u2028\\u2029\u2027"),
        ("\udcff\ufffd", "\\ufffd\ufffd"),
        ("\udced\udca0\udc80", "\\ufffd\\ufffd\\ufffd"),
        ("\udcc3\udca9", "é"),
    ],
)
def test_strings(text: str, expected: str) -> None:
    assert quoted(text) == f'"{expected}"'


@pytest.mark.parametrize(
    ("spelled", "written"),
    [
        ("0", "0"),
        ("-0.0", "-0"),
        ("1e5", "100000"),
        ("1.50", "1.5"),
        ("100.25", "100.25"),
        ("123456789012345678901", "123456789012345680000"),
        ("1e21", "1e+21"),
        ("-1.25e300", "-1.25e+300"),
        ("0.000001", "0.000001"),
        ("1.5e-7", "1.5e-7"),
        ("1e-10", "1e-10"),
        ("1e-400", "0"),
        ("5e-324", "5e-324"),
    ],
)
def test_numbers_that_were_decoded(spelled: str, written: str) -> None:
    assert compact(parsed(spelled.encode())).decode() == written


def test_a_number_is_refused_only_where_it_is_written() -> None:
    value = parsed(b'{"large": -1e999}')
    with pytest.raises(JSONError, match="range of float64"):
        compact(value)


def test_decoded_objects_keep_duplicates_and_writing_does_not() -> None:
    value = parsed(b'{"b": 1, "a": [true, null], "b": "\\ud83d\\ude00\\ud83d\xff"}')
    assert value == Object([("b", 1.0), ("a", [True, None]), ("b", "😀\ufffd\ufffd")])
    assert compact(value) == '{"a":[true,null],"b":"😀\ufffd\ufffd"}'.encode()


@pytest.mark.parametrize(
    "text",
    b"""- 01 1. .1 1e +1 nul NaN Infinity 'a' " "\\x" "\\u12" "\x01" [1,] [,1] [1 [1} {1:2} {"a"} {"a":}
    {"a":1,} {"a":1 {,} } ] , : 1,2 []{} \xef\xbb\xbf1 \xff /**/1 true1 "a""b" {"a"::1} [:]""".split(),
)
def test_malformed_json_is_refused(text: bytes) -> None:
    for read in (parsed, lambda text: indented(text, 0)):
        with pytest.raises(JSONError, match="malformed JSON"):
            read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it ends too early"),
        (b"[1, \n", "it ends too early"),
        (b"[1, \n?", "at byte 5"),
        (b"1 1", "at byte 2"),
        (b'["a" : 1]', "at byte 5"),
    ],
)
def test_the_place_of_the_mistake_is_told(text: bytes, message: str) -> None:
    with pytest.raises(JSONError, match=f"{message}$"):
        parsed(text)


def test_depth_is_limited_as_in_go_and_needs_no_recursion() -> None:
    deep = b"[" * 10000 + b"]" * 10000
    assert compact(parsed(deep)) == deep
    with pytest.raises(JSONError, match="deeper than 10000 levels"):
        parsed(b"[" + deep + b"]")


def test_indentation_may_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gojson, "MAX_INDENTED", 1000)
    indented(b"[" * 20 + b"0,0" + b"]" * 20, 0)
    with pytest.raises(JSONError, match="beyond 1000 bytes"):
        indented(b"[" * 20 + b"0" + b",0" * 30 + b"]" * 20, 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@settings(max_examples=40)
@given(json_values, st.integers(0, 3))
def test_indenting_changes_no_value(value: Any, level: int) -> None:
    text = indented(json.dumps(value).encode(), level)
    assert json.loads(text) == value
    if isinstance(value, (list, dict)) and value:
        assert text.endswith(b"\n" + b"  " * level + (b"]" if isinstance(value, list) else b"}"))
