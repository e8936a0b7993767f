"""`run start` and `replay`: a new run, once, even when the answer gets lost."""

from __future__ import annotations

import json
import os

from cli.connection import JSON, Connection, quote
from cli.exits import DONE, Unreachable, UsageError
from cli.printing import clean, colour, document
from cli.reading import MAX_BYTES, check_json, pairs, read, too_large
from cli.uploads import inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def start(connection: Connection, options: Any) -> int:
    """`aob run start`. All repetitions carry one Idempotency-Key, so that they start exactly one run."""
    if options.workflow == "-" and options.inputs == "-":
        raise UsageError("only one of the workflow and --inputs can be standard input.")
    labels = pairs(options.label, "A label")
    members = [b'"workflow": ' + workflow_json(options.workflow)]
    given = inputs(connection, options)
    if given is not None:
        members.append(b'"inputs": ' + given)
    if options.priority:
        members.append(b'"priority": ' + json.dumps(options.priority).encode())
    if labels:
        members.append(b'"labels": ' + json.dumps(labels).encode())
    key = options.idempotency_key or os.urandom(16).hex()
    view = _post(connection, "/runs", members, key)
    return tell(connection, options, view, f"Started {clean(view['workflow'])} as {clean(view['id'])}")


def replay(connection: Connection, options: Any) -> int:
    """`aob replay RUN --from NODE`."""
    members = [b'"from": ' + json.dumps(options.start).encode()]
    given = inputs(connection, options)
    if given is not None:
        members.append(b'"inputs": ' + given)
    if options.version:
        members.append(b'"version": ' + json.dumps(options.version).encode())
    view = _post(connection, f"/runs/{quote(options.run)}/replay", members, None)
    words = f"Replays {clean(options.run)} from {clean(options.start)} as {clean(view['id'])}"
    return tell(connection, options, view, words)


def _post(connection: Connection, path: str, members: list[bytes], key: str | None) -> Any:
    body = b"{" + b", ".join(members) + b"}"
    if len(body) > MAX_BYTES:
        raise too_large("The request", len(body))
    if key is None:
        return connection.send("POST", path, body, JSON)
    try:
        return connection.retrying("POST", path, body, {**JSON, "Idempotency-Key": key})
    except Unreachable as error:
        if not error.connected:
            raise
        raise Unreachable(
            f"{error}\n  The run may have been started. Say it again with --idempotency-key {key}: that starts only one.",
            connected=True,
        ) from None


def tell(connection: Connection, options: Any, view: Any, words: str) -> int:
    if options.follow:
        from cli.timeline import follow

        return follow(connection, view["id"], as_json=options.json)
    if options.json:
        document(view)
    else:
        print(f"{words}: {colour(clean(view['status']), view['status'])}")
        print(f"  Follow it: aob logs stream {clean(view['id'])}")
    return DONE


def workflow_json(name: str) -> bytes:
    """The JSON of the request's `workflow`: a file's own text, or a name."""
    if not is_file(name):
        return json.dumps(name).encode()
    data = read(name)
    check_json(data, "Standard input" if name == "-" else name)
    return data


def is_file(name: str) -> bool:
    """True when FILE|NAME[@TAG] means a file."""
    return name == "-" or name.endswith(".json") or "/" in name or os.path.isfile(name)
