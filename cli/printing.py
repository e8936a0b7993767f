"""Tables, colours on a terminal, plain text in a pipe."""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False  # typing costs 7 ms to import
if TYPE_CHECKING:
    from typing import Any

COLOURS = {
    "completed": "32", "done": "32", "failed": "31", "timed_out": "31", "running": "34", "queued": "34",
    "waiting": "33", "paused": "33", "cancelled": "90", "skipped": "90", "faint": "90", "bold": "1",
}  # fmt: skip
MAX_LINES = 100


def is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def colour(text: str, name: str) -> str:
    """The text in the colour of a state, where there are colours."""
    if not is_terminal() or "NO_COLOR" in os.environ or name not in COLOURS:
        return text
    return f"\033[{COLOURS[name]}m{text}\033[0m"


def table(rows: list[list[str]], head: list[str], *, state: int | None = None) -> None:
    """Columns as wide as they need; on a terminal the last one is cut at its edge."""
    if not rows:
        return
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    limit = os.get_terminal_size().columns if is_terminal() else 0
    print(colour("  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=False)).rstrip(), "faint"))
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join(cells).rstrip()
        if limit and len(line) > limit:
            cells[-1] = cells[-1][: max(len(cells[-1]) - (len(line) - limit) - 1, 1)] + "…"
        if state is not None:
            cells[state] = colour(cells[state], row[state])
        print("  ".join(cells).rstrip())


def document(value: Any) -> None:
    """One JSON document for programs."""
    print(json.dumps(value, ensure_ascii=False))


def pretty(value: Any) -> str:
    """JSON for people, shortened when it is long."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… {len(lines) - MAX_LINES} more lines; see `aob run show RUN --json`"]
    return "\n".join(lines)


def local_time(text: str | None) -> str:
    """An instant in the local time zone."""
    if not text:
        return "–"
    import time
    from datetime import datetime

    moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    return time.strftime("%Y-%m-%d %H:%M:%S", moment.timetuple())


def seconds_between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    from datetime import datetime

    first, last = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (start, end))
    return (last - first).total_seconds()


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    return f"{int(seconds // 60)}m{round(seconds % 60)}s"
