"""New runs: rows and first events, for callers and for parents alike, written in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings

from runs.core import agents as agent_rules
from runs.core import paths
from runs.core.events import RULES, Event
from runs.core.fold import apply
from runs.core.state import Limits, State
from runs.core.values import Value, Values, get, put
from runs.irs import ir_of
from runs.store import Birth, Change, Held, RunRow
from workflows.core import influence
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.ir import WorkflowIR
from workflows.core.schemas import apply_defaults
from workflows.services import document_limits, pins_of

MAX_DEPTH = 16
"""So deep may runs be nested in sub-workflows."""


PLAIN = Birth()
"""A new run without labels that was forked from none."""


class InputsInvalid(AobError):
    """The inputs do not fit the workflow's schema; `problems` says where."""

    def __init__(self, problems: Sequence[AobError]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__("inputs_invalid", f"The inputs do not fit: {first.message}{more}", first.pointer, first.hint)
        self.problems = list(problems)


def checked_inputs(ir: WorkflowIR, inputs: Any, pointer: str = "/inputs") -> Any:
    """The inputs with the schema's defaults filled in. Raises InputsInvalid."""
    filled = apply_defaults(ir.inputs_schema, inputs)
    if ir.inputs is not None:
        problems = ir.inputs.problems(filled, pointer=pointer)
        if problems:
            raise InputsInvalid(problems)
    return filled


def new_run(
    run_id: str,
    ir: WorkflowIR,
    inputs: Any,
    *,
    now: int,
    priority: int = 1,
    parent: tuple[str, str] | None = None,
    brought_by: Sequence[str] = (),
    depth: int = 0,
    agents: int | None = None,
    birth: Birth = PLAIN,
    by: str | None = None,
    before: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> tuple[Change, Values]:
    """A run with its first event, in memory. `inputs` must be checked; `agents` is what a parent promised of its own,
    `by` who started it, or its parent; `before` are those who started the runs that it was forked from. `brought_by` are
    the parent's agents whose patches brought its node.
    """
    values = Values()
    data: dict[str, Any] = {"run": run_id, "workflow": ir.name, "version": ir.version, "rules": RULES}
    put(data, "inputs", _stored(inputs, values))
    max_agents = ir.max_agents if agents is None else min(agents, ir.max_agents)
    data["limits"] = _limits(
        settings.AOB_MAX_VALUE_BYTES, settings.AOB_MAX_ITEMS, document_limits().max_nodes, max_agents
    )
    if ir.subworkflows:
        data["pins"] = pins_of(ir)
    if ir.timeout is not None:
        data["timeout_at"] = now + round(ir.timeout * 1_000_000)
    if by is not None:
        data["by"] = by
    if before:
        data["started_before"] = list(before)
    if parent is not None:
        data["parent"] = {"run": parent[0], "node": parent[1]}
        if brought_by:
            data["parent"]["brought_by"] = list(brought_by)
    data.update(extra or {})
    event = Event(1, "RunStarted", now, None, data)
    state = State()
    apply(state, event, ir_of)
    parent_run, parent_node = parent or (None, None)
    row = RunRow(run_id, ir.name, ir.version, "queued", priority, parent_run, parent_node, depth, 0)
    return Change(row, Held(state), [event], values.new, birth), values


def _stored(inputs: Any, values: Values) -> Value:
    limit = settings.AOB_MAX_VALUE_BYTES
    try:
        return values.store(inputs, max_bytes=limit, what="The inputs")
    except LimitExceeded as error:
        raise LimitExceeded(
            "inputs_too_large",
            error.message,
            "/inputs",
            "Send large data as a blob (POST /api/v1/blobs), or raise AOB_MAX_VALUE_BYTES.",
        ) from None


@lru_cache(maxsize=256)
def _limits(max_value_bytes: int, max_items: int, max_nodes: int, max_agents: int) -> dict[str, int]:
    limits: dict[str, int] = msgspec.to_builtins(
        Limits(max_value_bytes=max_value_bytes, max_items=max_items, max_nodes=max_nodes, max_agents=max_agents)
    )
    return limits


def children_of(changes: Sequence[Change], *, now: int) -> tuple[list[Change], list[tuple[str, str | None, str]]]:
    """The runs that parents' decisions ask for, and what parents must hear of those that cannot start."""
    from runs.blobs import fetch

    born: list[Change] = []
    refused: list[tuple[str, str | None, str]] = []
    for change in changes:
        for event in change.events:
            if event.type != "ChildStarted" or event.node not in change.held.state.active:
                continue
            values = Values(fetch)
            values.new = change.values
            inputs = values.load(get(event.data, "inputs") or [{}])
            try:
                ir = ir_of(event.data["version"])
                if change.row.depth >= MAX_DEPTH:
                    raise LimitExceeded("limit_depth", f"Runs are nested deeper than {MAX_DEPTH} sub-workflows.")
                child, _ = new_run(
                    event.data["child"],
                    ir,
                    checked_inputs(ir, inputs),
                    now=now,
                    priority=change.row.priority,
                    parent=(change.row.id, event.node),
                    brought_by=agent_rules.brought_by(change.held.state, event.node),
                    depth=change.row.depth + 1,
                    agents=event.data.get("agents", 0),
                    by=change.held.state.started_by,
                    extra={"outside": True} if _hands_on(change.held.state, event, ir) else None,
                    before=change.held.state.started_before,
                )
            except AobError as error:
                data = {"child": event.data["child"], "status": "failed", "error": error.as_dict()}
                refused.append((change.row.id, event.node, msgspec.json.encode(data).decode()))
                continue
            born.append(child)
    return born, refused


def _hands_on(state: State, event: Event, child: WorkflowIR) -> bool:
    """Whether a child that has agents gets values from outside: they are tainted by them as its parent's are (L2)."""
    if child.agents == 0 and not child.subworkflows:
        return False
    ir = ir_of(state.version)
    read, roots = influence.sources(ir, paths.graph_key(event.node or ""), only=("inputs",))
    return influence.comes_from_outside(read, ir) or ("inputs" in roots and state.outside)
