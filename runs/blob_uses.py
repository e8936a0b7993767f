"""Which blobs the logs of runs name, and which of those each run may read (hazards S6, L7).

Whatever looks like a name keeps its blob from being collected. The right to read comes from the engine alone: values
that it stored itself, blobs that an executor made, and what people gave. What was given by another run may be read as far
as that run may. A name in the words of a model, of a patch or of somebody outside is only a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
import psycopg

from runs import db
from runs.blobs import fetch, keep
from runs.core.events import Event
from runs.core.values import MissingValue, get
from runs.store import Change

_NAME = re.compile(rb"sha256:[0-9a-f]{64}")
_GIVEN = {
    "RunStarted": "inputs", "ChildEnded": "output", "SignalReceived": "payload", "TicketAnswered": "form",
    "PatchProposed": "evidence", "PatchApplied": "evidence",
}  # fmt: skip
"""Where what somebody else gave to a run stands in its events."""

Named = tuple[str, bool, str | None]
"""A blob's name, whether the run may read it, and the other run with which it may where that one may."""


def write(cursor: psycopg.Cursor[object], named: Sequence[tuple[Change, Event, bytes]]) -> None:
    """Keeps what events name; each comes with its data as it is written."""
    uses = {(change.row.id, *use) for change, event, data in named for use in _named(change, event, data)}
    if uses:
        keep(cursor, {use[1] for use in uses})
        columns = [list(column) for column in zip(*sorted(uses, key=str), strict=True)]
        cursor.execute(db.sql("insert_blob_uses"), dict(zip(("run", "hash", "readable", "source"), columns, strict=True)))
    for change in {change.row.id: change for change, _, _ in named}.values():
        if change.birth is not None and change.birth.forked_from is not None:
            # A replay goes on with the values of the run that it was forked from, so it may read what that one may.
            cursor.execute(_INHERITED, {"run": change.row.id, "source": change.birth.forked_from})


_INHERITED = (
    "INSERT INTO blob_use (run_id, hash, readable) SELECT %(run)s, hash, true FROM blob_use"
    " WHERE run_id = %(source)s AND readable"
    " ON CONFLICT (run_id, hash) DO UPDATE SET readable = true WHERE NOT blob_use.readable"
)


def _named(change: Change, event: Event, data: bytes) -> Iterator[Named]:
    stored = {part for key, part in event.data.items() if key.endswith("_ref") and isinstance(part, str)}
    if event.type == "TaskCompleted":
        stored |= set(event.data.get("blobs", ()))
    for name in _names(data):
        # The version of the document stands in every first event; it is no blob, so it is nobody's use of one.
        if name != change.row.version:
            yield name, name in stored, None
    source = _giver(change, event)
    for name in _names(_given(change, event)):
        yield name, source is None, source


def _names(data: bytes) -> set[str]:
    return {name.decode() for name in _NAME.findall(data)}


def _given(change: Change, event: Event) -> bytes:
    """What somebody else gave with this event, as JSON."""
    key = _GIVEN.get(event.type)
    value = get(event.data, key) if key is not None else None
    if value is None or (key == "evidence" and event.data["by"]["kind"] != "person"):
        return b""
    if isinstance(value, list):
        return msgspec.json.encode(value)
    try:
        return change.values.get(value) or fetch(value)
    except MissingValue:
        return b""


def _giver(change: Change, event: Event) -> str | None:
    """The run that gave it; None where people did, who may name only what they may read."""
    if event.type == "ChildEnded":
        return str(event.data["child"])
    if event.type == "RunStarted":
        birth = change.birth
        return change.row.parent or (birth.inputs_of if birth is not None else None)
    return None


def hand_on(cursor: psycopg.Cursor[object], value: object, *, source: str, to: str) -> None:
    """Lets a run read what a value of another one names, as far as that one may."""
    names = sorted(_names(msgspec.json.encode(value)))
    if names:
        of = {"run": [to] * len(names), "hash": names, "readable": [False] * len(names), "source": [source] * len(names)}
        cursor.execute(db.sql("insert_blob_uses"), of)
