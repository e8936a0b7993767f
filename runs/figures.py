"""What an operator looks at first: how much there is, how much waits, and since when. Cheap at any size."""

from __future__ import annotations

from typing import Any

from runs import db

BOUND = 10_000
"""Backlogs are counted up to here; "more than 10,000" says enough."""

_COUNTED = f"(SELECT count(*) FROM (SELECT FROM {{}} LIMIT {BOUND}) few)"

# Sizes are the planner's estimates (reltuples); of a table that nobody has looked over yet, what is counted up to the
# bound. Each backlog is read from a partial index that holds
# only what waits (run_status, run_wake, task_free, task_lease, dead_letter_status), and at most BOUND rows of it.
FIGURES = f"""
SELECT
  (SELECT greatest(reltuples::bigint, {_COUNTED.format("run")}) FROM pg_class WHERE oid = 'run'::regclass),
  (SELECT greatest(reltuples::bigint, {_COUNTED.format("run_event")}) FROM pg_class WHERE oid = 'run_event'::regclass),
  (SELECT greatest(reltuples::bigint, {_COUNTED.format("blob")}) FROM pg_class WHERE oid = 'blob'::regclass),
  pg_database_size(current_database()),
  (SELECT count(*) FROM (SELECT FROM run WHERE status = 'queued' LIMIT {BOUND + 1}) queued),
  (SELECT count(*) FROM (SELECT FROM run WHERE status = 'running' LIMIT {BOUND + 1}) running),
  (SELECT count(*) FROM (SELECT FROM run WHERE status = 'waiting' LIMIT {BOUND + 1}) waiting),
  (SELECT count(*) FROM (SELECT FROM run WHERE status = 'paused' LIMIT {BOUND + 1}) paused),
  (SELECT count(*) FROM (SELECT FROM task WHERE lease_until IS NULL LIMIT {BOUND + 1}) free),
  (SELECT count(*) FROM (SELECT FROM task WHERE lease_until >= clock_timestamp() LIMIT {BOUND + 1}) leased),
  (SELECT count(*) FROM (SELECT FROM task WHERE lease_until < clock_timestamp() LIMIT {BOUND + 1}) expired),
  (SELECT extract(epoch FROM clock_timestamp() - created_at)::float FROM task WHERE lease_until IS NULL
     ORDER BY plane, priority, id LIMIT 1),
  (SELECT count(*) FROM (SELECT FROM run WHERE wake_at < clock_timestamp() - interval '10 s' LIMIT {BOUND + 1}) late),
  (SELECT count(*) FROM (SELECT FROM run_inbox LIMIT {BOUND + 1}) facts),
  (SELECT count(*) FROM (SELECT FROM dead_letter WHERE status = 'open' LIMIT {BOUND + 1}) letters)
"""


def figures() -> dict[str, Any]:
    """Numbers by name; those that are more than BOUND are BOUND + 1. `oldest_task` is in seconds or None."""
    with db.transaction() as cursor:
        row = cursor.execute(FIGURES).fetchone()
    assert row is not None
    names = (
        "runs", "events", "blobs", "database_bytes", "queued", "running", "waiting", "paused", "free_tasks",
        "leased_tasks", "expired_leases", "oldest_task", "late_runs", "facts", "open_letters",
    )  # fmt: skip
    return dict(zip(names, row, strict=True))
