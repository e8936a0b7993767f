"""Names of people in documents: `user:NAME`, `group:NAME` (pure). Whether they exist is asked elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from workflows.core.durations import parse_duration
from workflows.core.errors import AobError

MAX_ASSIGNEES = 100
MAX_ASSIGNEE = 200
MAX_STEPS = 20


def assignees(value: Any, pointer: str, *, must_name: bool = False) -> list[str]:
    """`user:NAME` and `group:NAME` of what a config gives, each once; a text is split at commas.

    Nobody means everybody, except with `must_name`. Raises AobError.
    """
    found = [] if value is None else value
    if isinstance(found, str):
        found = [one.strip() for one in found.split(",") if one.strip()]
    if not isinstance(found, list) or not all(isinstance(one, str) and 0 < len(one) <= MAX_ASSIGNEE for one in found):
        raise AobError(
            "approval_assignees_invalid",
            "The assignees are no list of names.",
            pointer,
            'Give a list like ["user:anna", "group:ops"].',
        )
    if must_name and not found:
        raise AobError(
            "approval_assignees_empty",
            "The expression gives nobody, and only a list that is written down as empty means everybody.",
            pointer,
            "Correct the expression, or the value that it takes the names from.",
        )
    if len(found) > MAX_ASSIGNEES:
        raise AobError("approval_assignees_invalid", f"There are {len(found)} assignees, of at most 100.", pointer)
    return list(dict.fromkeys(one if one.startswith(("user:", "group:")) else f"user:{one}" for one in found))


def chain(value: Any, pointer: str, *, must_name: bool = False) -> list[list[str]]:
    """The steps of an escalation: people are one step, a list of lists is one step each, in order. Raises AobError."""
    if not isinstance(value, list) or not any(isinstance(one, list) for one in value):
        return [assignees(value, pointer, must_name=must_name)]
    if not all(isinstance(one, list) for one in value) or len(value) > MAX_STEPS:
        raise AobError(
            "approval_assignees_invalid",
            f"A chain is a list of at most {MAX_STEPS} lists of names.",
            pointer,
            'Give a list like [["user:anna"], ["group:leads"]].',
        )
    return [assignees(one, f"{pointer}/{place}", must_name=must_name) for place, one in enumerate(value)]


def reminder_seconds(value: Any, pointer: str) -> float:
    """The time between two reminders, a second at least. Raises AobError."""
    seconds = parse_duration(str(value))
    if seconds < 1:
        raise AobError("duration_too_short", "People are reminded once a second at most.", pointer, "Write 4h.")
    return seconds


def check_quorum(quorum: int, names: Sequence[str], not_by: Collection[str], pointer: str) -> None:
    """Raises AobError when these people can never be enough without some of them; `quorum` 0 means all.

    A group may have any number of people.
    """
    barred = {f"user:{name}" for name in not_by}
    people = [one for one in names if one not in barred]
    needed = quorum or len(names)
    if names and needed > len(people) and (quorum == 0 or not any(one.startswith("group:") for one in people)):
        raise AobError(
            "approval_quorum_unreachable",
            f"{needed} of the assignees have to approve, but only {len(people)} may.",
            pointer,
            "Lower the quorum, or name more people or a group.",
        )
