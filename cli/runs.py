"""Commands on runs that exist: list, show, status, cancel, pause, resume, signal, retry-policy."""

from __future__ import annotations

import json

from cli.connection import JSON, Connection, encode, query, quote
from cli.exits import DONE
from cli.printing import (
    between,
    clean,
    colour,
    document,
    error_text,
    local_time,
    pretty,
    table,
)
from cli.status import waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def listing(connection: Connection, options: Any) -> int:
    """`aob run list`."""
    names = {
        "status": options.status, "workflow": options.workflow, "label": options.label, "since": options.since,
        "until": options.until, "input_text": options.input_text, "where": options.where,
    }  # fmt: skip
    page = connection.get(f"/runs{query(**names, limit=options.limit, cursor=options.cursor)}")
    if options.json:
        document(page)
        return DONE
    rows = [
        [
            run["id"], run["status"], run["workflow"], local_time(run["created_at"]),
            between(run["created_at"], run["ended_at"]), error_text(run["error"]),
        ]
        for run in page["items"]
    ]  # fmt: skip
    looked_on = not page.get("complete", True)
    if not rows and not looked_on:
        print("No runs." if any(names.values()) else "No runs yet. Start one: aob run start FILE")
    table(rows, ["RUN", "STATUS", "WORKFLOW", "CREATED", "TOOK", "ERROR"], state=1)
    if page.get("unjudged"):
        print(
            colour(
                f"{page['unjudged']} runs could not be judged, the first: {clean(page['why'] or 'too large')}", "faint"
            )
        )
    if looked_on:
        print(colour(f"Looked at the newest {page['looked_at']} runs so far.", "faint"))
    if page["next"]:
        print(colour(f"More: the same with --cursor {clean(page['next'])}", "faint"))
    return DONE


def status(connection: Connection, options: Any) -> int:
    """`aob run status` with options for which the quick way has no time."""
    from cli.status import status

    return status(connection, options.run, as_json=options.json)


def show(connection: Connection, options: Any) -> int:
    """`aob run show`: the run, its activations, inputs and output."""
    view = connection.get(f"/runs/{quote(options.run)}")
    found = connection.get(f"/runs/{quote(options.run)}/activations")
    if options.json:
        document({**view, "activations": found["items"]})
        return DONE
    print(f"{clean(view['workflow'])} {clean(view['id'])}: {colour(clean(view['status']), view['status'])}")
    took = f", took {between(view['created_at'], view['ended_at'])}" if view["ended_at"] else ""
    print(f"created {local_time(view['created_at'])}{took}, priority {clean(view['priority'])}")
    print(f"version {clean(view['version'])}")
    for name, key in (("part of", "parent"), ("replays", "forked_from")):
        if view.get(key):
            place = view[key].get("node") or view[key].get("from")
            print(f"{name} {clean(view[key]['run'])}{f' at {clean(place)}' if place else ''}")
    if view.get("labels"):
        print("labels " + ", ".join(f"{clean(name)}={clean(text)}" for name, text in view["labels"].items()))
    for line in waits(view):
        print(line)
    print()
    rows = [
        [
            one["node"], one["state"], one["type"], len(one["attempts"]) or "",
            between(one["started_at"], one["ended_at"]), error_text(one["error"]),
        ]
        for one in found["items"]
    ]  # fmt: skip
    table(rows, ["NODE", "STATE", "TYPE", "ATTEMPTS", "TOOK", "ERROR"], state=1)
    left_out = (found.get("total") or 0) - len(rows)
    if left_out > 0:
        print(f"… and {left_out} more")
    print(f"{colour('inputs', 'bold')} {pretty(view['inputs'])}")
    if view["error"]:
        print(f"{colour('error', 'bold')} {pretty(view['error'])}")
    elif view["ended_at"]:
        print(f"{colour('output', 'bold')} {pretty(view['output'])}")
    return DONE


def steer(connection: Connection, options: Any) -> int:
    """`aob run cancel|pause|resume`."""
    reason = getattr(options, "reason", None)
    body = {"reason": reason} if reason else {}
    view = connection.call("POST", f"/runs/{quote(options.run)}/{options.action}", body)
    if options.json:
        document(view)
    else:
        print(f"{clean(view['id'])}: {colour(clean(view['status']), view['status'])}")
    return DONE


def signal(connection: Connection, options: Any) -> int:
    """`aob run signal`."""
    body = b'{"name": ' + encode(options.name)
    if options.payload is not None:
        from cli.reading import read_json

        body += b', "payload": ' + read_json(options.payload, "--payload")[1]
    answer = connection.send("POST", f"/runs/{quote(options.run)}/signal", body + b"}", JSON)
    if options.json:
        document(answer)
    else:
        stored = isinstance(answer, dict) and answer.get("delivered") == "stored"
        print(f"Signal {clean(options.name)} " + ("is kept until the run waits for it." if stored else "sent."))
    return DONE


def retry_policy(connection: Connection, options: Any) -> int:
    """`aob run retry-policy`."""
    from cli.reading import read_json

    data = read_json(options.retry, "The retry policy")[1]
    body = b'{"node": ' + json.dumps(options.node).encode() + b', "retry": ' + data + b"}"
    view = connection.send("POST", f"/runs/{quote(options.run)}/retry-policy", body, JSON)
    if options.json:
        document(view)
    else:
        print(f"{clean(options.node)} is retried by the new policy from here on.")
    return DONE
