"""Text that stands in one line, a title or a header (pure). Which characters these are is written out: the tables of
Python differ between versions, and a decision must not (law 3).
"""

from __future__ import annotations

import re

_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls and separators of lines (and halves of characters, which cannot be sent)."""

_HIDDEN = re.compile(
    # Soft hyphen, marks and embeddings of direction, what has no width, fillers, tags. The joiners U+200C and U+200D
    # stay: words of some languages and many emoji are made with them.
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What nobody sees, and what turns or hides the letters behind it."""


def one_line(text: str) -> str:
    """A text as one line of plain letters: without breaks and controls, and without what is hidden or turns others."""
    return " ".join(_HIDDEN.sub("", _BREAKS.sub(" ", text)).split())


def is_one_line(text: str) -> bool:
    """Whether a text may stand in a header: it holds no control character and no break, and can be encoded."""
    return _BREAKS.search(text) is None
