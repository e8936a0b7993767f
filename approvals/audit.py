"""Who decided what, when, from where, on what, and why: read from the append-only log of each run, page by page.

What was said to a workflow's patch stands in the patch's row. Bounded: at any time one page of tickets and one of their
events are in memory, however many there are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from approvals.reading import TOLD, value
from runs import db
from runs.blobs import fetch
from runs.core.events import Event
from runs.core.scope import instant
from runs.core.tickets import ANSWERS
from runs.core.values import Values
from runs.search import milliseconds
from workflows.core.strictjson import encode

PAGE = 200
EVENTS_PAGE = 500
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
EVENTS = ("TicketAnswered", "TicketDelegated", "TicketEscalated", "TicketCommented", "TicketDecided")
REVIEWS = {"PatchApplied": "approved", "PatchRejected": "rejected"}
"""The events that decide a run's patch, and what becomes of its ticket."""

COLUMNS = (
    "at", "what", "ticket", "kind", "title", "workflow", "run", "node", "seq", "by", "to", "answer", "status", "reason",
    "context", "version", "door", "address", "token", "text", "form",
)  # fmt: skip

# Along the index `ticket_closed`, backwards.
_CLOSED = (
    "SELECT id::text, run_id::text, seq, node, kind, title, workflow, status, decided_at FROM ticket"
    " WHERE status <> 'open' AND (decided_at, id) > (%(at)s, %(id)s::uuid) AND decided_at < %(until)s"
    f" ORDER BY decided_at, id LIMIT {PAGE}"
)
# A ticket's events stand behind the one that opened it, so each is a walk along a part of the primary key.
_SAID = (
    "SELECT t.place, e.seq, e.type, e.at, e.node, e.data FROM unnest(%(ids)s::text[], %(runs)s::uuid[], %(seqs)s::int[])"
    " WITH ORDINALITY AS t(id, run, seq, place) JOIN run_event e ON e.run_id = t.run AND e.seq > t.seq"
    " AND (e.type = ANY(%(events)s) AND e.data->>'ticket' = t.id"
    " OR e.type = ANY(%(reviews)s) AND e.data->>'patch' = t.id AND e.data->>'decided_by' IS NOT NULL)"
    " WHERE (t.place, e.seq) > (%(place)s, %(seq)s) ORDER BY t.place, e.seq LIMIT %(most)s"
)
_REVIEWED = (
    "SELECT id::text, decided_at, decided_by, decision, version, decided_from FROM workflow_patch"
    " WHERE id = ANY(%s::uuid[]) AND decided_by <> ''"
)
_FIRST = "00000000-0000-0000-0000-000000000000"


def period(since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """What an export covers, as lists of runs take it. Raises AobError."""
    first, last = milliseconds(since, "/since"), milliseconds(until, "/until")
    return (
        datetime.fromtimestamp((first or 0) / 1000, UTC),
        datetime(9999, 1, 1, tzinfo=UTC) if last is None else datetime.fromtimestamp(last / 1000, UTC),
    )


def pages(since: datetime, until: datetime) -> Iterator[list[dict[str, Any]]]:
    """What was said to tickets that were closed from `since` until before `until`, in the order in which they were."""
    at, last = since, _FIRST
    while True:
        with db.transaction() as cursor:
            tickets = cursor.execute(_CLOSED, {"at": at, "id": last, "until": until}).fetchall()
        yield from _pages_of(tickets)
        if len(tickets) < PAGE:
            return
        at, last = tickets[-1][8], tickets[-1][0]


def _pages_of(tickets: Sequence[Any]) -> Iterator[list[dict[str, Any]]]:
    """The lines of some tickets in their order, those of a bounded number of events at a time."""
    columns = {
        "ids": [row[0] for row in tickets],
        "runs": [row[1] for row in tickets],
        "seqs": [row[2] for row in tickets],
    }
    kinds = {"events": list(EVENTS), "reviews": list(REVIEWS)}
    reviewed = _reviewed(tickets)
    place, seq = 1, 0
    while place <= len(tickets):
        with db.transaction() as cursor:
            found = cursor.execute(
                _SAID, {**columns, **kinds, "place": place, "seq": seq, "most": EVENTS_PAGE}
            ).fetchall()
        is_whole = len(found) < EVENTS_PAGE
        upto = len(tickets) + 1 if is_whole else found[-1][0]
        lines: list[dict[str, Any]] = []
        for number in range(place, min(upto, len(tickets)) + 1):
            row = tickets[number - 1]
            lines += (
                _line(row, Event(seq, kind, db.micros(at), node, data))
                for at_place, seq, kind, at, node, data in found
                if at_place == number
            )
            if number < upto:
                lines += _ending(row, reviewed.get(row[0]))
        yield lines
        place, seq = upto, 0 if is_whole else found[-1][1]


def _reviewed(tickets: Sequence[Any]) -> dict[str, Any]:
    """What the rows of workflows' patches say of those among these tickets."""
    ids = [row[0] for row in tickets if row[1] is None]
    if not ids:
        return {}
    with db.transaction() as cursor:
        return {row[0]: row for row in cursor.execute(_REVIEWED, [ids])}


def _known(row: Any) -> dict[str, Any]:
    ticket, run, _, node, kind, title, workflow, *_ = row
    known = {"ticket": ticket, "kind": kind, "title": title, "workflow": workflow, "run": run, "node": node}
    return dict.fromkeys(COLUMNS) | known


def _line(row: Any, event: Event) -> dict[str, Any]:
    data = event.data
    line = _known(row) | {"at": instant(event.at), "seq": event.seq, **_door(data.get("from"))}
    if event.type in REVIEWS:
        review = _review(REVIEWS[event.type], data["decided_by"], data["decision"], data.get("version"))
        return line | review
    line |= {name: data.get(name) for name in ("by", "to", "answer", "status", "reason", "context")}
    if event.type == "TicketEscalated":
        line["to"] = ", ".join(data["assignees"]) or "anybody"
    values = Values(fetch)
    line["text"] = value(values, event, "text")
    form = value(values, event, "form")
    line["form"] = None if form is None else encode(form).decode()
    return line | {"what": TOLD[event.type], "version": data.get("on")}


def _review(status: str, by: str, reason: str, version: str | None) -> dict[str, Any]:
    """A patch is answered and decided at once."""
    answer = next(answer for answer, ends in ANSWERS.items() if ends == status)
    review = {"what": "decided", "by": by, "answer": answer, "status": status, "reason": reason or None}
    return {**review, "version": version or None}


def _ending(row: Any, reviewed: Any) -> Iterator[dict[str, Any]]:
    """What no event of the ticket says: that it was closed with its run, or how a workflow's patch was decided."""
    status, closed_at = row[7], row[8]
    if status == "cancelled":
        yield _known(row) | {"at": instant(db.micros(closed_at)), "what": "cancelled", "status": status}
    elif reviewed is not None:
        _, at, by, reason, version, came_from = reviewed
        yield _known(row) | {"at": instant(db.micros(at)), **_review(status, by, reason, version), **_door(came_from)}


def _door(came_from: Any) -> dict[str, Any]:
    known = came_from if isinstance(came_from, dict) else {}
    return {name: known.get(name) for name in ("door", "address", "token")}


def head(form: str) -> str:
    return _row(COLUMNS) if form == "csv" else ""


def written(lines: list[dict[str, Any]], form: str) -> str:
    """Lines as CSV or JSON lines."""
    if form == "csv":
        return "".join(_row([line[name] for name in COLUMNS]) for line in lines)
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in lines)


def _row(cells: Any) -> str:
    found = io.StringIO()
    csv.writer(found, lineterminator="\r\n").writerow([_cell(cell) for cell in cells])
    return found.getvalue()


def _cell(cell: Any) -> str:
    """A text that a spreadsheet would take for a formula stays a text."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
