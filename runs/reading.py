"""The values and blobs of a run for people: small ones whole, large ones window by window.

Nothing here decodes a value whose size is not known to be small.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runs import blobs, db
from runs.core.events import Event
from runs.core.values import MissingValue, get
from runs.errors import is_id
from runs.store import events_of
from workflows.core.strictjson import encode

WHOLE_BYTES = 1024 * 1024
"""Values up to this size are given whole."""

WINDOW_BYTES = 64 * 1024
INPUT_KEYS = ("input", "items", "inputs", "values")
OUTPUT_KEYS = ("output", "payload")
MAX_BLOBS = 100


class Reading(msgspec.Struct):
    """One value of one event. `value` is there when `whole`; otherwise `blob` names its bytes."""

    seq: int
    key: str
    size: int
    whole: bool
    value: Any = None
    blob: str | None = None
    error: str | None = None


def reading(run_id: str, seq: int | None, keys: tuple[str, ...] = OUTPUT_KEYS) -> Reading | None:
    """The first of these values that the event has, or None."""
    event = _event(run_id, seq)
    if event is None:
        return None
    for key in keys:
        stored = get(event.data, key)
        if isinstance(stored, list):
            return Reading(event.seq, key, len(encode(stored[0])), True, stored[0])
        if stored is not None:
            return _from_blob(event.seq, key, stored)
    return None


def _from_blob(seq: int, key: str, name: str) -> Reading:
    try:
        size = int(blobs.describe(name)["bytes"])
        if size > WHOLE_BYTES:
            return Reading(seq, key, size, False, blob=name)
        return Reading(seq, key, size, True, msgspec.json.decode(blobs.fetch(name)), blob=name)
    except (blobs.BlobError, MissingValue) as error:
        return Reading(seq, key, 0, False, blob=name, error=error.message)


def _event(run_id: str, seq: int | None) -> Event | None:
    if seq is None or not is_id(run_id):
        return None
    with db.transaction() as cursor:
        found = events_of(cursor, run_id, after=seq - 1, limit=1)
    return found[0] if found and found[0].seq == seq else None


def text_window(name: str, start: int) -> tuple[str, int]:
    """Text of a blob from a byte on, and where the next window begins. No character is cut in two."""
    data = blobs.window(name, start, WINDOW_BYTES + 4)
    first = next((place for place, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
    end = min(len(data), WINDOW_BYTES)
    while end < len(data) and end > first and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[first:end].decode("utf-8", "replace"), start + end


def blobs_of(run_id: str, *, after: str = "") -> list[dict[str, Any]]:
    """What the run may read and the store has, by name; one more than MAX_BLOBS tells that there are more."""
    with db.transaction() as cursor:
        # Both primary keys in order: as many rows are read as are given.
        rows = cursor.execute(
            "SELECT b.hash, b.size, b.media_type FROM blob_use u JOIN blob b USING (hash)"
            " WHERE u.run_id = %s AND u.hash > %s AND u.readable ORDER BY u.hash LIMIT %s",
            [run_id, after, MAX_BLOBS + 1],
        ).fetchall()
    return [blobs.reference(*row) for row in rows]


def blob_of(run_id: str, name: str) -> dict[str, Any] | None:
    """A blob that this run may read, or None: knowing a hash is no right to read it (hazard S6)."""
    if not is_id(run_id):
        return None
    with db.transaction() as cursor:
        row = cursor.execute(
            "SELECT b.hash, b.size, b.media_type FROM blob_use u JOIN blob b USING (hash)"
            " WHERE u.run_id = %s AND u.hash = %s AND u.readable",
            [run_id, name],
        ).fetchone()
    return blobs.reference(*row) if row else None
