"""`http`: config, output and help. The executor is `worker.executors.http`."""

from __future__ import annotations

from typing import Any

from workflows.nodes.registry import config_object, template_string

_any_number = {"type": ["integer", "string"]}
_auth_kinds = ["basic", "bearer", "header", "query", "digest", "oauth2_client_credentials"]

CONFIG_SCHEMA: dict[str, Any] = config_object(
    {
        "method": {
            "type": "string",
            "title": "Method",
            "pattern": r"^([A-Za-z]{1,20}|.*\{\{.*)$",
            "examples": ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"],
        },
        "url": template_string(title="URL", minLength=1, maxLength=8000),
        "headers": {"type": ["object", "string"], "title": "Headers"},
        "query": {"type": ["object", "string"], "title": "Query", "description": "A list repeats its name."},
        "json": {"title": "JSON body"},
        "form": {
            "type": ["object", "string"],
            "title": "Form",
            "description": "URL-encoded; multipart as soon as a value is a blob reference.",
        },
        "body": {"type": ["string", "object"], "title": "Body", "description": "Text or a blob reference."},
        "auth": {
            "type": "object",
            "title": "Authentication",
            "properties": {
                "type": {"enum": _auth_kinds},
                "username": template_string(),
                "password": template_string(),
                "token": template_string(),
                "name": template_string(),
                "value": template_string(),
                "token_url": template_string(),
                "client_id": template_string(),
                "client_secret": template_string(),
                "scope": template_string(),
            },
            "required": ["type"],
            "additionalProperties": False,
        },
        "paginate": {
            "type": "object",
            "title": "Pages",
            "properties": {
                "type": {"enum": ["link", "cursor", "page", "offset"]},
                "items": {"type": "string", "description": "JSON Pointer of the list in a page."},
                "cursor": {"type": "string", "description": "JSON Pointer of the next cursor."},
                "param": {"type": "string"},
                "start": _any_number,
                "limit": _any_number,
                "max_pages": {"type": "integer", "minimum": 1, "maximum": 10_000},
            },
            "required": ["type"],
            "additionalProperties": False,
        },
        "ok_status": {
            "type": "array",
            "items": {"type": ["integer", "string"]},
            "description": 'Statuses that count as success, e.g. [200, "300-399"]; 200-399 by default.',
        },
        "follow_redirects": {"type": "boolean", "default": True},
        "response": {"enum": ["auto", "json", "text", "blob"], "default": "auto"},
    },
    ["method", "url"],
    allOf=[
        {"not": {"required": ["json", "form"]}},
        {"not": {"required": ["json", "body"]}},
        {"not": {"required": ["form", "body"]}},
    ],
)

OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"status": {"type": "integer"}, "headers": {"type": "object"}, "body": {}},
    "required": ["status", "headers", "body"],
}

HELP = (
    "Makes an HTTP request. JSON answers are parsed, text is text, anything else or large becomes a blob "
    "reference. Time-outs, connection errors and 408, 425, 429 and 5xx are retried, `Retry-After` is honoured; "
    "an `Idempotency-Key` that is the same over all attempts is sent with methods that change something. Only "
    "public addresses can be reached unless an operator allows others (AOB_HTTP_ALLOW)."
)
