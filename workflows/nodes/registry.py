"""The node-type registry: every type declares in one place what the validator, the compiler, the editor's
palette and forms, the documentation and the agents' prompts need to know about it.

A plugin adds a type through the entry-point group `aob.node_types`; the object is a `NodeType`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

import msgspec

Kind = Literal["pure", "effect", "wait", "structure", "agent"]
Part = Literal["template", "expression", "literal", "cases"]


class Resolver(Protocol):
    """Gives the value of one config key in the scope of the activation; unresolved keys cost nothing."""

    def __call__(self, key: str) -> Any: ...

    @property
    def config(self) -> Mapping[str, Any]: ...


class Outcome(msgspec.Struct, frozen=True):
    """What a pure node gives: its output, the port it leaves by, and a log line (level, message) if any."""

    output: Any
    port: str = "out"
    log: tuple[str, str] | None = None


class NodeType(msgspec.Struct, frozen=True, kw_only=True):
    """One node type.

    `parts` tells how each config key is read: `template` (JSON with `{{ }}`, the default), `expression`
    (one CEL expression), `literal` (taken as it stands) or `cases` (a switch's list). `run` is the pure
    node's function; effect nodes have an executor of the same name in the worker instead. `retry` and
    `timeout` (seconds) are the defaults of effect nodes. `plane` names the workers that execute it.
    """

    name: str
    kind: Kind
    title: str
    help: str
    icon: str
    category: str
    config_schema: dict[str, Any]
    output_schema: dict[str, Any]
    ports: tuple[str, ...] = ("out",)
    parts: dict[str, Part] = {}
    run: Callable[[Resolver], Outcome] | None = None
    retry: str = "none"
    timeout: float | None = None
    plane: str = "runner"
    example: dict[str, Any] = {}

    @property
    def is_task(self) -> bool:
        """True when a worker executes it."""
        return self.kind in ("effect", "agent")


def template_string(**more: Any) -> dict[str, Any]:
    """The JSON Schema of a string that may hold `{{ expressions }}`."""
    return {"type": "string", **more}


def config_object(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """The JSON Schema of a closed config object."""
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
        **more,
    }


@cache
def node_types() -> dict[str, NodeType]:
    """Every known node type by name, built-in ones first; a plugin may not replace a built-in type."""
    from workflows.nodes import builtin

    known = {node_type.name: node_type for node_type in builtin.NODE_TYPES}
    for point in sorted(entry_points(group="aob.node_types"), key=lambda point: point.name):
        plugin = point.load()
        if isinstance(plugin, NodeType) and plugin.name not in known:
            known[plugin.name] = plugin
    return known
