"""The node-type registry: every type declares in one place what the validator, the compiler, the editor's
palette and forms, the documentation and the agents' prompts need to know about it.

A plugin adds a type through the entry-point group `aob.node_types`; the object is a `NodeType`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

import msgspec

from workflows.core.errors import AobError

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


class ErrorNote(msgspec.Struct, frozen=True):
    """An error that a node may end with: its stable code, what happened, and what to do about it.

    `transient` says that a retry policy of `transient` errors makes another attempt.
    """

    code: str
    meaning: str
    hint: str
    transient: bool = False


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A config with what it gives. `inputs` and `nodes` are what is in scope of it; `port` is the way it leaves by."""

    title: str
    config: dict[str, Any]
    result: Any
    inputs: dict[str, Any] = {}
    nodes: dict[str, Any] = {}
    port: str = "out"


class NodeType(msgspec.Struct, frozen=True, kw_only=True):
    """One node type.

    `parts` tells how each config key is read: `template` (JSON with `{{ }}`, the default), `expression`
    (one CEL expression), `literal` (taken as it stands) or `cases` (a switch's list). `run` is the pure
    node's function; effect nodes have an executor of the same name in the worker instead. `retry` and
    `timeout` (seconds) are the defaults of effect nodes. `plane` names the workers that execute it. `check` says what
    is wrong with a config, and where, that its schema cannot say.
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
    check: Callable[[Mapping[str, Any], str], Sequence[AobError]] | None = None
    retry: str = "none"
    timeout: float | None = None
    plane: str = "runner"
    example: dict[str, Any] = {}
    examples: tuple[Example, ...] = ()
    errors: tuple[ErrorNote, ...] = ()

    @property
    def is_task(self) -> bool:
        """True when a worker executes it."""
        return self.kind in ("effect", "agent")

    def all_errors(self) -> tuple[ErrorNote, ...]:
        """Its own errors, then those that every node of its kind may end with."""
        return (*self.errors, *(TASK_ERRORS if self.is_task else ()), *COMMON_ERRORS)


COMMON_ERRORS = (
    ErrorNote(
        "expression_failed",
        "An expression met something that is not there, or of another type than it expects.",
        "The message names the expression. Test with has(…), or use get(value, 'path', default).",
    ),
    ErrorNote(
        "expression_limit",
        "An expression does more work than it may.",
        "Use where(), pluck(), group(), countBy() or sum() on long lists, a map node, or a function node.",
    ),
    ErrorNote(
        "expression_not_boolean",
        "A condition gives something that is neither true nor false.",
        "Compare the value with something.",
    ),
    ErrorNote(
        "output_too_large",
        "A value is larger than AOB_MAX_VALUE_BYTES.",
        "Write it as a blob (function blob.write) and hand on the reference, or raise the setting.",
    ),
)

TASK_ERRORS = (
    ErrorNote(
        "timeout",
        "An attempt took longer than the node's timeout.",
        "Raise the node's timeout, or let the work be done in smaller parts.",
        transient=True,
    ),
    ErrorNote(
        "worker_lost",
        "The worker ended three times while it executed this node, so it is not tried again.",
        "Look for what ends it, usually memory; then replay the dead letter.",
    ),
    ErrorNote(
        "executor_error",
        "The executor has a defect. The traceback stands in the error's details.",
        "Report it; with another config the node may work.",
    ),
)


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
