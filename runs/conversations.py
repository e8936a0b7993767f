"""What the agents of a run asked, said, did and used, from its log: as it is now, or was at a seq. Changes nothing.

Whatever a model or a tool said is text here and nothing else; values that are too large to be read at once are named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from django.conf import settings

from runs import blobs, db
from runs.blobs import fetch
from runs.core import paths
from runs.core.agents import MICRODOLLARS, MICROSECONDS
from runs.core.scope import instant
from runs.core.values import MissingValue, Value, get
from runs.irs import ir_of
from runs.timeline import Timeline
from workflows.core.ir import NodeIR
from workflows.nodes.agent import budget_of

SCRIPTED = "scripted:"
"""How the names of the models begin that are scripts: they are named what they are wherever they show."""

MAX_STEPS = 60
"""So many steps of one agent are told, the newest ones."""

MAX_AGENTS = 50
MAX_BYTES = 256 * 1024
"""What a step said is read up to this size; larger values are looked at by their blob."""

_STEPS = ("AgentStepStarted", "AgentStepEnded")
_TOOL_PARTS = frozenset({"tool-return"})


class Meter(msgspec.Struct, frozen=True):
    """What was used of a limit; without a limit it is only counted. Costs are in US dollars."""

    what: str
    used: float
    limit: float | None

    @property
    def share(self) -> float:
        """0 to 1."""
        return min(self.used / self.limit, 1.0) if self.limit else 0.0

    @property
    def words(self) -> str:
        if self.what == "cost":
            return f"${self.used:.4f}" + ("" if self.limit is None else f" of ${self.limit:g}")
        return f"{self.used:,.0f}" + ("" if self.limit is None else f" of {self.limit:,.0f}") + f" {self.what}"


class AgentShown(msgspec.Struct, frozen=True):
    """One agent of a run: `step` is the one that goes on, or the last."""

    node: str
    state: str
    models: list[str]
    step: int
    is_open: bool
    meters: list[Meter]

    @property
    def is_scripted(self) -> bool:
        return is_scripted(self.models)


class Said(msgspec.Struct, frozen=True):
    """Text of a conversation: `who` is system, user, retry, answer or thinking."""

    who: str
    text: str


class Call(msgspec.Struct, frozen=True):
    """A value of a step as it was written; `blob` names one that is too large."""

    value: Any = None
    blob: str | None = None


class Step(msgspec.Struct):
    """One call of a model or a tool. `patch` is the patch that it made; it is open until its outcome is recorded."""

    number: int
    kind: str
    at: str
    name: str = ""
    said: list[Said] = []
    asked_for: list[str] = []
    args: Call | None = None
    result: Call | None = None
    error: dict[str, Any] | None = None
    patch: str | None = None
    is_outside: bool = False
    is_open: bool = True
    tokens: int = 0
    cost: float = 0.0


def is_scripted(models: list[str]) -> bool:
    """Whether a script may answer instead of a language model."""
    return any(one.startswith(SCRIPTED) for one in models)


def agents_of(found: Timeline) -> list[AgentShown]:
    """The agents that have begun in a timeline, each with what it used of its own budget."""
    shown = []
    for one in found.activations.values():
        if one.type != "agent":
            continue
        config = _config(found.version, one.node)
        budget = budget_of(config)
        names = config.get("model", [])
        shown.append(
            AgentShown(
                node=one.node,
                state=one.state,
                models=[names] if isinstance(names, str) else list(names),
                step=one.step,
                is_open=one.is_open and one.ended_at is None,
                meters=[
                    Meter("steps", one.step, budget["steps"]),
                    *_meters(one.tokens, one.cost, budget),
                    Meter("seconds", one.took / MICROSECONDS, budget["seconds"]),
                ],
            )
        )
        if len(shown) == MAX_AGENTS:
            break
    return shown


def whole(found: Timeline, used: Mapping[str, int] | None = None) -> list[Meter]:
    """What all agents of a run used of its limits; those of the runs that it started count where `used` is given, which
    is what `runs.budgets.used_by_run` says."""
    limits = ir_of(found.base).agent_limits if found.base else {}
    if used is None:
        own = list(found.activations.values())
        return _meters(sum(one.tokens for one in own), sum(one.cost for one in own), limits)
    more = [Meter("steps", used["steps"], limits.get("steps"))]
    more.append(Meter("seconds", used["micros"] / MICROSECONDS, limits.get("seconds")))
    return [*_meters(used["tokens"], used["cost"], limits), *more]


def today(found: Timeline, workflow: str) -> list[tuple[str, list[Meter]]]:
    """What agents used today (UTC) of the limits of the day: of the workflow's, and of all AOB's."""
    with db.transaction() as cursor:
        rows = cursor.execute(
            "SELECT workflow, tokens, cost FROM agent_spend"
            " WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date AND workflow IN ('', %s)",
            [workflow],
        ).fetchall()
    used = {name: (tokens, cost) for name, tokens, cost in rows}
    limits = ir_of(found.base).agent_limits if found.base else {}
    own = {"tokens": limits.get("daily_tokens"), "cost": limits.get("daily_cost")}
    of_all = {"tokens": settings.AOB_AGENT_DAILY_TOKENS, "cost": settings.AOB_AGENT_DAILY_COST}
    told = [(f"{workflow} today", _meters(*used.get(workflow, (0, 0)), own))]
    if any(limit is not None for limit in of_all.values()):
        told.append(("all agents today", _meters(*used.get("", (0, 0)), of_all)))
    return told


def _meters(tokens: int, cost: int, limits: Mapping[str, Any]) -> list[Meter]:
    return [Meter("tokens", tokens, limits.get("tokens")), Meter("cost", cost / MICRODOLLARS, limits.get("cost"))]


def conversation(run_id: str, node: str, *, upto: int | None = None) -> tuple[list[Step], int]:
    """The newest steps of an agent in their order, and how many older ones there are."""
    with db.transaction() as cursor:
        cursor.execute(
            "SELECT type, at, data FROM run_event WHERE run_id = %s AND seq <= %s AND node = %s AND type = ANY(%s)"
            " ORDER BY seq",
            [run_id, 2**31 - 1 if upto is None else upto, node, list(_STEPS)],
        )
        raw: dict[int, dict[str, Any]] = {}
        for kind, at, data in cursor:
            if kind == _STEPS[0]:
                raw[data["step"]] = {"at": db.micros(at), "kind": data["kind"], "what": get(data, "what"), "end": None}
            elif data["step"] in raw:
                raw[data["step"]]["end"] = data
    numbers = sorted(raw)
    steps = []
    for place, number in enumerate(numbers):
        if place < len(numbers) - MAX_STEPS:
            continue
        # After a tool's step the model is only told its result, which stands there.
        is_told_more = place == 0 or raw[numbers[place - 1]]["kind"] == "model"
        steps.append(_step(number, raw[number], with_messages=is_told_more, is_first=place == 0))
    return steps, max(len(numbers) - MAX_STEPS, 0)


def _step(number: int, raw: dict[str, Any], *, with_messages: bool, is_first: bool) -> Step:
    step = Step(number, raw["kind"], instant(raw["at"]))
    # A later request holds all of the conversation so far: it is not read for nothing.
    is_needed = step.kind == "tool" or with_messages or raw["end"] is None
    what = _load(raw["what"]) if is_needed else Call()
    told = what.value if isinstance(what.value, dict) else {}
    step.name = str(told.get("model") or told.get("tool") or "")
    if step.kind == "model" and with_messages:
        step.said = _asked(told.get("request"), is_first=is_first)
        if what.blob is not None:
            step.args = what
    elif step.kind == "tool":
        step.args = Call(told.get("args")) if what.blob is None else what
    if raw["end"] is not None:
        _ended(step, raw["end"])
    return step


def _ended(step: Step, data: dict[str, Any]) -> None:
    step.is_open = False
    step.is_outside = bool(data.get("outside"))
    used = data.get("used", {})
    step.tokens, step.cost = used.get("tokens", 0), used.get("cost", 0) / MICRODOLLARS
    outcome = _load(get(data, "outcome"))
    if not isinstance(outcome.value, dict):
        step.result = outcome
        return
    step.name = step.name or str(outcome.value.get("model", ""))
    error = outcome.value.get("error")
    step.error = error if isinstance(error, dict) else None
    answer = outcome.value.get("answer")
    if isinstance(answer, dict):
        _answered(step, answer)
    elif "result" in outcome.value:
        result = outcome.value["result"]
        step.result = Call(result)
        if step.name == "patch_workflow" and isinstance(result, dict):
            step.patch = str(result["id"]) if "id" in result else None


def _asked(request: Any, *, is_first: bool) -> list[Said]:
    """What a model was told since it answered last: its instructions and the prompt, or what was wrong."""
    messages = request.get("messages", []) if isinstance(request, dict) else []
    found: list[Said] = []
    for message in messages if is_first else messages[-1:]:
        if is_first and message.get("instructions"):
            found.append(Said("system", str(message["instructions"])))
        for part in message.get("parts", ()):
            kind = str(part.get("part_kind", ""))
            if kind in _TOOL_PARTS or message.get("kind") == "response":
                continue
            content = part.get("content", "")
            text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
            found.append(Said({"system-prompt": "system", "retry-prompt": "retry"}.get(kind, "user"), text))
    return found


def _answered(step: Step, answer: dict[str, Any]) -> None:
    for part in answer.get("parts", ()):
        kind = part.get("part_kind")
        if kind == "tool-call":
            step.asked_for = [*step.asked_for, str(part.get("tool_name", ""))]
            if part.get("tool_name") == "final_result":
                step.result = Call(_decoded(part.get("args")))
        elif part.get("content"):
            step.said = [*step.said, Said("thinking" if kind == "thinking" else "answer", str(part["content"]))]


def _decoded(args: Any) -> Any:
    try:
        return msgspec.json.decode(args) if isinstance(args, str) else args
    except msgspec.DecodeError:
        return args


def _load(stored: Value | None) -> Call:
    """A stored value where it is small; else the name of its blob."""
    if stored is None:
        return Call()
    if isinstance(stored, list):
        return Call(stored[0])
    try:
        if int(blobs.describe(stored)["bytes"]) <= MAX_BYTES:
            return Call(msgspec.json.decode(fetch(stored)))
    except (blobs.BlobError, MissingValue):
        pass
    return Call(blob=stored)


def _config(version: str | None, path: str) -> Mapping[str, Any]:
    """The literal config of an agent in a version; nothing where the version has it no more."""
    frame, name = paths.split(path)
    graph = ir_of(version).graphs.get(paths.graph_key(frame)) if version else None
    node: NodeIR | None = graph.nodes.get(name) if graph is not None else None
    literal: Mapping[str, Any] = node.config.literal if node is not None else {}
    return literal
