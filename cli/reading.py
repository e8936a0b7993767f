"""What people pass in: documents and JSON as text, file or standard input; NAME=VALUE options."""

from __future__ import annotations

import json
import os
import sys

from cli.exits import Refused, UsageError, refused
from cli.printing import amount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 16 * 1024 * 1024


def read(name: str) -> bytes:
    """The bytes of a file or, for `-`, of standard input. Raises UsageError, and Refused over 16 MiB."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
            size = len(data)
        else:
            with open(name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(MAX_BYTES + 1) if size <= MAX_BYTES else b""
            size = max(size, len(data))
    except OSError as error:
        raise no_file(name, error) from None
    if size > MAX_BYTES:
        raise too_large("Standard input" if name == "-" else name, size if name != "-" else None)
    return data


def too_large(what: str, size: int | None) -> Refused:
    """The refusal of a request that the server would not read either."""
    much = f"has {amount(size)}" if size is not None else "is larger"
    limit = f"the limit of a request is {amount(MAX_BYTES)}"
    return refused("request_too_large", f"{what} {much}; {limit}.", "Send large data as a blob: --input NAME=@FILE", 413)


def no_file(name: str, error: OSError) -> UsageError:
    """What to say when a file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return UsageError(f"there is no file {name!r}.")
    if isinstance(error, IsADirectoryError):
        return UsageError(f"{name!r} is a directory, not a file.")
    return UsageError(f"{name!r} cannot be read: {error.strerror or error}.")


def check_json(data: bytes, what: str) -> Any:
    """The value of a text that is sent as it stands, so that the server's strict decoder sees what was written.

    Only what keeps it from being one JSON text is refused here, with its place; None where it is too deep to tell.
    Raises Refused with the codes of the server.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused("json_encoding", f"{what} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.") from None
    if text.startswith("\ufeff"):
        raise refused("json_encoding", f"{what} begins with a byte order mark.", "Save it without BOM.")
    if not text.strip():
        raise refused("json_syntax", f"{what} is empty.")
    try:
        return json.loads(text, parse_int=_any_length, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise refused("json_syntax", f"{what} is not JSON: {error.msg} at {place}.\n{_shown(error)}") from None
    except RecursionError:
        return None


class _Twice(dict):  # type: ignore[type-arg]
    """An object in which a key stands twice: it may be sent as it was written, but not be written anew."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Twice(found)


def _any_length(digits: str) -> Any:
    """Python refuses to convert more than 4,300 digits; the server judges the range."""
    return int(digits) if len(digits) < 1000 else float(digits)


def _shown(error: json.JSONDecodeError) -> str:
    """The line of a mistake, cut around its place, and a mark below it."""
    line = error.doc.split("\n")[error.lineno - 1].rstrip("\r").replace("\t", " ")
    start = max(error.colno - 41, 0)
    before = f"  {error.lineno} | {'…' if start else ''}"
    return f"{before}{line[start : start + 72]}\n{' ' * (len(before) + error.colno - 1 - start)}^"


def read_json(value: str, what: str) -> tuple[Any, bytes, str]:
    """JSON given as text, as a file or by `-`: the value, its bytes, and the folder that its paths are relative to.

    Raises UsageError with line and column.
    """
    folder = "."
    text = value.strip()
    if value != "-" and _looks_like_json(text):
        data = text.encode("utf-8", "surrogateescape")
    else:
        if value != "-" and not os.path.exists(value):
            raise UsageError(f"{what}: there is no file {value!r}, and it is not JSON.")
        data = read(value)
        folder = os.path.dirname(value) or "."
        what = f"{what}: {'standard input' if value == '-' else value}"
    try:
        return check_json(data, what), data, folder
    except Refused as error:
        if error.status == 413:
            raise
        raise UsageError(str(error)) from None


def _looks_like_json(text: str) -> bool:
    if text.startswith(("{", "[", '"')) or text in ("null", "true", "false"):
        return True
    return not os.path.exists(text) and text.lstrip("-").replace(".", "", 1).isdigit()


def twice(value: Any) -> bool:
    """True when a key stands twice in some object of it."""
    if isinstance(value, dict):
        return isinstance(value, _Twice) or any(twice(part) for part in value.values())
    return isinstance(value, list) and any(twice(part) for part in value)


def pairs(entries: list[str], what: str) -> dict[str, str]:
    """NAME=VALUE options as a map. Raises UsageError."""
    found = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise UsageError(f"{what} is written NAME=VALUE, not {entry!r}.")
        found[name] = value
    return found
