"""`notify`: config, output and help. The executor is `worker.executors.notify`."""

from __future__ import annotations

from typing import Any

from workflows.core.chat import MAX_FIELDS, SHAPES
from workflows.nodes import http
from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

CONFIG_SCHEMA: dict[str, Any] = config_object(
    {
        "channel": {
            "enum": list(SHAPES),
            "title": "Channel",
            "description": "Whose incoming webhook the URL is: it says how the message is shaped.",
            "default": "webhook",
        },
        "url": template_string(title="URL", minLength=1, maxLength=8000, description="Of the incoming webhook."),
        "title": template_string(title="Title"),
        "text": template_string(title="Text", minLength=1, description="Markdown."),
        "fields": {
            "type": ["object", "string"],
            "title": "Fields",
            "maxProperties": MAX_FIELDS,
            "description": "Names and values that stand below the text.",
        },
        "link": template_string(title="Link", maxLength=2000, description="Where a button below the message leads."),
    },
    ["url", "text"],
)

OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"status": {"type": "integer"}, "body": {}},
    "required": ["status", "body"],
}

HELP = (
    "Posts a message to an incoming webhook of Slack, Microsoft Teams or Discord, or as plain JSON "
    "(`text`, `title`, `fields`, `link`) to any other. What stands in it mentions nobody. It goes the way of the http "
    "node: only public addresses, the same retries, an `Idempotency-Key` that is the same over all attempts."
)

EXAMPLES = (
    Example(
        title="Into a channel of Slack",
        config={
            "channel": "slack",
            "url": "https://hooks.slack.com/services/T000/B000/XXXX",
            "title": "Orders of {{ inputs.day }}",
            "text": "**{{ inputs.count }}** orders came in.",
            "fields": {"Refunds": "{{ inputs.refunds }}"},
            "link": "https://aob.example.com/runs/{{ run.id }}/",
        },
        inputs={"day": "2026-03-01", "count": 17, "refunds": 2},
        result={"status": 200, "body": "ok"},
    ),
    Example(
        title="JSON to a webhook",
        config={"url": "https://hooks.example.com/aob", "text": "{{ inputs.text }}"},
        inputs={"text": "Done."},
        result={"status": 204, "body": None},
    ),
)

ERRORS = (
    ErrorNote("notify_text", "The text, the fields or the link cannot be used.", "The message names which and why."),
    *(note for note in http.ERRORS if note.code not in ("http_auth", "http_header", "http_page_items")),
)

NODE_TYPE = NodeType(
    name="notify",
    kind="effect",
    title="Notify",
    help=HELP,
    icon="message",
    category="Actions",
    config_schema=CONFIG_SCHEMA,
    output_schema=OUTPUT_SCHEMA,
    parts={"channel": "literal"},
    retry="standard",
    timeout=60.0,
    example={"channel": "slack", "url": "https://hooks.slack.com/services/…", "text": "**{{ inputs.name }}** is done."},
    examples=EXAMPLES,
    errors=ERRORS,
)
