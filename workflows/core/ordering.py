"""Maps are gone over in the order of their keys: the engine's own order is that of a hash table, new in each process.

A decision must not depend on it (law 3). So the range of every comprehension (map, filter, all, exists, exists_one) that
may be a map is replaced, in the compiled expression, by what gives a map's sorted keys and leaves a list as it is. The
engine gives and takes compiled expressions as protocol buffers (google/cel-spec, proto/cel/expr: syntax and checked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workflows.core.functions import key_order
from workflows.core.wire import BYTES as _BYTES
from workflows.core.wire import VARINT as _VARINT
from workflows.core.wire import Field as _Field
from workflows.core.wire import message as _message
from workflows.core.wire import read as _fields

KEYS = "@keys"
"""The engine's name of `sorted_keys`; nobody can write it in an expression."""

_RANGE = b"@range"
_GATHERED = b"@result"
"""The engine's name of what a comprehension has gathered so far."""

_KEPT = b"@kept"

_NEW_IDS = 1_000_000

# Field numbers of the messages.
_VALUE_OF_ANY = 2
_EXPR_OF = {b"cel.expr.CheckedExpr": 4, b"cel.expr.ParsedExpr": 2}
_TYPES, _LIST_TYPE = 3, 6
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9
_ENTRIES = 2
_ITER_RANGE = 2
_TARGET, _FUNCTION, _ARGUMENTS = 1, 2, 3
_LOOP_CONDITION = 5
_CHILDREN = {_SELECT: (1,), _CALL: (1, 3), _LIST: (1,), _COMPREHENSION: (2, 4, 5, 6, 7)}
_CHILDREN_OF_ENTRY = (3, 4)


def sorted_keys(value: dict[Any, Any]) -> list[Any]:
    """The keys of a map as comprehensions go over them."""
    return sorted(value, key=key_order)


def in_order(compiled: bytes) -> bytes:
    """The compiled expression, serialized by the engine, with every map gone over in the order of its keys."""
    return _rewritten(compiled, _Rewriting)


def metered(compiled: bytes, told: Mapping[bytes, bytes], go_on: bytes, keep: bytes) -> bytes:
    """The compiled expression with calls told to other functions before they are made.

    `told` says which, for the functions that matter: where these give false, the call is not made. Its loops end where
    the function `go_on` gives false, and tell the function `keep` what they gather.
    """
    return _rewritten(compiled, lambda lists: _Telling(told, go_on, keep))


def _rewritten(compiled: bytes, make: Callable[[frozenset[int]], _Rewriting]) -> bytes:
    fields = list(_fields(compiled))
    kind = fields[0][2].rpartition(b"/")[2]
    inner = list(_fields(next(value for number, _, value in fields if number == _VALUE_OF_ANY)))
    place = _EXPR_OF[kind]
    lists = frozenset(_typed_lists(inner)) if kind == b"cel.expr.CheckedExpr" else frozenset()
    rewriting = make(lists)
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


class _Telling(_Rewriting):
    """Has calls told before they are made, but for the one that gathers what a comprehension gives."""

    def __init__(self, told: Mapping[bytes, bytes], go_on: bytes, keep: bytes) -> None:
        super().__init__(frozenset())
        self._last_id = 2 * _NEW_IDS
        self._told = told
        self._go_on = go_on
        self._keep = keep

    def expr(self, data: bytes) -> bytes:
        fields = list(_fields(super().expr(data)))
        for number, _, value in fields:
            if number == _CALL:
                return self._called(fields, value)
            if number == _COMPREHENSION:
                ending = self._ending(value)
                return _message((n, w, ending if n == number else v) for n, w, v in fields)
        return _message(fields)

    def _called(self, fields: list[_Field], call: bytes) -> bytes:
        parts = list(_fields(call))
        function = next(value for number, _, value in parts if number == _FUNCTION)
        operands = [value for number, _, value in parts if number in (_TARGET, _ARGUMENTS)]
        if function not in self._told:
            return _message(fields)
        if (_IDENT, _BYTES, _message([(1, _BYTES, _GATHERED)])) in _fields(operands[0]):
            kept = self._kept(operands[1])
            gathering = _message((n, w, kept if value is operands[1] else value) for n, w, value in parts)
            return _message((n, w, gathering if n == _CALL else value) for n, w, value in fields)
        names = [f"@{place}".encode() for place in range(len(operands))]
        by_name = iter(names)
        again = _message((n, w, self._name(next(by_name)) if n in (_TARGET, _ARGUMENTS) else v) for n, w, v in parts)
        made = _message((n, w, again if n == _CALL else value) for n, w, value in fields)
        told = self._call(self._told[function], *map(self._name, names))
        chosen = self._call(b"_?_:_", told, made, self._yes())
        for name, operand in zip(reversed(names), reversed(operands), strict=True):
            chosen = self._bound(name, operand, chosen)
        return chosen

    def _kept(self, gathered: bytes) -> bytes:
        """`[element]`, told to the function `keep` before."""
        for number, _, value in _fields(gathered):
            if number == _LIST:
                [element] = [one for _, _, one in _fields(value)]
                told = self._call(self._keep, self._name(_KEPT))
                chosen = self._call(b"_?_:_", told, self._name(_KEPT), self._yes())
                return self._new(_LIST, _message([(1, _BYTES, self._bound(_KEPT, element, chosen))]))
        return gathered

    def _bound(self, name: bytes, value: bytes, within: bytes) -> bytes:
        """`cel.bind(name, value, within)`."""
        nothing, never = self._new(_LIST, b""), self._new(_CONST, _message([(2, _VARINT, 0)]))
        parts = (b"#unused", nothing, name, value, never, self._name(name), within)
        return self._new(_COMPREHENSION, _message((n, _BYTES, part) for n, part in enumerate(parts, 1)))

    def _ending(self, comprehension: bytes) -> bytes:
        return _message(
            (n, w, self._call(b"_&&_", self._call(self._go_on), value) if n == _LOOP_CONDITION else value)
            for n, w, value in _fields(comprehension)
        )

    def _name(self, name: bytes) -> bytes:
        return self._new(_IDENT, _message([(1, _BYTES, name)]))

    def _yes(self) -> bytes:
        return self._new(_CONST, _message([(2, _VARINT, 1)]))

    def _ordered(self, value: bytes) -> bytes:
        return value


def _typed_lists(checked: list[_Field]) -> Iterator[int]:
    """The ids of the parts that the checker knows to be lists."""
    for number, _, entry in checked:
        if number == _TYPES:
            pair = {n: value for n, _, value in _fields(entry)}
            if any(n == _LIST_TYPE for n, _, _ in _fields(pair.get(2, b""))):
                yield pair[1]
