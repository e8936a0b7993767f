"""I16 from the log alone: what agents used stays within their budgets but for one call per slot, and there are no more
agents than a run may have. Knows the documents and the events, and nothing of the code that keeps the budgets.
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

Row = tuple[int, str, str | None, dict[str, Any]]


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
    *owners, name = re.sub(r"\[\d+\]", "", path).split("/")
    for owner in owners:
        graph = graph["nodes"][owner]["config"]["body"]
    config: dict[str, Any] = graph["nodes"][name].get("config", {})
    return config
