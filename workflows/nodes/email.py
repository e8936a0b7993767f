"""`email`: config, output and help. The executor is `worker.executors.email`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.core.addresses import MAX_RECIPIENTS, address_list
from workflows.core.errors import AobError
from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

MAX_ATTACHMENTS = 20
ADDRESSES = ("to", "cc", "bcc", "reply_to", "from")


def _addresses(title: str, text: str = "") -> dict[str, Any]:
    described = {"description": text} if text else {}
    return {"type": ["string", "array"], "title": title, "maxItems": MAX_RECIPIENTS, **described}


CONFIG_SCHEMA: dict[str, Any] = config_object(
    {
        "to": _addresses("To", "An address, or a list of them."),
        "cc": _addresses("Copy to"),
        "bcc": _addresses("Blind copy to", "Seen by no other recipient."),
        "reply_to": _addresses("Answers to"),
        "from": template_string(title="From", description="The setting AOB_EMAIL_FROM where it is left out."),
        "subject": template_string(title="Subject", minLength=1),
        "markdown": template_string(
            title="Text in Markdown", description="Becomes HTML; it stands beside it as plain text as well."
        ),
        "text": template_string(
            title="Plain text", description="Alone, or in the place of the Markdown where no HTML is shown."
        ),
        "attachments": {
            "type": ["array", "string"],
            "title": "Attachments",
            "maxItems": MAX_ATTACHMENTS,
            "description": "Blob references, each with `name` and, where wanted, `content_type`.",
        },
    },
    ["to", "subject"],
    anyOf=[{"required": ["text"]}, {"required": ["markdown"]}],
)

OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string"},
        "to": {"type": "array", "items": {"type": "string"}},
        "accepted": {"type": "array", "items": {"type": "string"}},
        "refused": {"type": "object", "description": "By address, what the server answered."},
    },
    "required": ["message_id", "to", "accepted"],
}

HELP = (
    "Sends a mail by the mail server of this installation (AOB_EMAIL_URL). Its Message-ID is the same over all attempts, "
    "so a mail that comes twice after a crash can be told by it. Answers of the server of 400 to 499 and failed "
    "connections are retried. A mail that some of its recipients get counts as sent; the others stand in `refused`."
)

EXAMPLES = (
    Example(
        title="A report as Markdown with a file",
        config={
            "to": ["ops@example.com", "{{ inputs.owner }}"],
            "subject": "Orders of {{ inputs.day }}",
            "markdown": "**{{ nodes.count.orders }}** orders. The list is attached.",
            "attachments": [{"blob": "{{ nodes.count.file.blob }}", "name": "orders.csv", "content_type": "text/csv"}],
        },
        inputs={"day": "2026-03-01", "owner": "Ada <ada@example.com>"},
        nodes={"count": {"orders": 17, "file": {"blob": "sha256:" + "0" * 64, "bytes": 420, "media_type": "text/csv"}}},
        result={
            "message_id": "<0f3c…@aob.example.com>",
            "to": ["ops@example.com", "ada@example.com"],
            "accepted": ["ops@example.com", "ada@example.com"],
        },
    ),
    Example(
        title="Plain text",
        config={"to": "ops@example.com", "subject": "High", "text": "{{ string(inputs.score) }}"},
        inputs={"score": 93},
        result={"message_id": "<77aa…@aob.example.com>", "to": ["ops@example.com"], "accepted": ["ops@example.com"]},
    ),
)

ERRORS = (
    ErrorNote(
        "email_address",
        "Something that is no e-mail address, a line break in one, or too many of them.",
        "Write name@example.com or Name <name@example.com>; several as a list.",
    ),
    ErrorNote(
        "email_subject",
        "The subject is empty, too long, or holds a line break.",
        "Put long text into the body; replace line breaks.",
    ),
    ErrorNote("email_text", "The text is longer than a mail may be.", "Attach it as a blob."),
    ErrorNote(
        "email_attachment",
        "An attachment is no blob reference, or its name or content type cannot be used.",
        "Give the blob's reference with a plain file name.",
    ),
    ErrorNote(
        "email_too_large",
        "The attachments are larger than AOB_EMAIL_MAX_BYTES together.",
        "Send a link instead, or raise the setting.",
    ),
    ErrorNote(
        "email_refused",
        "The mail server refused the mail; its answer stands in the message.",
        "4xx answers are tried again. For 5xx correct the address, or ask who runs the server.",
        transient=True,
    ),
    ErrorNote(
        "email_connection",
        "The mail server could not be reached, or its connection broke.",
        "An operator looks at AOB_EMAIL_URL.",
        transient=True,
    ),
)


def check(config: Mapping[str, Any], pointer: str) -> list[AobError]:
    """Addresses and subjects that are wrong as they stand, without any expression in them."""
    found = []
    for key in ADDRESSES:
        value = config.get(key)
        for one in value if isinstance(value, list) else [value]:
            try:
                if isinstance(one, str) and "{{" not in one:
                    address_list(one)
            except AobError as error:
                found.append(AobError(error.code, error.message, f"{pointer}/{key}", error.hint))
    return found


NODE_TYPE = NodeType(
    name="email",
    kind="effect",
    title="E-mail",
    help=HELP,
    icon="mail",
    category="Actions",
    config_schema=CONFIG_SCHEMA,
    output_schema=OUTPUT_SCHEMA,
    check=check,
    retry="standard",
    timeout=120.0,
    example={"to": "ops@example.com", "subject": "Done", "markdown": "**{{ inputs.name }}** is done."},
    examples=EXAMPLES,
    errors=ERRORS,
)
