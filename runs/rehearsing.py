"""Tries a version on the last completed runs of its workflow before it is admitted; bounded, and it changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from runs import db
from runs.blobs import StorageUnavailable, fetch
from runs.core.rehearsal import Course, Report, is_plain, report, went, would_go
from runs.core.simulate import Budget
from runs.core.values import MissingValue, Values
from runs.irs import NotUnderstood, ir_of
from runs.store import events_of
from workflows.core.effort import Stopped
from workflows.core.errors import AobError
from workflows.services import pins_of

MAX_RUNS = 20
MAX_SECONDS = 3.0
HELD_SECONDS = 0.2
MAX_EVENTS = 5_000
"""Runs with longer logs are left out."""


def rehearse(workflow: str, before: str, version: str, *, seconds: float | None = None) -> Report:
    """What `version` would have made of the workflow's last completed runs, against what `before` makes of them.

    It takes MAX_SECONDS at most, or fewer: HELD_SECONDS where the caller keeps others from the workflow.
    """
    with db.transaction() as cursor:
        cursor.execute(db.sql("recorded_runs"), {"workflow": workflow, "limit": MAX_RUNS})
        rows = cursor.fetchall()
    deadline = time.monotonic() + (MAX_SECONDS if seconds is None else seconds)

    def is_over() -> bool:
        return time.monotonic() > deadline

    pairs: list[tuple[str, Course, Course]] = []
    left_out = 0
    cut_off = False
    for run, events in rows:
        pair = _courses(run, before, version, is_over) if events <= MAX_EVENTS and not is_over() else None
        if is_over():
            cut_off = True
            break
        if pair is None:
            left_out += 1
        else:
            pairs.append((run, *pair))
    return report(before, version, pairs, left_out=left_out, cut_off=cut_off)


def _courses(run: str, before: str, version: str, is_over: Callable[[], bool]) -> tuple[Course, Course] | None:
    """How a run goes on both versions; None where what is recorded of it cannot be read any more, or goes too far."""
    with db.transaction() as cursor:
        log = events_of(cursor, run)
    values = Values(fetch)
    try:
        if is_plain(log, before):
            old = went(log, ir_of, values)
        else:
            old = would_go(log, before, pins_of(ir_of(before)), ir_of, values, Budget(is_over))
        return old, would_go(log, version, pins_of(ir_of(version)), ir_of, values, Budget(is_over))
    except (AobError, MissingValue, NotUnderstood, Stopped, StorageUnavailable, psycopg.OperationalError):
        return None
