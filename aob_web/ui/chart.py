"""Bars of a timeline: where each activation and attempt stands on a common axis, in per mille."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

WIDTH = 1000
MIN_WIDTH = 4


def bars(activations: list[dict[str, Any]], started: str, ended: str | None) -> list[dict[str, Any]]:
    """Each activation with `x` and `width`, its attempts likewise, its duration in words and its depth."""
    begin = _seconds(started)
    end = _seconds(ended) if ended else datetime.now(UTC).timestamp()
    span = max(end - begin, 0.001)

    def place(start: str | None, stop: str | None) -> tuple[int, int]:
        first = (_seconds(start) if start else begin) - begin
        last = (_seconds(stop) if stop else end) - begin
        x = min(round(first / span * WIDTH), WIDTH - MIN_WIDTH)
        return x, max(round((last - first) / span * WIDTH), MIN_WIDTH)

    rows = []
    for one in activations:
        x, width = place(one["started_at"], one["ended_at"])
        stop = _seconds(one["ended_at"]) if one["ended_at"] else end
        attempts = []
        for attempt in one["attempts"]:
            ax, awidth = place(attempt["scheduled_at"], attempt["ended_at"] or one["ended_at"])
            attempts.append({"x": ax, "width": awidth, "failed": bool(attempt["error"])})
        rows.append(
            {
                **one,
                "x": x,
                "width": min(width, WIDTH - x),
                "bars": attempts if len(attempts) > 1 else [],
                "took": words(stop - _seconds(one["started_at"])),
                "depth": one["node"].count("/"),
                "name": one["node"].rpartition("/")[2],
            }
        )
    return rows


def words(seconds: float) -> str:
    """`12 ms`, `3.4 s`, `2 min 5 s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
