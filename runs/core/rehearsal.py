"""What a new version would have made of recorded runs: from their inputs, with their recorded results (pure; law 3).

Nothing acts. Where a run would reach outside and no result is recorded, it stops, and the report says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from runs.core import paths
from runs.core.events import Event
from runs.core.fold import Graphs, apply, fold
from runs.core.simulate import Budget, Recorded, acted, go_on, recorded, started
from runs.core.state import State
from runs.core.values import Value, Values, get
from workflows.core.canonical import canonical
from workflows.core.effort import Stopped
from workflows.core.ir import WorkflowIR
from workflows.core.patches import difference, same
from workflows.core.schemas import apply_defaults

MAX_NAMED = 20
MAX_DIFFERENCES = 5
MAX_PLACES = 10
MAX_SHOWN = 1_000


class Course(msgspec.Struct, frozen=True):
    """How a run went, or would go, by nodes of the document, however often each of them ran.

    `acts` would reach outside and no result is known, `waits` wait for what is not known. `status` is None where that
    leaves the end open. `calls` counts what reaches outside, `cost` what agents spent, in millionths of a US dollar.
    """

    status: str | None
    output: Any = None
    error: dict[str, Any] | None = None
    nodes: frozenset[str] = frozenset()
    acts: frozenset[str] = frozenset()
    waits: frozenset[str] = frozenset()
    calls: int = 0
    cost: int = 0


class Report(msgspec.Struct, frozen=True):
    """What a new version would have made of recorded runs, against the version before.

    `same`, `differ`, `fail` and `unknown` add up to `runs`. The maps count runs by node. `left_out` could not be read,
    `cut_off` says that the time was over before all were looked at.
    """

    before: str
    version: str
    runs: int
    same: int
    differ: int
    fail: int
    unknown: int
    starts: dict[str, int]
    stops: dict[str, int]
    acts: dict[str, int]
    waits: dict[str, int]
    failures: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    calls: dict[str, int]
    cost: dict[str, int]
    left_out: int = 0
    cut_off: bool = False


def went(log: Sequence[Event], irs: Graphs, values: Values) -> Course:
    """How a completed run that nobody patched went."""
    events = list(log)
    state = fold(events, irs)
    last = events[-1]
    return Course(
        status=state.status,
        output=_loaded(get(last.data, "output"), values),
        nodes=frozenset(map(paths.graph_key, started(events))),
        calls=len(acted(events, state, irs)),
        cost=sum(_costs(events).values()),
    )


def would_go(
    log: Sequence[Event], version: str, pins: dict[str, str], irs: Graphs, values: Values, budget: Budget | None = None
) -> Course:
    """How the run would go on another version, as far as its recorded results lead. Raises Stopped by the budget."""
    first = log[0]
    ir = irs(version)
    inputs = _loaded(get(first.data, "inputs"), values)
    refused = _refused(ir, inputs)
    if refused is not None:
        return Course(status="failed", error=refused)
    data = {**first.data, "version": version, "pins": {**first.data.get("pins", {}), **pins}}
    state = State()
    apply(state, Event(1, "RunStarted", first.at, None, data), irs)
    gone = go_on(state, irs, values, _known(list(log)), budget)
    if gone.spent:
        raise Stopped("the budget of the rehearsal is spent")
    acts = acted(gone.log, state, irs)
    costs = _costs(log)
    unknown = frozenset(paths.graph_key(path) for path in acts if path not in gone.assumed)
    last = gone.log[-1] if gone.log else first
    return Course(
        status=state.status if state.ended and gone.complete else None,
        output=_loaded(get(last.data, "output"), values) if last.type == "RunCompleted" else None,
        error=_error(last) if state.ended else None,
        nodes=frozenset(map(paths.graph_key, started(gone.log))),
        acts=unknown,
        waits=frozenset(paths.graph_key(path) for path, one in state.active.items() if one.kind not in ("map", "loop"))
        - unknown,
        calls=len(acts),
        cost=sum(costs.get(path, 0) for path in gone.assumed),
    )


def is_plain(log: Sequence[Event], version: str) -> bool:
    """Whether a run went on this one version from its beginning to its end."""
    return log[0].data["version"] == version and not any(event.type == "PatchApplied" for event in log)


def report(
    before: str, version: str, pairs: Sequence[tuple[str, Course, Course]], *, left_out: int = 0, cut_off: bool = False
) -> Report:
    """The runs (id, course before, course after) in one report, each of its lists bounded."""
    counts = Counter(_verdict(old, new) for _, old, new in pairs)
    return Report(
        before=before,
        version=version,
        runs=len(pairs),
        same=counts["same"],
        differ=counts["differ"],
        fail=counts["fail"],
        unknown=counts["unknown"],
        starts=_counted(new.nodes - old.nodes for _, old, new in pairs),
        stops=_counted(old.nodes - new.nodes for _, old, new in pairs if _is_open(old, new)),
        acts=_counted(new.acts for _, _, new in pairs),
        waits=_counted(new.waits for _, _, new in pairs),
        failures=_failures(pairs),
        differences=_differences(pairs),
        calls={"before": sum(old.calls for _, old, _ in pairs), "after": sum(new.calls for _, _, new in pairs)},
        cost={"before": sum(old.cost for _, old, _ in pairs), "after": sum(new.cost for _, _, new in pairs)},
        left_out=left_out,
        cut_off=cut_off,
    )


def in_words(told: Report) -> list[str]:
    """The report as sentences, the most important first."""
    if not told.runs:
        return ["No recorded run to try it on.", *_limits(told)]
    ends = [
        words
        for number, words in (
            (told.same, "would end as before"), (told.differ, "would end with another output"),
            (told.fail, "would not complete"), (told.unknown, "would meet what is not recorded, so their end is open"),
        )
        if number
        for words in (f"{number} {words}",)
    ]  # fmt: skip
    said = [f"Tried on {_many(told.runs, 'completed run')}: {', '.join(ends)}."]
    for found in told.failures:
        place = f" at {found['node']}" if found["node"] else ""
        said.append(f"Would fail{place} in {_many(found['runs'], 'run')}: {found['message']}")
    for counted, words in (
        (told.starts, "Would run in addition"), (told.stops, "Would not run any more"),
        (told.acts, "Would act outside, with no recorded result"), (told.waits, "Would wait, with no recorded answer"),
    ):  # fmt: skip
        if counted:
            said.append(f"{words}: {', '.join(f'{node} ({number})' for node, number in counted.items())}.")
    if told.differences:
        places = dict.fromkeys(place for one in told.differences for place in one["places"])
        named = ", ".join(list(places)[:MAX_PLACES])
        said.append(f"Outputs would differ at {named}, such as that of run {told.differences[0]['run']}.")
    if told.calls["before"] != told.calls["after"]:
        said.append(f"Calls to the outside: {told.calls['after']} instead of {told.calls['before']}.")
    if told.cost["before"] != told.cost["after"]:
        spent, would = (f"{told.cost[key] / 1_000_000:.4f}" for key in ("before", "after"))
        said.append(f"Agents would spend {would} US dollars instead of {spent}, as far as it is recorded.")
    return [*said, *_limits(told)]


def _limits(told: Report) -> list[str]:
    said = []
    if told.left_out:
        said.append(f"{_many(told.left_out, 'run')} could not be read or had too long a log.")
    if told.cut_off:
        said.append("The time for trying it was over before all runs were looked at.")
    return said


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _known(log: list[Event]) -> Recorded:
    """What the outside answered in a log."""
    errors: dict[str, dict[str, Any]] = {}
    signals: dict[str, list[Value]] = {}
    answers: dict[str, list[dict[str, Any]]] = {}
    for event in log:
        if event.type in ("TaskFailed", "ChildEnded") and event.node and "error" in event.data:
            errors[event.node] = event.data["error"]
        elif event.type == "SignalReceived":
            signals.setdefault(event.data["name"], []).append(get(event.data, "payload") or [None])
        elif event.type == "TicketAnswered" and event.node:
            answers.setdefault(event.node, []).append(event.data)
    return Recorded(recorded(log), errors, signals, answers)


def _costs(log: Sequence[Event]) -> dict[str, int]:
    """What each agent of a run spent."""
    spent: Counter[str] = Counter()
    for event in log:
        if event.node and "used" in event.data:
            spent[event.node] += event.data["used"].get("cost", 0)
    return spent


def _refused(ir: WorkflowIR, inputs: Any) -> dict[str, Any] | None:
    if ir.inputs is None:
        return None
    problems = ir.inputs.problems(apply_defaults(ir.inputs_schema, inputs), pointer="/inputs")
    return {"node": None, "code": "inputs_invalid", "message": problems[0].message} if problems else None


def _error(last: Event) -> dict[str, Any] | None:
    """Why a run ends badly, from its last event."""
    error = last.data.get("error")
    return {key: error.get(key) for key in ("node", "code", "message")} if error else None


def _loaded(value: Value | None, values: Values) -> Any:
    return None if value is None else values.load(value)


def _is_open(old: Course, new: Course) -> bool:
    """Whether what a run did not reach says something: not where it stopped for want of a result."""
    return old.status is not None and new.status is not None


def _verdict(old: Course, new: Course) -> str:
    if old.status is None or new.status is None:
        return "unknown"
    if old.status == new.status:
        if new.status != "completed":
            return "same"
        return "same" if same(old.output, new.output) else "differ"
    return "differ" if new.status == "completed" else "fail"


def _counted(found: Any) -> dict[str, int]:
    counts = Counter(node for nodes in found for node in sorted(nodes))
    return dict(sorted(counts.most_common(MAX_NAMED), key=lambda one: (-one[1], one[0])))


def _failures(pairs: Sequence[tuple[str, Course, Course]]) -> list[dict[str, Any]]:
    """The errors that end runs, alike ones together."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for run, old, new in pairs:
        if _verdict(old, new) == "fail":
            error = new.error or {"node": None, "code": new.status, "message": f"The run would end as {new.status}."}
            place = paths.graph_key(error["node"]) if error["node"] else None
            known = found.setdefault(
                (place, error["code"]),
                {"node": place, "code": error["code"], "message": error["message"][:MAX_SHOWN], "runs": 0, "run": run},
            )
            known["runs"] += 1
    return sorted(found.values(), key=lambda one: -one["runs"])[:MAX_NAMED]


def _differences(pairs: Sequence[tuple[str, Course, Course]]) -> list[dict[str, Any]]:
    """Outputs that differ, of a few runs: where, and both as JSON, shortened."""
    found = []
    for run, old, new in pairs:
        if _verdict(old, new) == "differ" and old.status == new.status:
            places = [one["path"] or "the whole output" for one in difference(old.output, new.output)]
            outputs = {"before": _shortened(old.output), "after": _shortened(new.output)}
            found.append({"run": run, "places": places[:MAX_PLACES], **outputs})
            if len(found) == MAX_DIFFERENCES:
                break
    return found


def _shortened(value: Any) -> str:
    text = canonical(value).decode()
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
