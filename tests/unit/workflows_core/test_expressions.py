"""CEL expressions and templates: right values, clear errors, no way out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.core.canonical import canonical
from workflows.core.errors import AobError
from workflows.core.expressions import ROOTS, Expression, ExpressionError, compile_expression
from workflows.core.functions import FUNCTIONS
from workflows.core.language import Callable, callables
from workflows.core.templates import TemplateErrors, compile_template

ALLOWED = frozenset({"inputs", "nodes", "run"})


def evaluate(source: str, **variables: Any) -> Any:
    return compile_expression(source, pointer="/x", allowed=ALLOWED).evaluate(variables)


@pytest.mark.parametrize("function", callables(), ids=lambda function: function.signature)
def test_every_example_in_the_documentation_is_true(function: Callable) -> None:
    assert evaluate(function.example) == function.result


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("inputs.n + 1.5", 8.5),
        ("inputs.n * 2", 14),
        ("inputs.n == 7.0", True),
        ("true ? 1 : 'a'", 1),
        ("inputs.list.filter(x, x > 1)", [2, 3]),
        ("has(inputs.gone) ? 1 : 2", 2),
        ("inputs['__class__']", "data"),
        ("'%d items'.format([inputs.n])", "7 items"),
        ("timestamp('2030-01-01T00:00:00Z') + duration('1h')", "2030-01-01T01:00:00Z"),
    ],
)
def test_values(source: str, expected: Any) -> None:
    assert evaluate(source, inputs={"n": 7, "list": [1, 2, 3], "__class__": "data"}) == expected


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("inputs.a.b", "expression_failed", '"b"'),
        ("1 / 0", "expression_failed", "divide by zero"),
        ("1.0 / 0.0", "expression_failed", "divided by zero"),
        ("9223372036854775807 + 1", "expression_failed", "overflow"),
        ("1 +", "expression_syntax", "1 +"),
        ("", "expression_syntax", "empty"),
        ("nope", "expression_unknown_name", "nope"),
        ("item.x", "expression_unknown_name", "not in scope"),
        ("'a' + 1", "expression_failed", "do not go together"),
        ("b'x'", "expression_failed", "base64"),
        ("{1: 2}", "expression_failed", "not text"),
        ("(" * 100 + "1" + ")" * 100, "expression_limit", "nested"),
        ("'x' + " * 3000 + "'x'", "expression_limit", "characters"),
    ],
)
def test_errors_name_what_is_wrong(source: str, code: str, says: str) -> None:
    with pytest.raises(ExpressionError) as failed:
        evaluate(source, inputs={"a": {}})
    assert failed.value.code == code
    assert says in failed.value.message
    assert failed.value.pointer == "/x"


@pytest.mark.parametrize(
    "source",
    [
        "inputs.l.map(i, inputs.l.map(j, inputs.l.map(k, 1))).size()",
        "inputs.l.all(i, inputs.l.all(j, inputs.l.all(k, inputs.l.all(m, true))))",
        "range(1000000000)",
        "inputs.big.map(x, x)",
        "inputs.s.matches('^(a+)+$')",
    ],
)
def test_what_would_run_away_ends_soon(source: str) -> None:
    began = time.perf_counter()
    try:
        evaluate(source, inputs={"l": list(range(200)), "big": list(range(100_000)), "s": "a" * 40 + "!"})
    except ExpressionError as error:
        assert error.code in ("expression_limit", "expression_failed")
    assert time.perf_counter() - began < 2


ESCAPES = [
    attempt.replace("EXPR", target)
    for target in ("inputs", "inputs.s", "nodes", "run", "''", "1", "[]", "{}", "null", "type(1)")
    for attempt in (
        "EXPR.__class__", "EXPR.__class__.__mro__", "EXPR.__init__.__globals__", "EXPR.constructor",
        "EXPR.constructor.constructor('return process')()", "EXPR.__proto__", "getattr(EXPR, 'x')", "eval('1')",
        "__import__('os').system('id')", "EXPR.format(['{0.__class__}'])", "open('/etc/passwd')", "exec('x')",
        "EXPR['__builtins__']['open']",
    )
]  # fmt: skip


@pytest.mark.parametrize("source", ESCAPES)
def test_there_is_no_way_to_host_objects(source: str) -> None:
    try:
        value = evaluate(source, inputs={"s": "text"}, nodes={}, run={})
    except ExpressionError:
        return
    assert isinstance(value, (str, int, float, bool, list, dict, type(None)))
    assert "class '" not in str(value)


def test_references_are_found_in_every_way_of_writing() -> None:
    def refs(source: str) -> frozenset[str] | None:
        return compile_expression(source, pointer="", allowed=ALLOWED).node_refs

    assert refs("nodes.a.b + nodes['c-d'].x") == {"a", "c-d"}
    assert refs("'nodes.x' + inputs.nodes.y") == frozenset()
    assert refs("nodes[inputs.k]") is None
    assert refs("nodes.map(k, k)") is None


def test_a_value_is_never_evaluated_twice() -> None:
    template = compile_template({"a": "{{ inputs.x }}"}, pointer="", allowed=ALLOWED)
    assert template.evaluate({"inputs": {"x": "{{ 1 + 1 }}"}}) == {"a": "{{ 1 + 1 }}"}


@given(st.text().filter(lambda text: "{{" not in text))
def test_text_without_expressions_stays_as_it_is(text: str) -> None:
    assert compile_template(text, pointer="", allowed=ALLOWED).evaluate({}) == text


def test_every_wrong_expression_of_a_template_is_reported() -> None:
    with pytest.raises(TemplateErrors) as failed:
        compile_template({"a": "{{ 1 + }}", "b": ["{{ nope }}", "{{ open"]}, pointer="/c", allowed=ALLOWED)
    assert [error.pointer for error in failed.value.errors] == ["/c/a", "/c/b/0", "/c/b/1"]


def test_interpolation_and_typed_values() -> None:
    template = compile_template(
        {"n": "{{ inputs.n }}", "t": "n={{ inputs.n }}, {{ {'a': [1]} }}, {{ '}}' }}"}, pointer="", allowed=ALLOWED
    )
    assert template.evaluate({"inputs": {"n": 5}}) == {"n": 5, "t": 'n=5, {"a":[1]}, }}'}


def test_errors_are_aob_errors_even_for_broken_data() -> None:
    with pytest.raises(AobError):
        evaluate("inputs.s + 'x'", inputs={"s": "\ud800"})
    with pytest.raises(AobError):
        evaluate("inputs.n + 1", inputs={"n": 2**70})


# The engine cuts a text off at a NUL on its way into a function.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | TEXTS
)
DATA = st.recursive(
    SCALARS | st.sampled_from(["a", "b", "12", "PT5S", "2026-11-21T00:00:00Z"]),
    lambda part: (
        st.lists(part, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "key", "value"]), part, max_size=3)
    ),
    max_leaves=12,
)
ROWS = st.lists(st.fixed_dictionaries({"a": st.integers(-9, 9) | SCALARS, "b": SCALARS}), max_size=6)
MEMBERS = [function for function in FUNCTIONS if function.member]
ARGUMENTS = {
    "string": ["'a'", '"a.b"', "'%Y'"],
    "int": ["0", "2"],
    "list": ["1"],
    "map": ["'a'"],
    "dyn": ["null", "true", "1"],
}


@st.composite
def chains(draw: st.DrawFn) -> str:
    source = draw(st.sampled_from(["inputs.data", "inputs.rows", "inputs.rows", "inputs.absent"]))
    for function in draw(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=3)):
        given = ", ".join(draw(st.sampled_from(ARGUMENTS[kind])) for kind in function.parameters[1:])
        source += f".{function.name}({given})"
    return source


@settings(max_examples=600, deadline=None)
@given(source=chains(), data=DATA, rows=ROWS)
def test_what_is_selected_here_is_what_the_engine_gives(source: str, data: Any, rows: Any) -> None:
    """Chains of our functions are not handed to the engine; nobody may be able to tell, or replay would differ."""
    expression = compile_expression(source, pointer="", allowed=ROOTS)
    in_engine = msgspec.structs.replace(expression, selection=(), calls=())

    def outcome(one: Expression) -> tuple[str, Any]:
        try:
            return "value", canonical(one.evaluate({"inputs": {"data": data, "rows": rows}}))
        except ExpressionError as error:
            return "error", (error.code, error.message, error.hint)

    assert outcome(expression) == outcome(in_engine)


def test_long_lists_are_worked_on_without_growing() -> None:
    """The engine leaks what it hands to functions: six megabytes each time that these rows go through it."""
    rows = [{"bytes": number + 10_000_000} for number in range(10_000)]
    expression = compile_expression("nodes.l.pluck('bytes').sum()", pointer="", allowed=ROOTS)
    expression.evaluate({"nodes": {"l": rows}})
    before = psutil.Process().memory_info().rss
    for _ in range(20):
        expression.evaluate({"nodes": {"l": rows}})
    assert psutil.Process().memory_info().rss - before < 20 * 2**20


MAPS = st.dictionaries(TEXTS, SCALARS | st.dictionaries(TEXTS, SCALARS, max_size=5), min_size=2, max_size=30)
OVER_MAPS = [
    "inputs.data.map(k, k)",
    "inputs.data.map(k, k != 'a', [k])",
    "inputs.data.filter(k, k != 'a')",
    "inputs.data.map(k, inputs.data[k])",
    "[inputs.data, {'x': inputs.data}].map(m, m.map(k, k))",
    "inputs.data.map(k, {k: type(inputs.data[k]) == map ? inputs.data[k].map(i, i) : []})",
    "cel.bind(m, inputs.data.merge({'x': 1, 'y': 2}), m.map(k, k))",
    "inputs.?data.orValue({}).map(k, k)",
    "(true ? inputs.data : []).map(k, k)",
    "true ? inputs.data.map(k, k) : 'another type'",
    "inputs.data. // a comment\nmap(k, k)",
    "inputs.data.map(k, k).map(k, k)",
    "{'b': 1, 'a': 2, 'd': 3, 'c': 4}.map(k, k)",
    "{'b': inputs.data, 'a': 2, 'd': 3, 'c': {'f': 1, 'e': 2}}",
    "[inputs.data].map(m, m)",
    "text({'a': inputs.data, 'x': 1})",
    "'%s'.format([inputs.data])",
]
ELSEWHERE = """
import sys
import msgspec
from workflows.core.expressions import ROOTS, compile_expression
source, maps = msgspec.json.decode(sys.stdin.buffer.read())
expressions = [compile_expression(one, pointer="", allowed=ROOTS) for one in source]
values = [[one.evaluate({"inputs": {"data": data}}) for one in expressions] for data in maps]
sys.stdout.buffer.write(msgspec.json.encode(values))
"""


@settings(max_examples=3, deadline=None)
@given(st.lists(MAPS, min_size=15, max_size=15))
def test_maps_are_gone_over_in_the_same_order_in_every_process(maps: list[dict[str, Any]]) -> None:
    given = msgspec.json.encode([OVER_MAPS, maps])
    told = {
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            cwd=Path(__file__).parents[3],
            input=given,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(told) == 1
    for data, values in zip(maps, msgspec.json.decode(told.pop()), strict=True):
        assert values[0] == sorted(data) == values[10]
        assert values[2] == [key for key in sorted(data) if key != "a"]
        assert canonical(values[3]) == canonical([data[key] for key in sorted(data)])


def test_lists_are_gone_over_as_they_are() -> None:
    rows = [{"n": 3, "tags": ["z", "a"]}, {"n": 1, "tags": []}, {"n": 2, "tags": ["m"]}]
    assert evaluate("inputs.rows.map(r, r.tags)", inputs={"rows": rows}) == [["z", "a"], [], ["m"]]
    assert evaluate("inputs.rows.map(r, r.tags.map(t, t + '!'))", inputs={"rows": rows}) == [["z!", "a!"], [], ["m!"]]
    assert evaluate("inputs.rows.filter(r, r.n > 1).map(r, r.n)", inputs={"rows": rows}) == [3, 2]
    assert evaluate("inputs.rows.exists_one(r, r.n == 2)", inputs={"rows": rows}) is True


@pytest.mark.parametrize("source", ["inputs.n.map(x, x)", "'text'.map(x, x)", "inputs.gone.map(x, x)"])
def test_only_lists_and_maps_are_gone_over(source: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(source, inputs={"n": 1})
