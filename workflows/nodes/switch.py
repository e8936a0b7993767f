"""`switch`: the first case that holds names the port."""

from __future__ import annotations

from workflows.nodes.registry import Example, NodeType, Outcome, Resolver, config_object


def run(resolve: Resolver) -> Outcome:
    """The output is `{case}`; later cases are not evaluated once one holds."""
    case = resolve("cases")
    return Outcome({"case": case}, port=case)


NODE_TYPE = NodeType(
    name="switch",
    kind="pure",
    title="Switch",
    help="Tries its cases in order and leaves by the port with the name of the first one that is true, or by `default`.",
    icon="split",
    category="Flow",
    config_schema=config_object(
        {
            "cases": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": config_object(
                    {
                        "name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,62}$"},
                        "when": {"type": "string", "title": "Condition (CEL)"},
                    },
                    ["name", "when"],
                ),
            }
        },
        ["cases"],
    ),
    output_schema={"type": "object", "properties": {"case": {"type": "string"}}},
    ports=("default",),
    parts={"cases": "cases"},
    run=run,
    example={"cases": [{"name": "high", "when": "nodes.score >= 80"}]},
    examples=(
        Example(
            title="The first case that holds",
            config={
                "cases": [
                    {"name": "high", "when": "nodes.score >= 80"},
                    {"name": "middle", "when": "nodes.score >= 40"},
                ]
            },
            nodes={"score": 91},
            result={"case": "high"},
            port="high",
        ),
        Example(
            title="None of them",
            config={"cases": [{"name": "high", "when": "nodes.score >= 80"}]},
            nodes={"score": 12},
            result={"case": "default"},
            port="default",
        ),
    ),
)
