"""Optionals are used up where they arise; the engine would end the process when a function of ours got one."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.core.expressions import ExpressionError, compile_expression


def evaluate(source: str) -> Any:
    return compile_expression(source, pointer="/x", allowed=frozenset({"inputs"})).evaluate({"inputs": {"a": 1}})


@pytest.mark.parametrize(
    "source",
    [
        "text(optional.of(1))", "text(inputs.?a)", "inputs.?a.text()", "text(inputs.?a.b)", "json.text(optional.none())",
        "get(optional.of(1), 'a', 1)", "text([optional.of(1)])", "[optional.of(1)]", "{'a': inputs.?a}.map(k, k)",
        "dyn(optional.of(1)).text()", "cel.bind(o, inputs.?a, text(o))",
        "text(inputs.a == 1 ? inputs.?a : optional.none())",
        "[1].map(i, optional.of(i)).map(i, text(i))", "text(inputs.?a.optMap(v, v + 1))", "inputs[?'a'].text()",
        "optional.of([optional.of(1)]).value().sum()", "inputs.?a.or(optional.of(2)).text()",
        "[1, 2].map(i, inputs.?a + i)",
        "{'a': text(optional.of(1))}.b", "inputs.missing && text(inputs.?a) == '1'",
    ],
)  # fmt: skip
def test_an_optional_that_is_handed_on_is_refused_when_the_expression_is_compiled(source: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        evaluate(source)
    assert refused.value.code == "expression_optional" and "orValue" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("inputs.?a.orValue(2)", 1),
        ("text(inputs.?b.orValue(2))", "2"),
        ("inputs.?b.?c.or(optional.of(3)).value()", 3),
        ("cel.bind(o, inputs.?a, o.hasValue() ? text(o.value()) : 'none')", "1"),
        ("inputs.?a.optMap(v, v + 1).orValue(0)", 2),
        ("inputs.?b.optFlatMap(v, optional.of(v)).orValue(0)", 0),
        ("[?inputs.?a, ?inputs.?b]", [1]),
        ("{?'a': inputs.?a, ?'b': inputs.?b}", {"a": 1}),
        ("(inputs.a == 1 ? inputs.?a : optional.none()).orValue(0)", 1),
        ("[1, 2].map(i, inputs.?b.orValue(i))", [1, 2]),
        ("inputs.a == 1 ? [1, 2].text() : 'first and last?'", "[1,2]"),
    ],
)
def test_optionals_that_are_used_up_work(source: str, value: Any) -> None:
    assert evaluate(source) == value
