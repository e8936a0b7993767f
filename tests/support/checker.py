"""The independent checker: reads the database, the blobs and what the effects server saw, and names what is wrong.

It knows nothing of how the runs were driven. Numbers are those of the invariants in the design's fault plan.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import rfc8785

from tests.support.laws import broken, same
from tests.support.spending import overspent

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
WHERE type IN ('TimerFired', 'TicketReminded') AND extract(epoch FROM at) * 1000000 + 1 < (data->>'due')::numeric
UNION ALL
SELECT 'I11', run_id::text, coalesce(node, 'the run') || ': a timer fired ' || count(*) || ' times' FROM run_event
WHERE type IN ('TimerFired', 'TicketReminded') GROUP BY run_id, node, type, data->>'due' HAVING count(*) > 1
"""
TICKETS = """
SELECT 'I12', run_id::text, node || ' was decided ' || count(*) || ' times' FROM run_event WHERE type = 'TicketDecided'
GROUP BY run_id, node, data->>'ticket' HAVING count(*) > 1
UNION ALL
SELECT 'I12', d.run_id::text, d.node || ' was ' || (d.data->>'status') || ' and left by ' || (n.data->>'port')
FROM run_event d JOIN run_event n ON n.run_id = d.run_id AND n.node = d.node AND n.type = 'NodeCompleted'
JOIN run_event w ON w.run_id = d.run_id AND w.node = d.node AND w.type = 'NodeWaiting'
    AND w.data->>'ticket' = d.data->>'ticket' AND w.data->>'kind' = 'approval'
WHERE d.type = 'TicketDecided' AND n.data->>'port' <> d.data->>'status' AND n.seq > d.seq
    AND NOT EXISTS (SELECT FROM run_event f WHERE f.run_id = d.run_id AND f.node = d.node AND f.seq > d.seq
        AND f.seq < n.seq AND f.type = 'NodeWaiting')
UNION ALL
SELECT 'I12', d.run_id::text, d.node || ' was reviewed as ' || (d.data->>'status') || ' and went on by ' || n.type
FROM run_event d JOIN run_event w ON w.run_id = d.run_id AND w.node = d.node AND w.type = 'NodeWaiting'
    AND w.data->>'ticket' = d.data->>'ticket' AND w.data->>'kind' = 'failure'
JOIN LATERAL (SELECT type FROM run_event n WHERE n.run_id = d.run_id AND n.node = d.node AND n.seq > d.seq
    ORDER BY seq LIMIT 1) n ON true
WHERE d.type = 'TicketDecided' AND (d.data->>'status' = 'approved') = (n.type = 'NodeFailed')
UNION ALL
SELECT 'I12', a.run_id::text, a.node || ' took something of ' || (a.data->>'by') || ', who had handed it over'
FROM run_event a JOIN run_event g ON g.run_id = a.run_id AND g.node = a.node AND g.type = 'TicketDelegated'
    AND g.data->>'ticket' = a.data->>'ticket' AND g.data->>'by' = a.data->>'by' AND g.seq < a.seq
WHERE a.type IN ('TicketAnswered', 'TicketDelegated', 'TicketClaimed')
    AND NOT EXISTS (SELECT FROM run_event e WHERE e.run_id = a.run_id AND e.type = 'TicketEscalated'
        AND e.data->>'ticket' = a.data->>'ticket' AND e.seq > g.seq AND e.seq < a.seq)
UNION ALL
SELECT 'I12', run_id::text, node || ': ' || (data->>'by') || ' answered ticket ' || (data->>'ticket') || ' twice'
FROM (SELECT a.*, (SELECT count(*) FROM run_event e WHERE e.run_id = a.run_id AND e.seq < a.seq
    AND (e.type = 'TicketEscalated' AND e.data->>'ticket' = a.data->>'ticket'
        OR e.type = 'PatchApplied' AND EXISTS (SELECT FROM json_each_text((e.data->'asks_again')::json) again
            WHERE again.value = a.data->>'ticket'))) AS step FROM run_event a WHERE type = 'TicketAnswered') s
GROUP BY run_id, node, data->>'ticket', data->>'by', step HAVING count(*) > 1
UNION ALL
SELECT 'I12', run_id::text, node || ' had ' || count(*) || ' reminders' FROM run_event WHERE type = 'TicketReminded'
GROUP BY run_id, node, data->>'ticket' HAVING count(*) > 100 OR max((data->>'count')::int) <> count(*)
UNION ALL
SELECT 'I12', a.run_id::text, a.node || ' took an answer of ' || (a.data->>'by') || ', who started the run'
FROM run_event a JOIN run_event w ON w.run_id = a.run_id AND w.node = a.node AND w.type = 'NodeWaiting'
WHERE a.type = 'TicketAnswered'
    AND (w.data->>'not_by' = a.data->>'by' OR (w.data->'nor_by')::jsonb ? (a.data->>'by'))
UNION ALL
SELECT 'I12', t.run_id::text,
    'ticket ' || t.id || ' is ' || t.status || ', the log says ' || coalesce(d.data->>'status', 'nothing')
FROM ticket t LEFT JOIN run_event d ON d.run_id = t.run_id AND d.type = 'TicketDecided' AND d.data->>'ticket' = t.id::text
WHERE coalesce(d.data->>'status', CASE WHEN t.status = 'cancelled' THEN 'cancelled' ELSE 'open' END) <> t.status
    AND t.kind <> 'patch'
UNION ALL
SELECT 'I12', coalesce(p.run_id::text, 'a workflow'), 'the patch ' || p.id || ' is ' || p.status || ', its ticket '
    || coalesce(t.status, 'is not there')
FROM (SELECT run_id, id, status FROM run_patch UNION ALL SELECT NULL, id, status FROM workflow_patch) p
LEFT JOIN ticket t ON t.id = p.id AND t.run_id IS NOT DISTINCT FROM p.run_id
WHERE (t.id IS NULL AND p.status = 'pending_review') OR t.status <> CASE p.status WHEN 'pending_review' THEN 'open'
    WHEN 'rejected' THEN 'rejected' WHEN 'expired' THEN 'cancelled' ELSE 'approved' END
UNION ALL
SELECT 'I12', coalesce(run_id::text, 'a workflow'), 'the patch ' || id || ' was approved by its author ' || not_by
FROM ticket WHERE kind = 'patch' AND status = 'approved' AND decided_by = not_by
UNION ALL
SELECT 'I14', t.run_id::text, 'ticket ' || t.id || ' is open in a run that ended or is not there' FROM ticket t
LEFT JOIN run r ON r.id = t.run_id
WHERE t.status = 'open' AND (t.kind <> 'patch' OR t.run_id IS NOT NULL) AND (r.id IS NULL OR r.ended_at IS NOT NULL)
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
SELECT 'I14', 'none', 'of ' || p.hash || ' and the blob ' || p.part || ' that it names, one is not there' FROM blob_part p
LEFT JOIN blob b ON b.hash = p.hash LEFT JOIN blob q ON q.hash = p.part WHERE b.hash IS NULL OR q.hash IS NULL
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
    AND e.data->>'kind' IN ('signal', 'approval', 'failure')
    AND NOT EXISTS (SELECT 1 FROM run_event d WHERE d.run_id = e.run_id AND d.node = e.node
        AND d.type IN ('NodeCompleted', 'NodeFailed')))
"""
PATCHES = """
SELECT 'I10', p.run_id::text, 'the patch ' || p.id || ': ' || p.status || ', its last event ' || coalesce(e.type, 'none')
FROM run_patch p LEFT JOIN run_event e ON e.run_id = p.run_id AND e.seq = p.last_seq AND e.data->>'patch' = p.id::text
WHERE e.type IS NULL OR (p.status IN ('applied', 'reverted')) <> (e.type = 'PatchApplied')
UNION ALL
SELECT 'I10', run_id::text, 'the patch ' || (data->>'patch') || ' is applied ' || count(*) || ' times' FROM run_event
WHERE type = 'PatchApplied' GROUP BY run_id, data->>'patch' HAVING count(*) > 1
UNION ALL
SELECT 'I10', r.id::text, 'its row says version ' || r.version || ', the last patch ' || l.version FROM run r
JOIN LATERAL (SELECT data->>'version' AS version FROM run_event e WHERE e.run_id = r.id AND e.type = 'PatchApplied'
    ORDER BY seq DESC LIMIT 1) l ON true WHERE l.version <> r.version
"""
PATCHED_RUNS = 2_000
"""So many patched runs are looked at event by event."""


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
    """What clients did: runs that were accepted, patches, and idempotency keys whose outcome they learned."""

    accepted: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)
    patches: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By key: the run and the patch."""

    def learned(self, key: str, run: str) -> str | None:
        """Notes the answer to a keyed start; gives what is wrong with it."""
        before = self.keys.setdefault(key, run)
        self.accepted.add(run)
        return None if before == run else f"I1: the key {key} was answered with {before} and with {run}"

    def learned_patch(self, key: str, run: str, patch: str) -> str | None:
        """Notes the answer to a keyed patch; gives what is wrong with it."""
        before = self.patches.setdefault(key, (run, patch))
        return None if before == (run, patch) else f"I1: the key {key} was answered with {before} and with {(run, patch)}"


def violations(
    connection: psycopg.Connection[Any], *, history: History | None = None, calls: Iterable[Call] = (), quiet: bool = True
) -> list[str]:
    """Everything that is wrong. `quiet` says that all work should have ended."""
    found = []
    for statement in (GAPS, ATTEMPTS, TIMERS, PATCHES, TICKETS, *((ORPHANS, STANDING) if quiet else ())):
        rows = connection.execute(statement).fetchmany(MAX_SHOWN)
        found += [f"{law}: run {run}: {what}" for law, run, what in rows]
    found += _wrong_patches(connection)
    found += overspent(connection)[:MAX_SHOWN]
    found += _wrong_calls(connection, calls)
    if history is not None:
        found += _wrong_history(connection, history)
    return found


def _wrong_patches(connection: psycopg.Connection[Any]) -> list[str]:
    """The order of starts and the frozen past of patched runs, and each version made again from the one before it."""
    runs = connection.execute(
        "SELECT DISTINCT run_id::text FROM run_event WHERE type = 'PatchApplied' LIMIT %s", [PATCHED_RUNS]
    ).fetchall()
    known: dict[str, Any] = {}

    def document(version: str) -> Any:
        if version not in known:
            row = connection.execute("SELECT document FROM version WHERE hash = %s", [version]).fetchone()
            known[version] = json.loads(row[0]) if row else {"nodes": {}}
        return known[version]

    found: list[str] = []
    for (run,) in runs:
        log = connection.execute(
            "SELECT seq, type, node, data FROM run_event WHERE run_id = %s ORDER BY seq", [run]
        ).fetchall()
        found += [f"{wrong.partition(':')[0]}: run {run}:{wrong.partition(':')[2]}" for wrong in broken(log, document)]
        for seq, kind, _, data in log:
            if kind == "PatchApplied" and "operations" in data:
                wrong = _wrongly_made(document(data["before"]), data["operations"], data["version"])
                found += [f"I10: run {run}: seq {seq}: {wrong}"] if wrong else []
    return found[:MAX_SHOWN]


def _wrongly_made(before: Any, operations: list[dict[str, Any]], version: str) -> str | None:
    """What is wrong with a version that these operations made: they are done again, by RFC 6902 and nothing of AOB's.

    Patches that move, copy, or reach into lists are not judged.
    """
    if any(operation["op"] in ("move", "copy") for operation in operations):
        return None
    document = copy.deepcopy(before)
    if "edges" not in document and any(operation["path"].startswith("/edges/") for operation in operations):
        # Edges may be added also where there are none yet.
        document["edges"] = {}
    for number, operation in enumerate(operations):
        kind, parts = operation["op"], [_unescaped(part) for part in operation["path"].split("/")[1:]]
        holder = document
        try:
            for part in parts[:-1]:
                holder = holder[part]
            if isinstance(holder, list):
                return None
            if kind == "add":
                holder[parts[-1]] = copy.deepcopy(operation["value"])
            elif kind in ("remove", "replace"):
                del holder[parts[-1]]
                if kind == "replace":
                    holder[parts[-1]] = copy.deepcopy(operation["value"])
            elif kind == "test" and not same(holder[parts[-1]], operation["value"]):
                return f"operation {number} tests a value at {operation['path']} that is not there"
        except (KeyError, TypeError, IndexError):
            return f"operation {number} does not fit the version before"
    name = f"sha256:{hashlib.sha256(rfc8785.dumps(document)).hexdigest()}"
    return None if name == version else f"the patch makes {name}, the log says {version}"


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


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
    found += _wrong_answers_to_patches(connection, history)
    return found[:MAX_SHOWN]


def _wrong_answers_to_patches(connection: psycopg.Connection[Any], history: History) -> list[str]:
    """Each acknowledged patch is there once, and no other: a refused one leaves no trace."""
    if not history.patches:
        return []
    stored = set(connection.execute("SELECT run_id::text, id::text FROM run_patch WHERE status = 'applied'").fetchall())
    told = set(history.patches.values())
    found = [
        f"I10: run {run}: the patch {patch} was acknowledged and is not there" for run, patch in sorted(told - stored)
    ]
    return found + [f"I10: run {run}: the patch {patch} is there and was refused" for run, patch in sorted(stored - told)]
