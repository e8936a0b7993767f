"""Functions on text and lines; they stream, so a log of any size costs little memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import re2

from worker.functions.registry import Blob, Function

MAX_ROWS = 200_000
MAX_GROUPS = 10_000

_source = {"description": "Text or a blob reference."}


def _lines(source: Any) -> Iterator[str]:
    if isinstance(source, Blob):
        with source.open() as file:
            for line in io.TextIOWrapper(file, encoding="utf-8", errors="replace"):
                yield line.rstrip("\r\n")
    elif isinstance(source, str):
        yield from source.splitlines()
    else:
        raise TypeError("source is neither text nor a blob reference")


def _convert(row: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    for name, kind in kinds.items():
        value = row.get(name)
        if value is None:
            continue
        try:
            row[name] = int(value) if kind == "int" else float(value) if kind == "float" else value.lower()
        except ValueError:
            row[name] = None
    return row


def _rows(source: Any, pattern: str, convert: dict[str, str] | None) -> Iterator[dict[str, Any] | None]:
    compiled = re2.compile(pattern)
    for line in _lines(source):
        match = compiled.search(line)
        yield None if match is None else _convert(match.groupdict(), convert or {})


def parse_lines(
    source: Any,
    pattern: str,
    convert: dict[str, str] | None = None,
    limit: int = MAX_ROWS,
    on_mismatch: str = "skip",
) -> dict[str, Any]:
    """Rows from the named groups of an RE2 pattern, one per line."""
    rows: list[dict[str, Any]] = []
    skipped = 0
    for number, row in enumerate(_rows(source, pattern, convert), 1):
        if row is None:
            if on_mismatch == "error":
                raise ValueError(f"line {number} does not match the pattern")
            skipped += 1
        elif len(rows) < min(limit, MAX_ROWS):
            rows.append(row)
    return {"rows": rows, "matched": len(rows), "skipped": skipped}


def aggregate_lines(
    source: Any,
    pattern: str,
    count_by: list[str] | None = None,
    sum: list[str] | None = None,
    convert: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Counts and sums over the lines, without keeping them."""
    totals: dict[str, float] = dict.fromkeys(sum or [], 0)
    groups: dict[str, dict[str, int]] = {name: {} for name in count_by or []}
    count = skipped = 0
    for row in _rows(source, pattern, {**dict.fromkeys(sum or [], "float"), **(convert or {})}):
        if row is None:
            skipped += 1
            continue
        count += 1
        for name in totals:
            totals[name] += row.get(name) or 0
        for name, group in groups.items():
            key = str(row.get(name))
            if key in group or len(group) < MAX_GROUPS:
                group[key] = group.get(key, 0) + 1
    return {"count": count, "skipped": skipped, "by": groups, "sum": totals}


def lines(source: Any, limit: int = MAX_ROWS) -> list[str]:
    """The lines of a text."""
    found: list[str] = []
    for line in _lines(source):
        if len(found) >= min(limit, MAX_ROWS):
            break
        found.append(line)
    return found


def parse_csv(source: Any, delimiter: str = ",", limit: int = MAX_ROWS) -> list[dict[str, Any]]:
    """Rows of a CSV file with a header line."""
    reader = csv.DictReader(_lines(source), delimiter=delimiter)
    return [
        {str(name): value for name, value in row.items()}
        for _, row in zip(range(min(limit, MAX_ROWS)), reader, strict=False)
    ]


def parse_json_lines(source: Any, limit: int = MAX_ROWS) -> list[Any]:
    """The values of a JSON Lines file."""
    full = (line for line in _lines(source) if line.strip())
    return [json.loads(line) for _, line in zip(range(min(limit, MAX_ROWS)), full, strict=False)]


FUNCTIONS = (
    Function(
        "text.parse_lines", parse_lines, help=parse_lines.__doc__ or "",
        args_schema={"source": _source, "pattern": {"type": "string"}, "convert": {"type": "object"},
                     "limit": {"type": "integer"}, "on_mismatch": {"enum": ["skip", "error"]}},
    ),
    Function(
        "text.aggregate_lines", aggregate_lines, help=aggregate_lines.__doc__ or "",
        args_schema={"source": _source, "pattern": {"type": "string"}, "count_by": {"type": "array"},
                     "sum": {"type": "array"}, "convert": {"type": "object"}},
    ),
    Function("text.lines", lines, help=lines.__doc__ or "", args_schema={"source": _source}),
    Function(
        "csv.parse", parse_csv, help=parse_csv.__doc__ or "",
        args_schema={"source": _source, "delimiter": {"type": "string"}, "limit": {"type": "integer"}},
    ),
    Function("json.parse_lines", parse_json_lines, help=parse_json_lines.__doc__ or "", args_schema={"source": _source}),
)  # fmt: skip
