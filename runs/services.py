"""The only doors to runs (law 10): start, cancel, pause, resume, signal, answer, retry policy, replay.

Whatever is told "accepted" is committed by then. Each door gives its facts to the run's inbox and lets this
process advance the run at once if nobody else is at it; otherwise a coordinator does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import psycopg
import psycopg_pool

from runs import db
from runs.accepting import (
    Started,
    StartRequest,
    is_known_signal,
    new_id,
    remember_replay,
    remember_signal,
    signal_key,
    start,
    start_many,
)
from runs.bells import bells
from runs.blobs import fetch, write_values
from runs.coordinator import EVENTS_PER_TURN, Advancer, leave
from runs.core.accept import accepts
from runs.core.advance import advance
from runs.core.events import Event, Fact
from runs.core.state import public_status
from runs.core.values import MissingValue, Values, put
from runs.errors import RunError, Unavailable, is_id, unknown_run
from runs.holding import hold
from runs.irs import ir_of
from runs.models import PRIORITIES
from runs.starting import checked_inputs, new_run
from runs.store import Birth, Change
from runs.turns import TURN_SECONDS, within
from runs.writing import write
from workflows.core.compile import compile_retry
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.ir import WorkflowIR
from workflows.core.strictjson import check, encode
from workflows.core.templates import Template
from workflows.services import document_of, resolve

MAX_SIGNAL_BYTES = 256 * 1024
ANSWER_SECONDS = 10.0
"""So long whoever sends a signal, or says something to a ticket, waits for the run to take it."""

_log = logging.getLogger(__name__)


@cache
def advancer() -> Advancer:
    """The one that this process advances runs with."""
    return Advancer()


def tell(run_id: str, fact: Fact) -> None:
    """Gives a fact to a run and lets it go on. The caller has checked that the run exists."""
    with db.transaction() as cursor:
        leave(cursor, run_id, fact)
    _go_on(run_id)


def _go_on(run_id: str) -> None:
    """Advances the run if nobody else is at it. Its fact is committed, so what fails here is only late."""
    try:
        advanced = advancer().runs([run_id]).runs
    except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
        _log.warning("Run %s goes on a little later: %s", run_id, error)
        advanced = 0
    if not advanced:
        bells.ring(ready=True)


def cancel(run_id: str, *, reason: str | None = None, by: str) -> None:
    """Ends a run; what is being executed is stopped. Raises RunError when it has ended already."""
    _require_live(run_id, "cancelled")
    tell(run_id, Fact("CancelRequested", None, {"reason": _bounded(reason), "by": by}))


def pause(run_id: str, *, by: str) -> None:
    """Lets nothing new start; what is being executed is finished and recorded."""
    _require_live(run_id, "paused")
    tell(run_id, Fact("PauseRequested", None, {"by": by}))


def resume(run_id: str, *, by: str) -> None:
    """Lets a paused run go on. Raises RunError when it is not paused."""
    if _require_live(run_id, "resumed") != "paused":
        raise RunError("run_not_paused", f"The run {run_id} is not paused.")
    tell(run_id, Fact("ResumeRequested", None, {"by": by}))


def signal(run_id: str, name: str, payload: Any, *, by: str, key: str | None = None) -> None:
    """Sends a signal and waits until it stands in the run's log; it is kept when its node is not reached yet.

    The same `key` sends it once, also when the run has ended since. Raises RunError when the workflow has no such signal,
    the payload fits none of its nodes, or the run ends first; LimitExceeded when as many as it keeps wait already;
    Unavailable when the run does not get its turn. Then nothing was recorded.
    """
    try:
        check(payload)
    except AobError as error:
        raise RunError(error.code, error.message, f"/payload{error.pointer or ''}", error.hint) from None
    if len(encode(payload)) > MAX_SIGNAL_BYTES:
        raise LimitExceeded("signal_too_large", f"A payload has at most {MAX_SIGNAL_BYTES} bytes.", "/payload")
    own = new_id() if key is None else signal_key(run_id, key)
    fact = {"run": run_id, "type": "SignalReceived", "key": own, "after": 0}
    if key is not None and is_id(run_id):
        with db.statement() as cursor:
            is_sent = is_known_signal(cursor, own, name, payload) and _is_somewhere(cursor, fact)
        if is_sent and _is_taken(fact):
            return
    row = _row(run_id)
    _require_status(run_id, row[0], "signalled")
    ir = ir_of(row[1])
    if ir.signals is not None and name not in ir.signals:
        names = ", ".join(ir.signals) or "none"
        raise RunError(
            "signal_unknown",
            f"Nothing in this run waits for a signal {name[:80]!r}.",
            "/name",
            f"Its signals: {names}.",
        )
    _check_payload(ir, name, payload)
    values = Values()
    stored = values.store(payload, max_bytes=MAX_SIGNAL_BYTES, what="The payload")
    data = put({"name": name, "by": by, "key": own}, "payload", stored)
    with db.transaction() as cursor:
        # A key that is known without its fact was refused or taken back before it was recorded: it is sent again.
        if key is None or not (remember_signal(cursor, run_id, own, name, payload) and _is_somewhere(cursor, fact)):
            fact["after"] = row[4]
            write_values(cursor, values.new)
            leave(cursor, run_id, Fact("SignalReceived", None, data))
    if not _is_taken(fact):
        raise _signal_refused(run_id, name, data)


def _signal_refused(run_id: str, name: str, data: dict[str, Any]) -> AobError:
    """Why a signal does not stand in the run's log."""
    with hold(run_id) as held:
        if held.state.ended:
            return _run_ended(run_id, public_status(held.state), "signalled")
        if not accepts(held.state, Fact("SignalReceived", None, data)):
            most = held.state.limits.max_stored_signals
            return LimitExceeded(
                "limit_stored_signals",
                f"{most} signals {name[:80]!r} wait in the run {run_id} already; it keeps no more of one name.",
                "/name",
                "Send it again when the run has taken some of them.",
            )
    return Unavailable("run_busy", f"The run {run_id} did not take the signal; nothing was recorded.", hint="Try again.")


def _check_payload(ir: WorkflowIR, name: str, payload: Any) -> None:
    faults: list[AobError] = []
    for graph in ir.graphs.values():
        for node in graph.nodes.values():
            part = node.config.parts.get("name")
            if node.type != "signal" or not isinstance(part, Template) or (part.constant and part.tree != name):
                continue
            if node.payload_schema is None:
                return
            found = node.payload_schema.problems(payload, pointer="/payload")
            if not found:
                return
            faults = faults or found
    if faults:
        raise RunError("signal_payload_invalid", f"The payload does not fit: {faults[0].message}", faults[0].pointer)


def tell_ticket(run_id: str, kind: str, node: str, data: dict[str, Any], *, after: int) -> bool:
    """Gives a fact to a ticket and waits until the run has taken or refused it; `after` is the event that opened it.

    False when it came too late, or does not count: of two answers at one instant the run's log has one. Raises
    Unavailable when the run does not get its turn; then the fact was taken back. `data` may hold a `form` or a `text`.
    """
    values = Values()
    own = {**data, "key": new_id()}
    for part in ("form", "text"):
        given = own.pop(part, None)
        if given is not None:
            put(own, part, values.store(given, max_bytes=MAX_SIGNAL_BYTES, what=f"The {part}"))
    with db.transaction() as cursor:
        write_values(cursor, values.new)
        leave(cursor, run_id, Fact(kind, node, own))
    return _is_taken({"run": run_id, "type": kind, "key": own["key"], "after": after})


def _is_taken(fact: dict[str, Any]) -> bool:
    """Waits until a fact has left the inbox, and says whether it stands in the log.

    Raises Unavailable when the run does not get its turn; then the fact was taken back.
    """
    run_id = fact["run"]
    deadline = time.monotonic() + ANSWER_SECONDS
    pause = 0.005
    while True:
        _go_on(run_id)
        with db.statement() as cursor:
            waits, counts = _where_is(cursor, fact)
        if not waits:
            return counts
        if time.monotonic() > deadline:
            with db.transaction() as cursor:
                cursor.execute(_TAKE_BACK, fact)
                taken_back = cursor.rowcount > 0
            if taken_back:
                raise Unavailable("run_busy", f"The run {run_id} is busy; nothing was recorded.", hint="Try again.")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def _where_is(cursor: psycopg.Cursor[Any], fact: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a fact is in the inbox, and in the log; in one snapshot, as it goes from the one to the other at once."""
    found = cursor.execute(_WHERE_IS_THE_FACT, fact).fetchone()
    assert found is not None
    return bool(found[0]), bool(found[1])


def _is_somewhere(cursor: psycopg.Cursor[Any], fact: dict[str, Any]) -> bool:
    return any(_where_is(cursor, fact))


_WHERE_IS_THE_FACT = """
SELECT EXISTS (SELECT FROM run_inbox WHERE run_id = %(run)s AND type = %(type)s AND data->>'key' = %(key)s),
    EXISTS (SELECT FROM run_event WHERE run_id = %(run)s AND seq > %(after)s AND type = %(type)s
        AND data->>'key' = %(key)s)
"""
_TAKE_BACK = "DELETE FROM run_inbox WHERE run_id = %(run)s AND type = %(type)s AND data->>'key' = %(key)s"


def set_retry_policy(run_id: str, node: str, retry: Mapping[str, Any], *, by: str) -> None:
    """Overrides a node's retry policy from here on in this run. Raises AobError when either is wrong."""
    from workflows.core.document import RETRY_SCHEMA
    from workflows.core.schemas import compile_schema

    _require_live(run_id, "changed")
    faults = compile_schema(RETRY_SCHEMA).problems(dict(retry), pointer="/retry")
    if faults:
        raise RunError("retry_invalid", faults[0].message, faults[0].pointer)
    compile_retry(retry)
    ir = ir_of(_row(run_id)[1])
    from runs.core import paths

    frame, name = paths.split(node)
    graph = ir.graphs.get(paths.graph_key(frame)) if not frame or "[" in frame else ir.graphs.get(frame)
    if graph is None or name not in graph.nodes:
        raise RunError("node_unknown", f"The run's graph has no node {node[:100]!r}.", "/node")
    tell(run_id, Fact("RetryOverridden", node, {"retry": dict(retry), "by": by}))


def replay(
    run_id: str,
    start_node: str,
    *,
    inputs: Any = None,
    version: str | None = None,
    by: str,
    guard: Callable[[psycopg.Cursor[Any], str], None] | None = None,
    key: str | None = None,
) -> str:
    """Forks a new run at the start of a node; gives its id. Raises AobError when it cannot be done.

    The same `key` makes the same replay once.
    `guard` is called with the new run's id in the transaction that starts it, and raises where that may not be.
    """
    from runs.store import events_of

    row = _row(run_id)
    ir = ir_of(row[1] if version is None else resolve(f"{row[2]}@{version}"))
    new = new_id()
    with db.transaction() as cursor:
        log = events_of(cursor, run_id)
        now = db.database_now(cursor)
    if not log:
        raise unknown_run(run_id)
    try:
        # With no transaction open: reading values takes connections, and many may replay at a time.
        change = _forked(log, start_node, new, ir, inputs, now=now, priority=row[3], by=by)
    except MissingValue:
        _row(run_id)  # Retention may have deleted it meanwhile.
        raise
    with db.transaction() as cursor:
        if key is not None and (known := remember_replay(cursor, run_id, key, new, [start_node, inputs, version])):
            return known
        if guard is not None:
            guard(cursor, new)
        # Retention deletes only what has ended, and passes over what is locked: the new run names its blobs by then.
        cursor.execute("SELECT 1 FROM run WHERE id = %s AND ended_at IS NOT NULL FOR KEY SHARE", [run_id])
        if cursor.execute("SELECT 1 FROM run WHERE id = %s", [run_id]).fetchone() is None:
            raise unknown_run(run_id)
        new_tasks, more = write(cursor, [change], now=now)
    bells.ring(tasks=new_tasks.read(), ready=more)
    return new


def _forked(
    log: list[Event], start_node: str, new: str, ir: WorkflowIR, inputs: Any, *, now: int, priority: int, by: str
) -> Change:
    """The run `new` with what it takes over from a log, as far as it can be decided at once. Raises AobError."""
    from runs.core.fork import ReplayError, fork

    first = log[0].data
    values = Values(fetch)
    old_inputs = values.load([first["inputs"]] if "inputs" in first else first["inputs_ref"])
    checked = checked_inputs(ir, old_inputs if inputs is None else inputs)
    starters = [first.get("by"), *first.get("started_before", ())]
    change, own = new_run(
        new,
        ir,
        checked,
        now=now,
        priority=priority,
        birth=Birth(forked_from=first["run"], inputs_of=first["run"] if inputs is None else None),
        by=by,
        before=[one for one in dict.fromkeys(starters) if one not in (None, by)],
        extra={
            "attempt": first.get("attempt", 1) + 1,
            "forked_from": {"run": first["run"], "from": start_node, "copied": 0, "by": by},
            **({"outside": True} if first.get("outside") else {}),
        },
    )
    state, events = fork(log, start_node, change.events[0], ir_of, values)
    if checked != old_inputs and any(event.type == "TicketDecided" for event in events):
        raise ReplayError(
            "replay_approved_otherwise",
            f"What people decided before {start_node!r} was decided for the inputs that the run had.",
            "/inputs",
            "Replay from the approval, so that it is asked again, or with the same inputs.",
        )
    values.new = {**own.new, **values.new}
    change.held.state = state
    change.events = events
    in_time = within(TURN_SECONDS)
    advance(state, ir_of, values, change.events, at=now, max_events=EVENTS_PER_TURN, go_on=in_time)
    change.values = values.new
    return change


def foresee(run_id: str, start_node: str) -> tuple[list[str], list[str]]:
    """The nodes that a replay would take from the log, and those that it would execute again. Raises AobError."""
    from runs.core.fork import forecast
    from runs.store import events_of

    _row(run_id)
    with db.transaction() as cursor:
        log = events_of(cursor, run_id)
    return forecast(log, start_node, ir_of)


def again(run_id: str, *, inputs: Any = None, by: str) -> str:
    """Starts the same version once more, with the same inputs or others; gives the new run's id. Raises AobError."""
    from runs.store import events_of

    _, version, _, priority, _ = _row(run_id)
    with db.transaction() as cursor:
        first = events_of(cursor, run_id, limit=1)[0]
    inputs_of = run_id if inputs is None else None
    if inputs is None:
        inputs = Values(fetch).load([first.data["inputs"]] if "inputs" in first.data else first.data["inputs_ref"])
    names = {number: name for name, number in PRIORITIES.items()}
    return start(StartRequest(document_of(version), inputs, priority=names[priority], by=by, inputs_of=inputs_of)).id


def _row(run_id: str) -> tuple[str, str, str, int, int]:
    """Status, version, workflow, priority and last seq. Raises RunError `run_unknown`."""
    if not is_id(run_id):
        raise unknown_run(run_id)
    with db.statement() as cursor:
        row = cursor.execute(
            "SELECT status, version, workflow, priority, last_seq FROM run WHERE id = %s", [run_id]
        ).fetchone()
    if row is None:
        raise unknown_run(run_id)
    return row[0], row[1], row[2], row[3], row[4]


def _require_live(run_id: str, what: str) -> str:
    status = _row(run_id)[0]
    _require_status(run_id, status, what)
    return status


def _require_status(run_id: str, status: str, what: str) -> None:
    if status in ("completed", "failed", "cancelled", "timed_out"):
        raise _run_ended(run_id, status, what)


def _run_ended(run_id: str, status: str, what: str) -> RunError:
    return RunError(
        "run_ended", f"The run {run_id} has ended ({status}) and cannot be {what}.", hint="Replay it instead."
    )


def _bounded(text: str | None, limit: int = 2000) -> str | None:
    return None if text is None else text[:limit]


__all__ = ["RunError", "StartRequest", "Started", "new_id", "start", "start_many"]
