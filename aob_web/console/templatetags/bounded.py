"""Numbers that were counted up to a bound."""

from __future__ import annotations

from django import template

from runs.figures import BOUND

register = template.Library()


@register.filter
def thousands(number: int) -> str:
    """`12,345`; the count that stopped at its bound is `more than 10,000`."""
    return f"more than {BOUND:,}" if number == BOUND + 1 else f"{number:,}"
