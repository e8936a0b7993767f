"""The independent checker: reads the database, the blobs and what the effects server saw, and names what is wrong.

It knows nothing of how the runs were driven. Numbers are those of the invariants in the design's fault plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

MAX_SHOWN = 20

GAPS = """
SELECT 'I3', run_id::text, 'the log is not 1..n: ' || count(*) || ' events, seq ' || min(seq) || ' to ' || max(seq)
FROM run_event GROUP BY run_id HAVING min(seq) <> 1 OR max(seq) <> count(*)
UNION ALL
SELECT 'I3', run_id::text, 'starts ' || count(*) || ' times' FROM run_event WHERE type = 'RunStarted'
GROUP BY run_id HAVING count(*) <> 1 OR min(seq) <> 1
UNION ALL
SELECT 'I3', e.run_id::text, 'something follows its end at seq ' || e.seq FROM run_event e
JOIN run r ON r.id = e.run_id
WHERE e.type IN ('RunCompleted', 'RunFailed', 'RunCancelled', 'RunTimedOut') AND e.seq <> r.last_seq
UNION ALL
SELECT 'I5', r.id::text, 'the row says seq ' || r.last_seq || ', the log ' || coalesce(m.seq, 0) FROM run r
LEFT JOIN LATERAL (SELECT max(seq) AS seq FROM run_event e WHERE e.run_id = r.id) m ON true
WHERE r.last_seq IS DISTINCT FROM m.seq
UNION ALL
SELECT 'I18', r.id::text, 'it ended at ' || e.at || ', its row says ' || coalesce(r.ended_at::text, 'never') FROM run r
JOIN run_event e ON e.run_id = r.id AND e.seq = r.last_seq
WHERE (e.type IN ('RunCompleted', 'RunFailed', 'RunCancelled', 'RunTimedOut')) <> (r.ended_at IS NOT NULL)
    OR (r.ended_at IS NOT NULL AND r.ended_at <> e.at)
    OR (r.ended_at IS NOT NULL AND r.error::text IS DISTINCT FROM (e.data->'error')::jsonb::text)
UNION ALL
SELECT 'I3', e.run_id::text, 'a log without a run' FROM run_event e LEFT JOIN run r ON r.id = e.run_id
WHERE e.seq = 1 AND r.id IS NULL
"""
ATTEMPTS = """
SELECT 'I7', run_id::text, node || ' attempt ' || (data->>'attempt') || ' has ' || count(*) || ' results' FROM run_event
WHERE type IN ('TaskCompleted', 'TaskFailed', 'TaskLost') GROUP BY run_id, node, data->>'attempt' HAVING count(*) > 1
UNION ALL
SELECT 'I7', run_id::text, node || ' is scheduled ' || count(*) || ' times, up to attempt '
    || max((data->>'attempt')::int) FROM run_event WHERE type = 'TaskScheduled'
GROUP BY run_id, node HAVING count(*) <> max((data->>'attempt')::int) OR count(DISTINCT data->>'attempt') <> count(*)
UNION ALL
SELECT 'I9', s.run_id::text, s.node || ' was skipped and has a task' FROM run_event s
JOIN run_event t ON t.run_id = s.run_id AND t.node = s.node AND t.type = 'TaskScheduled' WHERE s.type = 'NodeSkipped'
UNION ALL
SELECT 'I9', run_id::text, node || ' ends ' || count(*) || ' times' FROM run_event
WHERE type IN ('NodeCompleted', 'NodeFailed', 'NodeSkipped') GROUP BY run_id, node HAVING count(*) > 1
"""
TIMERS = """
SELECT 'I11', run_id::text, coalesce(node, 'the run') || ': a timer fired early, at ' || at FROM run_event
WHERE type = 'TimerFired' AND extract(epoch FROM at) * 1000000 + 1 < (data->>'due')::numeric
UNION ALL
SELECT 'I11', run_id::text, coalesce(node, 'the run') || ': a timer fired ' || count(*) || ' times' FROM run_event
WHERE type = 'TimerFired' GROUP BY run_id, node, data->>'due' HAVING count(*) > 1
"""
ORPHANS = """
SELECT 'I14', t.run_id::text, 'task ' || t.id || ' belongs to a run that ended or is not there' FROM task t
LEFT JOIN run r ON r.id = t.run_id WHERE r.id IS NULL OR r.ended_at IS NOT NULL
UNION ALL
SELECT 'I14', i.run_id::text, 'a fact waits for a run that ended or is not there: ' || i.type FROM run_inbox i
LEFT JOIN run r ON r.id = i.run_id WHERE r.id IS NULL OR r.ended_at IS NOT NULL
UNION ALL
SELECT 'I14', r.id::text, 'an ended run has a timer' FROM run r WHERE r.ended_at IS NOT NULL AND r.wake_at IS NOT NULL
UNION ALL
SELECT 'I14', u.run_id::text, 'the blob ' || u.hash || ' is not there' FROM blob_use u
LEFT JOIN blob b ON b.hash = u.hash LEFT JOIN version v ON v.hash = u.hash WHERE b.hash IS NULL AND v.hash IS NULL
UNION ALL
SELECT 'I14', s.run_id::text, 'a key stands for a run that is not there' FROM start_key s
LEFT JOIN run r ON r.id = s.run_id WHERE r.id IS NULL
UNION ALL
SELECT 'I14', c.id::text, 'a child whose parent did not start it' FROM run c LEFT JOIN run_event e
ON e.run_id = c.parent AND e.type = 'ChildStarted' AND e.data->>'child' = c.id::text
WHERE c.parent IS NOT NULL AND e.run_id IS NULL
"""
STANDING = """
SELECT 'I2', id::text, 'still ' || status || ', wake_at ' || coalesce(wake_at::text, 'never') FROM run
WHERE ended_at IS NULL AND status NOT IN ('paused')
AND NOT EXISTS (SELECT 1 FROM run_event e WHERE e.run_id = run.id AND e.type = 'NodeWaiting'
    AND e.data->>'kind' = 'signal' AND NOT EXISTS (SELECT 1 FROM run_event d WHERE d.run_id = e.run_id AND d.node = e.node
        AND d.type IN ('NodeCompleted', 'NodeFailed')))
"""


@dataclass(frozen=True)
class Call:
    """What the effects server saw: one call of an effect. `justified` says that its event was visible by then."""

    run: str
    node: str
    attempt: int
    key: str
    justified: bool = True


@dataclass
class History:
    """What clients did: runs that were accepted, and idempotency keys whose outcome they learned."""

    accepted: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def learned(self, key: str, run: str) -> str | None:
        """Notes the answer to a keyed start; gives what is wrong with it."""
        before = self.keys.setdefault(key, run)
        self.accepted.add(run)
        return None if before == run else f"I1: the key {key} was answered with {before} and with {run}"


def violations(
    connection: psycopg.Connection[Any], *, history: History | None = None, calls: Iterable[Call] = (), quiet: bool = True
) -> list[str]:
    """Everything that is wrong. `quiet` says that all work should have ended."""
    found = []
    for statement in (GAPS, ATTEMPTS, TIMERS, *((ORPHANS, STANDING) if quiet else ())):
        rows = connection.execute(statement).fetchmany(MAX_SHOWN)
        found += [f"{law}: run {run}: {what}" for law, run, what in rows]
    found += _wrong_calls(connection, calls)
    if history is not None:
        found += _wrong_history(connection, history)
    return found


def _wrong_calls(connection: psycopg.Connection[Any], calls: Iterable[Call]) -> list[str]:
    found: list[str] = []
    seen: dict[tuple[str, str, int], int] = {}
    keys: dict[tuple[str, str], str] = {}
    for call in calls:
        place = f"run {call.run}: {call.node}"
        count = seen[call.run, call.node, call.attempt] = seen.get((call.run, call.node, call.attempt), 0) + 1
        if count == 2:
            found.append(f"I8: {place} attempt {call.attempt} was called more than once")
        if keys.setdefault((call.run, call.node), call.key) != call.key:
            found.append(f"I8: {place} was called under several keys")
        if not call.justified:
            found.append(f"I8: {place} attempt {call.attempt} was called before its event was visible")
    completed = connection.execute(
        "SELECT run_id::text, node, (data->>'attempt')::int FROM run_event WHERE type = 'TaskCompleted'"
    ).fetchall()
    if seen:
        missing = [place for place in completed if place not in seen]
        found += [
            f"I8: run {run}: {node} attempt {number} completed and was never called" for run, node, number in missing
        ]
    return found[:MAX_SHOWN]


def _wrong_history(connection: psycopg.Connection[Any], history: History) -> list[str]:
    found = []
    stored = {
        row[0] for row in connection.execute("SELECT id::text FROM run WHERE parent IS NULL AND forked_from IS NULL")
    }
    found += [f"I1: run {run} was accepted and is not there" for run in sorted(history.accepted - stored)]
    if history.keys:
        found += [f"I1: run {run} is there and nobody was told" for run in sorted(stored - history.accepted)]
    kept: Mapping[str, str] = dict(connection.execute("SELECT key, run_id::text FROM start_key").fetchall())
    found += [
        f"I1: the key {key} stands for {kept.get(key)}, the client was told {run}"
        for key, run in history.keys.items()
        if kept.get(key) != run
    ]
    return found[:MAX_SHOWN]
