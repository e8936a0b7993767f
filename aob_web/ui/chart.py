"""Columns of runs over time, as numbers for an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from runs.overview import Interval

COLUMN = 20
GAP = 3
HEIGHT = 100


def columns(intervals: Sequence[Interval]) -> dict[str, Any]:
    """Stacked columns of started runs by what became of them, for an SVG of `width` × HEIGHT."""
    highest = max((one.started or 0 for one in intervals), default=0)
    drawn = []
    for place, one in enumerate(intervals):
        at = datetime.fromtimestamp(one.start_ms / 1000, UTC)
        number = one.started or 0
        bad, cancelled, live = (min(number, part) for part in (one.failed, one.cancelled, one.live))
        completed = max(0, number - bad - cancelled - live)
        parts, top = [], HEIGHT
        for kind, amount in (("completed", completed), ("live", live), ("cancelled", cancelled), ("failed", bad)):
            # What is there is seen, however little it is beside the rest.
            height = max(2, round(HEIGHT * 0.96 * amount / highest)) if amount and highest else 0
            top -= height
            if height:
                parts.append({"kind": kind, "y": max(0, top), "height": height})
        drawn.append(
            {
                "x": place * COLUMN,
                "width": COLUMN - GAP,
                "parts": parts,
                "known": one.started is not None,
                "at": at,
                "started": number,
                "completed": completed,
                "failed": bad,
                "live": live,
                "cancelled": cancelled,
            }
        )
    known = [one for one in drawn if one["known"]]
    return {
        "columns": drawn,
        "width": len(drawn) * COLUMN,
        "height": HEIGHT,
        "column": COLUMN,
        "highest": highest,
        "total": sum(one["started"] for one in known),
        "failed": sum(one["failed"] for one in known),
        "is_counting": len(known) < len(drawn),
    }
