"""`aob run status`: asked by scripts again and again, so it does without argparse."""

from __future__ import annotations

from cli.connection import Connection, quote
from cli.exits import DONE, REFUSED, guarded
from cli.printing import clean, colour, document, error_text, local_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

BAD_ENDS = ("failed", "cancelled", "timed_out")
MOST_WAITS = 10


def quick(arguments: list[str]) -> int | None:
    """Executes `RUN [--json]`; None when there is anything else, which the parser understands."""
    names = [word for word in arguments if word != "--json"]
    if len(names) != 1 or names[0].startswith("-") or not names[0]:
        return None
    as_json = "--json" in arguments
    return guarded(lambda: status(Connection.find(None, None), names[0], as_json=as_json), as_json=as_json)


def status(connection: Connection, run: str, *, as_json: bool) -> int:
    """Prints the status of a run and what it waits for; 1 when it ended badly, so that scripts see it."""
    view = connection.get(f"/runs/{quote(run)}")
    if as_json:
        document(view)
    else:
        print(colour(clean(view["status"]), view["status"]))
        for line in (*waits(view), *_error(view)):
            print(line)
    return REFUSED if view["status"] in BAD_ENDS else DONE


def waits(view: dict[str, Any]) -> Iterator[str]:
    """What a run waits for, in words."""
    found = view.get("waiting_for") or []
    for one in found[:MOST_WAITS]:
        since = local_time(one["since"])
        ticket = f" (ticket {clean(one['ticket'])})" if one.get("ticket") else ""
        yield f"  {clean(one['node'] or 'the run')} waits for {clean(one['what'])}{ticket}, since {since}"
    if len(found) > MOST_WAITS:
        yield f"  … and {len(found) - MOST_WAITS} more"


def _error(view: dict[str, Any]) -> Iterator[str]:
    error = view["error"]
    if error:
        place = f"{clean(error['node'])}: " if error.get("node") else ""
        code = f" ({clean(error['code'])})" if error.get("code") else ""
        yield f"  {place}{error_text(error)}{code}"
        if error.get("hint"):
            yield f"  {clean(error['hint'])}"
