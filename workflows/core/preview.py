"""What an expression or a template gives on given values: the same engine and the same errors as in a run (pure)."""

from __future__ import annotations

from typing import Any

from workflows.core import metering
from workflows.core.errors import AobError
from workflows.core.expressions import compile_expression
from workflows.core.templates import compile_template

ROOTS = frozenset({"inputs", "nodes", "run", "item", "index", "iteration", "last", "output"})


def preview(kind: str, text: Any, scope: dict[str, Any]) -> Any:
    """The value. Raises AobError for what cannot be compiled or evaluated, or is more work than a preview may be."""
    with metering.for_previews():
        return _evaluated(kind, text, scope)


def _evaluated(kind: str, text: Any, scope: dict[str, Any]) -> Any:
    allowed = ROOTS.intersection(scope)
    variables = {name: scope[name] for name in allowed}
    if kind == "expression":
        if not isinstance(text, str):
            raise AobError("expression_syntax", "An expression is text.", "/text")
        return compile_expression(text, pointer="", allowed=allowed).evaluate(variables)
    template = compile_template(text, pointer="", allowed=allowed)
    most = len(template.expressions) * metering.weight(variables)
    if most > metering.MAX_MADE:
        raise AobError(
            "expression_limit",
            f"{len(template.expressions)} expressions on this scope could make {most} bytes; a preview makes at most "
            f"{metering.MAX_MADE}.",
            "/text",
        )
    return template.evaluate(variables)
