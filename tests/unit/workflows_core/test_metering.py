"""What one evaluation may make and read, and that nobody can tell whether it was measured."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from workflows.core import metering
from workflows.core.canonical import canonical
from workflows.core.errors import AobError
from workflows.core.expressions import Expression, ExpressionError, compile_expression
from workflows.core.metering import MAX_MADE, PREVIEW_SHARE
from workflows.core.preview import preview

ROOTS = frozenset({"inputs", "nodes"})
DATA = {
    "s": "a,b,ä,😀",
    "e": "",
    "l": ["x", "y", ""],
    "mixed": ["x", 1, 2.5, None, True, {"b": 1, "a": [2]}],
    "n": 3,
    "f": 0.5,
    "m": {"b": 1, "a": "z"},
}
GIVEN = (
    "inputs.s",
    "inputs.e",
    "inputs.l",
    "inputs.mixed",
    "inputs.n",
    "inputs.f",
    "inputs.m",
    "dyn(null)",
    "'a'",
    "','",
    "dyn(-1)",
)


def compiled(source: str) -> Expression:
    return compile_expression(source, pointer="/x", allowed=ROOTS)


def outcome(expression: Expression, *, measured: bool) -> tuple[str, Any]:
    data = {"inputs": DATA}
    try:
        return "value", canonical(expression._measured(data) if measured else expression.evaluate(data))
    except ExpressionError as error:
        return "error", (error.code, error.message, error.hint)


@pytest.mark.parametrize(
    "form",
    [
        "{a}.replace({b}, 'x')", "{a}.replace('', {b})", "inputs.s.replace({a}, {b}, 1)",
        "inputs.s.replace(',', '-', {a})", "[{a}].map(i, optional.of(i).orValue(1))", "[{a}].map(i, type(i) == int)",
        "[{a}].map(i, type(i)).map(t, t == int)",
        "{a}.join()", "{a}.join({b})", "{a}.split({b})", "inputs.s.split({a}, 2)", "inputs.s.split(',', {a})",
        "{a}.matches({b})", "matches({a}, {b})", "'%s and %d'.format([{a}, {b}])", "'%.2f %x %e'.format([{a}, {b}, {a}])",
        "'%s'.format({a})", "{a} + {b}", "[{a}] + [{b}]", "[1, 2].map(i, {a} + {b})", "[{a}, {b}].map(i, i + i)",
        "[{a}, {b}].filter(i, i != null).map(i, string(i)).join(',')", "cel.bind(t, {a}, t + t)", "dyn({a}).map(k, k)",
        "inputs.l.exists(i, i + 'x' == {a})", "inputs.l.all(i, i.matches({a}))", "inputs.mixed.map(i, [i, {a}])",
        "inputs.m.map(k, k + k).join({a})", "{a} - {b}",
    ],
)  # fmt: skip
def test_nobody_can_tell_whether_an_evaluation_was_measured(form: str) -> None:
    for one in GIVEN:
        for other in GIVEN if "{b}" in form else GIVEN[:1]:
            expression = compiled(form.replace("{a}", one).replace("{b}", other))
            assert outcome(expression, measured=True) == outcome(expression, measured=False), expression.source


def test_times_and_durations_pass_through_a_measured_evaluation() -> None:
    for source in (
        "string(timestamp('2029-12-31T00:00:00Z') + duration('1h'))",
        "[duration('1h')].map(d, string(d + d))",
        "'%s'.format([timestamp('2029-12-31T00:00:00Z')])",
    ):
        expression = compiled(source)
        assert outcome(expression, measured=True) == outcome(expression, measured=False), source


@pytest.mark.parametrize(
    "source",
    [
        "inputs.s.replace('a', inputs.s).size()",
        "inputs.s.replace('', inputs.s).size()",
        "cel.bind(t, inputs.s.replace('a', inputs.s), t.replace('a', t)).size()",
        "range(9000).map(x, inputs.s + 'b').size() + range(9000).map(x, inputs.s + 'b').join('').size()",
        "range(9000).map(x, range(9000)).size()",
        "range(9000).map(x, inputs.s.split('')).size()",
        "range(9000).map(x, inputs.s.matches('(a|b)*c')).size()",
        "range(9000).map(x, hash.sha256(inputs.s)).size()",
        "range(9000).map(x, inputs.s)",
        "inputs.l.map(x, inputs.s)",
        "inputs.l.join(inputs.s).size()",
        "range(9000).map(x, '%s'.format([inputs.s])).size()",
        "[" + ",".join(["inputs.s"] * 900) + "]",
    ],
)
def test_what_would_make_gigabytes_is_refused_by_the_name_of_its_limit(source: str) -> None:
    data = {"inputs": {"s": "a" * 300_000, "l": ["x"] * 3_000}}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ExpressionError) as refused:
        compiled(source).evaluate(data)
    assert refused.value.code == "expression_limit" and "is the limit" in refused.value.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024, "kilobytes"


def test_a_preview_may_do_less_than_a_run() -> None:
    scope = {"inputs": {"s": "a" * 4_000}}
    source = "inputs.s.replace('a', inputs.s).size()"
    assert compiled(source).evaluate(scope) == 16_000_000
    with pytest.raises(ExpressionError, match=f"more than {MAX_MADE // PREVIEW_SHARE} bytes"):
        preview("expression", source, scope)
    assert preview("expression", source, {"inputs": {"s": "a" * 100}}) == 10_000


def test_a_preview_of_a_template_is_bounded_as_a_whole() -> None:
    template = ["{{ inputs.s }} and {{ inputs.s }}"] * 200
    assert preview("template", template, {"inputs": {"s": "a"}}) == ["a and a"] * 200
    with pytest.raises(AobError, match="a preview makes at most"):
        preview("template", template, {"inputs": {"s": "a" * 1_000_000}})


@pytest.mark.parametrize(
    "source",
    [
        "inputs.n + 1", "inputs.s + ' and ' + inputs.s", "inputs.l.join(', ')", "inputs.s.matches('^a')", "range(9000)",
        "'%d items'.format([inputs.n])", "inputs.n > 3 ? inputs.s : 'x'", "inputs.l.pluck('a').sum()",
    ],
)  # fmt: skip
def test_plain_expressions_are_not_even_looked_at(source: str) -> None:
    assert not compiled(source).traits.matter


@pytest.mark.parametrize(
    "source",
    [
        "inputs.rows.map(e, '- ' + e.key + ': ' + string(e.value)).join('\\n')",
        "inputs.rows.filter(r, r.key.matches('^k[0-9]+$')).map(r, {'key': r.key, 'sum': r.value + 1})",
        "inputs.rows.map(r, r.key.replace('k', 'key ')).join(', ')",
        "range(10).map(i, i * i)",
    ],
)
def test_usual_loops_are_not_measured(source: str) -> None:
    rows = [{"key": f"k{number}", "value": number} for number in range(300)]
    assert compiled(source).traits.is_safe({"inputs": {"rows": rows}})


def test_a_budget_begins_anew_with_each_evaluation_and_ends_with_it() -> None:
    scope = {"inputs": {"s": "a" * 9_000}}
    for _ in range(5):
        assert compiled("inputs.s.replace('a', inputs.s).size()").evaluate(scope) == 81_000_000
    assert not metering._budget.active
