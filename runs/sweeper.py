"""Finds what was lost: expired leases, unanswered doorbells, runs to delete. Cheap, and safe to run twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import psycopg
from django.conf import settings

from runs import collecting, db, wake
from runs.dispatch import RING_AGAIN_SECONDS, ring_ids

SWEEP_SECONDS = 2.0
BATCH = 1000
RETENTION_EVERY = 150
RETAIN_AT_ONCE = 500
RETAIN_SECONDS = 1.0
"""So long a sweep deletes what is too old; it goes on with the next one, as leases and doorbells do not wait for it."""

_log = logging.getLogger(__name__)


def sweep() -> int:
    """Loses the attempts of silent workers and rings again for tasks that nobody took; gives how many."""
    with db.transaction() as cursor:
        lost = cursor.execute(db.sql("expire_leases"), {"limit": BATCH, "seconds": settings.AOB_LEASE_SECONDS}).fetchall()
    if lost:
        wake.ready()
    with db.transaction() as cursor:
        quiet = cursor.execute(db.sql("ring_again"), {"seconds": RING_AGAIN_SECONDS, "limit": BATCH}).fetchall()
    batches: dict[tuple[str, int], list[int]] = {}
    for task_id, plane, priority in quiet:
        batches.setdefault((plane, priority), []).append(task_id)
    ring_ids(batches)
    return len(lost) + len(quiet)


def retain(days: float, *, limit: int = RETAIN_AT_ONCE) -> int:
    """Deletes runs that ended more than `days` ago, with their logs, and blobs that no log names any more."""
    return _retain(days, limit)[0]


def retain_for(seconds: float, days: float, *, limit: int = RETAIN_AT_ONCE) -> bool:
    """Goes on with `retain`, one small transaction after the other, until so many seconds are over.

    Gives whether more may be left: what ended in the time of a sweep may be much more than one transaction should take.
    """
    end = time.monotonic() + seconds
    collecting.sweep_folders()
    while True:
        more = limit in _retain(days, limit)
        if not more or time.monotonic() > end:
            return more


def _retain(days: float, limit: int) -> tuple[int, int]:
    """Runs and blobs that were deleted, at most `limit` of each."""
    with db.transaction() as cursor:
        old = [
            row[0]
            for row in cursor.execute(
                "SELECT id::text FROM run WHERE ended_at < clock_timestamp() - make_interval(secs => %s)"
                " ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
                [days * 86_400, limit],
            )
        ]
        for run_id in old:
            cursor.execute("SELECT set_config('aob.retention', %s, true)", [run_id])
            cursor.execute("DELETE FROM run_event WHERE run_id = %s", [run_id])
        for table, column in (
            ("run_snapshot", "run_id"), ("run_inbox", "run_id"), ("task", "run_id"), ("dead_letter", "run_id"),
            ("run_patch", "run_id"), ("agent_use", "run_id"),
            ("ticket", "run_id"), ("ticket_message", "run_id"), ("blob_use", "run_id"), ("start_key", "run_id"),
            ("run", "id"),
        ):  # fmt: skip
            cursor.execute(f"DELETE FROM {table} WHERE {column} = ANY(%s::uuid[])", [old])
    return len(old), collecting.collect(limit=limit)


def run_forever(stop: threading.Event, alive: Callable[[], None]) -> None:
    """The sweeper process."""
    turn = 0
    more = False
    while not stop.is_set():
        alive()
        try:
            sweep()
            if settings.AOB_RETENTION_DAYS > 0 and (more or turn % RETENTION_EVERY == 0):
                more = retain_for(RETAIN_SECONDS, settings.AOB_RETENTION_DAYS)
        except (psycopg.Error, OSError) as error:
            _log.warning("The sweep failed: %s", error)
        turn += 1
        stop.wait(SWEEP_SECONDS)
