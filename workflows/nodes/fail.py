"""`fail`: ends the run as failed."""

from __future__ import annotations

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

NODE_TYPE = NodeType(
    name="fail",
    kind="pure",
    title="Fail",
    help="Ends the run (or the map item) as failed with this message and code.",
    icon="octagon-x",
    category="Flow",
    config_schema=config_object(
        {
            "message": template_string(title="Message"),
            "code": template_string(title="Code", default="failed", maxLength=100),
        },
        ["message"],
    ),
    output_schema={"type": "null"},
    ports=(),
    example={"message": "Too many errors: {{ nodes.count.errors }}"},
    examples=(
        Example(
            title="Say what was wrong",
            config={"message": "Too many errors: {{ nodes.count.errors }}", "code": "too_many_errors"},
            nodes={"count": {"errors": 7}},
            result={"code": "too_many_errors", "message": "Too many errors: 7"},
            port="error",
        ),
    ),
    errors=(ErrorNote("failed", "The node was reached; its own `code` stands here.", "Its message says what to do."),),
)
