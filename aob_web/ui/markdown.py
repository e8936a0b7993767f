"""Markdown that somebody wrote, as HTML that templates take as it is (hazard S19)."""

from __future__ import annotations

from django.utils.safestring import SafeString, mark_safe

from workflows.core.markdown import MAX_TEXT, to_html

__all__ = ["MAX_TEXT", "as_html"]


def as_html(text: str) -> SafeString:
    """CommonMark with tables. What is longer than MAX_TEXT is cut."""
    # The reader escapes all HTML of the text; what is marked is its own.
    return mark_safe(to_html(text))
