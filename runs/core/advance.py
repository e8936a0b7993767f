"""advance(ir, state) → decisions. Pure (law 3): the whole policy of a run stands in this module.

One decision at a time is made from the head of the agenda and folded in at once, so facts may arrive
between any two decisions and a log can be checked decision by decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runs.core import limits, paths, retries
from runs.core.events import MAX_LOSSES, Event
from runs.core.fold import Graphs, apply, graph_of
from runs.core.ids import child_id, ticket_id
from runs.core.scope import NodeResolver, Part, instant, variables
from runs.core.state import Activation, Answer, State
from runs.core.tickets import ANSWERS, MAX_TITLE, next_step, verdict
from runs.core.values import Value, Values, put
from workflows.core.compile import compile_retry
from workflows.core.durations import parse_duration, parse_instant
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.expressions import Expression
from workflows.core.ir import NodeIR, RetryIR
from workflows.core.lines import one_line
from workflows.core.people import assignees, chain, check_quorum, reminder_seconds
from workflows.core.strictjson import check
from workflows.nodes.map import DEFAULT_CONCURRENCY
from workflows.nodes.registry import NodeType, node_types

MICROSECONDS = 1_000_000
NOBODY_ANSWERED = "Nobody decided in time."
NOT_ENOUGH = "Those who are left cannot be enough any more to approve it."
MAX_TOLD = 4_000
REVIEW_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "do": {
            "type": "string",
            "enum": ["retry", "skip"],
            "default": "retry",
            "title": "What to do",
            "description": "retry runs the node again; skip goes on without it.",
        },
        "value": {"title": "Value", "description": "With skip: the output that the node gives instead, as JSON."},
    },
    "required": ["do"],
    "additionalProperties": False,
}
"""What whoever approves the ticket of a failed node fills in."""

Decision = tuple[str, str | None, dict[str, Any]]


def _always() -> bool:
    return True


def advance(
    state: State,
    irs: Graphs,
    values: Values,
    log: list[Event],
    *,
    at: int,
    max_events: int,
    go_on: Callable[[], bool] = _always,
) -> int:
    """Appends decisions to `log` until nothing is left to decide or `max_events` are made; changes `state`.

    `at` (microseconds) only stamps the events. Gives how many were made; the run goes on later where the
    bound cut it off, or where `go_on`, which is asked between two decisions, says no: that is no part of any decision.
    State and log agree also when a value cannot be loaded and an AobError is raised.
    """
    made = 0
    # Ending a run that has failed evaluates nothing more, so it is not put off.
    while made < max_events and (not made or state.failure is not None or go_on()):
        decision = decide(state, irs, values)
        if decision is None:
            break
        kind, node, data = decision
        event = Event(state.seq + 1, kind, at, node, data)
        apply(state, event, irs)
        log.append(event)
        made += 1
    return made


def decide(state: State, irs: Graphs, values: Values) -> Decision | None:
    """The next decision, or None when the run waits for a fact. Does not change the state."""
    if state.ended:
        return None
    if state.settling:
        return _settle(state, state.settling[0])
    if state.cancel is not None:
        return "RunCancelled", None, {"reason": state.cancel.get("reason"), "by": state.cancel.get("by")}
    if state.timed_out:
        error = {"code": "run_timeout", "message": "The run took longer than its limit `timeout`."}
        return "RunTimedOut", None, {"error": error}
    if state.paused:
        return None
    if state.failure is not None:
        return "RunFailed", None, {"error": {**state.failure["error"], "node": state.failure["node"]}}
    if not state.agenda:
        return None
    what, path = state.agenda[0]
    return _HANDLERS[what](_Place(state, irs, values, path))


class _Place:
    """Where a decision is made: the node or frame at the head of the agenda, and what is known there."""

    __slots__ = ("state", "irs", "values", "path", "frame", "name", "_node")

    def __init__(self, state: State, irs: Graphs, values: Values, path: str) -> None:
        self.state = state
        self.irs = irs
        self.values = values
        self.path = path
        self.frame, self.name = paths.split(path)
        self._node: NodeIR | None = None

    @property
    def node(self) -> NodeIR:
        if self._node is None:
            self._node = graph_of(self.state, self.irs, self.frame).nodes[self.name]
        return self._node

    @property
    def node_type(self) -> NodeType:
        return node_types()[self.node.type]

    @property
    def activation(self) -> Activation:
        return self.state.active[self.path]

    def scope(self, extra: dict[str, Any] | None = None) -> Callable[[Part], dict[str, Any]]:
        return lambda part: variables(self.state, self.values, self.frame, part, extra)

    def resolver(self, extra: dict[str, Any] | None = None) -> NodeResolver:
        return NodeResolver(self.node.config, self.scope(extra), truth)

    def store(self, value: Any, what: str) -> Value:
        return self.values.store(value, max_bytes=self.state.limits.max_value_bytes, what=what)

    def due(self) -> int | None:
        """When the node's own timeout ends, for nodes that no worker watches."""
        timeout = self.node.timeout
        return None if timeout is None else self.state.now + round(timeout * MICROSECONDS)


def routes(state: State, irs: Graphs, values: Values, path: str, port: str, output: Any) -> list[str]:
    """The edges that a node's recorded output takes in the version in force. Raises AobError."""
    return _taken(_Place(state, irs, values, path), port, output)


def truth(condition: Expression, scope: dict[str, Any]) -> bool:
    """The value of a condition. Raises AobError when it is not a boolean."""
    verdict = condition.evaluate(scope)
    if not isinstance(verdict, bool):
        raise AobError(
            "expression_not_boolean",
            f"The condition {condition.source!r} gives {str(verdict)[:100]!r}, which is neither true nor false.",
            condition.pointer,
            "Compare the value with something.",
        )
    return verdict


# Starting


def _start(place: _Place) -> Decision:
    try:
        return _begin(place)
    except AobError as error:
        return _failed(place, error.as_dict())


def _begin(place: _Place) -> Decision:
    node, node_type = place.node, place.node_type
    if node.type == "fail":
        resolve = place.resolver()
        return _failed(place, {"code": str(resolve("code") or "failed"), "message": str(resolve("message"))})
    limits.check_size(place.state, place.irs)
    if node_type.is_task:
        config = place.resolver().whole()
        grant = limits.check_grant(place.state, place.irs, place.path, node, config)
        stored = place.store(config, f"The config of node {place.path!r}")
        data: dict[str, Any] = {"attempt": 1}
        if node_type.kind == "agent":
            limits.check_agents(place.state)
            data["agents"] = 1
        if grant.hosts is not None:
            # The worker holds every hop of the node's requests to them.
            data["hosts"] = sorted(grant.hosts)
        return "TaskScheduled", place.path, put(data, "input", stored)
    if node_type.run is not None:
        outcome = node_type.run(place.resolver())
        more = {"log": {"level": outcome.log[0], "message": outcome.log[1]}} if outcome.log else {}
        return _completed(place, outcome.output, outcome.port, more)
    return _BEGINNINGS[node.type](place)


def _begin_delay(place: _Place) -> Decision:
    resolve = place.resolver()
    duration = resolve("for")
    if duration is not None:
        due = place.state.now + round(parse_duration(str(duration)) * MICROSECONDS)
    else:
        due = round(parse_instant(str(resolve("until"))) * MICROSECONDS)
    return "NodeWaiting", place.path, {"kind": "delay", "due": due, "until": instant(due)}


def _begin_signal(place: _Place) -> Decision:
    resolve = place.resolver()
    data: dict[str, Any] = {"kind": "signal", "name": str(resolve("name"))}
    due = _patience(place, resolve)
    if due is not None:
        data |= {"due": due, "until": instant(due)}
    return "NodeWaiting", place.path, data


def _patience(place: _Place, resolve: NodeResolver) -> int | None:
    """Until when a node waits for people or programs: by its `timeout` in the config, or the one that every node has."""
    timeout = resolve("timeout")
    due = place.due()
    if timeout is None:
        return due
    own = place.state.now + round(parse_duration(str(timeout)) * MICROSECONDS)
    return own if due is None else min(due, own)


def _begin_approval(place: _Place) -> Decision:
    resolve, state, pointer = place.resolver(), place.state, f"{place.node.pointer}/config"
    literal = resolve.config
    limits.check_grant(state, place.irs, place.path, place.node, literal)
    data: dict[str, Any] = {
        "kind": "approval",
        "ticket": ticket_id(state.run_id, state.seq + 1, state.now),
        "title": _title(resolve("title"), place),
        "assignees": assignees(resolve("assignees"), f"{pointer}/assignees", must_name=_must_name(place, "assignees")),
        "priority": literal.get("priority", "medium"),
        "on_timeout": _on_timeout(place),
    }
    quorum = literal.get("quorum", "any")
    data["quorum"] = {"any": 1, "all": 0}[quorum] if isinstance(quorum, str) else quorum["n"]
    if quorum == "all" and state.rules:
        data["each"] = True
    if literal.get("not_starter"):
        if state.started_by is not None:
            data["not_by"] = state.started_by
        if state.started_before:
            data["nor_by"] = state.started_before
    barred = {data["not_by"]} if "not_by" in data else set()
    barred |= set(data.get("nor_by", ()))
    check_quorum(data["quorum"], data["assignees"], barred, f"{pointer}/quorum")
    if (due := _patience(place, resolve)) is not None:
        data |= {"due": due, "until": instant(due), "period": due - state.now}
    if data["on_timeout"] == "escalate":
        others, must_name = resolve("escalate_to"), _must_name(place, "escalate_to")
        data["escalate_to"], *then = chain(others, f"{pointer}/escalate_to", must_name=must_name)
        for people in (data["escalate_to"], *then):
            check_quorum(data["quorum"], people, barred, f"{pointer}/quorum")
        if then:
            data["escalate_then"] = then
    if (veto := resolve("veto")) not in (None, "anyone"):
        data["veto"] = assignees(veto, f"{pointer}/veto")
    if (every := resolve("remind_every")) is not None:
        data["remind_every"] = round(reminder_seconds(every, f"{pointer}/remind_every") * MICROSECONDS)
    if literal.get("bulk"):
        data["bulk"] = True
    if (agent := state.granted.get(paths.graph_key(place.path))) is not None:
        # Whoever decides is told that no person wrote what the ticket says (hazard L8).
        data["brought_by"] = agent
    for key in ("body", "values", "form"):
        value = resolve(key)
        if value is not None:
            put(data, key, place.store(value, f"The {key} of {place.path!r}"))
    return "NodeWaiting", place.path, data


def _must_name(place: _Place, key: str) -> bool:
    """Only who writes down nobody means everybody; what is computed and gives nobody is a mistake."""
    return bool(place.state.rules) and place.node.config.is_computed(key)


def _on_timeout(place: _Place) -> str:
    """Without others to escalate to, nobody is asked in the end: it is rejected."""
    config = place.node.config
    wanted = str(config.literal.get("on_timeout", "reject"))
    is_alone = wanted == "escalate" and "escalate_to" not in config.parts and bool(place.state.rules)
    return "reject" if is_alone else wanted


def _title(value: Any, place: _Place) -> str:
    """One line, cut where it is too long: what matters stands in `body` and `values`. Raises AobError."""
    check(value)
    text = one_line(str(value)) if place.state.rules else " ".join(str(value).split())
    return _cut(text or place.path)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TITLE else f"{text[: MAX_TITLE - 1]}…"


def _begin_map(place: _Place) -> Decision:
    resolve = place.resolver()
    items = resolve("items")
    if not isinstance(items, list):
        raise AobError(
            "map_items_not_list",
            f"The items of {place.path!r} are {_kind(items)}, not a list.",
            f"{place.node.pointer}/config/items",
            "Give a list, for instance keys(value) for a map.",
        )
    bound = min(place.state.limits.max_items, place.irs(place.state.version).max_items or len(items))
    if len(items) > bound:
        raise LimitExceeded(
            "limit_max_items",
            f"The map {place.path!r} has {len(items)} items; the limit is {bound}.",
            f"{place.node.pointer}/config/items",
            "Raise limits.max_items in the document or AOB_MAX_ITEMS.",
        )
    data: dict[str, Any] = {
        "count": len(items),
        "concurrency": resolve.config.get("max_concurrency", DEFAULT_CONCURRENCY),
        "collect": resolve.config.get("on_item_error") == "collect",
    }
    if (due := place.due()) is not None:
        data["due"] = due
    return "MapStarted", place.path, put(data, "items", place.store(items, f"The items of {place.path!r}"))


def _begin_loop(place: _Place) -> Decision:
    return _iterate_from(place, 0, None)


def _begin_subworkflow(place: _Place) -> Decision:
    resolve = place.resolver()
    wanted = resolve.config["workflow"]
    version = place.state.pins.get(wanted)
    if version is None:
        raise AobError(
            "subworkflow_unknown",
            f"The workflow {wanted!r} was not known when this run started.",
            f"{place.node.pointer}/config/workflow",
            "Push the workflow, then start a new run.",
        )
    limits.check_grant(place.state, place.irs, place.path, place.node, resolve.config)
    inputs = resolve("inputs")
    child = child_id(place.state.run_id, place.state.seq + 1, place.state.now)
    data: dict[str, Any] = {"child": child, "workflow": wanted, "version": version}
    if agents := limits.agents_for(place.state, place.irs(version)):
        data["agents"] = agents
    if (due := place.due()) is not None:
        data["due"] = due
    value = place.store({} if inputs is None else inputs, f"The inputs of {place.path!r}")
    return "ChildStarted", place.path, put(data, "inputs", value)


_BEGINNINGS: dict[str, Callable[[_Place], Decision]] = {
    "delay": _begin_delay,
    "signal": _begin_signal,
    "approval": _begin_approval,
    "map": _begin_map,
    "loop": _begin_loop,
    "subworkflow": _begin_subworkflow,
}


# Going on


def _skip(place: _Place) -> Decision:
    return "NodeSkipped", place.path, {}


def _finish(place: _Place) -> Decision:
    """A result, a timer or the last item arrived for an active node."""
    try:
        return _conclude(place)
    except AobError as error:
        return _failed(place, error.as_dict())


def _conclude(place: _Place) -> Decision:
    activation = place.activation
    result = activation.result
    if result is None:
        output = [None if value is None else place.values.load(value) for value in activation.results]
        return _completed(place, output, "out")
    what = result[0]
    if what == "timer":
        return _timer_ended(place)
    if what == "decided" and activation.kind == "failure":
        return _reviewed(place, status=result[1])
    if what == "decided":
        return _ticket_ended(place, status=result[1], at=result[2], by=result[3])
    if what == "lost":
        if activation.losses >= MAX_LOSSES:
            message = f"The worker was lost {activation.losses} times while it executed this node."
            return _failed(place, {"code": "worker_lost", "message": message}, dead_letter=True)
        return "TaskScheduled", place.path, _next_attempt(place)
    if what == "failed":
        return _attempt_failed(place, result[1], result[2])
    output = place.values.load(result[1])
    schema = place.node.payload_schema
    if activation.kind == "signal" and schema is not None:
        faults = schema.problems(output, pointer="", limit=1)
        if faults:
            message = f"The payload of signal {activation.name!r} does not fit its schema: {faults[0].message}"
            return _failed(place, {"code": "signal_payload_invalid", "message": message})
    taken = _taken(place, "out", output)
    return "NodeCompleted", place.path, {"port": "out", "taken": taken}


def _timer_ended(place: _Place) -> Decision:
    activation = place.activation
    if activation.kind == "delay":
        return _completed(place, instant(place.state.now), "out")
    if activation.kind == "signal":
        if place.node.leaves_by("timed_out"):
            return _completed(place, None, "timed_out")
        message = f"No signal {activation.name!r} came in time."
        return _failed(place, {"code": "signal_timed_out", "message": message})
    message = f"The node {place.path!r} took longer than its timeout."
    return _failed(place, {"code": "timeout", "message": message})


def _settle(state: State, path: str) -> Decision:
    """What becomes of a ticket that was answered often enough, or whose time is up."""
    activation = state.active[path]
    ticket = activation.ticket
    assert ticket is not None
    if activation.result == ["answered"]:
        last, said = ticket.answers[-1], verdict(ticket) or "reject"
        reason = last.reason if last.answer == said else NOT_ENOUGH
        return "TicketDecided", path, {"ticket": ticket.id, "status": ANSWERS[said], "by": last.by, "reason": reason}
    step = next_step(ticket)
    is_unattended = activation.result is not None and activation.result[0] == "unattended"
    if step is not None or is_unattended:
        assert activation.result is not None
        people = activation.result[1] if step is None else step
        data: dict[str, Any] = {"ticket": ticket.id, "assignees": people}
        if not is_unattended or ticket.period is not None:
            due = state.now + (ticket.period or 0)
            data |= {"due": due, "until": instant(due)}
        if is_unattended:
            data["because"] = "unattended"
        if step is None:
            data["forsaken"] = True
        return "TicketEscalated", path, data
    status = {"approve": "approved", "timed_out": "timed_out"}.get(ticket.on_timeout, "rejected")
    return "TicketDecided", path, {"ticket": ticket.id, "status": status, "by": None, "reason": NOBODY_ANSWERED}


def _ticket_ended(place: _Place, *, status: str, at: int, by: str | None) -> Decision:
    """The output of an approval: the answer that decided, and with a quorum all of them."""
    ticket = place.activation.ticket
    assert ticket is not None
    answers = [_answered(place, one) for one in ticket.answers]
    answer = {status: answer for answer, status in ANSWERS.items()}.get(status, status)
    if by is not None:
        output = answers[-1]
        if output["answer"] != answer:
            output = {**output, "answer": answer, "reason": NOT_ENOUGH}
    else:
        output = {"answer": answer, "by": None, "at": instant(at), "reason": NOBODY_ANSWERED, "form": None}
    if ticket.quorum != 1:
        output = {**output, "answers": answers}
    return _completed(place, output, status)


def _answered(place: _Place, one: Answer) -> dict[str, Any]:
    form = None if one.form is None else place.values.load(one.form)
    return {"answer": one.answer, "by": one.by, "at": instant(one.at), "reason": one.reason, "form": form}


def _attempt_failed(place: _Place, error: dict[str, Any], jitter: float) -> Decision:
    activation = place.activation
    if activation.kind != "task":
        return _failed(place, error)
    policy = retry_policy(place.state, place.path, place.node.retry)
    scope = place.scope()(policy.on) if isinstance(policy.on, Expression) else {}
    if not retries.wants_retry(policy, error, activation.failures, scope):
        return _failed(place, error, dead_letter=True)
    due = place.state.now + retries.delay(policy, error, activation.failures, jitter)
    data = {"attempt": activation.attempt + 1, "due": due, "until": instant(due), "because": error["code"]}
    return "RetryScheduled", place.path, data


def retry_policy(state: State, path: str, default: RetryIR) -> RetryIR:
    """The policy in force for a node: the operator's override for this run, or the document's."""
    override = state.retries.get(path) or state.retries.get(paths.graph_key(path))
    return default if override is None else compile_retry(override)


def _retry(place: _Place) -> Decision:
    return "TaskScheduled", place.path, _next_attempt(place)


def _next_attempt(place: _Place) -> dict[str, Any]:
    return {"attempt": place.activation.attempt + 1, "input_seq": place.activation.input_seq}


def _route(place: _Place) -> Decision:
    """A patch drew new edges from a node that has ended: they are decided on its recorded output."""
    frame = place.state.frames[place.frame]
    fresh = [edge for edge in place.node.outgoing if edge.id not in frame.edges]
    value = frame.outputs.get(place.name)
    taken: list[str] = []
    if value is not None:
        output = place.values.load(value)
        chosen = _taken(place, frame.ports.get(place.name, "out"), output)
        taken = [edge.id for edge in fresh if edge.id in chosen]
    return "NodeRouted", place.path, {"taken": taken}


# Frames


def _end(place: _Place) -> Decision:
    """Every node of a frame has ended."""
    frame_path = place.path
    graph = graph_of(place.state, place.irs, frame_path)
    frame = place.state.frames[frame_path]
    try:
        if graph.output is not None:
            output = graph.output.evaluate(variables(place.state, place.values, frame_path, graph.output))
        else:
            ended = (name for name in graph.ends if name in frame.outputs)
            output = {name: place.values.load(frame.outputs[name]) for name in ended}
        data = put({}, "output", place.store(output, "The output"))
    except AobError as error:
        if not frame_path:
            return "RunFailed", None, {"error": error.as_dict()}
        return _item_failed(place, error.as_dict())
    if not frame_path:
        return "RunCompleted", None, data
    owner = place.state.active[paths.owner(frame_path)[0]]
    return "ItemCompleted" if owner.kind == "map" else "IterationCompleted", frame_path, data


def _item(place: _Place) -> Decision:
    error = place.state.frames[place.path].error
    return _item_failed(place, error or {})


def _item_failed(place: _Place, error: dict[str, Any]) -> Decision:
    path, index = paths.owner(place.path)
    activation = place.state.active[path]
    if activation.kind == "map" and activation.collect:
        return "ItemFailed", place.path, {"error": error}
    what = "Item" if activation.kind == "map" else "Iteration"
    message = f"{what} {index} of {path!r} failed: {error.get('message')}"
    code = "item_failed" if activation.kind == "map" else "iteration_failed"
    owner = _Place(place.state, place.irs, place.values, path)
    return _failed(owner, {"code": code, "message": message, "cause": error})


def _iterate(place: _Place) -> Decision:
    activation = place.activation
    try:
        return _iterate_from(place, activation.iteration, activation.last)
    except AobError as error:
        return _failed(place, error.as_dict())


def _iterate_from(place: _Place, iteration: int, last: Value | None) -> Decision:
    config = place.node.config
    output = None if last is None else place.values.load(last)
    condition = config.parts["while"]
    assert isinstance(condition, Expression)
    if not truth(condition, place.scope({"iteration": iteration, "last": output})(condition)):
        return _completed(place, output, "out")
    bound = config.literal["max_iterations"]
    if iteration >= bound:
        raise LimitExceeded(
            "limit_max_iterations",
            f"The loop {place.path!r} still wants to go on after {bound} iterations.",
            f"{place.node.pointer}/config/max_iterations",
            "Raise max_iterations, or correct the condition.",
        )
    data: dict[str, Any] = {}
    if iteration == 0 and (due := place.due()) is not None:
        data["due"] = due
    return "IterationStarted", paths.frame_of(place.path, iteration), data


# Ending a node


def _completed(place: _Place, output: Any, port: str, more: dict[str, Any] | None = None) -> Decision:
    value = place.store(output, f"The output of node {place.path!r}")
    taken = _taken(place, port, output)
    return "NodeCompleted", place.path, put({"port": port, "taken": taken, **(more or {})}, "output", value)


def _failed(place: _Place, error: dict[str, Any], *, dead_letter: bool = False) -> Decision:
    """A node failed for good: what its `on_failure` or its `error` edge makes of it."""
    node = place.node
    data: dict[str, Any] = {"error": error, "handled": "fail"}
    if node.on_failure == "review":
        return _review(place, error, dead_letter=dead_letter)
    try:
        if node.on_failure == "error":
            data |= {"handled": "error", "taken": _taken(place, "error", {"error": error})}
        elif node.on_failure == "skip":
            data["handled"] = "skip"
        elif node.on_failure == "continue" and node.continue_with is not None:
            output = node.continue_with.evaluate(place.scope({"error": error})(node.continue_with))
            value = place.store(output, f"The output of node {place.path!r}")
            data |= {"handled": "continue", "taken": _taken(place, "out", output)}
            put(data, "output", value)
    except AobError as second:
        data = {"error": {**second.as_dict(), "cause": error}, "handled": "fail"}
    if dead_letter and data["handled"] == "fail":
        data["dead_letter"] = True
    return "NodeFailed", place.path, data


def _review(place: _Place, error: dict[str, Any], *, dead_letter: bool) -> Decision:
    """People say what becomes of a node that failed for good: it runs again, is passed over with a value, or fails."""
    state, code = place.state, str(error.get("code"))
    data: dict[str, Any] = {
        "kind": "failure",
        "ticket": ticket_id(state.run_id, state.seq + 1, state.now),
        "title": _title(f"{place.path} failed: {code}", place) if state.rules else _cut(f"{place.path} failed: {code}"),
        "body": _told_error(place.path, place.node.type, error),
        "form": REVIEW_FORM,
        "assignees": list(place.node.review_by),
        "priority": "medium",
        "quorum": 1,
        "on_timeout": "reject",
        "error": error,
    }
    if dead_letter:
        data["dead_letter"] = True
    return "NodeWaiting", place.path, data


def _told_error(path: str, node_type: str, error: dict[str, Any]) -> str:
    """The error as Markdown: indented, so that nothing in it is read as Markdown."""
    lines = f"{error.get('code')}: {error.get('message')}"[:MAX_TOLD].splitlines() or [""]
    told = "\n".join(f"    {line}" for line in lines)
    return (
        f"The node `{path}` ({node_type}) failed for good.\n\n{told}\n\n"
        "Approve to run it again (`retry`) or to go on with `value` as its output (`skip`). Reject to fail the run."
    )


def _reviewed(place: _Place, *, status: str) -> Decision:
    activation = place.activation
    assert activation.ticket is not None and activation.failed is not None
    if status != "approved":
        data: dict[str, Any] = {**activation.failed, "handled": "fail"}
        return "NodeFailed", place.path, data
    given = activation.ticket.answers[-1].form
    form = {} if given is None else place.values.load(given)
    if form.get("do") == "skip":
        return _completed(place, form.get("value"), "out")
    return ("TaskScheduled", place.path, _next_attempt(place)) if activation.attempt else _begin(place)


def _taken(place: _Place, port: str, output: Any) -> list[str]:
    """The outgoing edges that are taken when the node leaves by this port with this output."""
    edges = [edge for edge in place.node.outgoing if edge.port == port]
    if all(edge.when is None for edge in edges):
        return [edge.id for edge in edges]
    scope = place.scope({"output": output})
    inner = _with_own_output(place, output)
    return [edge.id for edge in edges if edge.when is None or truth(edge.when, inner(scope(edge.when), edge.when))]


def _with_own_output(place: _Place, output: Any) -> Callable[[dict[str, Any], Part], dict[str, Any]]:
    """An edge may also call the node's output by its name, though the node has not ended yet."""

    def add(found: dict[str, Any], part: Part) -> dict[str, Any]:
        if "nodes" in found and (part.node_refs is None or place.name in part.node_refs):
            found["nodes"] = {**found["nodes"], place.name: output}
        return found

    return add


def _kind(value: Any) -> str:
    names = {dict: "a map", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


_HANDLERS: dict[str, Callable[[_Place], Decision]] = {
    "start": _start,
    "skip": _skip,
    "finish": _finish,
    "retry": _retry,
    "route": _route,
    "end": _end,
    "item": _item,
    "iterate": _iterate,
}
