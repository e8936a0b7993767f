"""`{% tour %}`: the card of the step that belongs to a page, the way back to it, or the offer."""

from __future__ import annotations

from typing import Any

from django import template

from aob_web.learning import tour as tours
from aob_web.learning.models import Tour

register = template.Library()


@register.inclusion_tag("learning/tour.html", takes_context=True)
def tour(context: dict[str, Any]) -> dict[str, Any]:
    request = context.get("request")
    if request is None or not request.user.is_authenticated or request.resolver_match is None:
        return {}
    page = request.resolver_match.url_name
    found = tours.tour_of(request.user)
    shown = ""
    if found is None:
        shown = "offer" if page in tours.OFFERED else ""
    elif found.state == Tour.State.RUNNING:
        shown = page if page in tours.PAGES else "elsewhere"
    return {
        "shown": shown,
        "tour": found,
        "steps": tours.STEPS,
        "template": tours.TEMPLATE,
        "csrf_token": context.get("csrf_token"),
        "request": request,
    }
