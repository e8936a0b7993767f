"""`run batch`: many runs from lines of JSON, in requests of a size that the server takes."""

from __future__ import annotations

import json

from cli.connection import LONG_SECONDS, Connection
from cli.exits import DONE, REFUSED, UNREACHABLE, Refused, Unreachable, UsageError
from cli.printing import clean, colour, document
from cli.reading import MAX_BYTES, check_json, no_file, too_large, twice
from cli.uploads import Uploads, has_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

LINES = 500
BYTES = 4 * 1024 * 1024
HEADERS = {"Content-Type": "application/x-ndjson"}


def batch(connection: Connection, options: Any) -> int:
    """`aob run batch FILE`: every line is looked at before the first run is started."""
    import os

    lines = list(_lines(options.file))
    if not lines:
        raise UsageError(f"{options.file} has no lines.")
    uploads = Uploads(connection, os.path.dirname(options.file) or ".", quiet=options.json)
    items: list[Any] = []
    try:
        for numbers, request in _requests(lines, uploads):
            answer = connection.send("POST", "/runs/batch", request, HEADERS, seconds=LONG_SECONDS)
            items += answer["items"]
            if not options.json:
                for number, item in zip(numbers, answer["items"]):  # noqa: B905
                    _tell(number, item)
    except (Refused, Unreachable) as error:
        if options.json and items:
            problem = error.problem if isinstance(error, Refused) else error.problem()
            document({"items": items, "problem": problem})
            return REFUSED if isinstance(error, Refused) else UNREACHABLE
        if isinstance(error, Unreachable) and error.connected:
            known = f"{len(items)} of {len(lines)} lines have an answer; the next {LINES} may have been started."
            raise Unreachable(f"{error}\n  {known}", connected=True) from None
        raise
    if options.json:
        document({"items": items})
    failed = sum(item["status"] >= 400 for item in items)
    if not options.json and len(items) > 1:
        print(f"{len(items) - failed} started, {failed} refused")
    return REFUSED if failed else DONE


def _tell(number: int, item: Any) -> None:
    if "run" in item:
        print(f"{number:>6}  {colour('started', 'done')}  {clean(item['run']['id'])}")
        return
    for line in Refused(item["status"], item["problem"]).lines():
        print(f"{number:>6}  {colour('refused', 'failed')}  {clean(line.removeprefix('aob: ').strip())}")


def _lines(name: str) -> Iterator[tuple[int, bytes, Any]]:
    """Number, bytes and value of each line that is not empty."""
    import sys

    try:
        source: BinaryIO = sys.stdin.buffer if name == "-" else open(name, "rb")  # noqa: SIM115
        with source:
            for number, line in enumerate(source, 1):
                if line.strip():
                    yield number, line.strip(), _value(line.strip(), number, name)
    except OSError as error:
        raise no_file(name, error) from None


def _value(line: bytes, number: int, name: str) -> Any:
    what = f"line {number} of {'standard input' if name == '-' else name}"
    if len(line) > MAX_BYTES:
        raise too_large(what.capitalize(), len(line))
    try:
        value = check_json(line, what)
    except Refused as error:
        raise UsageError(str(error)) from None
    if value is not None and not isinstance(value, dict):
        raise UsageError(f'{what} is no object like {{"workflow": …, "inputs": …}}.')
    return value


def _requests(lines: list[tuple[int, bytes, Any]], uploads: Uploads) -> Iterator[tuple[list[int], bytes]]:
    """The bodies of the requests with the numbers of their lines."""
    numbers: list[int] = []
    parts: list[bytes] = []
    size = 0
    for number, line, value in lines:
        if value is not None and has_files(value.get("inputs")):
            if twice(value):
                raise UsageError(f"line {number}: a key stands twice in one object.")
            line = json.dumps({**value, "inputs": uploads.put_into(value["inputs"])}).encode()
        if parts and (len(parts) == LINES or size + len(line) > BYTES):
            yield numbers, b"\n".join(parts)
            numbers, parts, size = [], [], 0
        numbers.append(number)
        parts.append(line)
        size += len(line) + 1
    yield numbers, b"\n".join(parts)
