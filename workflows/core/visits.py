"""How often a JSON Schema looks at a part of a value: counted along its references, before any value comes (pure; law 8).

Forty definitions that name the one before twice are 3 KB and 2^40 visits. `Visits.at(depth)` bounds what happens on the
way to any one part of a value that is so deep; times the parts of the value it bounds the whole work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

ENDLESS = 10**12
"""Counts end here. Also that of a schema that refers to itself without going deeper into the value."""

MAX_ARROWS = 100_000
"""A schema that applies parts to its value more often than this, all told, counts as endless."""

_LISTS = ("allOf", "anyOf", "oneOf")
_ONE = ("not", "if", "then", "else")
_OTHERS = ("additionalProperties", "items", "unevaluatedProperties", "unevaluatedItems")
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
UNEVALUATED_COST = 2
"""What else applies to the value is judged so many times more to see what it left unevaluated."""


class _Part:
    """A subschema: what it applies to the same value, to one of its children, and to each of them."""

    def __init__(self, schema: dict[str, Any], targets: list[dict[str, Any]]) -> None:
        self.branches = "anyOf" in schema or "oneOf" in schema
        self.weight = 1 + UNEVALUATED_COST * sum(key in schema for key in _UNEVALUATED)
        self.same = [*targets, *_dicts(_applied(schema))]
        self.either = list(_dicts(_of_children(schema)))
        self.each = list(
            _dicts([*_values(schema, "patternProperties"), schema.get("contains"), schema.get("propertyNames")])
        )


class Visits:
    """Of one schema. What is wrong with it otherwise does not matter here."""

    def __init__(self, schema: Any) -> None:
        self._root = schema if isinstance(schema, dict) else {}
        self._homes, self._anchors = _homes(self._root)
        self._parts: dict[int, _Part] = {}
        self._order: list[int] = []
        self._level: dict[int, int] = {}
        self._counts: list[int] = []
        self.settled = not self._sort()
        """Whether deeper values are visited no more often than those that were asked for."""

        self._endless = self.settled
        self.branches = any(part.branches for part in self._parts.values())
        """Whether anyOf or oneOf try several parts on a value."""

    def at(self, depth: int) -> int:
        """The most visits on the way to a part of a value that has so many levels below its root."""
        if self._endless:
            return ENDLESS
        while len(self._counts) <= depth and not self.settled:
            level = self._deeper()
            self.settled = level == self._level
            self._level = level
            self._counts.append(level[id(self._root)])
        return self._counts[min(depth, len(self._counts) - 1)]

    def _deeper(self) -> dict[int, int]:
        """The counts of all parts with one level more below them."""
        below: dict[int, int] = self._level
        level: dict[int, int] = {}
        for key in self._order:
            part = self._parts[key]
            count = 1 + part.weight * sum(level[id(one)] for one in part.same)
            if below:
                count += max((below[id(one)] for one in part.either), default=0)
                count += sum(below[id(one)] for one in part.each)
            level[key] = min(count, ENDLESS)
        return level

    def _sort(self) -> bool:
        """Orders the parts, each after all that it applies to the same value; False when that goes in a circle."""
        begun: set[int] = set()
        seeds = [self._root]
        arrows = 0
        while seeds:
            work: list[tuple[dict[str, Any], bool]] = [(seeds.pop(), False)]
            while work:
                schema, is_done = work.pop()
                key = id(schema)
                if is_done:
                    begun.discard(key)
                    self._order.append(key)
                    continue
                if key in self._parts:
                    if key in begun:
                        return False
                    continue
                part = self._parts[key] = _Part(schema, self._targets(schema))
                arrows += len(part.same)
                if arrows > MAX_ARROWS:
                    return False
                begun.add(key)
                work.append((schema, True))
                work.extend((one, False) for one in part.same)
                seeds.extend([*part.either, *part.each])
        return True

    def _targets(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        """What it refers to. A dynamic reference may lead to any anchor of its name."""
        home = self._homes.get(id(schema), self._root)
        found: list[Any] = []
        for key in ("$ref", "$dynamicRef"):
            reference = schema.get(key)
            if not isinstance(reference, str):
                continue
            if reference[1:2] in ("", "/"):
                found.append(_resolved(home, reference))
            else:
                anchored = self._anchors.get(reference[1:], [])
                found.extend(one for one in anchored if key == "$dynamicRef" or self._homes[id(one)] is home)
        return list(_dicts(found))


def size(value: Any) -> tuple[int, int]:
    """The parts of a JSON value, and how many levels it has below its root."""
    count, depth = 1, 0
    level = [value]
    while level:
        children: list[Any] = []
        for part in level:
            if type(part) is dict:
                count += len(part)
                children.extend(one for one in part.values() if type(one) in (dict, list))
            elif type(part) is list:
                count += len(part)
                children.extend(one for one in part if type(one) in (dict, list))
        depth += any(type(part) in (dict, list) and len(part) > 0 for part in level)
        level = children
    return count, depth


def _applied(schema: dict[str, Any]) -> Iterator[Any]:
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            yield from schema[key]
    for key in _ONE:
        yield schema.get(key)
    yield from _values(schema, "dependentSchemas")


def _of_children(schema: dict[str, Any]) -> Iterator[Any]:
    yield from _values(schema, "properties")
    if isinstance(schema.get("prefixItems"), list):
        yield from schema["prefixItems"]
    for key in _OTHERS:
        yield schema.get(key)


def _values(schema: dict[str, Any], key: str) -> list[Any]:
    part = schema.get(key)
    return list(part.values()) if isinstance(part, dict) else []


def _dicts(found: Any) -> Iterator[dict[str, Any]]:
    return (one for one in found if isinstance(one, dict))


def _homes(root: dict[str, Any]) -> tuple[dict[int, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """For each part of the text the resource that it belongs to, the next part around it with an `$id`; the anchors."""
    homes: dict[int, dict[str, Any]] = {}
    anchors: dict[str, list[dict[str, Any]]] = {}
    work: list[tuple[Any, dict[str, Any]]] = [(root, root)]
    while work:
        part, home = work.pop()
        if isinstance(part, dict):
            home = homes[id(part)] = part if isinstance(part.get("$id"), str) else home
            for name in {str(part[key]) for key in ("$anchor", "$dynamicAnchor") if key in part}:
                anchors.setdefault(name, []).append(part)
            work.extend((one, home) for one in part.values())
        elif isinstance(part, list):
            work.extend((one, home) for one in part)
    return homes, anchors


def _resolved(home: dict[str, Any], reference: str) -> Any:
    """What a JSON Pointer in a reference names; None for nothing."""
    part: Any = home
    for token in unquote(reference).split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(part, list) and key.isascii() and key.isdigit() and int(key) < len(part):
            part = part[int(key)]
        elif isinstance(part, dict) and key in part:
            part = part[key]
        else:
            return None
    return part
