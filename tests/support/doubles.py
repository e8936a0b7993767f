"""Node types that stand in for `approval` and `agent` where this AOB does not have them: their shape, no behaviour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workflows.nodes.registry import NodeType, node_types

_LITERALS = ("model", "tools", "output_schema", "budget", "patches", "may_add")

DOUBLES = (
    NodeType(
        name="approval",
        kind="wait",
        title="Approval",
        help="",
        icon="",
        category="",
        config_schema={"type": "object", "required": ["title"]},
        output_schema={},
        ports=("approved", "rejected", "timed_out"),
        parts={"form": "literal", "quorum": "literal", "on_timeout": "literal"},
    ),
    NodeType(
        name="agent",
        kind="agent",
        plane="agent",
        title="Agent",
        help="",
        icon="",
        category="",
        config_schema={"type": "object", "required": ["model", "prompt"]},
        output_schema={},
        parts=dict.fromkeys(_LITERALS, "literal"),
    ),
)


@contextmanager
def doubles() -> Iterator[None]:
    """Registers those that are missing, as long as it lasts."""
    known = node_types()
    missing = [double for double in DOUBLES if double.name not in known]
    known.update({double.name: double for double in missing})
    try:
        yield
    finally:
        for double in missing:
            del known[double.name]
