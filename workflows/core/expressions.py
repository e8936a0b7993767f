"""CEL expressions: compiled once, evaluated on exactly the data that they name, never anything but data.

The engine is Google's CEL in C++ (`cel-expr-python`); there is no way from an expression to a host object
(law 9, hazard S1). Beside the standard: mixed whole and fractional arithmetic, and `functions.FUNCTIONS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import msgspec
from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from workflows.core import metering, optionals
from workflows.core.durations import format_duration
from workflows.core.effort import Stopped, require_more
from workflows.core.errors import AobError
from workflows.core.functions import FUNCTIONS, MAX_TEXT, Function
from workflows.core.ordering import KEYS, in_order, sorted_keys

ROOTS = frozenset({"inputs", "nodes", "run", "item", "index", "iteration", "last", "output", "error", "attempt"})
MAX_SOURCE = 10_000
MAX_NESTING = 60
MAX_COMPREHENSION = 9_000
"""So many elements a list may have in an expression with map, filter, all or exists: the engine copies the
result for each element, so the cost grows with the square."""

_COMPREHENSIONS = frozenset({"map", "filter", "all", "exists", "exists_one", "transformList", "transformMap"})
_LEXEME = re.compile(
    r"""
    (?P<comment>//[^\n]*)
  | (?P<text>[bB]?[rR]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<number>[0-9][0-9A-Za-z_.]*)
  | (?P<space>\s+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


Reads = dict[str, Any]


class ExpressionError(AobError):
    """An expression that cannot be compiled or evaluated."""


class _NotSelectable(Exception):
    """The engine has to evaluate it."""


class Call(msgspec.Struct, frozen=True):
    """A function of ours, called as a member with literals: `.sortBy("value")`."""

    function: Function
    arguments: tuple[Any, ...]

    def __call__(self, value: Any) -> Any:
        """Its result, as the engine would have it. Raises _NotSelectable where the engine may object."""
        arguments = (value, *self.arguments)
        if not all(_IS_A[kind](one) for kind, one in zip(self.function.parameters, arguments, strict=True)):
            raise _NotSelectable
        try:
            result = _guarded(self.function.call)(*arguments)
        except ValueError:
            raise _NotSelectable from None
        if type(result) is int and not -(2**63) <= result < 2**63:
            raise _NotSelectable
        return result


_IS_A: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: type(value) is str,
    "int": lambda value: type(value) is int,
    "list": lambda value: type(value) is list,
    "map": lambda value: type(value) is dict,
    "dyn": lambda value: True,
}
_OURS = frozenset(function.name for function in FUNCTIONS)
_MEMBERS = {function.name: function for function in FUNCTIONS if function.member}
_NOT_PLAIN = object()
_LITERALS = {"true": True, "false": False, "null": None}


class Expression(msgspec.Struct, frozen=True, eq=False):
    """A compiled expression. `node_refs` are the ids used as `nodes.<id>`; None when `nodes` is used whole.

    `selection` are the names of an expression that only selects fields, like `nodes.fetch.body`, and may then call
    functions of ours one after another, `calls`, like `nodes.each.pluck("value").sum()`; else empty.
    `reads` says of each root which fields are read, as nested maps that end in None where all of a value is.
    """

    source: str
    pointer: str
    roots: frozenset[str]
    node_refs: frozenset[str] | None
    program: Any
    loops: bool
    traits: metering.Traits
    allowed: frozenset[str]
    selection: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    reads: Reads = msgspec.field(default_factory=dict)

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value as JSON. Raises ExpressionError and nothing else, but Stopped where its effort is bounded."""
        require_more()
        if self.selection:
            # Most expressions hand data on: selecting it here spares its way into the engine and back (and the engine
            # leaks the leaves of lists on their way into our functions). What does not work out is left to the
            # engine, so that there is one set of errors.
            try:
                selected = self._select(variables)
                return self._as_json(selected) if self.calls else selected
            except (_NotSelectable, ExpressionError):
                pass
        data = {name: _only(variables[name], read) for name, read in self.reads.items() if name in variables}
        if self.loops:
            self._check_lists(data)
        if self.traits.matter and not self.traits.is_safe(data):
            return self._measured(data)
        try:
            # CEL's own evaluation of a compiled program, not Python's.
            value = self.program.eval(data=data)
            if value.type() == cel.Type.ERROR:
                raise self._failed(str(value.plain_value()))
            return self._as_json(value.plain_value())
        except (RuntimeError, SystemError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._failed(str(error)) from None

    def _measured(self, data: Any) -> Any:
        """The same, with a budget for what is made and read."""
        try:
            with metering.measuring():
                value = _metered(self.program, self.allowed).eval(data=data)
                metering.check()
                if value.type() == cel.Type.ERROR:
                    raise self._failed(str(value.plain_value()))
                return self._as_json(metering.plain(value))
        except metering.Exceeded as error:
            raise ExpressionError(
                "expression_limit",
                f"{_short(self.source)} is too much work: {error}.",
                self.pointer,
                "Use a map node or a function node, or smaller data.",
            ) from None
        except (RuntimeError, SystemError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._failed(str(error)) from None

    def _select(self, variables: Mapping[str, Any]) -> Any:
        selected: Any = variables
        for name in self.selection:
            if type(selected) is not dict or name not in selected:
                raise _NotSelectable
            selected = selected[name]
        for call in self.calls:
            selected = call(selected)
        return selected

    def _failed(self, reason: str) -> ExpressionError:
        require_more()  # A function may have failed only because its effort is bounded.
        text = _readable(reason)
        code = "expression_limit" if "budget" in reason else "expression_failed"
        hint = None
        if "Unable to convert" in text:
            text = "the result is not JSON (an optional? use orValue(…))"
        if "construction from null" in text:
            text = "a text in the data is not valid Unicode"
        if "no field or key" in text:
            hint = "Test with has(…), or use get(value, 'path', default)."
        return ExpressionError(code, f"{_short(self.source)} failed: {text}", self.pointer, hint)

    def _check_lists(self, data: Any) -> None:
        work = [data]
        while work:
            part = work.pop()
            if isinstance(part, dict):
                work.extend(part.values())
            elif isinstance(part, list):
                if len(part) > MAX_COMPREHENSION:
                    raise ExpressionError(
                        "expression_limit",
                        f"{_short(self.source)} goes over a list of {len(part)} elements; the limit is "
                        f"{MAX_COMPREHENSION}.",
                        self.pointer,
                        "Use where(), pluck(), group(), countBy() or sum(), a map node, or a function node.",
                    )
                work.extend(item for item in part[:50] if isinstance(item, (dict, list)))

    def _as_json(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise self._failed("the result is not a finite number (was something divided by zero?)")
            return value
        if isinstance(value, list):
            return [self._as_json(item) for item in value]
        if isinstance(value, dict):
            # In order, because the engine's own is another one in each process (see `ordering`).
            keys = sorted_keys(value)
            for key in keys:
                if not isinstance(key, str):
                    raise self._failed(f"the key {key!r} of a map is not text; use string()")
            return {key: self._as_json(value[key]) for key in keys}
        if isinstance(value, datetime):
            return value.isoformat().replace("+00:00", "Z")
        if isinstance(value, timedelta):
            return format_duration(value.total_seconds())
        if isinstance(value, (bytes, bytearray)):
            raise self._failed("the result is bytes; use base64.encode(…)")
        raise self._failed(f"the result ({type(value).__name__}) is not JSON")


def compile_expression(source: str, *, pointer: str, allowed: frozenset[str]) -> Expression:
    """The compiled expression. Raises ExpressionError for bad syntax and for names that are not in scope.

    `allowed` may hold names beside `ROOTS`, where an expression is about something else than a node.
    """
    if len(source) > MAX_SOURCE:
        raise ExpressionError(
            "expression_limit",
            f"The expression has {len(source)} characters; the limit is {MAX_SOURCE}.",
            pointer,
        )
    if not source.strip():
        raise ExpressionError(
            "expression_syntax", "The expression is empty.", pointer, "Write CEL, for instance inputs.x."
        )
    try:
        compiled = _compile(source, allowed)
    except AobError as error:
        raise ExpressionError(error.code, error.message, pointer, error.hint) from None
    return msgspec.structs.replace(compiled, pointer=pointer)


# A document that is patched is compiled again whole; all but a few of its expressions are the same.
@lru_cache(maxsize=20_000)
def _compile(source: str, allowed: frozenset[str]) -> Expression:
    lexemes = _lexemes(source)
    roots = _root_names(lexemes)
    _check_scope(source, roots, allowed)
    environment = _environment(allowed)
    try:
        try:
            program = environment.compile(source)
        except RuntimeError as error:
            # CEL's checker wants both branches of a conditional to have one type; JSON needs no such rule.
            if "no matching overload" not in str(error) or "undeclared" in str(error):
                raise
            program = environment.compile(source, disable_check=True)
        if "?" in source or "optional" in source or "first" in source or "last" in source:
            optionals.check(program.serialize(), _OURS)
        loops = _has_comprehension(lexemes)
        if loops:
            program = environment.deserialize(in_order(program.serialize()))
    except optionals.HandedOn as error:
        raise ExpressionError(
            "expression_optional",
            f"{_short(source)} hands an optional {error}.",
            hint="Make a value of it first: orValue(…), or hasValue().",
        ) from None
    except (RuntimeError, UnicodeEncodeError, ValueError) as error:
        raise _compile_error(source, str(error), allowed) from None
    reads = _reads(lexemes, ROOTS | allowed)
    selection, calls = _selection(lexemes)
    return Expression(
        source=source,
        pointer="",
        roots=frozenset(reads),
        node_refs=_node_references(lexemes),
        program=program,
        loops=loops,
        traits=metering.Traits(lexemes, ROOTS | allowed),
        allowed=allowed,
        selection=selection,
        calls=calls,
        reads=reads,
    )


@lru_cache(maxsize=1_000)
def _metered(program: Any, allowed: frozenset[str]) -> Any:
    return _environment(allowed).deserialize(metering.with_meters(program.serialize()))


def _compile_error(source: str, reason: str, allowed: frozenset[str]) -> ExpressionError:
    undeclared = re.search(r"undeclared reference to '([^']*)'", reason)
    if undeclared:
        return ExpressionError(
            "expression_unknown_name",
            f"{_short(source)} uses {undeclared.group(1)!r}, which is neither in scope nor a function.",
            hint=f"In scope here: {', '.join(sorted(allowed))}.",
        )
    first = re.sub(r"\s+", " ", reason.split("\n")[0].replace("INVALID_ARGUMENT: ERROR: ", ""))
    return ExpressionError("expression_syntax", f"{_short(source)} is not CEL: {first[:300]}")


def _check_scope(source: str, roots: set[str], allowed: frozenset[str]) -> None:
    for name in sorted((roots & ROOTS) - allowed):
        raise ExpressionError(
            "expression_unknown_name",
            f"{_short(source)} uses {name!r}, which is not in scope here.",
            hint=f"In scope here: {', '.join(sorted(allowed))}.",
        )


def _lexemes(source: str) -> list[tuple[str, str]]:
    found = [
        (match.lastgroup or "other", match.group())
        for match in _LEXEME.finditer(source)
        if match.lastgroup not in ("comment", "space")
    ]
    depth = 0
    for kind, text in found:
        depth += (text in "([{") - (text in ")]}") if kind == "other" else 0
        if depth > MAX_NESTING:
            raise ExpressionError("expression_limit", f"The expression is nested deeper than {MAX_NESTING}.")
    return found


def _root_names(lexemes: list[tuple[str, str]]) -> set[str]:
    return {
        text
        for place, (kind, text) in enumerate(lexemes)
        if kind == "name" and (place == 0 or lexemes[place - 1][1] not in (".", "?."))
    }


def _has_comprehension(lexemes: list[tuple[str, str]]) -> bool:
    texts = [text for _, text in lexemes]
    return any(
        before == "." and name in _COMPREHENSIONS and after == "("
        for before, name, after in zip(texts, texts[1:], texts[2:], strict=False)
    )


def _node_references(lexemes: list[tuple[str, str]]) -> frozenset[str] | None:
    """The ids in `nodes.<id>` and `nodes["id"]`; None when `nodes` is used in any other way."""
    ids = set()
    for place, (kind, text) in enumerate(lexemes):
        if kind != "name" or text != "nodes" or (place and lexemes[place - 1][1] == "."):
            continue
        after = lexemes[place + 1 : place + 5]
        texts = [lexeme[1] for lexeme in after]
        if texts[:2] == [".", "?"]:
            del after[1], texts[1]
        if len(after) >= 2 and texts[0] == "." and after[1][0] == "name" and texts[2:3] != ["("]:
            ids.add(texts[1])
        elif len(after) >= 3 and texts[0] == "[" and after[1][0] == "text" and texts[2] == "]":
            ids.add(texts[1].strip("\"'"))
        else:
            return None
    return frozenset(ids)


def _reads(lexemes: list[tuple[str, str]], names_of_roots: frozenset[str]) -> Reads:
    """Which fields of which roots are read, so that no more than these must be handed to the engine."""
    found: Reads = {}
    for place, (kind, text) in enumerate(lexemes):
        if kind != "name" or text not in names_of_roots or (place and lexemes[place - 1][1] in (".", "?.")):
            continue
        names = [text]
        after = place + 1
        while (
            [other for _, other in lexemes[after : after + 1]] == ["."]
            and after + 1 < len(lexemes)
            and lexemes[after + 1][0] == "name"
            and [other for _, other in lexemes[after + 2 : after + 3]] != ["("]
        ):
            names.append(lexemes[after + 1][1])
            after += 2
        tree: Any = found
        for name in names[:-1]:
            tree = tree.setdefault(name, {})
            if tree is None:
                break
        else:
            tree[names[-1]] = None
    return found


def _only(value: Any, read: Reads | None) -> Any:
    """The part of a value that is read."""
    if read is None or type(value) is not dict:
        return value
    return {name: _only(value[name], inner) for name, inner in read.items() if name in value}


def _selection(lexemes: list[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[Call, ...]]:
    """The names and calls of `root.name.name.call(literal).call()`, if that is all there is; else nothing."""
    nothing: tuple[tuple[str, ...], tuple[Call, ...]] = (), ()
    texts = [text for _, text in lexemes]
    if not texts or texts[0] not in ROOTS:
        return nothing
    names, calls, place = [texts[0]], [], 1
    while place < len(lexemes):
        if texts[place] != "." or [kind for kind, _ in lexemes[place + 1 : place + 2]] != ["name"]:
            return nothing
        name, place = texts[place + 1], place + 2
        if texts[place : place + 1] == ["("] and ")" in texts[place:]:
            end = texts.index(")", place)
            call = _call(name, lexemes[place + 1 : end])
            if call is None:
                return nothing
            calls.append(call)
            place = end + 1
        elif calls:
            return nothing
        else:
            names.append(name)
    return tuple(names), tuple(calls)


def _call(name: str, between: list[tuple[str, str]]) -> Call | None:
    """The call of a member function with these arguments, if they are plain literals and as many as it takes."""
    function = _MEMBERS.get(name)
    literals, commas = between[::2], between[1::2]
    if function is None or any(text != "," for _, text in commas) or (between and len(literals) != len(commas) + 1):
        return None
    arguments = [_literal(kind, text) for kind, text in literals]
    if len(arguments) != len(function.parameters) - 1 or any(one is _NOT_PLAIN for one in arguments):
        return None
    return Call(function, tuple(arguments))


def _literal(kind: str, text: str) -> Any:
    if kind == "number" and text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    if kind == "text" and text[0] in "\"'" and text[:3] not in ('"""', "'''") and "\\" not in text:
        return text[1:-1]
    return _LITERALS.get(text, _NOT_PLAIN) if kind == "name" else _NOT_PLAIN


def _readable(reason: str) -> str:
    missing = re.search(r"Key not found in map : (.*)", reason)
    if missing:
        return f"there is no field or key {missing.group(1)}"
    mixed = re.search(r"No matching overloads found : (.*)", reason)
    if mixed:
        return f"these types do not go together: {mixed.group(1)}"
    return re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$", "", reason)[:300]


def _short(source: str) -> str:
    text = re.sub(r"\s+", " ", source)
    return f"`{text if len(text) <= 120 else text[:117] + '…'}`"


@cache
def _environment(allowed: frozenset[str]) -> Any:
    return cel.NewEnv(
        variables=dict.fromkeys(sorted(allowed), cel.Type.DYN),
        extensions=[
            cel.CelExtension("aob", [*_arithmetic(), *_functions(), _keys(), *metering.declarations()]),
            ext_strings.ExtStrings(),
            ext_math.ExtMath(),
            ext_encoders.ExtEncoders(),
            ext_bindings.ExtBindings(),
            ext_optional.ExtOptional(),
        ],
    )


def _divide(first: float, second: float) -> float:
    if second == 0:
        raise ValueError("divide by zero")
    return first / second


def _arithmetic() -> list[Any]:
    """Overloads for a whole number with a fraction, which CEL leaves out."""
    operators = {
        "_+_": lambda a, b: a + b,
        "_-_": lambda a, b: a - b,
        "_*_": lambda a, b: a * b,
        "_/_": _divide,
        "_%_": lambda a, b: math.fmod(a, b) if b else _divide(a, b),
    }
    kinds = {"int": cel.Type.INT, "double": cel.Type.DOUBLE}
    declared = []
    for symbol, call in operators.items():
        pairs = [("int", "double"), ("double", "int")]
        if symbol == "_%_":
            pairs.append(("double", "double"))
        declared.append(
            cel.FunctionDecl(
                symbol,
                [
                    cel.Overload(
                        id=f"aob_{symbol}_{a}_{b}",
                        return_type=cel.Type.DOUBLE,
                        parameters=[kinds[a], kinds[b]],
                        impl=call,
                    )
                    for a, b in pairs
                ],
            )
        )
    return declared


def _functions() -> list[Any]:
    kinds = {
        "string": cel.Type.STRING,
        "int": cel.Type.INT,
        "list": cel.Type.List(cel.Type.DYN),
        "map": cel.Type.Map(cel.Type.DYN, cel.Type.DYN),
        "dyn": cel.Type.DYN,
    }
    declared = []
    for function in FUNCTIONS:
        parameters = [kinds[name] for name in function.parameters]
        forms = [("call", False), ("member", True)] if function.member else [("call", False)]
        declared.append(
            cel.FunctionDecl(
                function.name,
                [
                    cel.Overload(
                        id=f"aob_{function.name}_{form}",
                        return_type=cel.Type.DYN,
                        parameters=parameters,
                        is_member=is_member,
                        impl=metering.metered(_guarded(function.call)),
                    )
                    for form, is_member in forms
                ],
            )
        )
    return declared


def _keys() -> Any:
    kind = cel.Type.Map(cel.Type.DYN, cel.Type.DYN)
    overload = cel.Overload(id="aob_sorted_keys", return_type=cel.Type.DYN, parameters=[kind], impl=sorted_keys)
    return cel.FunctionDecl(KEYS, [overload])


def _guarded(call: Any) -> Any:
    """Turns every failure of a function into the plain error that the engine expects."""

    def run(*arguments: Any) -> Any:
        try:
            require_more()
            result = call(*arguments)
        except Stopped as stopped:
            raise ValueError(str(stopped)) from None
        except AobError as error:
            raise ValueError(error.message) from None
        except (TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
            raise ValueError(str(error)) from None
        if isinstance(result, str) and len(result) > MAX_TEXT:
            raise ValueError(f"the text would have {len(result)} characters; the limit is {MAX_TEXT}")
        return result

    return run
