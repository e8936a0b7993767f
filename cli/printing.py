"""Tables, colours on a terminal, plain text in a pipe. What comes from the server cannot steer the terminal."""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLOURS = {
    "completed": "32", "done": "32", "failed": "31", "timed_out": "31", "error": "31", "running": "34",
    "queued": "34", "waiting": "33", "paused": "33", "retry": "33", "warning": "33", "open": "33",
    "approved": "32", "rejected": "31", "cancelled": "90", "skipped": "90", "faint": "90", "bold": "1",
}  # fmt: skip
MAX_LINES = 100
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ONE_LINE = _CONTROLS | {9: " ", 10: " ", 13: " "}
_MANY_LINES = _CONTROLS | {9: "\t", 10: "\n"}


def is_terminal() -> bool:
    """True when lines may be drawn over on standard output."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of the terminal; 0 where lines are not to be cut."""
    if not sys.stdout.isatty():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 0


def clean(text: Any) -> str:
    """One line without control characters."""
    return str(text).translate(_ONE_LINE)


def colour(text: str, name: str) -> str:
    """The text in the colour of a state, where there are colours (NO_COLOR, see no-color.org)."""
    if name not in COLOURS or os.environ.get("NO_COLOR") or not is_terminal():
        return text
    return f"\033[{COLOURS[name]}m{text}\033[0m"


def cut(text: str, most: int) -> str:
    """The text in at most so many columns; 0 means all of it."""
    return text if not most or len(text) <= most else f"{text[: max(most - 1, 0)]}…"


def table(rows: list[list[Any]], head: list[str], *, state: int | None = None) -> None:
    """Columns as wide as they need; on a terminal the last one is cut at its edge."""
    if not rows:
        return
    cells = [[clean("" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in [head, *cells]) for place in range(len(head))]
    last = len(head) - 1
    room = max(width() - sum(widths[:last]) - 2 * last, 8) if width() else 0
    widths[last] = 0
    print(colour("  ".join(text.ljust(size) for text, size in zip(head, widths)).rstrip(), "faint"))  # noqa: B905
    for row in cells:
        name = "" if state is None else row[state]
        row[last] = cut(row[last], room)
        padded = [text.ljust(size) for text, size in zip(row, widths)]  # noqa: B905
        if state is not None:
            padded[state] = colour(padded[state], name)
        print("  ".join(padded).rstrip())


def document(value: Any) -> None:
    """One JSON document for programs, on one line."""
    print(json.dumps(value, ensure_ascii=False))


def pretty(value: Any, more: str = "--json shows all") -> str:
    """JSON for people, shortened when it is long."""
    text = json.dumps(value, indent=2, ensure_ascii=False).translate(_MANY_LINES)
    rows = text.split("\n")
    if len(rows) > MAX_LINES:
        rows = [*rows[:MAX_LINES], colour(f"… {len(rows) - MAX_LINES} more lines; {more}", "faint")]
    return "\n".join(rows)


def moment(text: str) -> float:
    """Seconds since the epoch of an instant as the server writes it."""
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def local_time(text: str | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """An instant in the local time zone."""
    if not text:
        return "–"
    import time

    return time.strftime(form, time.localtime(moment(text)))


def between(start: str | None, end: str | None) -> str:
    """How long it took, in words."""
    return duration(moment(end) - moment(start)) if start and end else "–"


def duration(seconds: float) -> str:
    """45ms, 12.3s, 4m05s, 2h03m, 3d04h."""
    if seconds < 0.9995:
        return f"{max(round(seconds * 1000), 0)}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, name, part, below in ((60, "m", 1, "s"), (3600, "h", 60, "m"), (86_400, "d", 3600, "h")):
        if whole < size * (60 if name != "h" else 24) or name == "d":
            return f"{whole // size}{name}{whole % size // part:02d}{below}"
    raise AssertionError("days have no end")


def amount(size: int) -> str:
    """A number of bytes for people."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def error_text(error: Any) -> str:
    """`message (code)` of an error, or nothing."""
    if not isinstance(error, dict):
        return ""
    return clean(error.get("message") or error.get("code") or "")
