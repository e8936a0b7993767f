"""New runs: rows and first events, for callers and for parents alike, written in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg
from django.conf import settings

from runs import db
from runs.core.events import Event
from runs.core.fold import apply
from runs.core.state import Limits, State
from runs.core.values import Values, get, put
from runs.irs import ir_of
from runs.store import Change, Held, RunRow
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.ir import WorkflowIR
from workflows.core.schemas import apply_defaults
from workflows.services import pins_of

MAX_DEPTH = 16
"""So deep may runs be nested in sub-workflows."""


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
    depth: int = 0,
    extra: Mapping[str, Any] | None = None,
) -> tuple[Change, Values]:
    """A run with its first event, in memory. `inputs` must be checked."""
    values = Values()
    limits = Limits(max_value_bytes=settings.AOB_MAX_VALUE_BYTES, max_items=settings.AOB_MAX_ITEMS)
    data: dict[str, Any] = {"run": run_id, "workflow": ir.name, "version": ir.version}
    put(data, "inputs", values.store(inputs, max_bytes=limits.max_value_bytes, what="The inputs"))
    data["limits"] = msgspec.to_builtins(limits)
    if ir.subworkflows:
        data["pins"] = pins_of(ir)
    if ir.timeout is not None:
        data["timeout_at"] = now + round(ir.timeout * 1_000_000)
    if parent is not None:
        data["parent"] = {"run": parent[0], "node": parent[1]}
    data.update(extra or {})
    event = Event(1, "RunStarted", now, None, data)
    state = State()
    apply(state, event, ir_of)
    parent_run, parent_node = parent or (None, None)
    row = RunRow(run_id, ir.name, ir.version, "queued", priority, parent_run, parent_node, depth, 0)
    return Change(row, Held(state), [event], values.new), values


def insert_rows(cursor: psycopg.Cursor[Any], rows: Sequence[tuple[RunRow, str, str | None]], *, now: int) -> set[str]:
    """Inserts the rows of new runs with their labels and origin; gives the ids that were not there before."""
    cursor.execute(
        "INSERT INTO run (id, workflow, version, status, priority, labels, parent, parent_node, depth, forked_from,"
        " created_at, last_seq)"
        " SELECT u.*, %(now)s, 0 FROM unnest(%(id)s::uuid[], %(workflow)s::text[], %(version)s::text[],"
        " %(status)s::text[], %(priority)s::int[], %(labels)s::jsonb[], %(parent)s::uuid[], %(node)s::text[],"
        " %(depth)s::int[], %(forked)s::uuid[]) AS u ON CONFLICT (id) DO NOTHING RETURNING id::text",
        {
            "now": db.moment(now),
            "id": [row.id for row, _, _ in rows],
            "workflow": [row.workflow for row, _, _ in rows],
            "version": [row.version for row, _, _ in rows],
            "status": [row.status for row, _, _ in rows],
            "priority": [row.priority for row, _, _ in rows],
            "labels": [labels for _, labels, _ in rows],
            "parent": [row.parent for row, _, _ in rows],
            "node": [row.parent_node for row, _, _ in rows],
            "depth": [row.depth for row, _, _ in rows],
            "forked": [forked for _, _, forked in rows],
        },
    )
    return {row[0] for row in cursor}


def insert_children(cursor: psycopg.Cursor[Any], changes: Sequence[Change], *, now: int) -> bool:
    """Starts the runs that parents' decisions ask for; what cannot start is told to the parent at once."""
    from runs.blobs import fetch
    from runs.store import write

    born: list[Change] = []
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
                    depth=change.row.depth + 1,
                )
            except AobError as error:
                data = {"child": event.data["child"], "status": "failed", "error": error.as_dict()}
                cursor.execute(
                    "INSERT INTO run_inbox (run_id, type, node, data) VALUES (%s, 'ChildEnded', %s, %s)",
                    [change.row.id, event.node, msgspec.json.encode(data).decode()],
                )
                continue
            born.append(child)
    if not born:
        return False
    fresh = insert_rows(cursor, [(child.row, "{}", None) for child in born], now=now)
    write(cursor, [child for child in born if child.row.id in fresh], now=now)
    return True
