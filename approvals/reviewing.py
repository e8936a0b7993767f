"""Tickets of patches that wait for review: their answers go through the patches' own doors (law 10).

Whichever door is used, the patch is judged once more, and patch and ticket are closed in one transaction.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from approvals.errors import TicketError
from approvals.people import Person
from runs import patches, workflow_patches
from runs.core.tickets import ANSWERS


def ticket(shown: dict[str, Any], *, may_decide: bool) -> dict[str, Any]:
    """A patch's ticket in the form of all tickets; what the patch changes stands in the patch."""
    answers = [
        {
            "answer": next(answer for answer, status in ANSWERS.items() if status == shown["status"]),
            "by": shown["decided_by"],
            "at": shown["decided_at"],
            "reason": shown["reason"],
            "form": None,
        }
        for _ in shown["answered"]
    ]
    asked = {"seq": shown["seq"], "at": shown["created_at"], "what": "asked"}
    said = [
        {"seq": None, "what": "answered", **{key: one[key] for key in ("at", "by", "answer", "reason")}}
        for one in answers
    ]
    return {
        **shown,
        **dict.fromkeys(("body", "values", "form", "on_timeout", "version")),
        "quorum": "any",
        "veto": "anyone",
        "escalate_to": [],
        "escalate_then": [],
        "brought_by": None,
        "answers": answers,
        "thread": [asked, *said],
        # What a patch changes stays as it was proposed, and admission judges it on the graph of the moment.
        "context": shown["ticket"],
        "may_decide": may_decide,
    }


def answer(shown: dict[str, Any], verdict: str, *, by: Person, reason: str | None, form: Any) -> None:
    """Raises TicketError, and as the patches' doors do: RunError, PatchRefused, PatchConflict."""
    if form not in (None, {}):
        raise TicketError("form_unexpected", "This ticket has no form.", "/form", "Leave it out.")
    if shown["run"] is not None:
        patches.answer(shown["patch"], verdict, by=by.name, reason=reason or "", run_id=shown["run"], door=by.door)
        return
    model = get_user_model()
    user = model.objects.filter(**{model.USERNAME_FIELD: by.name}).first()
    workflow_patches.answer(shown["patch"], verdict, by=by.name, reason=reason or "", user=user, door=by.door)
