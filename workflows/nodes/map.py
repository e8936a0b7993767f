"""`map`: runs its body once for each item of a list."""

from __future__ import annotations

from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object

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
    examples=(
        Example(
            title="Every item, in order",
            config={
                "items": "inputs.names",
                "body": {
                    "nodes": {"hello": {"type": "transform", "config": {"output": "{{ index + 1 }}. Hello {{ item }}!"}}},
                    "edges": {},
                    "output": "{{ nodes.hello }}",
                },
            },
            inputs={"names": ["Ada", "Alan"]},
            result=["1. Hello Ada!", "2. Hello Alan!"],
        ),
        Example(
            title="Failed items are collected",
            config={
                "items": "inputs.texts",
                "on_item_error": "collect",
                "body": {
                    "nodes": {
                        "check": {
                            "type": "switch",
                            "config": {"cases": [{"name": "empty", "when": "item == ''"}]},
                        },
                        "no": {"type": "fail", "config": {"message": "It is empty.", "code": "empty"}},
                        "size": {"type": "transform", "config": {"output": "{{ size(item) }}"}},
                    },
                    "edges": {
                        "check-no": {"from": "check", "to": "no", "port": "empty"},
                        "check-size": {"from": "check", "to": "size", "port": "default"},
                    },
                    "output": "{{ nodes.size }}",
                },
            },
            inputs={"texts": ["four", ""]},
            result=[4, {"error": {"code": "empty", "message": "It is empty.", "node": "each[1]/no"}}],
        ),
    ),
    errors=(
        ErrorNote("map_items_not_list", "`items` gives no list.", "Give a list, for instance keys(value) for a map."),
        ErrorNote(
            "limit_max_items",
            "The list is longer than it may be.",
            "Raise limits.max_items in the document or AOB_MAX_ITEMS.",
        ),
        ErrorNote(
            "item_failed",
            "An item failed; its error is the cause.",
            'Correct it and replay from the item, or set on_item_error to "collect".',
        ),
    ),
)
