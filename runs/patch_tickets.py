"""Tickets of patches that wait for review, of the kind `patch` and with the patch's id.

That of a run's patch is a projection of the run's log, as all tickets of runs are; that of a workflow's patch stands as
its patch does, and has no run.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg
from django.utils import timezone

from runs import db
from runs.core.events import Event
from runs.core.tickets import MAX_TITLE
from runs.models import PRIORITIES, Ticket
from runs.store import Change
from workflows.core.grants import Author
from workflows.core.lines import one_line
from workflows.models import WorkflowPatch

PATCH = "patch"
_ENDS = {"PatchApplied": "approved", "PatchRejected": "rejected"}
_SETTLED = (
    "UPDATE ticket SET status = %(status)s, answered = ARRAY[%(by)s], decided_at = %(at)s, decided_by = %(by)s,"
    " reason = %(reason)s WHERE id = %(ticket)s AND status = 'open'"
)
_VOID = "UPDATE ticket SET status = 'cancelled', decided_at = %s WHERE run_id = %s AND kind = 'patch' AND status = 'open'"


def write(cursor: psycopg.Cursor[Any], change: Change) -> None:
    """Opens and closes the tickets of a run's patches; for a change that tells of patches, or that ended their run."""
    run, state, at = change.row, change.held.state, 0
    copied = (change.events[0].data.get("forked_from") or {}).get("copied", 0)
    for event in change.events:
        at, data = event.at, event.data
        if event.seq <= copied + 1:
            continue
        if _is_review(event):
            cursor.execute(db.sql("insert_ticket"), _opened(run.id, run.workflow, event))
        elif event.type in _ENDS and "decided_by" in data:
            settled = {"ticket": data["patch"], "by": data["decided_by"], "reason": data["decision"] or None}
            cursor.execute(_SETTLED, {**settled, "status": _ENDS[event.type], "at": db.moment(event.at)})
    if state.ended and state.pending:
        cursor.execute(_VOID, [db.moment(at), run.id])


def _opened(run_id: str, workflow: str, event: Event) -> dict[str, Any]:
    data, author = event.data, Author(**event.data["by"])
    return {
        "id": data["patch"],
        "run": run_id,
        "seq": event.seq,
        "node": author.name if author.run is not None else None,
        "kind": PATCH,
        "workflow": workflow,
        "title": _title("Change the running graph", data["reason"]),
        "assignees": [Ticket.ANYONE],
        "not_by": author.user,
        "nor_by": [],
        "priority": PRIORITIES["medium"],
        "bulk": False,
        "due": None,
        "at": db.moment(event.at),
    }


def open_of(patch: WorkflowPatch, author: Author) -> None:
    """The ticket of a workflow's patch that waits for review; in the caller's transaction."""
    Ticket.objects.create(
        id=patch.id,
        kind=PATCH,
        workflow=patch.workflow.name,
        title=_title(f"Change {patch.workflow.name}@{patch.tag}", patch.reason),
        assignees=[Ticket.ANYONE],
        not_by=author.user,
        priority=PRIORITIES["medium"],
        created_at=timezone.now(),
    )


def close_of(patch_id: str, status: str, *, by: str, reason: str, at: datetime) -> None:
    """Closes the ticket of a workflow's patch, where it has one; in the caller's transaction."""
    Ticket.objects.filter(id=patch_id, status="open").update(
        status=status, answered=[by], decided_by=by, decided_at=at, reason=reason or None
    )


def from_log(events: Iterable[Event]) -> dict[str, dict[str, Any]]:
    """What the rows must say by the events of a run that are its own: open where nothing closed them."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        data = event.data
        if _is_review(event):
            asks = {"assignees": [Ticket.ANYONE], "due": None, "answered": [], "away": [], "claimed": None}
            found[data["patch"]] = {"status": "open", "by": None, "reason": None, **asks}
        elif event.type in _ENDS and data.get("patch") in found:
            by, reason = data["decided_by"], data["decision"] or None
            found[data["patch"]] |= {"status": _ENDS[event.type], "answered": [by], "by": by, "reason": reason}
    return found


def _is_review(event: Event) -> bool:
    return event.type == "PatchProposed" and event.data["mode"] == "review"


def _title(what: str, reason: str) -> str:
    words = one_line(reason)
    return f"{what}: {words}"[:MAX_TITLE] if words else what
