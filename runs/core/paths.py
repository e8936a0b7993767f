"""Node paths: `each[3]/parse` is node `parse` in item 3 of the map `each`; `""` is the root frame."""

from __future__ import annotations

import re

_INDEX = re.compile(r"\[\d+\]")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\[\d+\]/[A-Za-z_][A-Za-z0-9_-]*)*")


def split(path: str) -> tuple[str, str]:
    """`each[3]/parse` → (`each[3]`, `parse`): the frame and the node's id."""
    frame, _, node = path.rpartition("/")
    return frame, node


def join(frame: str, node: str) -> str:
    return f"{frame}/{node}" if frame else node


def owner(frame: str) -> tuple[str, int]:
    """`a[1]/each[3]` → (`a[1]/each`, 3): the node that owns the frame, and which item or iteration it is."""
    path, _, index = frame.rpartition("[")
    return path, int(index[:-1])


def frame_of(path: str, index: int) -> str:
    return f"{path}[{index}]"


def graph_key(frame: str) -> str:
    """`a[1]/each[3]` → `a/each`: the key of the frame's graph in the IR."""
    return _INDEX.sub("", frame) if frame else ""


def enclosing(frame: str) -> list[str]:
    """The frame and those around it, innermost first: `a[1]/b[2]` → [`a[1]/b[2]`, `a[1]`, ``]."""
    frames = [frame]
    while frame:
        frame = split(owner(frame)[0])[0]
        frames.append(frame)
    return frames


def is_within(path: str, root: str) -> bool:
    """True when `path` lies inside the node or frame `root` (and is not `root` itself)."""
    return len(path) > len(root) and path[: len(root)] == root and path[len(root)] in "[/"


def is_path(text: str) -> bool:
    """True when the text has the form of a node path."""
    return _PATH.fullmatch(text) is not None
