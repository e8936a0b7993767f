"""`log`: writes a line to the run's log."""

from __future__ import annotations

from workflows.nodes.registry import Example, NodeType, Outcome, Resolver, config_object, template_string

LEVELS = ("debug", "info", "warning", "error")


def run(resolve: Resolver) -> Outcome:
    """No output; the line is kept in the event."""
    message = resolve("message")
    level = resolve.config.get("level", "info")
    return Outcome(None, log=(level, message if isinstance(message, str) else str(message)))


NODE_TYPE = NodeType(
    name="log",
    kind="pure",
    title="Log",
    help="Writes a line to the run's log.",
    icon="text",
    category="Data",
    config_schema=config_object(
        {"message": template_string(title="Message"), "level": {"enum": list(LEVELS), "default": "info"}},
        ["message"],
    ),
    output_schema={"type": "null"},
    parts={"level": "literal"},
    run=run,
    example={"message": "{{ size(nodes.rows) }} rows read"},
    examples=(
        Example(
            title="A line with a number in it",
            config={"message": "{{ size(nodes.rows) }} rows read", "level": "info"},
            nodes={"rows": [1, 2, 3]},
            result=None,
        ),
    ),
)
