"""Commands on tickets: list, show, decide, delegate, claim, comment, audit."""

from __future__ import annotations

import json
import sys

from cli.connection import JSON, Connection, query, quote
from cli.exits import DONE, Refused
from cli.printing import clean, colour, document, local_time, pretty, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def listing(connection: Connection, options: Any) -> int:
    """`aob approvals list`."""
    status = None if options.all else "open"
    mine = "true" if options.mine else None
    groups = "true" if options.groups else None
    narrowed = {"mine": mine, "groups": groups, "run": options.run, "workflow": options.workflow}
    wanted = query(status=status, **narrowed, limit=options.limit, cursor=options.cursor)
    page = connection.get(f"/approvals{wanted}")
    if options.json:
        document(page)
        return DONE
    rows = [
        [
            one["ticket"], one["status"], one["workflow"], local_time(one["due_at"]) if one["due_at"] else "",
            ", ".join(one["assignees"]) or "anybody", one["title"],
        ]
        for one in page["items"]
    ]  # fmt: skip
    if not rows:
        print("No ticket waits for you." if options.mine or options.groups else "No tickets.")
    table(rows, ["TICKET", "STATUS", "WORKFLOW", "DUE", "FOR", "TITLE"], state=1)
    if page["next"]:
        print(colour(f"More: the same with --cursor {clean(page['next'])}", "faint"))
    return DONE


def show(connection: Connection, options: Any) -> int:
    """`aob approvals show`."""
    found = connection.get(f"/approvals/{quote(options.ticket)}")
    if options.json:
        document(found)
        return DONE
    print(colour(clean(found["title"]), "bold"))
    print(f"ticket {clean(found['ticket'])}: {_standing(found)}")
    places = [found["workflow"], *([found["run"]] if found["run"] else [])]
    print(" ".join(map(clean, places)) + (f", node {clean(found['node'])}" if found["node"] else ""))
    due = f", until {local_time(found['due_at'])}" if found["due_at"] else ""
    print(f"for {clean(', '.join(found['assignees']) or 'anybody')}, since {local_time(found['created_at'])}{due}")
    if found["body"]:
        print("\n" + "\n".join(clean(line) for line in str(found["body"]).split("\n")) + "\n")
    for name in ("values", "form"):
        if found[name] is not None:
            print(f"{colour(name, 'bold')} {pretty(found[name])}")
    if found["patch"]:
        print(
            f"a patch by {clean(found['not_by'] or found['node'])}: "
            + colour(f"aob patch show {clean(found['patch'])}", "faint")
        )
    for one in found["thread"][1:]:
        print(_happened(one))
    if found["may_decide"]:
        print(colour(f"aob approve {clean(found['ticket'])} approve|reject", "faint"))
    return DONE


def history(connection: Connection, options: Any) -> int:
    """`aob approvals history`."""
    found = connection.get(f"/approvals/{quote(options.ticket)}")
    if options.json:
        document(found["thread"])
        return DONE
    for one in found["thread"]:
        print(_happened(one))
    return DONE


def delegate(connection: Connection, options: Any) -> int:
    """`aob approvals delegate`."""
    return _say(connection, options, "delegate", {"to": options.to, "reason": options.reason})


def claim(connection: Connection, options: Any) -> int:
    """`aob approvals claim`."""
    return _say(connection, options, "claim", {})


def release(connection: Connection, options: Any) -> int:
    """`aob approvals release`."""
    return _say(connection, options, "release", {})


def comment(connection: Connection, options: Any) -> int:
    """`aob approvals comment`."""
    return _say(connection, options, "comment", {"text": options.text})


def _say(connection: Connection, options: Any, what: str, body: dict[str, Any]) -> int:
    found = connection.call("POST", f"/approvals/{quote(options.ticket)}/{what}", body)
    if options.json:
        document(found)
    else:
        print(_happened(found["thread"][-1]))
    return DONE


def _happened(one: dict[str, Any]) -> str:
    """A line of a ticket's thread."""
    by = clean(one.get("by") or "")
    people = clean(", ".join(one.get("assignees", ())) or "anybody")
    words = {
        "asked": f"asked {people}",
        "answered": f"{by} said {clean(one.get('answer', ''))}",
        "escalated": f"handed to {people}, because nobody {'there exists' if one.get('because') else 'decided in time'}",
        "unattended": f"nobody exists of {people}",
        "delegated": f"{by} asked {clean(one.get('to', ''))} to decide instead",
        "claimed": f"{by} looks at it",
        "released": f"{by} does not look at it any more",
        "commented": f"{by} wrote",
        "reminded": f"reminder {one.get('count')}",
        "decided": f"{clean(one.get('status', ''))}{f' by {by}' if by else ''}",
    }[one["what"]]
    said = one.get("text") or one.get("reason")
    return f"{colour(local_time(one['at']), 'faint')} {words}{f': {clean(said)}' if said else ''}"


def audit(connection: Connection, options: Any) -> int:
    """`aob approvals audit`."""
    form = "jsonl" if options.json else options.format or "jsonl"
    path = f"/approvals/audit{query(format=form, since=options.since, until=options.until)}"
    _, pieces = connection.open("GET", path, None, {"Accept": "*/*"})
    if options.output:
        with open(options.output, "wb") as file:
            for piece in pieces:
                file.write(piece)
        return DONE
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return DONE


def decide(connection: Connection, options: Any) -> int:
    """`aob approve`."""
    body: dict[str, Any] = {"answer": options.answer}
    if (seen := _context(connection, options.ticket)) is not None:
        body["seen"] = seen
    if options.reason:
        body["reason"] = options.reason
    if options.fields:
        from cli.reading import pairs
        from cli.uploads import scalar

        body["form"] = {name: scalar(text) for name, text in pairs(options.fields, "A field").items()}
    found = connection.send("POST", f"/approvals/{quote(options.ticket)}/decide", json.dumps(body).encode(), JSON)
    if options.json:
        document(found)
    else:
        print(f"{clean(found['ticket'])}: {_standing(found)}")
    return DONE


def _context(connection: Connection, ticket: str) -> Any:
    """What the ticket shows now; None for a token that may decide and not read."""
    try:
        return connection.get(f"/approvals/{quote(ticket)}").get("context")
    except Refused as error:
        if error.problem.get("code") != "forbidden":
            raise
        return None


def _standing(found: dict[str, Any]) -> str:
    """`open, 1 of those asked has approved`, `approved by anna`."""
    words = colour(clean(found["status"]), found["status"])
    if found["status"] == "open" and found["answered"]:
        return f"{words}, approved so far by {clean(', '.join(found['answered']))}"
    return f"{words} by {clean(found['decided_by'])}" if found["decided_by"] else words
