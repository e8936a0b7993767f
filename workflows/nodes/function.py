"""`function`: config, output and help. The executor is `worker.executors.function`."""

from __future__ import annotations

from typing import Any

from workflows.nodes.registry import ErrorNote, Example, config_object

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

EXAMPLES = (
    Example(
        title="Rows from the lines of a text",
        config={
            "name": "text.parse_lines",
            "args": {
                "source": "{{ inputs.log }}",
                "pattern": r"^(?P<level>[A-Z]+) (?P<seconds>\d+)$",
                "convert": {"seconds": "int"},
            },
        },
        inputs={"log": "INFO 3\nWARN 12\n-"},
        result={
            "rows": [{"level": "INFO", "seconds": 3}, {"level": "WARN", "seconds": 12}],
            "matched": 2,
            "skipped": 1,
        },
    ),
    Example(
        title="A CSV file as a list of maps",
        config={"name": "csv.parse", "args": {"source": "{{ inputs.table }}"}},
        inputs={"table": "name,age\nAda,36"},
        result=[{"name": "Ada", "age": "36"}],
    ),
)

ERRORS = (
    ErrorNote(
        "function_unknown",
        "No function of this name or version is installed.",
        "The message names the nearest one, or all that are installed.",
    ),
    ErrorNote("function_args", "The arguments are not a map by name.", "Give a map: names and values."),
    ErrorNote(
        "function_failed",
        "The function raised an exception; its traceback stands in the details.",
        "Correct its arguments or the function.",
    ),
    ErrorNote(
        "function_crashed",
        "The function's process ended, for instance by a signal.",
        "Look for what ends it; it is tried again.",
        transient=True,
    ),
    ErrorNote(
        "function_memory",
        "The function used more memory than it may.",
        "Stream what it reads, or raise AOB_FUNCTION_MEMORY.",
    ),
)
