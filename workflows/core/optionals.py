"""Optionals must be used up where they arise: the engine ends the process when one is handed to a function of ours.

So a compiled expression is refused in which an optional (`inputs.?x`, `optional.of(…)`) becomes an argument of such a
function, or an element of a list or map, where nobody sees it any more. The result itself may be one; that is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.core.wire import read

MAKING = frozenset({"optional.of", "optional.ofNonZeroValue", "optional.none", "_?._", "_[?_]", "first", "last"})
USING_UP = frozenset({"orValue", "hasValue", "value"})

# Field numbers of the messages (google/cel-spec, proto/cel/expr/syntax.proto).
_VALUE_OF_ANY = 2
_EXPR_OF = {b"cel.expr.CheckedExpr": 4, b"cel.expr.ParsedExpr": 2}
_IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 4, 5, 6, 7, 8, 9


class HandedOn(Exception):
    """An optional goes where it cannot be followed; says where."""


def check(compiled: bytes, ours: frozenset[str]) -> None:
    """Raises HandedOn. `ours` are the names of functions that are not the engine's (`+` is told to one)."""
    outer = list(read(compiled))
    kind = outer[0][2].rpartition(b"/")[2]
    inner = next(value for number, _, value in outer if number == _VALUE_OF_ANY)
    expression = next(value for number, _, value in read(inner) if number == _EXPR_OF[kind])
    _Following(ours).is_optional(expression, {})


class _Following:
    def __init__(self, ours: frozenset[str]) -> None:
        self._ours = ours

    def is_optional(self, data: bytes, names: Mapping[bytes, bool]) -> bool:
        """Whether this part may give an optional."""
        for number, _, value in read(data):
            if number == _IDENT:
                return names.get(_only(value, 1), False)
            if number == _SELECT:
                return self.is_optional(_only(value, 1), names)
            if number == _CALL:
                return self._call(value, names)
            if number == _LIST:
                self._list(value, names)
            elif number == _STRUCT:
                self._map(value, names)
            elif number == _COMPREHENSION:
                return self._comprehension(value, names)
        return False

    def _call(self, data: bytes, names: Mapping[bytes, bool]) -> bool:
        fields = list(read(data))
        name = _only(data, 2).decode()
        target = next((value for number, _, value in fields if number == 1), None)
        if target is not None and any(n == _IDENT and _only(v, 1) == b"optional" for n, _, v in read(target)):
            name, target = f"optional.{name}", None
        operands = [value for number, _, value in fields if number == 3]
        given = [self.is_optional(one, names) for one in ([target] if target is not None else []) + operands]
        path = self._path(data)
        if any(given) and (name == "_+_" or {name, path} & self._ours or name.startswith("optional.")):
            raise HandedOn(f"to {path or name}()")
        if name in USING_UP and target is not None:
            if any(given[1:]):
                raise HandedOn(f"to {name}()")
            return False
        return name in MAKING or any(given)

    def _path(self, data: bytes) -> str:
        """The whole name of a function that an unchecked expression has as names with dots."""
        target = next((value for number, _, value in read(data) if number == 1), None)
        name = _only(data, 2).decode()
        for number, _, value in read(target or b""):
            if number == _IDENT:
                return f"{_only(value, 1).decode()}.{name}"
        return name

    def _list(self, data: bytes, names: Mapping[bytes, bool]) -> None:
        fields = list(read(data))
        optional = {place for number, _, value in fields if number == 2 for place in _numbers(value)}
        for place, part in enumerate(value for number, _, value in fields if number == 1):
            if self.is_optional(part, names) and place not in optional:
                raise HandedOn("into a list")

    def _map(self, data: bytes, names: Mapping[bytes, bool]) -> None:
        for number, _, entry in read(data):
            if number == 2:
                parts: dict[int, Any] = {n: value for n, _, value in read(entry)}
                found = [self.is_optional(parts[n], names) for n in (3, 4) if n in parts]
                if any(found) and not parts.get(5):
                    raise HandedOn("into a map")

    def _comprehension(self, data: bytes, names: Mapping[bytes, bool]) -> bool:
        parts: dict[int, Any] = {number: value for number, _, value in read(data)}
        if self.is_optional(parts[2], names):
            raise HandedOn("to a comprehension")
        within = {**names, parts[1]: False, parts.get(8, parts[1]): False, parts[3]: self.is_optional(parts[4], names)}
        self.is_optional(parts[5], within)
        if self.is_optional(parts[6], within) and not within[parts[3]]:
            raise HandedOn("on by a comprehension")
        return self.is_optional(parts[7], within)


def _only(data: bytes, number: int) -> bytes:
    return next((value for n, _, value in read(data) if n == number), b"")


def _numbers(packed: Any) -> list[int]:
    """A repeated number, which is written as one field or as many."""
    if isinstance(packed, int):
        return [packed]
    found, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value)
            value = shift = 0
    return found
