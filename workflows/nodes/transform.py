"""`transform`: any JSON with expressions becomes the output."""

from __future__ import annotations

from workflows.nodes.registry import Example, NodeType, Outcome, Resolver, config_object


def run(resolve: Resolver) -> Outcome:
    """The output is the evaluated `output` template."""
    return Outcome(resolve("output"))


NODE_TYPE = NodeType(
    name="transform",
    kind="pure",
    title="Transform",
    help="Builds a value from inputs and earlier outputs. Any JSON; strings may hold `{{ CEL }}`. A string that "
    "is one expression gives the typed value.",
    icon="braces",
    category="Data",
    config_schema=config_object({"output": {"title": "Output", "description": "Any JSON with expressions."}}, ["output"]),
    output_schema={},
    run=run,
    example={"output": {"total": "{{ inputs.price * inputs.count }}"}},
    examples=(
        Example(
            title="A typed value",
            config={"output": {"total": "{{ inputs.price * inputs.count }}"}},
            inputs={"price": 2.5, "count": 4},
            result={"total": 10.0},
        ),
        Example(
            title="Text around a value",
            config={"output": "{{ size(nodes.rows) }} rows, the first is {{ nodes.rows[0].name }}"},
            nodes={"rows": [{"name": "Ada"}, {"name": "Alan"}]},
            result="2 rows, the first is Ada",
        ),
    ),
)
