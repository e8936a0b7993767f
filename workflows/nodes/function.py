"""`function`: config, output and help. The executor is `worker.executors.function`."""

from __future__ import annotations

from typing import Any

from workflows.nodes.registry import config_object

CONFIG_SCHEMA: dict[str, Any] = config_object(
    {
        "name": {"type": "string", "title": "Function", "minLength": 1, "maxLength": 200},
        "version": {"type": "string", "title": "Version", "maxLength": 50},
        "args": {"type": ["object", "string"], "title": "Arguments"},
    },
    ["name"],
)

OUTPUT_SCHEMA: dict[str, Any] = {}

HELP = (
    "Calls a Python function that the operator installed (entry points in `aob.functions`), by name and, where "
    "given, version. It runs in a process of its own without credentials. Built in: text.parse_lines, "
    "text.aggregate_lines, text.lines, csv.parse, json.parse_lines, blob.write, blob.read."
)
