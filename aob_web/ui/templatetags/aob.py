"""Filters and tags of the pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from aob_web.ui import gantt

register = template.Library()

_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@register.filter
def moment(text: str | None) -> str:
    """`2026-11-21T06:52:05.123Z` → `2026-11-21 06:52:05`; all times on the pages are UTC."""
    return (text or "")[:19].replace("T", " ")


@register.filter
def ago(at: str | datetime | None) -> str:
    """`2026-11-21T06:52:05.123Z` → `3 min ago`; a date when it is longer ago than a month."""
    found = _parsed(at)
    if found is None:
        return "–"
    seconds = (datetime.now(UTC) - found).total_seconds()
    if seconds > 31 * 86_400:
        return found.strftime("%Y-%m-%d")
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago" if seconds >= 5 else "just now"


@register.filter
def left(at: str | datetime | None) -> str:
    """How long until then: `in 2 h 5 min`; nothing where there is no such time."""
    found = _parsed(at)
    if found is None:
        return ""
    seconds = (found - datetime.now(UTC)).total_seconds()
    return f"in {span(max(60.0, seconds // 60 * 60))}" if seconds > 60 else "within a minute"


@register.simple_tag
def took(start: str | datetime | None, end: str | datetime | None = None) -> str:
    """How long something lasted, or has lasted until now: `850 ms`, `12.3 s`, `4 min 10 s`."""
    first, last = _parsed(start), _parsed(end) or datetime.now(UTC)
    return "–" if first is None else span((last - first).total_seconds())


@register.filter
def span(seconds: float | None) -> str:
    """Seconds in words."""
    if seconds is None:
        return "–"
    return gantt.took(round(seconds * 1_000_000))


@register.filter
def words(name: str | None) -> str:
    """`timed_out` → `timed out`."""
    return (name or "").replace("_", " ")


@register.filter
def undirected(text: str | None) -> str:
    """Without the marks that turn text around, where no element can end what they do: in the title of a window."""
    return _DIRECTIONS.sub("", text or "")


@register.filter
def many(number: int | None, most: int) -> str:
    """A count that ends at `most`: `1,000+`."""
    return f"{number or 0:,}" + ("+" if (number or 0) >= most else "")


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing of `icons.svg`. It says nothing to screen readers: the words stand beside it."""
    return format_html(
        '<svg class="glyph" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("ui/icons.svg"),
        name,
    )


@register.simple_tag
def mark(state: str) -> SafeString:
    """The shape of a state, out of `states.svg`, which the graph of a run uses as well."""
    return format_html(
        '<svg class="mark" width="12" height="12" aria-hidden="true"><use href="{}#{}"></use></svg>',
        static("ui/states.svg"),
        state,
    )


@register.simple_tag(takes_context=True)
def with_query(context: template.Context, **changes: Any) -> str:
    """The query of this page with some parameters changed; an empty one is taken out."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value in (None, ""):
            query.pop(name, None)
        else:
            query[name] = str(value)
    return "?" + str(query.urlencode())


def _parsed(at: str | datetime | None) -> datetime | None:
    if not at:
        return None
    found = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
