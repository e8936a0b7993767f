"""Strict JSON, canonical bytes, durations and schemas: what every door relies on."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.canonical import canonical, value_hash
from workflows.core.durations import format_duration, parse_duration, parse_instant
from workflows.core.errors import AobError
from workflows.core.schemas import MAX_TOLD, MAX_VISITS, MAX_WORK, apply_defaults, check_schema, compile_schema
from workflows.core.strictjson import JsonError, check, decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@given(JSON)
def test_what_is_encoded_is_decoded_to_the_same(value: Any) -> None:
    check(value)
    assert decode(encode(value)) == value
    assert canonical(decode(canonical(value), is_canonical=True)) == canonical(value)


def test_a_large_float_in_a_stored_document_comes_back_and_the_same_digits_at_a_door_are_refused() -> None:
    text = canonical({"limit": 2.0**63})
    assert decode(text, is_canonical=True) == {"limit": 2.0**63}
    with pytest.raises(JsonError, match="does not fit 64 bits"):
        decode(text)


@given(JSON)
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(value: Any) -> None:
    def turned(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: turned(part[key]) for key in reversed(list(part))}
        return [turned(item) for item in part] if isinstance(part, list) else part

    assert value_hash(turned(value)) == value_hash(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{", "json_syntax"),
        (b'{"a":1,"a":2}', "json_duplicate_key"),
        (b"NaN", "json_not_finite"),
        (b"[1e999]", "json_not_finite"),
        (b"[-Infinity]", "json_not_finite"),
        (b"9223372036854775808", "json_integer_range"),
        (b"1" * 5000, "json_integer_range"),
        (b'"\\ud800"', "json_surrogate"),
        (b'{"\\ud800": 1}', "json_surrogate"),
        (b'{"a": ["\\u0000"]}', "json_nul"),
        (b"\xff\xfe1\x00", "json_encoding"),
        (b"\xef\xbb\xbf1", "json_encoding"),
        (b"[" * 100_000, "json_too_deep"),
        (b"[" * 70 + b"]" * 70, "json_too_deep"),
        (b'"' + b"x" * 2000 + b'"', "json_too_large"),
        (b"'a'", "json_syntax"),
        (b"[1,]", "json_syntax"),
        (b"01", "json_syntax"),
    ],
)
def test_bad_json_is_refused_by_name(text: bytes, code: str) -> None:
    limit = 1000 if code == "json_too_large" else 10**7
    with pytest.raises(JsonError) as refused:
        decode(text, max_bytes=limit)
    assert refused.value.code == code


@pytest.mark.parametrize("value", [{"a": float("nan")}, {1: 2}, {"a": (1,)}, [b"x"], 2**64, "\udfff", {"a": ["\x00"]}])
def test_python_values_that_are_not_json_are_refused_with_their_place(value: Any) -> None:
    with pytest.raises(JsonError):
        check(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("3d", 259200),
        ("1h30m", 5400),
        ("PT1H30M", 5400),
        ("P3D", 259200),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 s", "s", "1y", "P", "PT", "99999d", "1e3s", "٣s"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(AobError):
        parse_duration(text)


@given(st.integers(1, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_durations_survive_formatting(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("text", ["2030-01-01", "2030-01-01T00:00:00", "tomorrow", "", "9999999-01-01T00:00:00Z"])
def test_instants_need_an_offset(text: str) -> None:
    with pytest.raises(AobError):
        parse_instant(text)


def doubled(count: int, part: str) -> dict[str, Any]:
    """Definitions of which each uses the one before twice, in the part of a schema that JSON text gives."""
    defs: dict[str, Any] = {"d0": {"type": "string"}}
    for number in range(1, count):
        defs[f"d{number}"] = json.loads(part.replace("REF", json.dumps({"$ref": f"#/$defs/d{number - 1}"})))
    return {"$defs": defs, "properties": {"x": {"$ref": f"#/$defs/d{count - 1}"}}}


@pytest.mark.parametrize(
    "part",
    [
        '{"anyOf": [REF, REF]}',
        '{"allOf": [REF], "not": REF}',
        '{"if": REF, "then": REF}',
        '{"dependentSchemas": {"a": REF, "b": REF}}',
        '{"allOf": [REF], "unevaluatedProperties": false}',
    ],
)
def test_a_schema_whose_references_multiply_is_refused_by_the_name_of_its_limit(part: str) -> None:
    [problem] = check_schema(doubled(40, part), pointer="/inputs")
    assert (problem.code, problem.pointer) == ("schema_limit", "/inputs") and str(MAX_VISITS) in problem.message
    assert check_schema(doubled(4, part)) == []


def test_a_schema_that_refers_to_itself_without_going_deeper_is_refused() -> None:
    assert check_schema({"allOf": [{"$ref": "#"}]})[0].code == "schema_limit"
    anchored = {"$defs": {"a": {"$anchor": "a", "not": {"$ref": "#b"}}, "b": {"$anchor": "b", "$ref": "#a"}}}
    assert check_schema({**anchored, "$ref": "#a"})[0].code == "schema_limit"
    tree = {"properties": {"children": {"items": {"$ref": "#"}}, "next": {"$ref": "#"}}}
    assert check_schema(tree) == []


def test_a_value_is_refused_when_its_schema_would_look_at_it_too_often() -> None:
    branch = {"properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["q"]}
    schema = {"$defs": {"n": {"anyOf": [branch, branch]}}, "$ref": "#/$defs/n"}
    assert check_schema(schema) == []
    value: Any = {}
    for _ in range(40):
        value = {"x": value}
    [problem] = compile_schema(schema).problems(value, pointer="/inputs")
    assert (problem.code, problem.pointer) == ("schema_limit", "/inputs") and str(MAX_WORK) in problem.message
    assert compile_schema(schema).problems({"x": {"x": {}}})[0].code == "schema_any_of"


def test_the_faults_of_a_large_value_are_not_all_described() -> None:
    many = [True] * (MAX_TOLD + 1)
    [first] = compile_schema({"items": {"type": "string"}}).problems(many)
    assert (first.code, first.pointer) == ("wrong_type", "/0")
    either = {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "number"}}]}
    assert [one.code for one in compile_schema(either).problems(many)] == ["schema_mismatch"]


def test_schemas_never_reach_for_the_network_or_files() -> None:
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for reference in (f"http://127.0.0.1:{server.server_port}/x", "file:///etc/passwd", "//x", "other.json"):
        for schema in ({"$ref": reference}, {"properties": {"a": {"$ref": reference}}}):
            assert check_schema(schema)[0].code == "schema_remote_reference"
            with pytest.raises(AobError):
                compile_schema(schema).problems({"a": 1})
    server.shutdown()
    assert asked == []


def test_patterns_take_linear_time() -> None:
    began = time.perf_counter()
    assert compile_schema({"pattern": "^(a+)+$"}).problems("a" * 5000 + "!")
    assert time.perf_counter() - began < 0.5


def test_problems_have_pointers_and_defaults_are_filled_in() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "integer"}, "b/c": {"type": "string"}, "d": {"default": 3}},
    }
    found = {
        (problem.pointer, problem.code) for problem in compile_schema(schema).problems({"b/c": 1}, pointer="/inputs")
    }
    assert found == {("/inputs", "field_missing"), ("/inputs/b~1c", "wrong_type")}
    given_value: dict[str, Any] = {"a": 1}
    assert apply_defaults(schema, given_value) == {"a": 1, "d": 3} and given_value == {"a": 1}
