"""Which functions there are, in which versions. Operators add theirs by entry points in `aob.functions`.

The entry point's name is the function's name, its distribution's version the version, its object a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import IO, Any

from workflows.core.errors import AobError


@dataclass(frozen=True)
class Function:
    """A function: `call(**args)` gives JSON or a `NewBlob`; a parameter `context` gets the attempt's facts."""

    name: str
    call: Callable[..., Any]
    version: str = "1"
    help: str = ""
    args_schema: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Blob:
    """A blob among the arguments: its bytes stand in a private file."""

    path: Path
    size: int
    media_type: str

    def open(self) -> IO[bytes]:
        return self.path.open("rb")

    def text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class NewBlob:
    """A result that becomes a blob: a text, bytes, or a file that the function wrote."""

    content: str | bytes | Path
    media_type: str = "application/octet-stream"


@cache
def functions() -> Mapping[str, Mapping[str, Function | EntryPoint]]:
    """Every function by name and version. Installed ones are not loaded here: their code runs only in the
    processes of functions, never in one that holds credentials (hazard S2)."""
    from worker.functions import blobs, text

    found: dict[str, dict[str, Function | EntryPoint]] = {}
    for function in (*text.FUNCTIONS, *blobs.FUNCTIONS):
        found.setdefault(function.name, {})[function.version] = function
    for point in sorted(entry_points(group="aob.functions"), key=lambda point: point.name):
        version = point.dist.version if point.dist is not None else "1"
        found.setdefault(point.name, {}).setdefault(version, point)
    return found


def find(name: str, version: str | None = None) -> str:
    """The version that is called: the wanted one, or the newest. Raises AobError `function_unknown`."""
    known = functions()
    versions = known.get(name)
    if not versions:
        close = get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Installed: {', '.join(sorted(known))}."
        raise AobError("function_unknown", f"There is no function {name!r}.", "/config/name", hint)
    if version is None:
        return max(versions, key=_order)
    if version not in versions:
        raise AobError(
            "function_unknown",
            f"The function {name!r} has no version {version!r}.",
            "/config/version",
            f"Its versions: {', '.join(sorted(versions))}.",
        )
    return version


def load(name: str, version: str) -> Callable[..., Any]:
    """The callable; loads the operator's code, so only the processes of functions call this."""
    found = functions()[name][version]
    if isinstance(found, Function):
        return found.call
    loaded = found.load()
    return loaded.call if isinstance(loaded, Function) else loaded


def _order(version: str) -> tuple[Any, ...]:
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in version.split("."))
