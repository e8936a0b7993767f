"""`map`: runs its body once for each item of a list."""

from __future__ import annotations

from workflows.nodes.registry import NodeType, config_object

DEFAULT_CONCURRENCY = 20
MAX_CONCURRENCY = 1000

NODE_TYPE = NodeType(
    name="map",
    kind="structure",
    title="Map",
    help="Runs its body once per item, at most `max_concurrency` at a time. In scope inside: `item`, `index`. "
    'The output is the list of the bodies\' outputs in the order of the items; with `on_item_error: "collect"` '
    'a failed item gives `{"error": …}` instead of failing the map.',
    icon="list",
    category="Flow",
    config_schema=config_object(
        {
            "items": {"type": ["string", "array"], "title": "Items (CEL list)"},
            "body": {"type": "object", "title": "Body graph"},
            "max_concurrency": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_CONCURRENCY,
                "default": DEFAULT_CONCURRENCY,
            },
            "on_item_error": {"enum": ["fail", "collect"], "default": "fail"},
        },
        ["items", "body"],
    ),
    output_schema={"type": "array"},
    parts={
        "items": "expression",
        "body": "literal",
        "max_concurrency": "literal",
        "on_item_error": "literal",
    },
    example={
        "items": "inputs.urls",
        "body": {
            "nodes": {"get": {"type": "http", "config": {"method": "GET", "url": "{{ item }}"}}},
            "edges": {},
        },
        "max_concurrency": 5,
    },
)
