"""What an expression sees at a place in a run: exactly the roots and outputs that it names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from runs.core import paths
from runs.core.state import State
from runs.core.values import Values
from workflows.core.expressions import Expression
from workflows.core.ir import CompiledConfig
from workflows.core.templates import Template

Part = Expression | Template


def instant(microseconds: int) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def variables(
    state: State, values: Values, frame: str, part: Part, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The variables for one expression or template evaluated inside `frame`.

    `extra` gives what only some places have (`output`, `error`, `iteration`, `last`).
    """
    found: dict[str, Any] = dict(extra or {})
    roots = part.roots
    if "inputs" in roots:
        found["inputs"] = values.load(state.inputs)
    if "run" in roots:
        found["run"] = {"id": state.run_id, "started_at": instant(state.started_at), "attempt": state.attempt}
    if "nodes" in roots:
        found["nodes"] = _outputs(state, values, frame, part.node_refs)
    if roots & {"item", "index", "iteration", "last"}:
        _add_repetition(state, values, frame, found)
    return found


def _outputs(state: State, values: Values, frame: str, names: frozenset[str] | None) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for path in paths.enclosing(frame):
        known = state.frames[path].outputs
        for name in known if names is None else names & known.keys():
            if name not in outputs:
                outputs[name] = values.load(known[name])
    return outputs


def _add_repetition(state: State, values: Values, frame: str, found: dict[str, Any]) -> None:
    for path in paths.enclosing(frame):
        if not path:
            return
        owner, index = paths.owner(path)
        activation = state.active[owner]
        if activation.kind == "map" and "index" not in found:
            found["index"] = index
            found["item"] = values.load(activation.items or [[]])[index]
        elif activation.kind == "loop" and "iteration" not in found:
            found["iteration"] = index
            found["last"] = values.load(activation.last) if activation.last is not None else None


class NodeResolver:
    """Evaluates config keys of one node, each only when it is asked for."""

    def __init__(
        self, compiled: CompiledConfig, scope: Callable[[Part], dict[str, Any]], evaluate: Callable[..., Any]
    ) -> None:
        self._compiled = compiled
        self._scope = scope
        self._evaluate = evaluate

    @property
    def config(self) -> dict[str, Any]:
        return self._compiled.literal

    def __call__(self, key: str) -> Any:
        if key == "cases":
            for name, when in self._compiled.cases:
                if self._evaluate(when, self._scope(when)) is True:
                    return name
            return "default"
        if key in self._compiled.literal:
            return self._compiled.literal[key]
        part = self._compiled.parts.get(key)
        return None if part is None else part.evaluate(self._scope(part))

    def whole(self) -> dict[str, Any]:
        """The complete config of an effect node, every expression evaluated."""
        return {key: self(key) for key in sorted(self._compiled.literal.keys() | self._compiled.parts.keys())}
