"""`subworkflow`: runs another workflow and gives its output."""

from __future__ import annotations

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object

NODE_TYPE = NodeType(
    name="subworkflow",
    kind="structure",
    title="Sub-workflow",
    help="Starts a run of another workflow (`name` or `name@tag`; the version is fixed when this run starts), "
    "waits for it, and gives its output. Cancelling this run cancels the child.",
    icon="workflow",
    category="Flow",
    config_schema=config_object(
        {
            "workflow": {
                "type": "string",
                "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@[A-Za-z0-9_.-]{1,64})?$",
            },
            "inputs": {"title": "Inputs", "description": "Any JSON object with expressions."},
        },
        ["workflow"],
    ),
    output_schema={},
    parts={"workflow": "literal"},
    example={"workflow": "send-invoice@stable", "inputs": {"order": "{{ inputs.order }}"}},
    examples=(
        Example(
            title="Call the stable version of another workflow",
            config={"workflow": "send-invoice@stable", "inputs": {"order": "{{ inputs.order }}"}},
            inputs={"order": "A-1001"},
            result={"invoice": "I-77"},
        ),
    ),
    errors=(
        ErrorNote(
            "subworkflow_unknown",
            "The workflow or its tag did not exist when this run started.",
            "Push the workflow, then start a new run.",
        ),
        ErrorNote(
            "child_failed",
            "The child run did not complete; its error is the cause.",
            "Open the child run; an edge from the port error catches it.",
        ),
    ),
)
