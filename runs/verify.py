"""Checks a run against its log: gap-free, folds to what is stored, takes the same decisions again."""

from __future__ import annotations

from typing import Any

from runs import db, tickets
from runs.blobs import fetch
from runs.core.advance import decide
from runs.core.events import DECISIONS, TERMINAL, Event
from runs.core.fold import apply
from runs.core.state import State, dump, public_status
from runs.core.values import MissingValue, Values
from runs.irs import ir_of
from runs.queries import require
from runs.store import events_of
from runs.writing import standing
from workflows.core.canonical import value_hash
from workflows.core.errors import AobError

MAX_PROBLEMS = 50
_COPIED = "What came before the replay stands in the parent's log"


def verify(run_id: str) -> dict[str, Any]:
    """Every check with its verdict. Pure nodes are executed again and their outputs' hashes compared."""
    require(run_id)
    with db.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        log = events_of(cursor, run_id)
        row = cursor.execute("SELECT status, version, last_seq FROM run WHERE id = %s", [run_id]).fetchone()
        snapshot = cursor.execute("SELECT seq, state FROM run_snapshot WHERE run_id = %s", [run_id]).fetchone()
        cursor.execute("SELECT id::text, status FROM run_patch WHERE run_id = %s", [run_id])
        patches = dict(cursor.fetchall())
        copied = log[0].data.get("forked_from", {}).get("copied", 0) if log else 0
        parent = events_of(cursor, log[0].data["forked_from"]["run"]) if copied else []
        ticket_rows = tickets.stored(cursor, run_id)
    assert row is not None
    problems: list[dict[str, Any]] = []
    gaps = [event.seq for place, event in enumerate(log, 1) if event.seq != place]
    ends = [event.seq for event in log if event.type in TERMINAL]
    if gaps:
        problems.append({"code": "log_gap", "message": f"The log has a gap at seq {gaps[0]}.", "seq": gaps[0]})
    if len(ends) > 1 or (ends and ends[0] != len(log)):
        problems.append({"code": "log_end", "message": "Something follows the end of the run.", "seq": ends[0]})
    checks = [_check("The log is gap-free from 1 and nothing follows its end", not problems, f"{len(log)} events")]
    if problems:
        return {"ok": False, "events": len(log), "checks": checks, "problems": problems}
    folding = _Refold(log, copied, int(snapshot[0]) if snapshot else 0)
    problems += folding.problems
    checks.append(
        _check(
            "Deciding again gives the recorded decisions",
            not folding.problems,
            f"{folding.decisions} decisions",
        )
    )
    checks.append(
        _check(
            "Pure nodes executed again give the same outputs",
            not folding.pure_problems,
            f"{folding.pure} nodes",
        )
    )
    if snapshot is not None:
        same = folding.at_snapshot == bytes(snapshot[1])
        checks.append(_check("The stored state equals the fold of the log", same, f"at seq {snapshot[0]}"))
        if not same:
            problems.append({"code": "snapshot_differs", "message": "The snapshot is not the fold.", "seq": snapshot[0]})
    expected = (public_status(folding.state), folding.state.version, folding.state.seq)
    same = expected == (row[0], row[1], row[2])
    checks.append(_check("Status, version and last seq equal the fold", same, f"{row[0]} at seq {row[2]}"))
    if not same:
        problems.append({"code": "projection_differs", "message": f"The row says {tuple(row)}, the log {expected}."})
    same = folding.patches == patches
    checks.append(_check("Patches stand as the log tells", same, f"{len(patches)} patches"))
    if not same:
        message = f"The patches are {patches}, by the log {folding.patches}."
        problems.append({"code": "projection_differs", "message": message})
    wanted = tickets.from_log(log, folding.state)
    if wanted or ticket_rows:
        same = wanted == ticket_rows
        checks.append(_check("The tickets are what the log says", same, f"{len(wanted)} tickets"))
        if not same:
            problems.append(
                {"code": "tickets_differ", "message": f"The rows say {ticket_rows}, the log {wanted}."[:2000]}
            )
    if copied and not parent:
        detail = "left out: the run that was replayed is not kept any more"
        checks.append(_check(_COPIED, True, detail))
    elif copied:
        missing = _not_in_parent(log[1 : copied + 1], parent)
        checks.append(_check(_COPIED, not missing, f"{copied} events"))
        problems += missing
    return {"ok": not problems, "events": len(log), "checks": checks, "problems": problems[:MAX_PROBLEMS]}


class _Refold:
    """Walks the log once: facts are applied, decisions are taken again and compared."""

    def __init__(self, log: list[Event], copied: int, snapshot_seq: int) -> None:
        self.state = State()
        self.problems: list[dict[str, Any]] = []
        self.pure_problems = 0
        self.decisions = self.pure = 0
        self.at_snapshot = b""
        self.patches: dict[str, str] = {}
        values = Values(fetch)
        for event in log:
            if event.type in DECISIONS and event.seq > copied + 1:
                self._decide(event, values)
            apply(self.state, event, ir_of)
            self.patches |= standing(event)
            values.new.clear()
            if event.seq == snapshot_seq:
                self.at_snapshot = dump(self.state)
        if self.state.ended:
            self.patches |= dict.fromkeys(self.state.pending, "expired")

    def _decide(self, event: Event, values: Values) -> None:
        self.decisions += 1
        is_pure = event.type == "NodeCompleted" and ("output" in event.data or "output_ref" in event.data)
        self.pure += is_pure
        try:
            again = decide(self.state, ir_of, values)
        except (AobError, MissingValue) as error:
            self.problems.append({**error.as_dict(), "seq": event.seq})
            return
        same = again is not None and again[:2] == (event.type, event.node)
        if same and again is not None and value_hash(again[2]) == value_hash(event.data):
            return
        self.pure_problems += is_pure
        what = "nothing" if again is None else f"{again[0]} of {again[1] or 'the run'}"
        self.problems.append(
            {
                "code": "decision_differs",
                "message": f"Recorded is {event.type} of {event.node or 'the run'}; deciding again gives {what}"
                + (" with other data." if same else "."),
                "seq": event.seq,
            }
        )


def _not_in_parent(copies: list[Event], parent: list[Event]) -> list[dict[str, Any]]:
    """Copied events that the parent's log does not have, in its order."""
    place = 0
    for copy in copies:
        while place < len(parent) and not _same(copy, parent[place]):
            place += 1
        if place == len(parent):
            return [
                {
                    "code": "copy_differs",
                    "message": f"{copy.type} of {copy.node} is not the parent's.",
                    "seq": copy.seq,
                }
            ]
        place += 1
    return []


def _same(copy: Event, original: Event) -> bool:
    if (copy.type, copy.node, copy.at) != (original.type, original.node, original.at):
        return False
    ignored = ("input_seq", "taken")
    return {key: value for key, value in copy.data.items() if key not in ignored} == {
        key: value for key, value in original.data.items() if key not in ignored
    }


def _check(name: str, ok: bool, detail: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail}
