"""`http`: config, output and help. The executor is `worker.executors.http`."""

from __future__ import annotations

from typing import Any

from workflows.nodes.registry import ErrorNote, Example, config_object, template_string

_any_number = {"type": ["integer", "string"]}
_auth_kinds = ["basic", "bearer", "header", "query", "digest", "oauth2_client_credentials", "aws"]

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
                "access_key": template_string(description="Of `aws`, as the four that follow."),
                "secret_key": template_string(),
                "session_token": template_string(),
                "region": template_string(),
                "service": template_string(default="s3"),
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
    "public addresses can be reached unless an operator allows others (AOB_HTTP_ALLOW). A redirect to another scheme, "
    "host or port gets neither `auth` nor the headers of the node, but Accept, Accept-Language and User-Agent."
)

EXAMPLES = (
    Example(
        title="Fetch JSON",
        config={"method": "GET", "url": "https://shop.example/items/{{ inputs.item }}", "query": {"fields": "price"}},
        inputs={"item": 7},
        result={"status": 200, "headers": {"content-type": "application/json"}, "body": {"price": 12.5}},
    ),
    Example(
        title="Send JSON with a token; 404 is an answer as well",
        config={
            "method": "POST",
            "url": "https://shop.example/orders",
            "json": {"item": "{{ inputs.item }}"},
            "auth": {"type": "bearer", "token": "{{ inputs.token }}"},
            "ok_status": ["200-299", 404],
        },
        inputs={"item": 7, "token": "…"},
        result={"status": 404, "headers": {"content-type": "text/plain"}, "body": "no such item"},
    ),
    Example(
        title="Upload a file to S3, or to what speaks its protocol",
        config={
            "method": "PUT",
            "url": "https://reports.s3.eu-central-1.amazonaws.com/{{ inputs.day }}.csv",
            "body": "{{ inputs.file }}",
            "auth": {
                "type": "aws",
                "access_key": "{{ inputs.access_key }}",
                "secret_key": "{{ inputs.secret_key }}",
                "region": "eu-central-1",
            },
        },
        inputs={
            "day": "2026-03-01",
            "file": {"blob": "sha256:" + "0" * 64, "bytes": 420, "media_type": "text/csv"},
            "access_key": "…",
            "secret_key": "…",
        },
        result={"status": 200, "headers": {"etag": '"9b2c…"'}, "body": ""},
    ),
    Example(
        title="Every page of a list",
        config={
            "method": "GET",
            "url": "https://shop.example/items",
            "paginate": {"type": "cursor", "items": "/items", "cursor": "/next", "param": "after", "max_pages": 20},
        },
        result={"status": 200, "headers": {"content-type": "application/json"}, "body": [{"id": 1}, {"id": 2}]},
    ),
)

ERRORS = (
    ErrorNote(
        "http_status",
        "The answer's status is not among `ok_status`. The status and the beginning of the body stand in its details.",
        "408, 425, 429 and 5xx are tried again. For others correct the request, or add the status to ok_status.",
        transient=True,
    ),
    ErrorNote("http_timeout", "The host did not answer in time.", "Raise the node's timeout.", transient=True),
    ErrorNote("http_connection", "The connection failed or broke.", "Check host and port.", transient=True),
    ErrorNote("http_name_unknown", "The host's name cannot be resolved.", "Check its spelling.", transient=True),
    ErrorNote(
        "http_address_refused",
        "The host leads to an address that is not public.",
        "An operator can allow it by the setting AOB_HTTP_ALLOW.",
    ),
    ErrorNote("http_url", "The URL is none, or holds a user name or password.", "Use `auth` for credentials."),
    ErrorNote("http_header", "A header cannot be set, or its value holds a line break.", "Remove it."),
    ErrorNote("http_auth", "The authentication is incomplete, or the token endpoint gave no token.", "See `auth`."),
    ErrorNote(
        "http_body_too_large",
        "A body that is to be signed (`aws`) is larger than 64 MiB.",
        "Let a service upload it, by a pre-signed URL that another node asks for.",
    ),
    ErrorNote(
        "http_file",
        "The name or the media type of a blob reference cannot stand in a header.",
        'Write another one into the reference: {"blob": "sha256:…", "media_type": "text/plain", "name": "a.txt"}.',
    ),
    ErrorNote("http_redirect", "A redirect leads from https to http, or nowhere.", "Call the right address at once."),
    ErrorNote("http_redirects", "There are too many redirects.", "Call the right address at once."),
    ErrorNote(
        "http_body_not_json",
        "The body says that it is JSON but is not.",
        'Set response to "text" or "blob".',
    ),
    ErrorNote(
        "http_body_encoding",
        "The body cannot be decoded, or is compressed more than once, or otherwise than by gzip or deflate.",
        "Send the header `Accept-Encoding: identity`.",
    ),
    ErrorNote(
        "http_page_origin",
        "The link to the next page leads to another scheme, host or port, where the credentials must not go.",
        "Write the URL with that origin where it is the same service.",
    ),
    ErrorNote("http_page_items", "There is no list where `paginate.items` points to.", "Correct the JSON Pointer."),
)
