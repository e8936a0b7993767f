"""`delay`: waits for a duration or until an instant, durably."""

from __future__ import annotations

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

NODE_TYPE = NodeType(
    name="delay",
    kind="wait",
    title="Delay",
    help="Waits `for` a duration (`250ms`, `30s`, `5m`, `2h`, `3d` or ISO 8601) or `until` an instant (ISO 8601 "
    "with offset). The timer lives in Postgres and survives restarts. The output is the time it went on.",
    icon="clock",
    category="Flow",
    config_schema=config_object(
        {
            "for": template_string(title="Duration", examples=["30s"]),
            "until": template_string(title="Instant", examples=["2030-01-01T09:00:00Z"]),
        },
        oneOf=[{"required": ["for"]}, {"required": ["until"]}],
    ),
    output_schema={"type": "string", "format": "date-time"},
    example={"for": "30s"},
    examples=(
        Example(title="A short while", config={"for": "30s"}, result="2030-01-01T09:00:30Z"),
        Example(
            title="Until an instant that an input names",
            config={"until": "{{ inputs.opens }}"},
            inputs={"opens": "2020-01-01T09:00:00+01:00"},
            result="2030-01-01T09:00:00Z",
        ),
    ),
    errors=(
        ErrorNote("duration_syntax", "`for` is no duration.", "Write 250ms, 30s, 5m, 2h, 3d or ISO 8601 (PT5M)."),
        ErrorNote("instant_syntax", "`until` is no instant.", "Write ISO 8601 with an offset: 2030-01-01T09:00:00Z."),
    ),
)
