"""The doors of the agent plane: a runner claims agents' tasks, records each step before and after it, and finishes them.

A runner has no database and is trusted with nothing but its leases: every call names a task with its fencing token, and
every right is checked here again (hazards L1, L4). What one step may use is reserved when it begins.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from django.conf import settings

from runs import blob_uses, budgets, db, dispatch, patches, queries, services, wake
from runs.blobs import fetch, may_read
from runs.core import agents as rules
from runs.core import paths
from runs.core.agents import StepRefused
from runs.core.events import Fact
from runs.core.limits import grant_of_agent
from runs.core.scope import variables
from runs.core.state import State
from runs.core.values import MissingValue, Values, get, put
from runs.holding import Held, hold
from runs.irs import ir_of
from runs.leases import Finished, Leased
from runs.patches import Proposal
from workflows.core import influence
from workflows.core.errors import AobError
from workflows.core.grants import Author
from workflows.core.hidden import without_hidden
from workflows.core.ir import NodeIR
from workflows.core.strictjson import encode
from workflows.core.templates import Template
from workflows.nodes.agent import TEXTS, consent_of, grant_of, granted_as, needs_consent, waits
from workflows.nodes.registry import node_types
from workflows.services import document_of

PLANE = "agent"
MAX_CLAIMED = 100
SCRIPTED = "scripted"
"""The provider that is a script and no language model."""

MAX_STEP_BYTES = 16 * 1024 * 1024
MAX_LINE, MAX_LINES = 500, 30
"""So much of a call is told in words; all of it stands beside them."""

STEPS = ("AgentStepStarted", "AgentStepEnded")
"""Nodes whose output comes from outside AOB, or may hold what does."""

_log = logging.getLogger(__name__)


class Lease(msgspec.Struct, frozen=True):
    """What a runner shows for a task: its number, the fencing token, the run, the node path and the attempt."""

    task: int
    token: int
    run: str
    node: str
    attempt: int


def stop_all(*, by: str, reason: str = "") -> None:
    """Lets no agent begin another step until `start_all`; their runs wait, and nothing is lost (hazard L10)."""
    with db.transaction() as cursor:
        cursor.execute(
            "INSERT INTO agent_switch (id, by, reason) VALUES (1, %s, %s) ON CONFLICT DO NOTHING", [by, reason[:2000]]
        )


def start_all() -> None:
    """Lets agents go on."""
    with db.transaction() as cursor:
        cursor.execute("DELETE FROM agent_switch")


def stopped() -> dict[str, Any] | None:
    """Who stopped all agents, when and why; None while they work."""
    with db.statement() as cursor:
        row = cursor.execute("SELECT by, reason, at FROM agent_switch").fetchone()
    return None if row is None else {"by": row[0], "reason": row[1], "at": row[2].isoformat()}


def claim(runner: str, slots: int) -> list[dict[str, Any]]:
    """Leases up to `slots` agent tasks to a runner, each with all that it needs to begin or to go on."""
    if stopped():
        return []
    types = sorted(name for name, one in node_types().items() if one.is_task and one.plane == PLANE)
    leased = dispatch.lease(worker=f"agent:{runner}"[:200], plane=PLANE, types=types, limit=min(slots, MAX_CLAIMED))
    told = []
    for task in leased:
        try:
            told.append(_told(task))
        except (AobError, MissingValue, OSError) as error:
            # Its run ended meanwhile, is busy, or cannot be read now. The others are none the worse for it.
            _log.info("The agent %s of run %s is not given out: %s", task.node, task.run_id, error)
            dispatch.release(task)
    return told


def renew(leases: Sequence[Lease]) -> list[int]:
    """Heartbeat: the numbers of the tasks whose leases still hold."""
    tasks = [Leased(one.task, one.run, one.node, one.attempt, "", PLANE, 1, 0, None, one.token) for one in leases]
    return sorted(dispatch.renew(tasks))


def begin(lease: Lease, step: dict[str, Any]) -> None:
    """Records that a step begins; whatever it does comes after. Raises StepRefused."""
    with hold(lease.run) as held:
        _require(held, lease)
        data = {"attempt": lease.attempt, "step": step["number"], "kind": step["kind"]}
        if rules.is_known(held.state, lease.node, data, open_=True):
            return
        config = rules.node_of(held.state, ir_of, lease.node).config.literal
        if step["kind"] == "model":
            data["reserved"] = _positive(rules.reserved_by(step["what"], config))
        elif waits(config, str(step["what"].get("tool"))):
            data["waits"] = True
        if took := _took_unended(held, lease.node):
            data["took"] = took
        rules.check_step(held.state, ir_of, lease.node, data)
        if held.cursor.execute("SELECT 1 FROM agent_switch").fetchone():
            raise StepRefused("agents_stopped", "All agents are stopped by the operator.", hint="`aob agents start`")
        budgets.reserve(held, lease.node, data)
        if step["kind"] == "model":
            _say_what_is_unpriced(held, lease.node, step["what"], data)
        held.append("AgentStepStarted", put(data, "what", _store(held, step["what"])), lease.node)


def end(lease: Lease, step: dict[str, Any]) -> None:
    """Records how a step ended, and what it used. Raises StepRefused."""
    outcome = step["outcome"]
    with hold(lease.run) as held:
        _require(held, lease)
        data: dict[str, Any] = {"attempt": lease.attempt, "step": step["number"], "kind": step["kind"]}
        if rules.is_known(held.state, lease.node, data, open_=False):
            return
        begun = _begun(held, lease.node)
        rules.check_end(held.state, lease.node, data, begun_as=begun.kind)
        agent = held.state.active[lease.node].agent
        assert agent is not None
        used = rules.used_by(outcome, agent) if step["kind"] == "model" else {}
        if any(used.values()):
            data["used"] = _positive(used)
        if outcome.get("outside"):
            data["outside"] = True
        if not begun.waits and (took := max(held.now - begun.at, 0)):
            data["took"] = took
        budgets.settle(held, lease.node, data)
        held.append("AgentStepEnded", put(data, "outcome", _store(held, outcome)), lease.node)


def finish(lease: Lease, *, output: Any = None, error: dict[str, Any] | None = None, jitter: float = 1.0) -> bool:
    """Records an agent's result under its lease; False when its run went on without it."""
    values = Values(fetch)
    answer: dict[str, Any] = {"attempt": lease.attempt, "worker": "agent"}
    kind = "TaskCompleted"
    try:
        if error is None:
            limit = settings.AOB_MAX_VALUE_BYTES
            put(answer, "output", values.store(output, max_bytes=limit, what=f"The output of node {lease.node!r}"))
    except AobError as refused:
        error = {**refused.as_dict(), "transient": False}
    if error is not None:
        kind = "TaskFailed"
        answer |= {"error": error, "jitter": jitter}
    task = Leased(lease.task, lease.run, lease.node, lease.attempt, "", PLANE, 1, 0, None, lease.token)
    fact = Fact(kind, lease.node, answer)
    return services.advancer().runs([lease.run], [Finished(task, fact, values.new)]).runs > 0


def document(lease: Lease) -> dict[str, Any]:
    """The run's document now, for an agent that looks at its own graph: without what is hidden from models."""
    with hold(lease.run) as held:
        _require(held, lease)
        version = held.state.version
    return {"version": version, "document": without_hidden(document_of(version))}


def patch(lease: Lease, key: str, operations: Any, reason: str) -> dict[str, Any]:
    """Proposes a patch in the agent's name, with its grant and mode. Raises as `patches.propose` does, StepRefused."""
    with hold(lease.run) as held:
        _require(held, lease)
        grant = grant_of_agent(held.state, ir_of, lease.node)
        config = rules.node_of(held.state, ir_of, lease.node).config.literal
        read, outside = _read(held, lease)
    mode = config.get("patches", "off")
    if mode == "off":
        raise StepRefused("capability_missing", "This agent may not change the graph.", hint="See `patches` of its node.")
    return patches.propose(
        lease.run,
        Proposal(
            operations=operations,
            reason=reason,
            author=Author("agent", lease.node, lease.run),
            read=read,
            outside=outside,
            grant=grant,
            mode=mode,
            key=f"{lease.node}:{key}",
        ),
        guard=lambda held: _require(held, lease),
    )


def blob(lease: Lease, name: str) -> bytes:
    """The bytes of a blob that this run may read; of others not even whether they exist (hazard S6)."""
    with hold(lease.run) as held:
        _require(held, lease)
    if not may_read(lease.run, name):
        raise AobError("blob_unknown", f"This run has no blob {name[:80]!r}.")
    return fetch(name)


def start_workflow(lease: Lease, key: str, workflow: str, inputs: Any, consent: str | None = None) -> str:
    """Starts a workflow that the agent has as a tool, once for the same key; gives the run's id.

    The agents of such a run are none of this run's, so it may have none of its own. Where people allow the call first,
    `consent` is the key under which they were asked.
    """
    with hold(lease.run) as held:
        _require(held, lease)
        run, grant = held.state, grant_of(rules.node_of(held.state, ir_of, lease.node).config.literal)
    tool = next((one for one in grant["tools"] if one["type"] == "workflow" and one["name"] == workflow), None)
    if tool is None:
        raise StepRefused("capability_missing", f"The workflow {workflow[:100]!r} is no tool of this agent.")
    name = granted_as(tool)
    if needs_consent(grant["consent"], name) and not _is_allowed(lease, consent, name, {"inputs": inputs}):
        raise StepRefused("capability_missing", f"Nobody has allowed this call of {name!r}.")
    return _started(lease, key, workflow, inputs, run=run)


def ask(lease: Lease, key: str, question: str, form: dict[str, Any] | None) -> str:
    """Asks people in an agent's name, once for the same key; gives the id of the run that waits for the answer.

    It is a run of its own with one approval, so a question has a ticket like any other, and outlives the runner.
    Raises StepRefused where the agent may not ask, DocumentInvalid for a form that is none.
    """
    with hold(lease.run) as held:
        _require(held, lease)
        run, tools = held.state, grant_of(rules.node_of(held.state, ir_of, lease.node).config.literal)["tools"]
    tool = next((one for one in tools if one["type"] == "ask_human"), None)
    if tool is None:
        raise StepRefused("capability_missing", "This agent may not ask people.", hint="See `tools` of its node.")
    config: dict[str, Any] = {
        "title": "{{ inputs.question }}",
        "body": "The agent `{{ inputs.agent }}` of run `{{ inputs.run }}` asks:\n\n{{ inputs.question }}",
    }
    if tool.get("assignees"):
        config["assignees"] = tool["assignees"]
    if form is not None:
        config["form"] = form
    return _asked(
        lease,
        key,
        {"name": "agent-question", "nodes": {"ask": {"type": "approval", "config": config}}},
        {"question": question, "agent": lease.node, "run": lease.run},
        run=run,
    )


def ask_consent(lease: Lease, key: str, tool: str, arguments: dict[str, Any]) -> str:
    """Asks people whether an agent may make a call, once for the same key; gives the id of the run that waits for it.

    What they see of the call is data, under words of ours (hazard L8). Raises StepRefused where nobody is to be asked.
    """
    with hold(lease.run) as held:
        _require(held, lease)
        run, literal = held.state, rules.node_of(held.state, ir_of, lease.node).config.literal
    if not needs_consent(consent_of(literal), tool):
        raise StepRefused("capability_missing", f"Calls of {tool[:100]!r} need no consent.", hint="See `consent`.")
    if tool.startswith("workflow:"):
        arguments = {"inputs": {}, **arguments}
    config: dict[str, Any] = {
        "title": "May an agent use {{ inputs.call.tool }}?",
        "body": "The agent `{{ inputs.agent }}` of run `{{ inputs.run }}` wants to make this call. Its arguments were "
        "written by a language model:\n\n```\n{{ inputs.shown }}\n```",
        "values": "{{ inputs.call }}",
    }
    if literal.get("consent_from"):
        config["assignees"] = literal["consent_from"]
    document = {
        "name": "agent-consent",
        "nodes": {
            "consent": {"type": "approval", "config": config},
            "call": {"type": "transform", "title": "The agent makes the call", "config": {"output": True}},
            "tell": {"type": "transform", "title": "The agent is told your reason", "config": {"output": True}},
        },
        "edges": {
            "yes": {"from": "consent", "to": "call", "port": "approved"},
            "no": {"from": "consent", "to": "tell", "port": "rejected"},
        },
        "output": {"consent": "{{ nodes.consent }}"},
    }
    call = {"tool": tool, "arguments": arguments}
    return _asked(
        lease,
        key,
        document,
        {"call": call, "shown": _in_lines(arguments), "agent": lease.node, "run": lease.run},
        run=run,
    )


def _asked(lease: Lease, key: str, document: dict[str, Any], inputs: dict[str, Any], *, run: State) -> str:
    """The run in which people are asked. Nobody may change what is done with their answer."""
    try:
        return _started(lease, key, {**document, "patches": "off"}, inputs, run=run)
    except AobError as error:
        if error.code != "idempotency_key_reused":
            raise
        # Asked before such runs refused patches.
        return _started(lease, key, document, inputs, run=run)


def _started(lease: Lease, key: str, workflow: Any, inputs: Any, *, run: State) -> str:
    """Starts a run in the name of an agent of `run`, once for the same key; who started that one, started this one."""
    request = services.StartRequest(
        workflow,
        inputs,
        labels={"agent": _label(lease)},
        key=f"{lease.run}:{lease.node}:{key}",
        max_agents=0,
        inputs_of=lease.run,
        by=run.started_by,
        before=run.started_before,
    )
    return services.start(request, guard=lambda cursor: _require_lease(cursor, lease)).id


def _in_lines(arguments: dict[str, Any]) -> str:
    """Arguments for people, a line each, the short ones first, so that no long one hides where the call goes.

    Each line begins with a quote and has no other line in it, so it stays within its block of code.
    """
    lines = [f"{encode(key).decode()}: {encode(value).decode()}" for key, value in arguments.items()]
    shown = [line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} …" for line in sorted(lines, key=len)]
    return "\n".join(shown[:MAX_LINES])


def _is_allowed(lease: Lease, key: str | None, tool: str, arguments: dict[str, Any]) -> bool:
    """Whether people allowed exactly this call: asking again under the key gives the run where they did.

    What they decided stands in its log; the run's output is only told.
    """
    if key is None:
        return False
    with db.transaction() as cursor:
        row = cursor.execute(
            "SELECT 1 FROM run_event WHERE run_id = %s AND node = 'consent' AND type = 'TicketDecided'"
            " AND data->>'status' = 'approved'",
            [ask_consent(lease, key, tool, arguments)],
        ).fetchone()
    return row is not None


def started_by(lease: Lease, run_id: str) -> dict[str, Any]:
    """Status, output and error of a run that this agent started. Raises StepRefused for others."""
    with hold(lease.run) as held:
        _require(held, lease)
    view = queries.run(run_id)
    if view["labels"].get("agent") != _label(lease):
        raise StepRefused("capability_missing", "This agent did not start that run.")
    if view["output"] is not None:
        with db.transaction() as cursor:
            blob_uses.hand_on(cursor, view["output"], source=run_id, to=lease.run)
    return {key: view[key] for key in ("status", "output", "error", "ended_at")}


def text(lease: Lease, number: int, delta: str) -> None:
    """Passes on what a model is saying to those who watch the run; nobody depends on it."""
    wake.text(lease.run, lease.node, number, delta)


def _label(lease: Lease) -> str:
    return f"{lease.run} {lease.node}"[:200]


def _told(task: Leased) -> dict[str, Any]:
    """A claimed task as a runner gets it: its config, what it may, what is left, and the steps of earlier attempts."""
    assert task.token is not None
    lease = Lease(task.id, task.token, task.run_id, task.node, task.attempt)
    values = Values(fetch)
    with hold(task.run_id) as held:
        rules.live(held.state, task.node, task.attempt)
        config = values.load(get(task.data, "input") or [{}])
        budget = budgets.left(held, task.node)
        node = rules.node_of(held.state, ir_of, task.node)
        computed = {key: found for key in TEXTS if (found := _computed(held, task.node, node, key, config)) != []}
        read, outside = _read(held, lease)
        steps = _steps(held, task.node, values)
    return {
        "lease": msgspec.to_builtins(lease),
        "run": task.run_id,
        "node": task.node,
        "attempt": task.attempt,
        "config": config,
        "grant": grant_of(node.config.literal),
        "budget": budget,
        "computed": computed,
        "inputs_read": read,
        "outside": outside,
        "past": steps,
        "lease_seconds": settings.AOB_LEASE_SECONDS,
    }


def _computed(held: Held, path: str, node: NodeIR, key: str, config: dict[str, Any]) -> list[list[int]] | None:
    """Where in a text of the config values of expressions stand, from where to where; None is all of it.

    The text was evaluated when the agent was scheduled; in pieces, on the same outputs, it is the same again. Where it
    were not, all of it would count as data.
    """
    part, text = node.config.parts.get(key), config.get(key)
    if part is None:
        return []
    frame, _ = paths.split(path)
    try:
        pieces = part.pieces(variables(held.state, Values(fetch), frame, part)) if isinstance(part, Template) else []
    except AobError:
        pieces = []
    if "".join(piece for _, piece in pieces) != text:
        return None
    spans, place = [], 0
    for is_computed, piece in pieces:
        if is_computed:
            spans.append([place, place + len(piece)])
        place += len(piece)
    return spans


def _steps(held: Held, node: str, values: Values) -> list[dict[str, Any]]:
    """The recorded steps of an agent, in order; a step that began more than once is told as it began last."""
    held.cursor.execute(
        "SELECT type, data FROM run_event WHERE run_id = %s AND node = %s AND type = ANY(%s) ORDER BY seq",
        [held.state.run_id, node, list(STEPS)],
    )
    steps: dict[int, dict[str, Any]] = {}
    for kind, data in held.cursor.fetchall():
        if kind == STEPS[0]:
            what = values.load(get(data, "what") or [{}])
            steps[data["step"]] = {"number": data["step"], "kind": data["kind"], "what": what, "outcome": None}
        else:
            steps[data["step"]]["outcome"] = values.load(get(data, "outcome") or [{}])
    return [steps[number] for number in sorted(steps)]


class _Begun(msgspec.Struct, frozen=True):
    """The begin of a node's last step, at a time in microseconds; of none, nothing."""

    seq: int = 0
    at: int = 0
    kind: str = ""
    waits: bool = False


def _begun(held: Held, node: str) -> _Begun:
    row = held.cursor.execute(
        "SELECT seq, at, data->>'kind', data->>'waits' IS NOT NULL FROM run_event"
        " WHERE run_id = %s AND node = %s AND type = %s ORDER BY seq DESC LIMIT 1",
        [held.state.run_id, node, STEPS[0]],
    ).fetchone()
    return _Begun() if row is None else _Begun(row[0], db.micros(row[1]), row[2], row[3])


def _took_unended(held: Held, node: str) -> int:
    """How long a step that is begun again went on before its attempt was over: as long as its runner was heard of."""
    agent = held.state.active[node].agent
    if agent is None or not agent.open:
        return 0
    begun = _begun(held, node)
    row = held.cursor.execute(
        "SELECT type, at, data->>'alive' FROM run_event"
        " WHERE run_id = %s AND node = %s AND seq > %s AND type IN ('TaskLost', 'TaskFailed') ORDER BY seq LIMIT 1",
        [held.state.run_id, node, begun.seq],
    ).fetchone()
    if row is None or begun.waits:
        return 0
    over = db.micros(row[1]) if row[0] == "TaskFailed" else int(row[2] or 0)
    return max(over - begun.at, 0)


def _require(held: Held, lease: Lease) -> None:
    """Raises StepRefused when the lease no longer holds, or is for something else than it says."""
    _require_lease(held.cursor, lease)
    rules.live(held.state, lease.node, lease.attempt)


def _require_lease(cursor: psycopg.Cursor[Any], lease: Lease) -> None:
    """The lease holds until the transaction has ended: its row is locked, and it goes with the attempt."""
    row = cursor.execute(
        "SELECT 1 FROM task WHERE id = %s AND lease_token = %s AND run_id = %s AND node = %s AND attempt = %s"
        " AND lease_until > clock_timestamp() FOR KEY SHARE",
        [lease.task, lease.token, lease.run, lease.node, lease.attempt],
    ).fetchone()
    if row is None:
        raise StepRefused("agent_stopped", "The lease on this task is over.")


def _store(held: Held, value: Any) -> Any:
    return held.values.store(value, max_bytes=MAX_STEP_BYTES, what="What the step says")


def _positive(amounts: dict[str, int]) -> dict[str, int]:
    return {key: amount for key, amount in amounts.items() if amount > 0}


def _say_what_is_unpriced(held: Held, node: str, what: dict[str, Any], data: dict[str, Any]) -> None:
    """A line in the log, once for each model of an agent, that budgets of money do not bound it."""
    model = str(what.get("model"))[:300]
    if (what.get("reserved") or {}).get("cost") is not None:
        return
    if model.startswith(f"{SCRIPTED}:"):
        line = {"level": "info", "message": f"{model} is a script, no language model; it costs nothing."}
    else:
        message = f"The price of {model} is not known: only its tokens are counted, and no budget of money bounds it."
        line = {"level": "warning", "message": f"{message} AOB_LLM_PRICES names a file of prices."}
    held.cursor.execute(
        "SELECT 1 FROM run_event WHERE run_id = %s AND node = %s AND type = %s AND data->'log'->>'message' = %s LIMIT 1",
        [held.state.run_id, node, STEPS[0], line["message"]],
    )
    if held.cursor.fetchone() is None:
        data["log"] = line


def _read(held: Held, lease: Lease) -> tuple[list[str], bool]:
    """What an agent has seen of the run, and whether some of it came from outside AOB (hazard L2)."""
    state = held.state
    ir = ir_of(state.version)
    read, roots = influence.sources(ir, paths.graph_key(lease.node))
    names = sorted(roots - {"nodes", "run"}) + [f"nodes.{key}" for key in sorted(read)]
    outside = influence.comes_from_outside(read, ir) or ("inputs" in roots and state.outside)
    held.cursor.execute(db.sql("agent_reads"), {"run": state.run_id, "node": lease.node, "changes": "patch_workflow"})
    names += [f"{tool} (step {step}{', outside' if came else ''})" for step, tool, came in held.cursor.fetchall()]
    agent = state.active[lease.node].agent
    return list(dict.fromkeys(names)), outside or (agent is not None and agent.outside)
