"""Mails about tickets: whom they go to, and what stands in them: what is asked, until when, and how to answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from runs.mail import Mail, message_id
from workflows.core.addresses import parse_address
from workflows.core.lines import one_line
from workflows.core.markdown import MAX_TEXT, to_html

MAX_RECIPIENTS = 500
MAX_TITLE = 200

SUBJECTS = {
    "opened": "Please decide: {}",
    "escalated": "Handed to you: {}",
    "reminded": "Still waiting: {}",
    "delegated": "Handed to you: {}",
}
"""By the kind of a message, what its mails begin with."""


def recipients(assignees: list[str]) -> list[Any]:
    """The active users whom assignees mean, who have an address and want mails.

    A ticket that anybody may decide is mailed to all of them with AOB_TICKET_MAIL_ALL, and to nobody otherwise.
    """
    users = get_user_model().objects.filter(is_active=True).exclude(email="").exclude(mail_preference__tickets=False)
    if assignees:
        names = [one.removeprefix("user:") for one in assignees if one.startswith("user:")]
        groups = [one.removeprefix("group:") for one in assignees if one.startswith("group:")]
        users = users.filter(Q(username__in=names) | Q(groups__name__in=groups)).distinct()
    elif not settings.AOB_TICKET_MAIL_ALL:
        return []
    return list(users.order_by("pk")[:MAX_RECIPIENTS])


def mail(kind: str, seq: int, ticket: Mapping[str, Any], user: Any, token: str) -> Mail:
    """What one user gets for one message; the same Message-ID whenever it is made again.

    Raises AobError `email_address` when the user's is none.
    """
    title = plain_title(ticket["title"])
    body = ticket["body"] if isinstance(ticket["body"], str) else ""
    link = f"{settings.AOB_PUBLIC_URL}/approvals/link/{token}/"
    context = {
        "title": title,
        "body": body[:MAX_TEXT],
        # Everything that somebody wrote is escaped there.
        "html": mark_safe(to_html(body)),
        "is_cut": len(body) > MAX_TEXT,
        "workflow": ticket["workflow"],
        "brought_by": ticket["brought_by"],
        "due": _moment(ticket["due_at"]),
        "priority": ticket["priority"],
        "approve": f"{link}?answer=approve",
        "reject": f"{link}?answer=reject",
        "look": f"{settings.AOB_PUBLIC_URL}/approvals/{ticket['ticket']}/",
        "user": user.get_username(),
        "account": f"{settings.AOB_PUBLIC_URL}/account/",
    }
    thread = message_id(f"ticket:{ticket['ticket']}")
    return Mail(
        message_id=message_id(f"ticket:{ticket['ticket']}:{seq}:{user.pk}"),
        subject=SUBJECTS[kind].format(title),
        text=render_to_string("approvals/ticket-mail.txt", context),
        html=render_to_string("approvals/ticket-mail.html", context),
        to=[parse_address(user.email)],
        # All mails of a ticket stand together, and no machine answers them (RFC 3834).
        headers={"References": thread, "Auto-Submitted": "auto-generated"},
    )


def plain_title(title: str) -> str:
    """A title as one line of a header: no breaks, nothing that hides or turns what stands behind it."""
    short = one_line(title)
    return short if len(short) <= MAX_TITLE else short[: MAX_TITLE - 1] + "…"


def _moment(due: str | None) -> str:
    return datetime.fromisoformat(due).strftime("%Y-%m-%d %H:%M UTC") if due else ""
