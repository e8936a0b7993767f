"""Commands on dead letters: tasks that failed for good."""

from __future__ import annotations

from cli.connection import Connection, query, quote
from cli.exits import DONE
from cli.printing import clean, colour, document, error_text, local_time, pretty, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def listing(connection: Connection, options: Any) -> int:
    """`aob deadletter list`."""
    status = None if options.status == "all" else options.status
    page = connection.get(f"/dead-letters{query(status=status, limit=options.limit, cursor=options.cursor)}")
    if options.json:
        document(page)
        return DONE
    rows = [
        [
            one["id"], one["status"], one["workflow"], one["node"], one["attempts"], local_time(one["created_at"]),
            error_text(one["error"]),
        ]
        for one in page["items"]
    ]  # fmt: skip
    if not rows:
        print("No dead letters.")
    table(rows, ["ID", "STATUS", "WORKFLOW", "NODE", "ATTEMPTS", "WHEN", "ERROR"], state=1)
    if page["next"]:
        print(colour(f"More: the same with --cursor {clean(page['next'])}", "faint"))
    return DONE


def show(connection: Connection, options: Any) -> int:
    """`aob deadletter show`."""
    found = connection.get(f"/dead-letters/{quote(options.letter)}")
    if options.json:
        document(found)
        return DONE
    print(f"dead letter {clean(found['id'])}: {colour(clean(found['status']), found['status'])}")
    print(f"{clean(found['workflow'])} {clean(found['run'])}, node {clean(found['node'])} ({clean(found['type'])})")
    print(f"{clean(found['attempts'])} attempts, the last one {local_time(found['created_at'])}")
    if found.get("replayed_as"):
        print(f"replayed as {clean(found['replayed_as'])}")
    print(f"{colour('error', 'bold')} {pretty(found['error'])}")
    print(f"{colour('input', 'bold')} {pretty(found.get('input'))}")
    return DONE


def replay(connection: Connection, options: Any) -> int:
    """`aob deadletter replay`."""
    view = connection.call("POST", f"/dead-letters/{quote(options.letter)}/replay", {})
    if options.json:
        document(view)
    else:
        print(f"Replayed as {clean(view['id'])}: {colour(clean(view['status']), view['status'])}")
    return DONE


def discard(connection: Connection, options: Any) -> int:
    """`aob deadletter discard`."""
    body = {"reason": options.reason} if options.reason else {}
    found = connection.call("POST", f"/dead-letters/{quote(options.letter)}/discard", body)
    if options.json:
        document(found)
    else:
        print(f"Discarded {clean(options.letter)}.")
    return DONE
