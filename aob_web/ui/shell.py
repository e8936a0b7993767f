"""What every page shows around its content: the place in the navigation, and what waits to be dealt with."""

from __future__ import annotations

from typing import Any

import psycopg
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from approvals import inbox
from approvals.people import person
from runs import deadletters

SECTIONS = {
    "home": "home",
    "workflow": "workflows",
    "workflows": "workflows",
    "new": "workflows",
    "editor": "workflows",
    "run": "runs",
    "runs": "runs",
    "bulk": "runs",
    "approvals": "approvals",
    "ticket": "approvals",
    "dead": "dead-letters",
    "template": "templates",
    "templates": "templates",
    "node": "node-types",
    "account": "account",
}
"""The part of the navigation that a page belongs to, by the first word of its URL's name."""


def shell(request: HttpRequest) -> dict[str, Any]:
    """A context processor. What it counts is counted only where a template shows it."""
    match = request.resolver_match
    word = (match.url_name or "").split("-")[0] if match else ""
    return {
        "section": SECTIONS.get(word, ""),
        "open_dead_letters": SimpleLazyObject(_open_dead_letters),
        "my_tickets": SimpleLazyObject(lambda: _my_tickets(request)),
    }


def _my_tickets(request: HttpRequest) -> str:
    """How many tickets wait for whoever is signed in."""
    try:
        number = inbox.counts(person(request.user, may_decide=True))["mine"]
    except psycopg.Error:
        return ""
    return f"{inbox.COUNTED - 1}+" if number >= inbox.COUNTED else str(number or "")


def _open_dead_letters() -> str:
    """`7`, `99+`, or nothing; a page that the database does not answer for is shown without."""
    try:
        number = deadletters.open_count()
    except psycopg.Error:
        return ""
    return "99+" if number >= deadletters.COUNTED else str(number or "")
