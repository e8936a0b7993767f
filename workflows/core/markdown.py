"""Markdown as HTML that does nothing: no HTML of its own, no pictures, harmless links (pure; hazard S19)."""

from __future__ import annotations

from functools import cache
from typing import Any

from markdown_it import MarkdownIt

MAX_TEXT = 40_000
"""Characters that are read: the worst of so many takes half a second."""

SCHEMES = ("http://", "https://", "mailto:", "/", "#")


def to_html(text: str) -> str:
    """CommonMark with tables; all HTML of the text is escaped. What is longer than MAX_TEXT is cut."""
    return str(_reader().render(text[:MAX_TEXT]))


class _Reader(MarkdownIt):  # type: ignore[misc,unused-ignore]
    def validateLink(self, url: str) -> bool:
        """Only to the web and to our own pages; what is refused stays text."""
        address = url.strip().lower()
        return address.startswith(SCHEMES) and not address.startswith("//")


@cache
def _reader() -> MarkdownIt:
    reader = _Reader("commonmark", {"html": False}).enable(["table", "strikethrough"])
    reader.disable("image")
    reader.add_render_rule("link_open", _link)
    return reader


def _link(self: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    return str(self.renderToken(tokens, place, options, env))
