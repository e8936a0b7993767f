"""fold(events) → state. Pure (law 3): every transition of a run stands here and nowhere else.

`apply` needs the IR only for the shape of the graphs; expressions are never evaluated here, because a
decision records which edges it took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from runs.core import paths
from runs.core.events import DECISIONS, TERMINAL, Event
from runs.core.state import Activation, Agent, Answer, Entry, Frame, Limits, State, Ticket
from runs.core.tickets import MAX_REMINDERS, part_of, verdict
from runs.core.values import Value, get
from workflows.core.ir import GraphIR, NodeIR, WorkflowIR

Graphs = Callable[[str], WorkflowIR]


def fold(events: Iterable[Event], irs: Graphs, state: State | None = None) -> State:
    """The state after these events; `irs` gives the IR of a version by its name."""
    state = state or State()
    for event in events:
        apply(state, event, irs)
    return state


def apply(state: State, event: Event, irs: Graphs) -> None:
    """Changes the state by one event of its log."""
    if event.seq != state.seq + 1:
        raise ValueError(f"event {event.seq} does not follow seq {state.seq} of run {state.run_id}")
    state.seq = event.seq
    if event.type in DECISIONS:
        _take_from_agenda(state, event)
    else:
        state.now = max(state.now, event.at)
    if event.type in TERMINAL:
        _end_run(state, TERMINAL[event.type])
        return
    _TRANSITIONS[event.type](state, event, irs)


def graph_of(state: State, irs: Graphs, frame: str) -> GraphIR:
    """The graph that a frame is an instance of, in the version in force."""
    return irs(state.version).graphs[paths.graph_key(frame)]


def _take_from_agenda(state: State, event: Event) -> None:
    path = event.node or ""
    if event.type == "IterationStarted":
        path = paths.owner(path)[0]
    agenda = state.agenda
    if agenda and agenda[0][1] == path:
        del agenda[0]
        return
    for place, entry in enumerate(agenda):
        if entry[1] == path:
            del agenda[place]
            return


# Facts


def _run_started(state: State, event: Event, irs: Graphs) -> None:
    data = event.data
    state.run_id = data["run"]
    state.version = data["version"]
    state.started_at = event.at
    state.started_by = data.get("by")
    state.started_before = data.get("started_before", [])
    state.attempt = data.get("attempt", 1)
    state.outside = data.get("outside", False)
    state.rules = data.get("rules", 0)
    state.inputs = _value(data, "inputs")
    state.limits = msgspec.convert(data.get("limits", {}), Limits)
    state.pins = data.get("pins", {})
    if "timeout_at" in data:
        state.timers[""] = data["timeout_at"]
    _open_frame(state, irs, "")


def _task_started(state: State, event: Event, irs: Graphs) -> None:
    state.active[event.node or ""].started = event.data["attempt"]


def _task_completed(state: State, event: Event, irs: Graphs) -> None:
    _arrived(state, event, ["ok", _value(event.data, "output")])


def _task_failed(state: State, event: Event, irs: Graphs) -> None:
    state.active[event.node or ""].failures += 1
    _arrived(state, event, ["failed", event.data["error"], event.data.get("jitter", 1.0)])


def _task_lost(state: State, event: Event, irs: Graphs) -> None:
    state.active[event.node or ""].losses += 1
    _arrived(state, event, ["lost"])


def _timer_fired(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    del state.timers[path]
    if not path:
        state.timed_out = True
        return
    activation = state.active[path]
    if activation.kind == "task":
        state.agenda.append(("retry", path))
    elif activation.result is None and activation.ticket is not None:
        activation.result = ["timer"]
        state.settling.append(path)
    elif activation.result is None:
        _arrived(state, event, ["timer"])


def _signal_received(state: State, event: Event, irs: Graphs) -> None:
    name = event.data["name"]
    value = _value(event.data, "payload")
    waiting = [
        (activation.since, path)
        for path, activation in state.active.items()
        if activation.kind == "signal" and activation.name == name and activation.result is None
    ]
    if not waiting:
        state.signals.setdefault(name, []).append(value)
        return
    # Who waits longest; a snapshot does not keep the order in which nodes became active.
    path = min(waiting)[1]
    state.active[path].result = ["ok", value]
    state.agenda.append(("finish", path))


def _ticket_answered(state: State, event: Event, irs: Graphs) -> None:
    path, data = event.node or "", event.data
    activation = state.active[path]
    assert activation.ticket is not None
    answer = Answer(data["answer"], data["by"], state.now, data.get("reason"), get(data, "form"), data.get("groups", []))
    activation.ticket.answers = [*activation.ticket.answers, answer]
    if verdict(activation.ticket) is not None:
        activation.result = ["answered"]
        state.settling.append(path)


def _ticket_delegated(state: State, event: Event, irs: Graphs) -> None:
    ticket, by = _ticket(state, event), event.data["by"]
    part = part_of(ticket, by, event.data.get("groups", ()))
    standins = {name: names for name, names in ticket.standins.items() if name != by}
    ticket.standins = {**standins, event.data["to"]: part}
    ticket.away = [*ticket.away, by]
    if ticket.claimed == by:
        ticket.claimed = None


def _ticket_claimed(state: State, event: Event, irs: Graphs) -> None:
    ticket = _ticket(state, event)
    ticket.claimed = event.data["by"]
    ticket.notes += 1


def _ticket_released(state: State, event: Event, irs: Graphs) -> None:
    _ticket(state, event).claimed = None


def _ticket_commented(state: State, event: Event, irs: Graphs) -> None:
    _ticket(state, event).notes += 1


def _ticket_reminded(state: State, event: Event, irs: Graphs) -> None:
    _ticket(state, event).reminders += 1
    _remind_next(state, event.node or "", after=event.data["due"])


def _ticket_unattended(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    state.active[path].result = ["unattended", event.data["to"]]
    state.settling.append(path)


def _ticket(state: State, event: Event) -> Ticket:
    ticket = state.active[event.node or ""].ticket
    assert ticket is not None
    return ticket


def _remind_next(state: State, path: str, *, after: int) -> None:
    """Reminders that were missed while nothing ran are not made up for."""
    ticket = state.active[path].ticket
    state.reminders.pop(path, None)
    if ticket is None or ticket.every is None or ticket.reminders >= MAX_REMINDERS:
        return
    missed = max(state.now - after, 0) // ticket.every
    state.reminders[path] = after + (missed + 1) * ticket.every


def _child_ended(state: State, event: Event, irs: Graphs) -> None:
    # What was promised to the child and not used is free for others again.
    activation = state.active[event.node or ""]
    state.agents -= activation.agents - event.data.get("agents", 0)
    activation.agents = 0
    if event.data["status"] == "completed":
        _arrived(state, event, ["ok", _value(event.data, "output")])
    else:
        _arrived(state, event, ["failed", event.data["error"], 1.0])


def _pause_requested(state: State, event: Event, irs: Graphs) -> None:
    state.paused = True


def _resume_requested(state: State, event: Event, irs: Graphs) -> None:
    state.paused = False


def _cancel_requested(state: State, event: Event, irs: Graphs) -> None:
    state.cancel = event.data


def _retry_overridden(state: State, event: Event, irs: Graphs) -> None:
    state.retries[event.node or ""] = event.data["retry"]


def _engine_failed(state: State, event: Event, irs: Graphs) -> None:
    """The shell could not carry this run on (a value that Postgres refuses, a lost blob): it ends as failed."""
    state.paused = False
    state.failure = {"node": event.node, "error": event.data["error"]}


def _arrived(state: State, event: Event, result: list[Any]) -> None:
    path = event.node or ""
    state.active[path].result = result
    state.agenda.append(("finish", path))


# Decisions about nodes


def _task_scheduled(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    activation = state.active.get(path)
    if activation is None or not activation.input_seq:
        activation = _activate(state, event, "task")
        activation.input_seq = event.seq
        state.agents += event.data.get("agents", 0)
    elif activation.kind == "failure":
        activation.kind, activation.ticket, activation.failed = "task", None, None
    activation.attempt = event.data["attempt"]
    activation.retrying = False
    activation.result = None


def _retry_scheduled(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    activation = state.active[path]
    activation.retrying = True
    activation.result = None
    if event.data["due"] <= state.now:
        state.agenda.append(("retry", path))
    else:
        state.timers[path] = event.data["due"]


def _node_waiting(state: State, event: Event, irs: Graphs) -> None:
    data = event.data
    path = event.node or ""
    before = state.active.get(path)
    activation = _activate(state, event, data["kind"])
    activation.name = data.get("name")
    if "ticket" in data:
        own = {name: data[key] for name, key in _TICKET.items() if key in data}
        activation.ticket = Ticket(data["ticket"], **own)
        _remind_next(state, path, after=state.now)
    if data["kind"] == "failure":
        state.timers.pop(path, None)
        activation.failed = {key: data[key] for key in ("error", "dead_letter") if key in data}
        if before is not None:
            # A task that is tried again goes on with the number of its next attempt and with its budget.
            names = ("attempt", "started", "input_seq", "agent")
            for name in names:
                setattr(activation, name, getattr(before, name))
    _set_timer(state, event)
    stored = state.signals.get(activation.name or "") if activation.kind == "signal" else None
    if stored:
        activation.result = ["ok", stored.pop(0)]
        if not stored:
            del state.signals[activation.name or ""]
        state.agenda.append(("finish", event.node or ""))


_TICKET = {
    "assignees": "assignees",
    "quorum": "quorum",
    "not_by": "not_by",
    "nor_by": "nor_by",
    "on_timeout": "on_timeout",
    "escalate_to": "escalate_to",
    "period": "period",
    "later": "escalate_then",
    "vetoes": "veto",
    "every": "remind_every",
    "each": "each",
}
"""What the state keeps of a ticket, and how the event that opens it calls that."""


def _ticket_escalated(state: State, event: Event, irs: Graphs) -> None:
    """Others are asked now, from the beginning: what was answered before does not count for them."""
    path = event.node or ""
    ticket = _ticket(state, event)
    state.active[path].result = None
    ticket.assignees = event.data["assignees"]
    ticket.answers = []
    ticket.away, ticket.standins, ticket.claimed = [], {}, None
    if event.data.get("forsaken"):
        ticket.forsaken = True
    elif ticket.escalated:
        ticket.later = ticket.later[1:]
    ticket.escalated = True
    state.settling.remove(path)
    _set_timer(state, event)
    _remind_next(state, path, after=state.now)


def _ticket_decided(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    state.active[path].result = ["decided", event.data["status"], state.now, event.data["by"]]
    state.settling.remove(path)
    state.timers.pop(path, None)
    state.reminders.pop(path, None)
    state.agenda.append(("finish", path))


def _child_started(state: State, event: Event, irs: Graphs) -> None:
    activation = _activate(state, event, "child")
    activation.name = event.data["child"]
    activation.agents = event.data.get("agents", 0)
    state.agents += activation.agents
    _set_timer(state, event)


def _node_completed(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    activation = state.active.get(path)
    value = get(event.data, "output")
    if value is None and activation is not None and activation.result is not None:
        value = activation.result[1]
    _leave_by(state, path, event.data.get("port", "out"))
    _end_node(state, irs, path, "done", value, event.data.get("taken", ()))


def _node_failed(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    data = event.data
    handled = data["handled"]
    _drop_within(state, path)
    if handled == "fail":
        frame_path, node = paths.split(path)
        frame = state.frames[frame_path]
        state.active.pop(path, None)
        state.timers.pop(path, None)
        state.reminders.pop(path, None)
        frame.nodes[node] = "failed"
        if not frame_path:
            state.failure = {"node": path, "error": data["error"]}
            return
        _drop_within(state, frame_path)
        frame.error = {**data["error"], "node": path}
        state.agenda = [entry for entry in state.agenda if entry[1] != frame_path]
        state.agenda.append(("item", frame_path))
        return
    value = get(data, "output") or [{"error": data["error"]}]
    status = "done" if handled == "continue" else "failed"
    if handled == "error":
        _leave_by(state, path, "error")
    _end_node(state, irs, path, status, None if handled == "skip" else value, data.get("taken", ()))


def _node_skipped(state: State, event: Event, irs: Graphs) -> None:
    _end_node(state, irs, event.node or "", "skipped", None, ())


def _node_routed(state: State, event: Event, irs: Graphs) -> None:
    frame_path, name = paths.split(event.node or "")
    node = graph_of(state, irs, frame_path).nodes[name]
    _decide_edges(state, graph_of(state, irs, frame_path), frame_path, node, event.data["taken"])


# Decisions about maps and loops


def _map_started(state: State, event: Event, irs: Graphs) -> None:
    path = event.node or ""
    data = event.data
    activation = _activate(state, event, "map")
    activation.items = _value(data, "items")
    activation.total = data["count"]
    activation.concurrency = data["concurrency"]
    activation.collect = data.get("collect", False)
    activation.results = [None] * activation.total
    _set_timer(state, event)
    _start_items(state, irs, path, activation)
    if activation.total == 0:
        state.agenda.append(("finish", path))


def _item_completed(state: State, event: Event, irs: Graphs) -> None:
    _item_ended(state, event, irs, _value(event.data, "output"))


def _item_failed(state: State, event: Event, irs: Graphs) -> None:
    _item_ended(state, event, irs, [{"error": event.data["error"]}])


def _item_ended(state: State, event: Event, irs: Graphs, value: Value) -> None:
    frame = event.node or ""
    path, index = paths.owner(frame)
    activation = state.active[path]
    del state.frames[frame]
    activation.results[index] = value
    activation.running -= 1
    activation.done += 1
    _start_items(state, irs, path, activation)
    if activation.done == activation.total:
        state.agenda.append(("finish", path))


def _start_items(state: State, irs: Graphs, path: str, activation: Activation) -> None:
    while activation.running < activation.concurrency and activation.next < activation.total:
        activation.running += 1
        activation.next += 1
        _open_frame(state, irs, paths.frame_of(path, activation.next - 1))


def _iteration_started(state: State, event: Event, irs: Graphs) -> None:
    frame = event.node or ""
    path, index = paths.owner(frame)
    if index == 0:
        _activate(state, Event(event.seq, event.type, event.at, path, event.data), "loop")
        if "due" in event.data:
            state.timers[path] = event.data["due"]
    state.active[path].iteration = index
    _open_frame(state, irs, frame)


def _iteration_completed(state: State, event: Event, irs: Graphs) -> None:
    frame = event.node or ""
    path, index = paths.owner(frame)
    activation = state.active[path]
    del state.frames[frame]
    activation.last = _value(event.data, "output")
    activation.iteration = index + 1
    state.agenda.append(("iterate", path))


# Agents


def _agent_step_started(state: State, event: Event, irs: Graphs) -> None:
    """What a step that is begun again had reserved stays used: nobody knows whether it was paid for."""
    activation = state.active[event.node or ""]
    agent = activation.agent = activation.agent or Agent()
    reserved = event.data.get("reserved", {})
    agent.step, agent.attempt, agent.open = event.data["step"], event.data["attempt"], True
    agent.reserved_tokens, agent.reserved_cost = reserved.get("tokens", 0), reserved.get("cost", 0)
    _use(state, agent, agent.reserved_tokens, agent.reserved_cost)
    agent.time += event.data.get("took", 0)


def _agent_step_ended(state: State, event: Event, irs: Graphs) -> None:
    activation = state.active[event.node or ""]
    agent = activation.agent
    assert agent is not None
    used = event.data.get("used", {})
    _use(state, agent, used.get("tokens", 0) - agent.reserved_tokens, used.get("cost", 0) - agent.reserved_cost)
    agent.open = False
    agent.reserved_tokens = agent.reserved_cost = 0
    agent.time += event.data.get("took", 0)
    agent.outside = agent.outside or event.data.get("outside", False)
    # A worker that is lost between two steps loses nothing, however often.
    activation.losses = 0


def _use(state: State, agent: Agent, tokens: int, cost: int) -> None:
    agent.tokens += tokens
    agent.cost += cost
    state.tokens += tokens
    state.cost += cost


# Patches


def _patch_proposed(state: State, event: Event, irs: Graphs) -> None:
    """The graph stays as it is; a patch that is only tried waits for nobody."""
    if event.data["mode"] == "review":
        state.pending.append(event.data["patch"])


def _patch_rejected(state: State, event: Event, irs: Graphs) -> None:
    state.pending.remove(event.data["patch"])


def _patch_refused(state: State, event: Event, irs: Graphs) -> None:
    state.refused += 1


def _patch_applied(state: State, event: Event, irs: Graphs) -> None:
    """From here on another version holds (law 4): every live frame is wired anew from what was decided."""
    state.pending = [patch for patch in state.pending if patch != event.data.get("patch")]
    for path in event.data.get("asks_again", ()):
        # A replay that took the patch over may not have got to the ticket yet.
        activation = state.active.get(path)
        if activation is not None and activation.ticket is not None:
            activation.ticket.answers = []
    before = irs(state.version)
    state.base = state.base or state.version
    state.version = event.data["version"]
    state.pins = {**state.pins, **event.data.get("pins", {})}
    ir = irs(state.version)
    _grant(state, event.data.get("by", {}), before, ir)
    # Sorted, because a snapshot does not keep the order in which frames were opened.
    for frame_path, frame in sorted(state.frames.items()):
        if frame.error is not None:
            continue
        graph = ir.graphs[paths.graph_key(frame_path)]
        for name in [name for name, status in frame.nodes.items() if status in ("ready", "dead")]:
            del frame.nodes[name]
        state.agenda = [entry for entry in state.agenda if not _concerns_wiring(entry, frame_path)]
        frame.decided.clear()
        frame.taken.clear()
        frame.left = sum(1 for name in graph.nodes if frame.nodes.get(name) in (None, "active"))
        for node in graph.nodes.values():
            for edge in node.incoming:
                if edge.id in frame.edges:
                    _count_edge(frame, edge.target, frame.edges[edge.id])
        for name, node in graph.nodes.items():
            if name in frame.nodes:
                ended = frame.nodes[name] != "active"
                if ended and any(edge.id not in frame.edges for edge in node.outgoing):
                    state.agenda.append(("route", paths.join(frame_path, name)))
            elif not node.incoming:
                _make_ready(state, frame_path, frame, name)
            else:
                _settle(state, frame_path, frame, node)
        if frame.left == 0:
            state.agenda.append(("end", frame_path))


def _grant(state: State, author: dict[str, Any], before: WorkflowIR, after: WorkflowIR) -> None:
    """Nodes that an agent brought or changed stand under its grant from here on; those that others changed do not.

    An agent outside AOB has no node that could grant it anything, and frees no node from the grant of one that has.
    """
    is_agent = author.get("kind") == "agent"
    if (not is_agent and not state.granted) or author.get("via") is not None:
        return
    for key, graph in after.graphs.items():
        known = before.graphs[key].nodes if key in before.graphs else {}
        for name, node in graph.nodes.items():
            if name in known and known[name].digest == node.digest:
                continue
            path = f"{key}/{name}" if key else name
            if is_agent:
                state.granted[path] = author["name"]
            else:
                state.granted.pop(path, None)


def _concerns_wiring(entry: Entry, frame_path: str) -> bool:
    """True for what the new wiring of this frame decides afresh."""
    kind, path = entry
    if kind == "end":
        return path == frame_path
    return kind in ("start", "skip", "route") and paths.split(path)[0] == frame_path


# Parts


def _value(data: dict[str, Any], key: str) -> Value:
    value = get(data, key)
    return [None] if value is None else value


def _activate(state: State, event: Event, kind: str) -> Activation:
    path = event.node or ""
    frame_path, node = paths.split(path)
    activation = Activation(kind=kind, since=state.now)
    state.active[path] = activation
    state.frames[frame_path].nodes[node] = "active"
    return activation


def _set_timer(state: State, event: Event) -> None:
    if event.data.get("due") is not None:
        state.timers[event.node or ""] = event.data["due"]


def _open_frame(state: State, irs: Graphs, path: str) -> None:
    graph = graph_of(state, irs, path)
    frame = Frame(left=len(graph.nodes))
    state.frames[path] = frame
    for name in graph.entries:
        _make_ready(state, path, frame, name)


def _make_ready(state: State, frame_path: str, frame: Frame, name: str) -> None:
    frame.nodes[name] = "ready"
    state.agenda.append(("start", paths.join(frame_path, name)))


def _end_node(state: State, irs: Graphs, path: str, status: str, value: Value | None, taken: Iterable[str]) -> None:
    activation = state.active.pop(path, None)
    state.timers.pop(path, None)
    state.reminders.pop(path, None)
    if activation is not None and activation.kind in ("map", "loop"):
        _drop_within(state, path)
        state.agenda = [entry for entry in state.agenda if entry[1] != path]
    frame_path, name = paths.split(path)
    frame = state.frames[frame_path]
    graph = graph_of(state, irs, frame_path)
    frame.nodes[name] = status
    if value is not None:
        frame.outputs[name] = value
    _decide_edges(state, graph, frame_path, graph.nodes[name], taken)
    frame.left -= 1
    if frame.left == 0:
        state.agenda.append(("end", frame_path))


def _leave_by(state: State, path: str, port: str) -> None:
    """Keeps the port, so that edges which a patch draws later are decided as if they had been there."""
    if port != "out":
        frame_path, name = paths.split(path)
        state.frames[frame_path].ports[name] = port


def _decide_edges(state: State, graph: GraphIR, frame_path: str, node: NodeIR, taken: Iterable[str]) -> None:
    frame = state.frames[frame_path]
    chosen = set(taken)
    for edge in node.outgoing:
        if edge.id in frame.edges:
            continue
        frame.edges[edge.id] = edge.id in chosen
        _count_edge(frame, edge.target, edge.id in chosen)
        _settle(state, frame_path, frame, graph.nodes[edge.target])


def _count_edge(frame: Frame, target: str, is_taken: bool) -> None:
    frame.decided[target] = frame.decided.get(target, 0) + 1
    if is_taken:
        frame.taken[target] = frame.taken.get(target, 0) + 1


def _settle(state: State, frame_path: str, frame: Frame, node: NodeIR) -> None:
    """Starts or skips a node whose incoming edges say so; the join rule of the design."""
    if node.id in frame.nodes:
        return
    taken = frame.taken.get(node.id, 0)
    all_decided = frame.decided.get(node.id, 0) == len(node.incoming)
    if taken >= node.need and (all_decided or not node.wait_all):
        _make_ready(state, frame_path, frame, node.id)
    elif all_decided:
        frame.nodes[node.id] = "dead"
        state.agenda.append(("skip", paths.join(frame_path, node.id)))


def _drop_within(state: State, root: str) -> None:
    """Ends everything inside a node or frame without a result: its frames, activations and timers."""
    if not any(paths.is_within(frame, root) for frame in state.frames) and root not in state.frames:
        return
    state.frames = {path: frame for path, frame in state.frames.items() if not paths.is_within(path, root)}
    state.active = {path: one for path, one in state.active.items() if not paths.is_within(path, root)}
    state.timers = {path: due for path, due in state.timers.items() if not paths.is_within(path, root)}
    state.reminders = {path: due for path, due in state.reminders.items() if not paths.is_within(path, root)}
    state.agenda = [entry for entry in state.agenda if not paths.is_within(entry[1], root)]
    state.settling = [path for path in state.settling if not paths.is_within(path, root)]


def _end_run(state: State, status: str) -> None:
    state.status = status
    state.agenda = []
    state.settling = []
    state.active = {}
    state.timers = {}
    state.reminders = {}
    state.signals = {}
    state.frames = {path: frame for path, frame in state.frames.items() if not path}


_TRANSITIONS: dict[str, Callable[[State, Event, Graphs], None]] = {
    "RunStarted": _run_started,
    "TaskStarted": _task_started,
    "TaskCompleted": _task_completed,
    "TaskFailed": _task_failed,
    "TaskLost": _task_lost,
    "TimerFired": _timer_fired,
    "SignalReceived": _signal_received,
    "TicketAnswered": _ticket_answered,
    "TicketDelegated": _ticket_delegated,
    "TicketClaimed": _ticket_claimed,
    "TicketReleased": _ticket_released,
    "TicketCommented": _ticket_commented,
    "TicketReminded": _ticket_reminded,
    "TicketUnattended": _ticket_unattended,
    "ChildEnded": _child_ended,
    "PauseRequested": _pause_requested,
    "ResumeRequested": _resume_requested,
    "CancelRequested": _cancel_requested,
    "RetryOverridden": _retry_overridden,
    "AgentStepStarted": _agent_step_started,
    "AgentStepEnded": _agent_step_ended,
    "PatchProposed": _patch_proposed,
    "PatchApplied": _patch_applied,
    "PatchRejected": _patch_rejected,
    "PatchRefused": _patch_refused,
    "EngineFailed": _engine_failed,
    "TaskScheduled": _task_scheduled,
    "RetryScheduled": _retry_scheduled,
    "NodeCompleted": _node_completed,
    "NodeFailed": _node_failed,
    "NodeSkipped": _node_skipped,
    "NodeWaiting": _node_waiting,
    "NodeRouted": _node_routed,
    "TicketEscalated": _ticket_escalated,
    "TicketDecided": _ticket_decided,
    "MapStarted": _map_started,
    "ItemCompleted": _item_completed,
    "ItemFailed": _item_failed,
    "IterationStarted": _iteration_started,
    "IterationCompleted": _iteration_completed,
    "ChildStarted": _child_started,
}
