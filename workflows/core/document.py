"""The workflow document: its JSON Schema, its limits, and how it is named by content (laws 5 and 8).

A document is canonical JSON; nodes and edges are maps keyed by id, so a JSON Pointer stays valid whatever
else changes. `layout`, `notes` and `description` are for people and change no IR hash.
"""

from __future__ import annotations

from typing import Any

import msgspec

from workflows.core.canonical import canonical, content_hash

Document = dict[str, Any]

ID_PATTERN = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$"
NAME_PATTERN = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
EXECUTABLE_PARTS = ("inputs", "nodes", "edges", "output", "limits", "patches")
JOIN_ALL = "all"


class DocumentLimits(msgspec.Struct, frozen=True):
    """Bounds of a document; each is a setting of the same name with the prefix AOB_."""

    max_document_bytes: int = 5 * 1024 * 1024
    max_nodes: int = 5_000
    max_edges: int = 20_000
    max_body_depth: int = 8


_duration = {"type": "string", "minLength": 1, "maxLength": 40, "examples": ["30s", "5m", "2h"]}

RETRY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "When and how often a failed attempt is made again.",
    "properties": {
        "policy": {"enum": ["none", "standard", "webhook", "custom"], "default": "standard"},
        "max_attempts": {"type": "integer", "minimum": 1, "maximum": 1000},
        "on": {
            "type": "string",
            "description": "`transient` (default), `any`, or a CEL predicate over `error` and `attempt`.",
        },
        "base": _duration,
        "factor": {"type": "number", "minimum": 1, "maximum": 100},
        "cap": _duration,
        "jitter": {"type": "boolean"},
        "schedule": {"type": "array", "items": _duration, "minItems": 1, "maxItems": 100},
    },
    "additionalProperties": False,
}

NODE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string", "minLength": 1, "maxLength": 100},
        "title": {"type": "string", "maxLength": 200},
        "description": {"type": "string", "maxLength": 10_000},
        "config": {"type": "object"},
        "retry": RETRY_SCHEMA,
        "timeout": _duration,
        "join": {
            "oneOf": [
                {"enum": ["all", "any"]},
                {
                    "type": "object",
                    "properties": {"n": {"type": "integer", "minimum": 1}},
                    "required": ["n"],
                    "additionalProperties": False,
                },
            ]
        },
        "on_failure": {
            "oneOf": [
                {"enum": ["fail_run", "skip", "review"]},
                {
                    "type": "object",
                    "properties": {"continue": {}},
                    "required": ["continue"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"review": {"type": "array", "items": {"type": "string"}, "maxItems": 100}},
                    "required": ["review"],
                    "additionalProperties": False,
                },
            ]
        },
        "cache": {
            "type": "object",
            "properties": {
                "policy": {"enum": ["off", "read_only", "read_through", "write_only"]},
                "ttl": _duration,
            },
            "required": ["policy"],
            "additionalProperties": False,
        },
    },
}

EDGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["from", "to"],
    "additionalProperties": False,
    "properties": {
        "from": {"type": "string"},
        "to": {"type": "string"},
        "port": {"type": "string", "default": "out"},
        "when": {"type": "string", "description": "CEL over `output`, `inputs`, `nodes` and `run`."},
    },
}

GRAPH_PROPERTIES: dict[str, Any] = {
    "nodes": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": ID_PATTERN},
        "additionalProperties": NODE_SCHEMA,
    },
    "edges": {
        "type": "object",
        "propertyNames": {"pattern": "^.{1,200}$"},
        "additionalProperties": EDGE_SCHEMA,
    },
    "output": {"description": "Any JSON with expressions; the end nodes' outputs by id where it is absent."},
}

BODY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["nodes"],
    "additionalProperties": False,
    "properties": GRAPH_PROPERTIES,
}

DOCUMENT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "AOB workflow document",
    "type": "object",
    "required": ["name", "nodes"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": NAME_PATTERN},
        "description": {"type": "string", "maxLength": 10_000},
        "inputs": {
            "type": ["object", "boolean"],
            "description": "JSON Schema (draft 2020-12) of the inputs.",
        },
        **GRAPH_PROPERTIES,
        "limits": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "max_agents": {"type": "integer", "minimum": 0, "maximum": 1000},
                "timeout": _duration,
                "max_items": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                "agents": {
                    "type": "object",
                    "description": "What all agents of a run and of the runs that it starts may use, and those of all "
                    "runs of this workflow in a day (UTC).",
                    "additionalProperties": False,
                    "properties": {
                        "tokens": {"type": "integer", "minimum": 0},
                        "cost": {"type": "number", "minimum": 0, "description": "In US dollars."},
                        "steps": {"type": "integer", "minimum": 0, "description": "Model and tool calls."},
                        "seconds": {
                            "type": "number",
                            "minimum": 0,
                            "description": "Of all agents, added up; waiting for people and other runs is not counted.",
                        },
                        "daily_tokens": {"type": "integer", "minimum": 0},
                        "daily_cost": {"type": "number", "minimum": 0, "description": "In US dollars."},
                    },
                },
            },
        },
        "patches": {
            "enum": ["auto", "review", "shadow", "off"],
            "default": "auto",
            "description": "What becomes of patches of a running run: applied, reviewed first, only tried, or refused.",
        },
        "layout": {"type": "object"},
        "notes": {"type": "object"},
    },
}


def document_hash(document: Document) -> str:
    """The name of this version: `sha256:…` over the whole canonical document."""
    return content_hash(canonical(document))


def ir_hash(document: Document) -> str:
    """The name of what the document executes; layout, notes and texts for people do not change it."""
    return content_hash(canonical({part: document[part] for part in EXECUTABLE_PARTS if part in document}))


def escape_pointer(key: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")
