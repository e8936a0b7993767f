"""Rows for COPY in Postgres' binary format: one `struct` call a row instead of one adapter call a field.

Source: PostgreSQL documentation, COPY, "Binary Format". A field is its length in four bytes and its bytes; a
length of -1 is null. Times count microseconds from 2000-01-01; `jsonb` has a version byte before its text.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Any

import psycopg

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH_2000 = 946_684_800_000_000
"""Microseconds from 1970 to 2000."""

NULL = b"\xff\xff\xff\xff"

_length = Struct("!i").pack
_columns = Struct("!h").pack
_small = Struct("!ih").pack
_whole = Struct("!ii").pack
_moment = Struct("!iq").pack
_event_head = Struct("!hi16sii").pack


def copy(cursor: psycopg.Cursor[Any], table: str, columns: str, rows: Iterable[bytes]) -> None:
    """Sends rows made by this module's functions into `table`."""
    data = b"".join(rows)
    if not data:
        return
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as stream:
        stream.write(b"".join((HEADER, data, TRAILER)))


EVENT_COLUMNS = "run_id, seq, type, at, node, data"


def event_row(run: bytes, seq: int, kind: str, at: int, node: str | None, data: bytes) -> bytes:
    """A row of `run_event`; `run` are the 16 bytes of the run's id, `data` is JSON."""
    return b"".join(
        (
            _event_head(6, 16, run, 4, seq),
            _name(kind),
            _moment(8, at - EPOCH_2000),
            NULL if node is None else _name(node),
            _length(len(data)),
            data,
        )
    )


def row(*fields: bytes) -> bytes:
    """A row of any table."""
    return _columns(len(fields)) + b"".join(fields)


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID in its canonical form."""
    return bytes.fromhex(text.replace("-", ""))


def uuid(text: str | None) -> bytes:
    return NULL if text is None else _length(16) + uuid_bytes(text)


def text(value: str | None) -> bytes:
    if value is None:
        return NULL
    data = value.encode()
    return _length(len(data)) + data


def binary(data: bytes) -> bytes:
    return _length(len(data)) + data


def jsonb(value: bytes | None) -> bytes:
    return NULL if value is None else _length(len(value) + 1) + b"\x01" + value


def int2(value: int) -> bytes:
    return _small(2, value)


def int4(value: int) -> bytes:
    return _whole(4, value)


def moment(microseconds: int | None) -> bytes:
    """A `timestamptz` from microseconds since the epoch."""
    return NULL if microseconds is None else _moment(8, microseconds - EPOCH_2000)


@lru_cache(maxsize=20_000)
def _name(value: str) -> bytes:
    """Event types and node paths repeat from run to run."""
    return text(value)
