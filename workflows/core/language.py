"""Everything that an expression may call, with signatures, help and examples: CEL's own and AOB's.

One source for completion in the editor, for the reference page and for agents. Every example is a test.
"""

from __future__ import annotations

from typing import Any

import msgspec

from workflows.core.functions import FUNCTIONS


class Callable(msgspec.Struct, frozen=True):
    """Something to call. `on` is what `x.f(…)` may be called on: a CEL type name; None where it is `f(…)` alone.

    `both` says that it may be called either way.
    """

    name: str
    signature: str
    help: str
    example: str
    result: Any
    on: str | None = None
    both: bool = False


def _of_cel(signature: str, help_: str, example: str, result: Any, on: str | None = None) -> Callable:
    return Callable(signature.split("(")[0], signature, help_, example, result, on)


STANDARD = (
    _of_cel("has(field)", "Whether a field is there.", "has({'a': 1}.a)", True),
    _of_cel("size(value)", "Characters of a text, entries of a list or map.", "size([1, 2])", 2),
    _of_cel("string(value)", "As text.", "string(3)", "3"),
    _of_cel("int(value)", "As a whole number; what is behind the point falls off.", "int('3')", 3),
    _of_cel("double(value)", "As a number with a fraction.", "double('2.5')", 2.5),
    _of_cel("bool(value)", "As true or false.", "bool('true')", True),
    _of_cel("type(value)", "The type of a value, to compare.", "type(1) == int", True),
    _of_cel("duration(text)", "A span of time.", "duration('90m') > duration('1h')", True),
    _of_cel(
        "timestamp(text)",
        "A moment.",
        "timestamp('2026-01-01T00:00:00Z') + duration('1h')",
        "2026-01-01T01:00:00Z",
    ),
    _of_cel("cel.bind(name, value, expression)", "Names a value for use behind it.", "cel.bind(x, 2, x * x)", 4),
    _of_cel("math.greatest(a, b)", "The larger one.", "math.greatest(1, 2)", 2),
    _of_cel("math.least(a, b)", "The smaller one.", "math.least(1, 2)", 1),
    _of_cel("math.abs(number)", "Without its sign.", "math.abs(-2)", 2),
    _of_cel("math.ceil(number)", "The next whole number above.", "math.ceil(1.2)", 2.0),
    _of_cel("math.floor(number)", "The next whole number below.", "math.floor(1.8)", 1.0),
    _of_cel("base64.encode(bytes)", "As base64.", "base64.encode(b'hi')", "aGk="),
    _of_cel("map(x, expression)", "Something made of each.", "[1, 2].map(x, x * 2)", [2, 4], "list"),
    _of_cel("filter(x, condition)", "Those for which it is true.", "[1, 2].filter(x, x > 1)", [2], "list"),
    _of_cel("all(x, condition)", "Whether it is true for all.", "[1, 2].all(x, x > 0)", True, "list"),
    _of_cel("exists(x, condition)", "Whether it is true for one at least.", "[1, 2].exists(x, x > 1)", True, "list"),
    _of_cel(
        "exists_one(x, condition)", "Whether it is true for exactly one.", "[1, 2].exists_one(x, x > 1)", True, "list"
    ),
    _of_cel("join(separator)", "One text of many.", "['a', 'b'].join('-')", "a-b", "list"),
    _of_cel("size()", "How many entries or characters.", "'abc'.size()", 3, "dyn"),
    _of_cel("contains(text)", "Whether the text is in it.", "'abc'.contains('b')", True, "string"),
    _of_cel("startsWith(text)", "Whether it begins so.", "'abc'.startsWith('a')", True, "string"),
    _of_cel("endsWith(text)", "Whether it ends so.", "'abc'.endsWith('c')", True, "string"),
    _of_cel("matches(pattern)", "Whether an RE2 pattern is found.", "'a1'.matches('[0-9]')", True, "string"),
    _of_cel("split(separator)", "Its parts.", "'a,b'.split(',')", ["a", "b"], "string"),
    _of_cel("trim()", "Without spaces at its ends.", "' a '.trim()", "a", "string"),
    _of_cel("replace(old, new)", "With another text in the place of one.", "'aba'.replace('a', 'c')", "cbc", "string"),
    _of_cel("substring(from, to)", "A part of it.", "'abcd'.substring(1, 3)", "bc", "string"),
    _of_cel("indexOf(text)", "Where it begins in it; -1 where it does not.", "'abc'.indexOf('c')", 2, "string"),
    _of_cel("format(values)", "With %s, %d, %.2f filled in.", "'%s: %d'.format(['a', 1])", "a: 1", "string"),
    _of_cel("charAt(index)", "One character.", "'abc'.charAt(1)", "b", "string"),
)


def callables() -> list[Callable]:
    """All of them: CEL's first."""
    own = []
    for function in FUNCTIONS:
        called = f"{function.name}({', '.join(function.parameters)})"
        member = f"{function.name}({', '.join(function.parameters[1:])})"
        own.append(
            Callable(
                function.name,
                member if function.member else called,
                function.help,
                function.example,
                function.result,
                function.parameters[0] if function.member else None,
                function.member,
            )
        )
    return [*STANDARD, *own]
