"""Protocol buffers without their descriptions: as the CEL engine gives and takes compiled expressions.

Only numbers and bytes occur in these outside of constants, into which nobody here looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

VARINT, BYTES = 0, 2

Field = tuple[int, int, Any]
"""Its number, its wire type, and a number or bytes."""


def read(data: bytes) -> Iterator[Field]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        value, place = _varint(data, place)
        if wire == BYTES:
            end = place + value
            yield number, wire, data[place:end]
            place = end
        elif wire == VARINT:
            yield number, wire, value
        else:
            raise ValueError(f"wire type {wire} in a compiled expression")


def message(fields: Iterable[Field]) -> bytes:
    written = bytearray()
    for number, wire, value in fields:
        _write(written, number << 3 | wire)
        if wire == BYTES:
            _write(written, len(value))
            written += value
        else:
            _write(written, value)
    return bytes(written)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _write(written: bytearray, value: int) -> None:
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
