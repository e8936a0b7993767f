"""Who decided what, when, from where, on what, and why: read from the append-only log of each run, page by page.

Bounded: at any time one page of tickets is in memory, however many there are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from approvals.reading import TOLD
from runs import db
from runs.core.scope import instant
from runs.search import milliseconds

PAGE = 200
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
EVENTS = ("TicketAnswered", "TicketDelegated", "TicketEscalated", "TicketDecided")
COLUMNS = (
    "at", "what", "ticket", "kind", "title", "workflow", "run", "node", "seq", "by", "to", "answer", "status", "reason",
    "context", "version", "door", "address", "token",
)  # fmt: skip

# Along the index `ticket_closed`, backwards.
_CLOSED = (
    "SELECT id::text, run_id::text, seq, node, kind, title, workflow, status, decided_at FROM ticket"
    " WHERE status <> 'open' AND (decided_at, id) > (%(at)s, %(id)s::uuid) AND decided_at < %(until)s"
    f" ORDER BY decided_at, id LIMIT {PAGE}"
)
# A ticket's events stand behind the one that opened it, so each is a walk along a part of the primary key.
_SAID = (
    "SELECT t.id, e.seq, e.type, e.at, e.data FROM unnest(%(ids)s::text[], %(runs)s::uuid[], %(seqs)s::int[])"
    " AS t(id, run, seq) JOIN run_event e ON e.run_id = t.run AND e.seq > t.seq AND e.type = ANY(%(types)s)"
    " AND e.data->>'ticket' = t.id ORDER BY e.run_id, e.seq"
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
            columns = {"ids": [row[0] for row in tickets], "runs": [row[1] for row in tickets]}
            parameters = {**columns, "seqs": [row[2] for row in tickets], "types": list(EVENTS)}
            events = cursor.execute(_SAID, parameters).fetchall() if tickets else []
        said: dict[str, list[Any]] = {}
        for name, *event in events:
            said.setdefault(name, []).append(event)
        yield [line for row in tickets for line in _lines(row, said.get(row[0], []))]
        if len(tickets) < PAGE:
            return
        at, last = tickets[-1][8], tickets[-1][0]


def _lines(row: Any, events: list[Any]) -> Iterator[dict[str, Any]]:
    ticket, run, _, node, kind, title, workflow, status, closed_at = row
    known = {"ticket": ticket, "kind": kind, "title": title, "workflow": workflow, "run": run, "node": node}
    for seq, event, at, data in events:
        line = dict.fromkeys(COLUMNS) | known | {"at": instant(db.micros(at)), "what": TOLD[event], "seq": seq}
        line |= {name: data.get(name) for name in ("by", "to", "answer", "status", "reason", "context")}
        if event == "TicketEscalated":
            line["to"] = ", ".join(data["assignees"]) or "anybody"
        yield line | {"version": data.get("on"), **_door(data.get("from"))}
    if status == "cancelled":
        at = instant(db.micros(closed_at))
        yield dict.fromkeys(COLUMNS) | known | {"at": at, "what": "cancelled", "status": status}


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
