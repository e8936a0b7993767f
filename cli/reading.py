"""What people pass in: JSON as text, file or standard input, and files that become blobs."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cli.connection import Connection
from cli.exits import UsageError

MAX_BYTES = 16 * 1024 * 1024
MEDIA_TYPES = {
    ".csv": "text/csv", ".gif": "image/gif", ".html": "text/html", ".jpg": "image/jpeg", ".json": "application/json",
    ".jsonl": "application/jsonl", ".log": "text/plain", ".md": "text/markdown", ".pdf": "application/pdf",
    ".png": "image/png", ".txt": "text/plain", ".xml": "application/xml", ".zip": "application/zip",
}  # fmt: skip


def read_text(name: str) -> str:
    """The text of a file or of standard input."""
    try:
        if name == "-":
            return sys.stdin.read()
        if os.path.getsize(name) > MAX_BYTES:
            raise UsageError(
                f"{name} has {os.path.getsize(name)} bytes; the limit is {MAX_BYTES} (AOB_MAX_REQUEST_BYTES)."
            )
        with open(name, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        raise UsageError(f"there is no file {name!r}.") from None
    except OSError as error:
        raise UsageError(f"{name!r} cannot be read: {error.strerror}.") from None


def raw(text: str) -> bytes:
    """The bytes of a text as they stood in the file, so that the server judges what was written."""
    return text.encode("utf-8", "surrogateescape")


def read_json(value: str, what: str) -> tuple[Any, str, str]:
    """JSON given as text, as a file or by `-`: the value, its text, and the folder that its paths are relative to."""
    folder = "."
    stripped = value.strip()
    if value == "-" or not stripped.startswith(("{", "[", '"')) and stripped not in ("null", "true", "false"):
        if value != "-" and not os.path.exists(value) and stripped.lstrip("-").replace(".", "", 1).isdigit():
            text = value
        else:
            text = read_text(value)
            folder = os.path.dirname(value) or "."
    else:
        text = value
    try:
        return json.loads(text), text, folder
    except ValueError as error:
        raise UsageError(f"{what} is not JSON: {error}.") from None
    except RecursionError:
        raise UsageError(f"{what} is nested too deeply.") from None


def has_files(value: Any) -> bool:
    """True when some `{"$file": "path"}` stands in it."""
    if isinstance(value, dict):
        return set(value) == {"$file"} or any(has_files(part) for part in value.values())
    return isinstance(value, list) and any(has_files(part) for part in value)


def with_uploads(connection: Connection, value: Any, folder: str) -> Any:
    """The value with every `{"$file": "path"}` uploaded and replaced by its blob reference."""
    if isinstance(value, dict):
        if set(value) == {"$file"} and isinstance(value["$file"], str):
            return upload(connection, os.path.join(folder, value["$file"]))
        return {key: with_uploads(connection, part, folder) for key, part in value.items()}
    if isinstance(value, list):
        return [with_uploads(connection, part, folder) for part in value]
    return value


def upload(connection: Connection, name: str) -> Any:
    """Stores a file as a blob without reading it into memory."""
    media_type = MEDIA_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")
    try:
        with open(name, "rb") as file:
            response = connection.open("POST", "/api/v1/blobs", file, {"Content-Type": media_type})
            return json.loads(response.read())
    except FileNotFoundError:
        raise UsageError(f"there is no file {name!r}.") from None
    except IsADirectoryError:
        raise UsageError(f"{name!r} is a directory.") from None


def pairs(entries: list[str], what: str) -> dict[str, str]:
    """NAME=VALUE options as a map."""
    found = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise UsageError(f"{what} is written NAME=VALUE, not {entry!r}.")
        found[name] = value
    return found
