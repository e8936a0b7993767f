"""How patches are told on pages: status and author by a mark and a word each."""

from __future__ import annotations

from typing import Any

from runs import patches

_WORDS = {
    "pending_review": ("waiting", "waits for review"),
    "applied": ("done", "applied"),
    "rejected": ("cancelled", "rejected"),
    "refused": ("failed", "refused"),
    "expired": ("timed_out", "expired"),
    "shadow": ("draft", "only tried"),
    "reverted": ("replayed", "undone"),
    "squashed": ("skipped", "squashed"),
}
"""The mark of each status, and its word."""

_AUTHORS = {
    "person": ("account", "person"),
    "agent": ("agent", "agent"),
    "optimizer": ("optimizer", "optimizer"),
    "import": ("document", "import"),
}


def named(found: dict[str, Any]) -> dict[str, Any]:
    """Status and author of a patch as marks and words."""
    mark, words = _WORDS[found["status"]]
    icon, kind = _AUTHORS[found["by"]["kind"]]
    return {"mark": mark, "words": words, "author": {**found["by"], "icon": icon, "kind": kind}}


def rows(run_id: str, at: int | None) -> list[dict[str, Any]]:
    """The patches of a run as they stand, or stood at a seq, the newest first."""
    found = patches.listed(run_id)
    if at is not None:
        undone = {one["reverts"] for one in found if "reverts" in one and one["seq"] <= at}
        found = [{**one, "status": _status_at(one, at, undone)} for one in found if one["first_seq"] <= at]
    return [{**one, **named(one)} for one in reversed(found)]


def _status_at(one: dict[str, Any], at: int, undone: set[str]) -> str:
    """What is expired or undone now was not yet, when the run went on or nobody had undone it."""
    if one["seq"] > at or one["status"] == "expired":
        return "pending_review"
    if one["status"] == "reverted" and one["id"] not in undone:
        return "applied"
    return str(one["status"])
