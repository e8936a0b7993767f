"""`loop`: repeats its body while a condition holds."""

from __future__ import annotations

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object

MAX_ITERATIONS = 100_000

NODE_TYPE = NodeType(
    name="loop",
    kind="structure",
    title="Loop",
    help="Repeats its body while the condition holds, at most `max_iterations` times; a condition that still "
    "holds then fails the node. In scope: `iteration` (from 0) and `last`, the output of the iteration before "
    "(null at first). The output is that of the last iteration.",
    icon="repeat",
    category="Flow",
    config_schema=config_object(
        {
            "while": {"type": "string", "title": "Condition (CEL)"},
            "body": {"type": "object", "title": "Body graph"},
            "max_iterations": {"type": "integer", "minimum": 1, "maximum": MAX_ITERATIONS},
        },
        ["while", "body", "max_iterations"],
    ),
    output_schema={},
    parts={"while": "expression", "body": "literal", "max_iterations": "literal"},
    example={
        "while": "iteration == 0 || last.next.more",
        "body": {
            "nodes": {"next": {"type": "transform", "config": {"output": {"more": "{{ iteration < 3 }}"}}}},
            "edges": {},
        },
        "max_iterations": 10,
    },
    examples=(
        Example(
            title="Double until it is enough",
            config={
                "while": "iteration == 0 || last < inputs.goal",
                "max_iterations": 50,
                "body": {
                    "nodes": {
                        "double": {
                            "type": "transform",
                            "config": {"output": "{{ iteration == 0 ? 1 : last * 2 }}"},
                        }
                    },
                    "edges": {},
                    "output": "{{ nodes.double }}",
                },
            },
            inputs={"goal": 100},
            result=128,
        ),
    ),
    errors=(
        ErrorNote(
            "limit_max_iterations",
            "The condition still holds after `max_iterations` rounds.",
            "Raise max_iterations, or correct the condition.",
        ),
        ErrorNote("iteration_failed", "A round failed; its error is the cause.", "Catch it inside the body."),
    ),
)
