"""Many rows at once in Postgres' binary format: one `struct` call a field instead of one adapter call.

A field is its length in four bytes and its bytes; a length of -1 is null. COPY takes rows of such fields, an array
parameter takes a column of them. Times count microseconds from 2000-01-01; `jsonb` has a version byte first.
Sources: PostgreSQL documentation, COPY, "Binary Format"; `array_recv` in src/backend/utils/adt/arrayfuncs.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import Struct
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format, PipelineStatus

Row = tuple[bytes, ...]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
EPOCH_2000 = 946_684_800_000_000
"""Microseconds from 1970 to 2000."""

NULL = b"\xff\xff\xff\xff"

_OIDS = {
    "uuid": 2950, "text": 25, "json": 114, "jsonb": 3802, "int2": 21, "int4": 23, "timestamptz": 1184, "bool": 16,
    "float8": 701, "bytea": 17,
}  # fmt: skip

_length = Struct("!i").pack
_count = Struct("!h").pack
_small = Struct("!ih").pack
_whole = Struct("!ii").pack
_moment = Struct("!iq").pack
_array = Struct("!iiIii").pack


@dataclass(frozen=True)
class Table:
    """A table and the columns that rows give, as name and type."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @cached_property
    def copying(self) -> str:
        return f"COPY {self.name} ({', '.join(name for name, _ in self.columns)}) FROM STDIN (FORMAT BINARY)"

    @cached_property
    def inserting(self) -> str:
        names = ", ".join(name for name, _ in self.columns)
        arrays = ", ".join(f"%s::{kind}[]" for _, kind in self.columns)
        return f"INSERT INTO {self.name} ({names}) SELECT * FROM unnest({arrays})"


def insert(cursor: psycopg.Cursor[Any], table: Table, rows: Sequence[Row]) -> None:
    """Inserts the rows: by COPY, or by one statement in a pipeline, which takes no COPY."""
    if not rows:
        return
    if cursor.connection.pgconn.pipeline_status is not PipelineStatus.OFF:
        columns = zip(table.columns, zip(*rows, strict=True), strict=True)
        cursor.execute(table.inserting, [Array(kind, fields) for (_, kind), fields in columns])
        return
    count = _count(len(table.columns))
    parts = [HEADER]
    for row in rows:
        parts.append(count)
        parts.extend(row)
    parts.append(TRAILER)
    with cursor.copy(table.copying) as stream:
        stream.write(b"".join(parts))


class Array:
    """An array parameter made of fields."""

    __slots__ = ("data",)

    def __init__(self, kind: str, fields: Sequence[bytes]) -> None:
        self.data = _array(1, int(NULL in fields), _OIDS[kind], len(fields), 1) + b"".join(fields)


class ArrayDumper(Dumper):
    """Hands an Array's bytes to the server; the statement says of which type it is."""

    format = Format.BINARY
    oid = 0

    def dump(self, obj: Array) -> bytes:
        return obj.data


def uuid_bytes(text: str) -> bytes:
    """The 16 bytes of a UUID in its canonical form."""
    return bytes.fromhex(text.replace("-", ""))


def uuid(text: str | None) -> bytes:
    return NULL if text is None else b"\x00\x00\x00\x10" + uuid_bytes(text)


def text(value: str | None) -> bytes:
    if value is None:
        return NULL
    data = value.encode()
    return _length(len(data)) + data


def json(data: bytes | None) -> bytes:
    return NULL if data is None else _length(len(data)) + data


def jsonb(data: bytes | None) -> bytes:
    return NULL if data is None else _length(len(data) + 1) + b"\x01" + data


def int2(value: int) -> bytes:
    return _small(2, value)


def int4(value: int) -> bytes:
    return _whole(4, value)


def moment(microseconds: int | None) -> bytes:
    """A `timestamptz` from microseconds since the epoch."""
    return NULL if microseconds is None else _moment(8, microseconds - EPOCH_2000)


@lru_cache(maxsize=20_000)
def name(value: str | None) -> bytes:
    """A text that repeats from row to row: a type, a status, a node path."""
    return text(value)
