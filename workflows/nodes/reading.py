"""A config schema as rows that people read: one for each key, inner ones behind their outer one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from workflows.nodes.registry import NodeType, Part

READ_AS = {
    "template": "",
    "expression": "One CEL expression, without {{ }}.",
    "cases": "One CEL expression for each case, without {{ }}.",
    "literal": "Taken as it stands, without expressions.",
}
"""What is said about a key that is not read as usual: JSON whose texts may hold expressions."""


class Row(msgspec.Struct, frozen=True):
    """One key of a config. `path` is written `auth.type`, for items of a list `cases[].name`."""

    path: str
    depth: int
    kind: str
    required: bool
    default: Any
    read_as: Part
    text: str

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def has_default(self) -> bool:
        return self.default is not msgspec.UNSET


def rows(node_type: NodeType) -> list[Row]:
    """The keys of a node type's config in their order."""
    return list(_rows(node_type.config_schema, "", 0, None, node_type))


def _rows(schema: Any, prefix: str, depth: int, part: Part | None, node_type: NodeType) -> Iterator[Row]:
    for name, one in schema.get("properties", {}).items():
        read_as = part or node_type.parts.get(name, "template")
        yield Row(
            path=prefix + name,
            depth=depth,
            kind=kind_of(one),
            required=name in schema.get("required", ()),
            default=one.get("default", msgspec.UNSET),
            read_as=read_as,
            text=_text(one),
        )
        yield from _rows(one, f"{prefix}{name}.", depth + 1, read_as, node_type)
        if isinstance(items := one.get("items"), dict) and "properties" in items:
            yield from _rows(items, f"{prefix}{name}[].", depth + 1, read_as, node_type)


def kind_of(schema: Any) -> str:
    """What a value may be, in words."""
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    kinds = schema.get("type", "any JSON")
    words = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if words == "array" and isinstance(items := schema.get("items"), dict):
        words = f"array of {kind_of(items)}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words += f", {low} to {high}"
    elif low is not None:
        words += f", at least {low}"
    return words


def _text(schema: Any) -> str:
    examples = ", ".join(str(one) for one in schema.get("examples", ()))
    parts = (schema.get("title"), schema.get("description"), f"For example {examples}." if examples else None)
    told = [str(part).rstrip(".") + "." for part in parts if part]
    return " ".join(told)
