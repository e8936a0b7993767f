"""`approval`: waits until people have decided."""

from __future__ import annotations

from typing import Any

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

PEOPLE: dict[str, Any] = {
    "type": ["array", "string"],
    "items": {"type": "string", "minLength": 1, "maxLength": 1000},
    "maxItems": 100,
}

NODE_TYPE = NodeType(
    name="approval",
    kind="wait",
    title="Approval",
    help="Opens a ticket in the inbox and waits until people have decided it. `assignees` names who may: users "
    "(`user:anna`, or just `anna`) and groups (`group:ops`); where there are none, anyone who may decide. One "
    "rejection rejects; `quorum` says how many have to approve: `any` one, `all` assignees (of a group one member, and "
    "for each of them somebody else), "
    "or `{n: 2}`. What is decided on stands in `body` (Markdown) and `values`; a `form` is filled in by whoever "
    "approves. After `timeout` the ticket is rejected, or what `on_timeout` says; `escalate` hands it to "
    "`escalate_to`, who decide from the beginning in the same time, and then it is rejected; a list of lists is a chain "
    "of such steps. A ticket whose assignees do not exist is escalated at once, in the end to the administrators. With "
    "`veto`, only a rejection of those people rejects by itself; others' rejections count up to the quorum. The node "
    "leaves by `approved`, `rejected` or `timed_out`; where no edge leaves by that port, nothing follows.",
    icon="user-check",
    category="People",
    config_schema=config_object(
        {
            "title": template_string(title="Question", minLength=1, maxLength=1000),
            "body": template_string(
                title="Explanation", description="Markdown. Links are shown, images and HTML are not.", maxLength=20000
            ),
            "values": {"title": "What is decided on"},
            "form": {
                "type": "object",
                "title": "Form",
                "description": "A JSON Schema of an object that whoever approves fills in.",
            },
            "assignees": {
                **PEOPLE,
                "title": "Assignees",
                "description": "A list of user:NAME and group:NAME, or an expression that gives one.",
                "examples": ["group:ops, user:anna"],
            },
            "quorum": {
                "title": "How many approve",
                "description": "`any` one of them, `all` of them (of a group one member), or so many: `{\"n\": 2}`.",
                "oneOf": [
                    {"enum": ["any", "all"]},
                    config_object({"n": {"type": "integer", "minimum": 1, "maximum": 100}}, ["n"]),
                ],
                "default": "any",
            },
            "not_starter": {
                "type": "boolean",
                "title": "Not by whoever started the run",
                "default": False,
            },
            "priority": {"enum": ["high", "medium", "low"], "title": "Priority", "default": "medium"},
            "timeout": template_string(title="Timeout", examples=["24h"]),
            "on_timeout": {
                "enum": ["reject", "timed_out", "escalate", "approve"],
                "title": "When nobody decided in time",
                "default": "reject",
            },
            "escalate_to": {
                **PEOPLE,
                "items": {"anyOf": [PEOPLE["items"], {"type": "array", "items": PEOPLE["items"], "maxItems": 100}]},
                "title": "Escalate to",
                "description": "People; or a list of lists of people, who are asked in turn.",
                "examples": ["group:leads"],
            },
            "veto": {
                **PEOPLE,
                "title": "Whose rejection decides alone",
                "description": "`anyone`, or those of the assignees whose single rejection rejects.",
                "default": "anyone",
                "examples": ["group:security"],
            },
            "remind_every": template_string(
                title="Remind every", description="While it is open; at most 100 times.", examples=["4h"]
            ),
            "bulk": {
                "type": "boolean",
                "title": "May be decided together with others",
                "description": "Only where the form requires nothing.",
                "default": False,
            },
        },
        ["title"],
    ),
    output_schema={
        "type": "object",
        "properties": {
            "answer": {"enum": ["approve", "reject", "timed_out"]},
            "by": {"type": ["string", "null"]},
            "at": {"type": "string"},
            "reason": {"type": ["string", "null"]},
            "form": {},
            "answers": {"type": "array"},
        },
    },
    ports=("approved", "rejected", "timed_out"),
    parts=dict.fromkeys(("form", "quorum", "not_starter", "priority", "on_timeout", "bulk"), "literal"),
    example={"title": "Send it?", "assignees": ["group:ops"], "timeout": "24h"},
    examples=(
        Example(
            title="Somebody of a group decides within a day",
            config={
                "title": "Refund {{ inputs.amount }} to {{ inputs.customer }}?",
                "body": "Above 100 a person decides. See the [policy](https://example.com/policy).",
                "values": {"amount": "{{ inputs.amount }}", "customer": "{{ inputs.customer }}"},
                "assignees": ["group:support"],
                "timeout": "24h",
            },
            inputs={"amount": 250, "customer": "Ada"},
            result={
                "answer": "approve",
                "by": "anna",
                "at": "2030-01-31T09:00:00Z",
                "reason": "A good customer",
                "form": None,
            },
            port="approved",
        ),
        Example(
            title="Four eyes, a form, and somebody else when nobody answers",
            config={
                "title": "Pay {{ inputs.invoice }}?",
                "assignees": ["group:finance"],
                "quorum": {"n": 2},
                "not_starter": True,
                "form": {
                    "type": "object",
                    "properties": {"account": {"type": "string", "enum": ["travel", "office"], "title": "Account"}},
                    "required": ["account"],
                },
                "timeout": "8h",
                "on_timeout": "escalate",
                "escalate_to": ["group:leads"],
            },
            inputs={"invoice": "R-1001"},
            result={"answer": "reject", "by": None, "at": "2030-01-31T09:00:00Z", "reason": "Nobody decided in time.",
                    "form": None, "answers": []},
            port="rejected",
        ),
    ),
    errors=(
        ErrorNote(
            "approval_assignees_invalid",
            "`assignees`, `escalate_to` or `veto` gave something that is no list of names.",
            'Give a list like ["user:anna", "group:ops"].',
        ),
        ErrorNote(
            "approval_assignees_empty",
            "The expression of `assignees` or `escalate_to` gave nobody.",
            "Correct it, or the value that it takes the names from. Only a list that is written as empty is everybody.",
        ),
        ErrorNote(
            "approval_quorum_unreachable",
            "More people have to approve than may.",
            "Lower the quorum, or name more people or a group.",
        ),
        ErrorNote(
            "duration_syntax",
            "`timeout` or `remind_every` is no duration.",
            "Write 30s, 5m, 2h, 3d or ISO 8601 (PT5M).",
        ),
    ),
)  # fmt: skip
