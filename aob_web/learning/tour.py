"""The only functions that change a tour. Its steps belong to pages, so it goes on wherever one comes back to it."""

from __future__ import annotations

from typing import Any

from django.urls import Resolver404, resolve

from aob_web.learning.models import Tour

STEPS = 5
TEMPLATE = "branch-and-merge"
"""The template that the tour is made with."""

PAGES = {"template": 2, "editor": 3, "run": 5}
"""The pages of the tour by the names of their routes, with the step that begins there."""

OFFERED = frozenset({"home", "runs", "workflows", "templates"})
"""Where the tour is offered to those who have neither taken nor declined it."""


def tour_of(user: Any) -> Tour | None:
    """None as long as it was only offered."""
    return Tour.objects.filter(user=user).first()


def start(user: Any) -> None:
    """Begins the tour, also once more."""
    _save(user, state=Tour.State.RUNNING, step=2, place="")


def reach(user: Any, step: int, place: str) -> None:
    """Notes the step that is being shown, and the page, if it is one of the tour."""
    if 1 <= step <= STEPS and _is_page(place):
        Tour.objects.filter(user=user, state=Tour.State.RUNNING).update(step=step, place=place)


def skip(user: Any) -> None:
    """Ends it early, or declines it: it is not offered again."""
    _save(user, state=Tour.State.SKIPPED)


def finish(user: Any) -> None:
    """It led to a finished run."""
    Tour.objects.filter(user=user, state=Tour.State.RUNNING).update(state=Tour.State.FINISHED, step=STEPS)


def _save(user: Any, **values: Any) -> None:
    Tour.objects.update_or_create(user=user, defaults=values)


def _is_page(place: str) -> bool:
    try:
        return len(place) <= 300 and resolve(place).url_name in PAGES
    except Resolver404:
        return False
