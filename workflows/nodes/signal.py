"""`signal`: waits for a named event from outside."""

from __future__ import annotations

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

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
    examples=(
        Example(
            title="Wait for a payment",
            config={
                "name": "paid",
                "timeout": "24h",
                "schema": {
                    "type": "object",
                    "properties": {"amount": {"type": "number"}},
                    "required": ["amount"],
                },
            },
            result={"amount": 12.5},
        ),
        Example(
            title="One signal for each order; nobody sends it in time",
            config={"name": "paid-{{ inputs.order }}", "timeout": "{{ inputs.patience }}"},
            inputs={"order": "A-1001", "patience": "1h"},
            result=None,
            port="timed_out",
        ),
    ),
    errors=(
        ErrorNote(
            "signal_timed_out",
            "No signal came in time, and no edge leaves by the port `timed_out`.",
            "Draw an edge from the port timed_out, or wait longer.",
        ),
        ErrorNote(
            "signal_payload_invalid",
            "A signal that came before its node does not fit the schema.",
            "Send a payload that fits; the message names the place.",
        ),
        ErrorNote("duration_syntax", "`timeout` is no duration.", "Write 30s, 5m, 2h, 3d or ISO 8601 (PT5M)."),
    ),
)
