"""I16 from the log alone: what agents used stays within their budgets but for one call per slot, and there are no more
agents than a run may have. What was brought by an agent's patches counts against that agent's budget, and child runs
count against those of the runs above. Knows the documents and the events, and nothing of the code that keeps the budgets.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg

MAX_RUNS = 5_000
DEFAULTS = {"tokens": 200_000, "cost": 1.0, "steps": 50}
DEFAULT_AGENTS = 5
UNITS = {"tokens": 1, "cost": 1_000_000}
"""So many of what the log counts in are one of the budget's: cost is logged in millionths of a dollar."""

TREES = """
WITH RECURSIVE tree (root, id) AS (
    SELECT id, id FROM run WHERE parent IS NULL
    UNION ALL SELECT t.root, r.id FROM run r JOIN tree t ON r.parent = t.id
)
SELECT t.root::text, count(*) FROM tree t JOIN run_event e ON e.run_id = t.id
WHERE e.type = 'TaskScheduled' AND e.data->>'attempt' = '1' AND e.data->>'agents' IS NOT NULL GROUP BY t.root
"""

FAMILY = """
WITH RECURSIVE tree (id, parent, node) AS (
    SELECT id, NULL::uuid, NULL::text FROM run WHERE id = %(root)s
    UNION ALL SELECT r.id, r.parent, r.parent_node FROM run r JOIN tree t ON r.parent = t.id
)
SELECT id::text, parent::text, node FROM tree
"""

Row = tuple[int, str, str | None, dict[str, Any]]
Whose = tuple[str, str]
"""A run and the path of a node in it, or "" for all of the run."""


def overspent(connection: psycopg.Connection[Any]) -> list[str]:
    """Everything that is wrong with what agents did."""
    found: list[str] = []
    runs = connection.execute(
        "SELECT DISTINCT run_id::text FROM run_event WHERE type = 'AgentStepStarted' LIMIT %s", [MAX_RUNS]
    ).fetchall()
    for (run,) in runs:
        log = connection.execute(
            "SELECT seq, type, node, data FROM run_event WHERE run_id = %s ORDER BY seq", [run]
        ).fetchall()
        documents = {version: _document(connection, version) for version in _versions(log)}
        found += [f"I16: run {run}: {what}" for what in wrong(log, documents)]
    for root in {_root(connection, run) for (run,) in runs}:
        parents = {run: (parent, node) for run, parent, node in connection.execute(FAMILY, {"root": root}).fetchall()}
        events = connection.execute(
            "SELECT run_id::text, type, node, data FROM run_event WHERE run_id = ANY(%s::uuid[]) AND type = ANY(%s)"
            " ORDER BY at, run_id, seq",
            [list(parents), ["RunStarted", "PatchApplied", "AgentStepStarted", "AgentStepEnded"]],
        ).fetchall()
        versions = {data["version"] for _, kind, _, data in events if kind in ("RunStarted", "PatchApplied")}
        documents = {version: _document(connection, version) for version in versions}
        found += [f"I16: {what}" for what in wrong_together(parents, events, documents)]
    for root, count in connection.execute(TREES).fetchall():
        row = connection.execute("SELECT data FROM run_event WHERE run_id = %s AND seq = 1", [root]).fetchone()
        assert row is not None
        most = _document(connection, row[0]["version"]).get("limits", {}).get("max_agents", DEFAULT_AGENTS)
        if count > most:
            found.append(f"I16: run {root}: {count} agents began in it and its children; it may have {most}")
    return found


def _document(connection: psycopg.Connection[Any], version: str) -> Any:
    row = connection.execute("SELECT document FROM version WHERE hash = %s", [version]).fetchone()
    return json.loads(row[0]) if row else {"nodes": {}}


def _versions(log: Sequence[Row]) -> Iterator[str]:
    return (data["version"] for _, kind, _, data in log if kind in ("RunStarted", "PatchApplied"))


def wrong(log: Sequence[Row], documents: Mapping[str, Any]) -> list[str]:
    """What is wrong with the steps of one run's agents."""
    found: list[str] = []
    version = base = ""
    budgets: dict[str, dict[str, Any]] = {}
    open_: dict[str, tuple[int, dict[str, int]]] = {}
    last: Counter[str] = Counter()
    used: dict[str, Counter[str]] = defaultdict(Counter)
    most_open = 0
    largest: Counter[str] = Counter()
    for seq, kind, node, data in log:
        if kind in ("RunStarted", "PatchApplied"):
            version = data["version"]
            base = base or version
        elif kind == "AgentStepStarted":
            assert node is not None
            budgets.setdefault(node, {**DEFAULTS, **_config(documents[version], node).get("budget", {})})
            number, reserved = data["step"], data.get("reserved", {})
            if number != (open_[node][0] if node in open_ else last[node] + 1):
                found.append(f"seq {seq}: step {number} of {node} does not follow step {last[node]}")
            if node in open_:
                # Nobody knows whether it was paid for, so what was reserved counts.
                used[node].update(open_[node][1])
            open_[node] = (number, reserved)
            last[node] = max(last[node], number)
            most_open = max(most_open, len(open_))
        elif kind == "AgentStepEnded":
            assert node is not None
            if node not in open_ or open_[node][0] != data["step"]:
                found.append(f"seq {seq}: step {data['step']} of {node} ends and had not begun")
                continue
            del open_[node]
            used[node].update(data.get("used", {}))
            for what, amount in data.get("used", {}).items():
                largest[what] = max(largest[what], amount)
    for node, amounts in used.items():
        found += _beyond(amounts, budgets[node], f"the agent {node}", largest, 1)
        if last[node] > budgets[node]["steps"]:
            found.append(f"the agent {node} made {last[node]} steps of {budgets[node]['steps']}")
    whole: Counter[str] = Counter()
    for amounts in used.values():
        whole.update(amounts)
    limits = documents[base].get("limits", {}).get("agents", {}) if base else {}
    return found + _beyond(whole, limits, "its agents", largest, max(most_open, 1))


def wrong_together(
    parents: Mapping[str, tuple[str | None, str | None]],
    events: Sequence[tuple[str, str, str | None, dict[str, Any]]],
    documents: Mapping[str, Any],
) -> list[str]:
    """What agents used too much together. `parents` has the runs of a family, with the run and node that started each;
    `events` are theirs by time: the run, the type, the node, the data."""
    base: dict[str, str] = {}
    version: dict[str, str] = {}
    brought: dict[str, dict[str, str]] = {run: {} for run in parents}
    used: dict[Whose, Counter[str]] = defaultdict(Counter)
    largest: dict[Whose, Counter[str]] = defaultdict(Counter)
    going_on: Counter[Whose] = Counter()
    slots: Counter[Whose] = Counter()
    open_: dict[Whose, dict[str, int]] = {}

    def authors(run: str, node: str) -> Iterator[Whose]:
        while (author := brought[run].get(_key(node))) is not None:
            yield run, author
            node = author

    def counted(run: str, node: str) -> Iterator[Whose]:
        yield run, node
        here: str | None = run
        while here is not None:
            yield from authors(here, node)
            yield here, ""
            here, above = parents[here]
            node = above or ""

    for run, kind, node, data in events:
        if kind in ("RunStarted", "PatchApplied"):
            if data.get("by", {}) and isinstance(data["by"], dict):
                _bring(brought[run], data["by"], documents[version[run]], documents[data["version"]])
            version[run] = data["version"]
            base.setdefault(run, data["version"])
            continue
        assert node is not None
        before = open_.pop((run, node), None)
        amounts = (before or {}) if kind == "AgentStepStarted" else data.get("used", {})
        for whose in counted(run, node):
            used[whose].update(amounts)
            if kind == "AgentStepStarted":
                used[whose]["steps"] += before is None
                going_on[whose] += before is None
                slots[whose] = max(slots[whose], going_on[whose])
            else:
                going_on[whose] -= before is not None
                for what, amount in amounts.items():
                    largest[whose][what] = max(largest[whose][what], amount)
        if kind == "AgentStepStarted":
            open_[run, node] = data.get("reserved", {})
    found = []
    for (run, node), amounts in used.items():
        if node:
            limits = {**DEFAULTS, **_config(documents[version[run]], node).get("budget", {})}
            who = f"run {run}: {node} and those that it brought"
        else:
            limits = documents[base[run]].get("limits", {}).get("agents", {})
            who = f"run {run} and those that it started"
        found += _beyond(amounts, limits, who, largest[run, node], slots[run, node])
        if amounts["steps"] > limits.get("steps", amounts["steps"]):
            found.append(f"{who} made {amounts['steps']} steps of {limits['steps']}")
    return found


def _bring(brought: dict[str, str], author: Mapping[str, Any], before: Any, after: Any) -> None:
    """Notes whose patch a node is from that was added or changed."""
    known = dict(_nodes(before))
    for key, node in _nodes(after):
        if known.get(key) == node:
            continue
        if author["kind"] == "agent":
            brought[key] = author["name"]
        else:
            brought.pop(key, None)


def _nodes(graph: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    for name, node in graph["nodes"].items():
        yield f"{within}{name}", node
        if "body" in node.get("config", {}):
            yield from _nodes(node["config"]["body"], f"{within}{name}/")


def _key(path: str) -> str:
    """`each[3]/think` → `each/think`."""
    return re.sub(r"\[\d+\]", "", path)


def _root(connection: psycopg.Connection[Any], run: str) -> str:
    while True:
        row = connection.execute("SELECT parent::text FROM run WHERE id = %s", [run]).fetchone()
        if row is None or row[0] is None:
            return run
        run = row[0]


def _beyond(
    used: Mapping[str, int], limits: Mapping[str, Any], who: str, largest: Mapping[str, int], slots: int
) -> list[str]:
    return [
        f"{who} used {used[what] / unit} {what} of {limits[what]}"
        for what, unit in UNITS.items()
        if what in limits and used.get(what, 0) > limits[what] * unit + slots * largest.get(what, 0)
    ]


def _config(document: Any, path: str) -> dict[str, Any]:
    """The config of a node by its path, `each[3]/think`."""
    graph = document
    *owners, name = _key(path).split("/")
    for owner in owners:
        graph = graph["nodes"][owner]["config"]["body"]
    config: dict[str, Any] = graph["nodes"][name].get("config", {})
    return config
