"""Functions that make and read blobs."""

from __future__ import annotations

import json
from typing import Any

from worker.functions.registry import Blob, Function, NewBlob

MAX_READ = 4 * 1024 * 1024


def write(content: Any, media_type: str = "text/plain") -> NewBlob:
    """A blob of a text, or of any other value as JSON."""
    if isinstance(content, str):
        return NewBlob(content, f"{media_type}; charset=utf-8" if media_type == "text/plain" else media_type)
    return NewBlob(json.dumps(content, ensure_ascii=False, indent=2), "application/json")


def read(source: Blob, limit: int = MAX_READ) -> str:
    """The text of a blob, at most `limit` bytes."""
    with source.open() as file:
        return file.read(min(limit, MAX_READ)).decode("utf-8", "replace").replace("\x00", "�")


FUNCTIONS = (
    Function(
        "blob.write", write, help=write.__doc__ or "",
        args_schema={"content": {}, "media_type": {"type": "string"}},
    ),
    Function(
        "blob.read", read, help=read.__doc__ or "",
        args_schema={"source": {"type": "object"}, "limit": {"type": "integer"}},
    ),
)  # fmt: skip
