"""Addresses of e-mail: `name@host` or `Name <name@host>`; nothing in them can begin another header (pure)."""

from __future__ import annotations

import re
from typing import Any

from workflows.core.errors import AobError
from workflows.core.lines import is_one_line

MAX_RECIPIENTS = 100
MAX_ADDRESS = 320

_ADDRESS = re.compile(
    r"[^\s<>@\"(),:;\\\[\]{}\x00-\x1f\x7f]{1,64}@"
    r"[^\W_](?:[\w-]{0,62})(?:\.[^\W_](?:[\w-]{0,62}))*\.?"
)
_NAMED = re.compile(r'(?:"(?P<quoted>[^"\\\x00-\x1f\x7f]*)"|(?P<plain>[^"<>,@\x00-\x1f\x7f]*?))\s*<(?P<address>[^<>]*)>')


def parse_address(text: Any, pointer: str | None = None) -> tuple[str, str]:
    """The display name (or nothing) and the address itself. Raises AobError `email_address`."""
    if isinstance(text, str) and len(text) <= MAX_ADDRESS and is_one_line(text):
        stripped = text.strip()
        named = _NAMED.fullmatch(stripped)
        name = (named["quoted"] or named["plain"] or "").strip() if named else ""
        address = named["address"].strip() if named else stripped
        # What nobody sees may stand in a name, in an address it would be another one.
        if _ADDRESS.fullmatch(address) and address.isprintable():
            return name, address
    raise AobError(
        "email_address",
        f"{str(text)[:100]!r} is no e-mail address.",
        pointer,
        'Write one as name@example.com or "Name <name@example.com>", without line breaks; several as a list.',
    )


def address_list(value: Any, pointer: str | None = None) -> list[tuple[str, str]]:
    """The addresses of what a config gives, each once: none, one, or a list. Raises AobError `email_address`."""
    found = [] if value is None else value if isinstance(value, list) else [value]
    if len(found) > MAX_RECIPIENTS:
        message = f"There are {len(found)} addresses; a mail has at most {MAX_RECIPIENTS}."
        raise AobError("email_address", message, pointer, "Send several mails, with a map node.")
    return list(dict.fromkeys(parse_address(one, pointer) for one in found))


def address_granted(address: str, granted: frozenset[str]) -> bool:
    """Whether an address is among granted ones: `name@example.com`, or `@example.com` for all of a host."""
    plain = address.lower().rstrip(".")
    return plain in granted or f"@{plain.rpartition('@')[2]}" in granted
