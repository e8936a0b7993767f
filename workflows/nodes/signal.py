"""`signal`: waits for a named event from outside."""

from __future__ import annotations

from workflows.nodes.registry import NodeType, config_object, template_string

NODE_TYPE = NodeType(
    name="signal",
    kind="wait",
    title="Signal",
    help="Waits until a signal of this name is sent to the run; the payload, checked against `schema`, is the "
    "output. A signal that came earlier is kept for it. After `timeout` the run goes on by the port `timed_out`, "
    "or the node fails where no edge leaves by that port.",
    icon="bell",
    category="Flow",
    config_schema=config_object(
        {
            "name": template_string(title="Signal name", minLength=1, maxLength=200),
            "schema": {"type": ["object", "boolean"], "title": "Payload schema"},
            "timeout": template_string(title="Timeout", examples=["1h"]),
        },
        ["name"],
    ),
    output_schema={},
    ports=("out", "timed_out"),
    parts={"schema": "literal"},
    example={"name": "paid", "timeout": "24h"},
)
