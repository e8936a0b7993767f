"""Two texts side by side, line by line; what is the same in both is folded away."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

MAX_LINES = 3_000
CONTEXT = 3


@dataclass(frozen=True)
class Line:
    """A row of the comparison. `kind`: same, changed, removed, added, or fold (then `left` says how much)."""

    kind: str
    left: str
    right: str
    left_number: int | None = None
    right_number: int | None = None


def side_by_side(a: str, b: str) -> list[Line] | None:
    """The rows, or None when the texts are too long to be compared line by line."""
    left, right = a.splitlines(), b.splitlines()
    if max(len(left), len(right)) > MAX_LINES:
        return None
    rows: list[Line] = []
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=len(left) > 500)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            rows += _folded(left, i, i_end, j, is_first=i == 0, is_last=i_end == len(left) and j_end == len(right))
            continue
        for step in range(max(i_end - i, j_end - j)):
            old = left[i + step] if i + step < i_end else None
            new = right[j + step] if j + step < j_end else None
            kind = "added" if old is None else "removed" if new is None else "changed"
            rows.append(
                Line(
                    kind,
                    old or "",
                    new or "",
                    None if old is None else i + step + 1,
                    None if new is None else j + step + 1,
                )
            )
    return rows


def _folded(left: list[str], i: int, end: int, j: int, *, is_first: bool, is_last: bool) -> list[Line]:
    def same(place: int) -> Line:
        return Line("same", left[place], left[place], place + 1, j + place - i + 1)

    head = 0 if is_first else CONTEXT
    tail = 0 if is_last else CONTEXT
    hidden = end - i - head - tail
    if hidden < 2:
        return [same(place) for place in range(i, end)]
    fold = Line("fold", f"{hidden} lines that are the same", "")
    return [*map(same, range(i, i + head)), fold, *map(same, range(end - tail, end))]
