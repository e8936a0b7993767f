"""Filters of the pages."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def moment(text: str | None) -> str:
    """`2026-11-21T06:52:05.123Z` → `2026-11-21 06:52:05`; all times on the pages are UTC."""
    return (text or "")[:19].replace("T", " ")
