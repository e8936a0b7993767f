"""The IR: what the coordinator follows. Made by `compile`, immutable, safe to share between runs."""

from __future__ import annotations

from typing import Any

import msgspec

from workflows.core.expressions import Expression
from workflows.core.schemas import Schema
from workflows.core.templates import Template


class CompiledConfig(msgspec.Struct, frozen=True):
    """A node's config with its expressions compiled; `literal` holds the keys that are taken as they stand."""

    literal: dict[str, Any]
    parts: dict[str, Expression | Template]
    cases: tuple[tuple[str, Expression], ...] = ()

    def is_computed(self, key: str) -> bool:
        """Whether the value of a key depends on expressions."""
        part = self.parts.get(key)
        return part is not None and not (isinstance(part, Template) and part.constant)


class RetryIR(msgspec.Struct, frozen=True):
    """A retry policy in numbers: seconds between attempts, and which errors are worth another one."""

    max_attempts: int
    on: str | Expression
    base: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: bool = True
    schedule: tuple[float, ...] = ()


class EdgeIR(msgspec.Struct, frozen=True):
    id: str
    source: str
    target: str
    port: str
    when: Expression | None


class NodeIR(msgspec.Struct, frozen=True):
    """One node. `need` is how many taken edges start it; `wait_all` that all must be decided first.

    `digest` names what the document says of it, so that two versions' nodes can be compared. `review_by` are the people
    who are asked when it fails and `on_failure` is `review`.
    """

    id: str
    type: str
    pointer: str
    config: CompiledConfig
    incoming: tuple[EdgeIR, ...]
    outgoing: tuple[EdgeIR, ...]
    need: int
    wait_all: bool
    retry: RetryIR
    timeout: float | None
    on_failure: str
    continue_with: Template | None
    payload_schema: Schema | None = None
    digest: str = ""
    review_by: tuple[str, ...] = ()

    def leaves_by(self, port: str) -> bool:
        """True when an edge is drawn from this port."""
        return any(edge.port == port for edge in self.outgoing)


class GraphIR(msgspec.Struct, frozen=True):
    """One graph: the workflow's own or a body. Nodes in the order of their ids, for determinism."""

    nodes: dict[str, NodeIR]
    entries: tuple[str, ...]
    ends: tuple[str, ...]
    output: Template | None


class WorkflowIR(msgspec.Struct, frozen=True):
    """A compiled document. `graphs` maps a body's owner path without indices (`""` is the root).

    `agents` is how many agents it starts at most, those of sub-workflows not counted; None where a body repeats one.
    """

    name: str
    version: str
    graphs: dict[str, GraphIR]
    inputs: Schema | None
    inputs_schema: Any
    timeout: float | None
    max_items: int | None
    max_agents: int
    agent_limits: dict[str, Any]
    agents: int | None
    subworkflows: tuple[str, ...]
    signals: tuple[str, ...] | None
    """Names that its signal nodes wait for; None when one of them is computed."""
    has_approvals: bool = False
    assignees: tuple[tuple[str, str], ...] = ()
    """Where an approval names somebody, and whom: those that are not computed."""
