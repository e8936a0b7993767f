"""Maps are gone over in the order of their keys: the engine's own order is that of a hash table, new in each process.

A decision must not depend on it (law 3). So the range of every comprehension (map, filter, all, exists, exists_one) that
may be a map is replaced, in the compiled expression, by what gives a map's sorted keys and leaves a list as it is. The
engine gives and takes compiled expressions as protocol buffers (google/cel-spec, proto/cel/expr: syntax and checked).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from workflows.core.functions import key_order

KEYS = "@keys"
"""The engine's name of `sorted_keys`; nobody can write it in an expression."""

_RANGE = b"@range"
_VARINT, _BYTES = 0, 2
_NEW_IDS = 1_000_000

# Field numbers of the messages.
_VALUE_OF_ANY = 2
_EXPR_OF = {b"cel.expr.CheckedExpr": 4, b"cel.expr.ParsedExpr": 2}
_TYPES, _LIST_TYPE = 3, 6
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9
_ENTRIES = 2
_ITER_RANGE = 2
_CHILDREN = {_SELECT: (1,), _CALL: (1, 3), _LIST: (1,), _COMPREHENSION: (2, 4, 5, 6, 7)}
_CHILDREN_OF_ENTRY = (3, 4)

_Field = tuple[int, int, Any]


def sorted_keys(value: dict[Any, Any]) -> list[Any]:
    """The keys of a map as comprehensions go over them."""
    return sorted(value, key=key_order)


def in_order(compiled: bytes) -> bytes:
    """The compiled expression, serialized by the engine, with every map gone over in the order of its keys."""
    fields = list(_fields(compiled))
    kind = fields[0][2].rpartition(b"/")[2]
    inner = list(_fields(next(value for number, _, value in fields if number == _VALUE_OF_ANY)))
    place = _EXPR_OF[kind]
    lists = frozenset(_typed_lists(inner)) if kind == b"cel.expr.CheckedExpr" else frozenset()
    rewriting = _Rewriting(lists)
    inner = [(number, wire, rewriting.expr(value) if number == place else value) for number, wire, value in inner]
    whole = _message(inner)
    return _message((number, wire, whole if number == _VALUE_OF_ANY else value) for number, wire, value in fields)


class _Rewriting:
    """Goes through an expression from the leaves; new parts get ids beyond all that a source of that length can have."""

    def __init__(self, lists: frozenset[int]) -> None:
        self._lists = lists
        self._last_id = _NEW_IDS

    def expr(self, data: bytes) -> bytes:
        found = []
        for number, wire, value in _fields(data):
            if number in _CHILDREN:
                value = self._parts(value, _CHILDREN[number], ranges=number == _COMPREHENSION)
            elif number == _STRUCT:
                value = _message(
                    (n, w, self._parts(v, _CHILDREN_OF_ENTRY) if n == _ENTRIES else v) for n, w, v in _fields(value)
                )
            found.append((number, wire, value))
        return _message(found)

    def _parts(self, data: bytes, children: tuple[int, ...], *, ranges: bool = False) -> bytes:
        found = []
        for number, wire, value in _fields(data):
            if number in children:
                known = ranges and number == _ITER_RANGE and self._is_list(value)
                value = self.expr(value)
                if ranges and number == _ITER_RANGE and not known:
                    value = self._ordered(value)
            found.append((number, wire, value))
        return _message(found)

    def _is_list(self, data: bytes) -> bool:
        fields = {number: value for number, _, value in _fields(data)}
        return _LIST in fields or fields.get(_ID) in self._lists

    def _ordered(self, value: bytes) -> bytes:
        """`cel.bind(@range, value, type(@range) == type({}) ? @keys(@range) : @range)`: evaluated once."""
        is_map = self._call(b"_==_", self._call(b"type", self._range()), self._call(b"type", self._new(_STRUCT, b"")))
        chosen = self._call(b"_?_:_", is_map, self._call(KEYS.encode(), self._range()), self._range())
        nothing, never = self._new(_LIST, b""), self._new(_CONST, _message([(2, _VARINT, 0)]))
        parts = (b"#unused", nothing, _RANGE, value, never, self._range(), chosen)
        return self._new(_COMPREHENSION, _message((n, _BYTES, part) for n, part in enumerate(parts, 1)))

    def _range(self) -> bytes:
        return self._new(_IDENT, _message([(1, _BYTES, _RANGE)]))

    def _call(self, function: bytes, *arguments: bytes) -> bytes:
        return self._new(_CALL, _message([(2, _BYTES, function), *((3, _BYTES, one) for one in arguments)]))

    def _new(self, kind: int, content: bytes) -> bytes:
        self._last_id += 1
        return _message([(_ID, _VARINT, self._last_id), (kind, _BYTES, content)])


def _typed_lists(checked: list[_Field]) -> Iterator[int]:
    """The ids of the parts that the checker knows to be lists."""
    for number, _, entry in checked:
        if number == _TYPES:
            pair = {n: value for n, _, value in _fields(entry)}
            if any(n == _LIST_TYPE for n, _, _ in _fields(pair.get(2, b""))):
                yield pair[1]


# The wire format: only numbers and bytes occur outside of constants, into which nothing here looks.


def _fields(data: bytes) -> Iterator[_Field]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        value, place = _varint(data, place)
        if wire == _BYTES:
            end = place + value
            yield number, wire, data[place:end]
            place = end
        elif wire == _VARINT:
            yield number, wire, value
        else:
            raise ValueError(f"wire type {wire} in a compiled expression")


def _message(fields: Iterable[_Field]) -> bytes:
    written = bytearray()
    for number, wire, value in fields:
        _write(written, number << 3 | wire)
        if wire == _BYTES:
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
