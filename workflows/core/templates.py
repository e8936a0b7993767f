"""`{{ expressions }}` in JSON: a string that is one expression gives its typed value, others interpolate.

A value is never evaluated twice: what an expression gives stays data, `{{` in it included (hazard L5).
To write `{{` itself, write `{{ "{{" }}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from workflows.core.canonical import canonical
from workflows.core.errors import AobError
from workflows.core.expressions import Expression, ExpressionError, compile_expression


class TemplateErrors(AobError):
    """Everything that is wrong with the expressions of one template."""

    def __init__(self, errors: list[ExpressionError]) -> None:
        super().__init__(errors[0].code, errors[0].message, errors[0].pointer, errors[0].hint)
        self.errors = errors


class _Text(msgspec.Struct, frozen=True, eq=False):
    """A string made of constant and computed parts."""

    parts: tuple[str | Expression, ...]


class Template(msgspec.Struct, frozen=True, eq=False):
    """Compiled JSON with expressions."""

    tree: Any
    expressions: tuple[Expression, ...]
    roots: frozenset[str]
    node_refs: frozenset[str] | None

    @property
    def constant(self) -> bool:
        return not self.expressions

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value. Raises ExpressionError."""
        return self.tree if self.constant else _evaluate(self.tree, variables)

    def pieces(self, variables: Mapping[str, Any]) -> list[tuple[bool, str]]:
        """The pieces of a text in their order, as (is computed, text). Raises ExpressionError."""
        if isinstance(self.tree, _Text):
            return [
                (False, part) if isinstance(part, str) else (True, _as_text(part.evaluate(variables)))
                for part in self.tree.parts
            ]
        return [(not self.constant, _as_text(self.evaluate(variables)))]


def compile_template(value: Any, *, pointer: str, allowed: frozenset[str]) -> Template:
    """Compiles every expression in a JSON value. Raises TemplateErrors with all that are wrong."""
    expressions: list[Expression] = []
    errors: list[ExpressionError] = []
    tree = _compile(value, pointer, allowed, expressions, errors)
    if errors:
        raise TemplateErrors(errors)
    refs = [expression.node_refs for expression in expressions]
    known = [names for names in refs if names is not None]
    return Template(
        tree=tree,
        expressions=tuple(expressions),
        roots=frozenset().union(*(expression.roots for expression in expressions)),
        node_refs=frozenset().union(*known) if len(known) == len(refs) else None,
    )


def _compile(
    value: Any,
    pointer: str,
    allowed: frozenset[str],
    expressions: list[Expression],
    errors: list[ExpressionError],
) -> Any:
    if isinstance(value, dict):
        return {
            key: _compile(part, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", allowed, expressions, errors)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_compile(part, f"{pointer}/{number}", allowed, expressions, errors) for number, part in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    parts: list[str | Expression] = []
    try:
        for is_expression, text in split(value, pointer):
            if not is_expression:
                parts.append(text)
                continue
            expression = compile_expression(text.strip(), pointer=pointer, allowed=allowed)
            expressions.append(expression)
            parts.append(expression)
    except ExpressionError as error:
        errors.append(error)
        return value
    return parts[0] if len(parts) == 1 else _Text(tuple(parts))


def split(text: str, pointer: str) -> list[tuple[bool, str]]:
    """The constant and the computed parts of a string, as (is expression, text)."""
    parts: list[tuple[bool, str]] = []
    place = 0
    while (start := text.find("{{", place)) >= 0:
        if start > place:
            parts.append((False, text[place:start]))
        end = _end_of_expression(text, start + 2)
        if end < 0:
            raise ExpressionError(
                "expression_syntax",
                "An expression opened with {{ is not closed.",
                pointer,
                "Close it with }}.",
            )
        parts.append((True, text[start + 2 : end]))
        place = end + 2
    if place < len(text):
        parts.append((False, text[place:]))
    return parts


def _end_of_expression(text: str, place: int) -> int:
    """Where the closing braces stand: not inside quotes, and not those of a CEL map."""
    depth = 0
    quote = ""
    while place < len(text):
        letter = text[place]
        if quote:
            if letter == "\\":
                place += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter == "{":
            depth += 1
        elif letter == "}":
            if depth == 0:
                return place if text[place + 1 : place + 2] == "}" else -1
            depth -= 1
        place += 1
    return -1


def _evaluate(tree: Any, variables: Mapping[str, Any]) -> Any:
    kind = type(tree)
    if kind is Expression:
        return tree.evaluate(variables)
    if kind is dict:
        return {
            key: part.evaluate(variables) if type(part) is Expression else _evaluate(part, variables)
            for key, part in tree.items()
        }
    if kind is list:
        return [_evaluate(part, variables) for part in tree]
    if kind is _Text:
        return "".join(part if isinstance(part, str) else _as_text(part.evaluate(variables)) for part in tree.parts)
    return tree


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value).decode()
