"""What of a document is no business of a model: credentials in the config of nodes (pure; hazards L3, L7, S10)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from workflows.core.document import escape_pointer
from workflows.core.errors import AobError

NAMED = frozenset({"headers", "query"})
"""Maps of which single entries are credentials, by their names."""

AUTH = "auth"
HIDDEN = "(hidden)"
_TOLD_OF_AUTH = frozenset({"type", "token_url", "region", "service"})
WEBHOOK = "/config/url"
"""The URL of a `notify` node: whoever knows it may write there."""

_NAMES = re.compile(
    r"(^|[-_])(auth|authorization|token|secret|cookie|password|passwd|signature|credentials?)([-_]|$)"
    r"|(api|access|private)[-_]?key|^key$",
    re.IGNORECASE,
)


class HiddenPart(AobError):
    """A machine's operation that reads what is hidden from it."""

    def __init__(self, pointer: str) -> None:
        super().__init__(
            "capability_hidden",
            "This operation reads credentials, or what holds some.",
            pointer,
            "Write the new part as a value.",
        )


def hidden_of(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Every hidden part below a value, with its JSON Pointer."""
    if isinstance(value, list):
        for place, part in enumerate(value):
            yield from hidden_of(part, f"{pointer}/{place}")
    if not isinstance(value, dict):
        return
    for key, part in value.items():
        inner = f"{pointer}/{escape_pointer(key)}"
        if key == AUTH and isinstance(part, dict):
            yield inner, part
        elif key in NAMED and isinstance(part, dict):
            yield from ((f"{inner}/{escape_pointer(name)}", one) for name, one in part.items() if _NAMES.search(name))
        else:
            yield from hidden_of(part, inner)
    if _is_webhook(value):
        yield f"{pointer}{WEBHOOK}", value["config"]["url"]


def without_hidden(value: Any) -> Any:
    """The value with HIDDEN in the place of what is hidden, so that a document is still a valid one."""
    if isinstance(value, list):
        return [without_hidden(part) for part in value]
    if not isinstance(value, dict):
        return value
    shown = {key: _shown(key, part) for key, part in value.items()}
    if _is_webhook(value):
        known = urlsplit(value["config"]["url"].split("{{", 1)[0])
        shown["config"]["url"] = f"{known.scheme}://{known.netloc.rpartition('@')[2]}/{HIDDEN}"
    return shown


def check_reads(document: Any, operations: Sequence[dict[str, Any]]) -> None:
    """Raises HiddenPart where a machine's operation would copy, move or compare something hidden.

    Operations before it may have moved what stands in a list, so of a list with something hidden all is.
    """
    closed = [_up_to_list(document, pointer) for pointer, _ in hidden_of(document)]
    for number, operation in enumerate(operations):
        source = {"copy": "from", "move": "from", "test": "path"}.get(operation["op"])
        if source is not None and any(_touches(operation[source], one) for one in closed):
            raise HiddenPart(f"/operations/{number}/{source}")


def _is_webhook(value: dict[str, Any]) -> bool:
    config = value.get("config")
    return value.get("type") == "notify" and isinstance(config, dict) and isinstance(config.get("url"), str)


def _shown(key: str, part: Any) -> Any:
    if key == AUTH and isinstance(part, dict):
        return {name: one if name in _TOLD_OF_AUTH else HIDDEN for name, one in part.items()}
    if key in NAMED and isinstance(part, dict):
        return {name: HIDDEN if _NAMES.search(name) else without_hidden(one) for name, one in part.items()}
    return without_hidden(part)


def _up_to_list(document: Any, pointer: str) -> str:
    """The pointer, cut before the first list on its way."""
    value, way = document, ""
    for part in pointer.split("/")[1:]:
        if isinstance(value, list):
            return way
        value = value[part.replace("~1", "/").replace("~0", "~")]
        way = f"{way}/{part}"
    return way


def _touches(pointer: str, closed: str) -> bool:
    """Whether one of the two is in the other."""
    return f"{closed}/".startswith(f"{pointer}/") or f"{pointer}/".startswith(f"{closed}/")
