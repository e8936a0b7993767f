"""Commands on dead letters."""

from __future__ import annotations

from typing import Any

from cli.connection import Connection, query
from cli.exits import DONE
from cli.printing import document, local_time, pretty, table


def listing(connection: Connection, options: Any) -> int:
    status = None if options.status == "all" else options.status
    page = connection.get(f"/api/v1/dead-letters{query(status=status, limit=options.limit, cursor=options.cursor)}")
    if options.json:
        document(page)
        return DONE
    rows = [
        [
            str(one["id"]),
            one["status"],
            one["workflow"],
            one["node"],
            str(one["attempts"]),
            local_time(one["created_at"]),
            one["error"].get("message", ""),
        ]
        for one in page["items"]
    ]
    if not rows:
        print("No dead letters.")
    table(rows, ["NUMBER", "STATE", "WORKFLOW", "NODE", "ATTEMPTS", "WHEN", "ERROR"])
    return DONE


def show(connection: Connection, options: Any) -> int:
    found = connection.get(f"/api/v1/dead-letters/{options.number}")
    document(found) if options.json else print(pretty(found))
    return DONE


def replay(connection: Connection, options: Any) -> int:
    view = connection.call("POST", f"/api/v1/dead-letters/{options.number}/replay", {})
    document(view) if options.json else print(f"Replayed as {view['id']}: {view['status']}")
    return DONE


def discard(connection: Connection, options: Any) -> int:
    body = {"reason": options.reason} if options.reason else {}
    found = connection.call("POST", f"/api/v1/dead-letters/{options.number}/discard", body)
    document(found) if options.json else print(f"Discarded {found['id']}.")
    return DONE
