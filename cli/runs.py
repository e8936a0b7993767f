"""Commands on runs."""

from __future__ import annotations

import json
import os
from typing import Any

from cli.connection import Connection, query
from cli.exits import DONE, REFUSED, UsageError
from cli.printing import colour, document, duration, local_time, pretty, seconds_between, table
from cli.reading import has_files, pairs, raw, read_json, read_text, upload, with_uploads


def start(connection: Connection, options: Any) -> int:
    """Starts a run; the same key goes with every repetition, so that a lost answer starts no second one."""
    workflow = _workflow_text(options.workflow)
    inputs = _inputs(connection, options)
    body = {"priority": options.priority, "labels": pairs(options.label, "A label")}
    rest = json.dumps(body, ensure_ascii=False)
    text = f'{{"workflow": {workflow}, "inputs": {inputs}, {rest[1:]}'
    key = options.idempotency_key or os.urandom(16).hex()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    view = connection.retrying("POST", "/api/v1/runs", raw(text), headers)
    if options.follow:
        from cli.logs import follow

        return follow(connection, view["id"], as_json=options.json)
    if options.json:
        document(view)
    else:
        print(f"Started {view['workflow']} as {view['id']}: {colour(view['status'], view['status'])}")
        print(f"  Follow it: aob logs stream {view['id']}")
    return DONE


def _workflow_text(name: str) -> str:
    """The JSON of the request's `workflow`: a file's own text, or a name."""
    if name == "-" or name.endswith(".json") or os.path.exists(name) or "/" in name:
        text = read_text(name)
        if not text.strip():
            raise UsageError(f"{name} is empty.")
        return text
    return json.dumps(name)


def _inputs(connection: Connection, options: Any) -> str:
    """The JSON of the request's `inputs`; as it was written where nothing has to be changed in it."""
    single = pairs(options.input, "An input")
    if options.inputs is None and not single:
        return "{}"
    value, text, folder = read_json(options.inputs, "--inputs") if options.inputs is not None else ({}, "{}", ".")
    if not single and not has_files(value):
        return text
    value = with_uploads(connection, value, folder)
    for name, given in single.items():
        value[name] = upload(connection, given[1:]) if given.startswith("@") else _scalar(given)
    return json.dumps(value, ensure_ascii=False)


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def batch(connection: Connection, options: Any) -> int:
    data = raw(read_text(options.file))
    answer = connection.send("POST", "/api/v1/runs/batch", data, {"Content-Type": "application/x-ndjson"})
    failed = 0
    for number, item in enumerate(answer["items"], 1):
        failed += item["status"] >= 400
        if not options.json:
            print(f"{number}: {item['run']['id'] if 'run' in item else item['problem']['detail']}")
    if options.json:
        document(answer)
    return REFUSED if failed else DONE


def listing(connection: Connection, options: Any) -> int:
    names = {"status": options.status, "workflow": options.workflow, "label": options.label}
    page = connection.get(f"/api/v1/runs{query(**names, limit=options.limit, cursor=options.cursor)}")
    if options.json:
        document(page)
        return DONE
    rows = [
        [
            run["id"],
            run["status"],
            run["workflow"],
            local_time(run["created_at"]),
            duration(seconds_between(run["created_at"], run["ended_at"])),
            (run["error"] or {}).get("message", ""),
        ]
        for run in page["items"]
    ]
    if not rows:
        print("No runs. Start one: aob run start FILE")
    table(rows, ["RUN", "STATE", "WORKFLOW", "STARTED", "TOOK", "ERROR"], state=1)
    if page["next"]:
        print(f"More: aob run list --cursor {page['next']}")
    return DONE


def status(connection: Connection, options: Any) -> int:
    from cli.status import status

    return status(connection, options.run, as_json=options.json)


def show(connection: Connection, options: Any) -> int:
    view = connection.get(f"/api/v1/runs/{options.run}")
    found = connection.get(f"/api/v1/runs/{options.run}/activations")
    if options.json:
        document({**view, "activations": found["items"]})
        return DONE
    print(f"{view['workflow']} {view['id']}: {colour(view['status'], view['status'])}")
    print(f"started {local_time(view['created_at'])}, ended {local_time(view['ended_at'])}, version {view['version']}")
    rows = [
        [
            one["node"],
            one["state"],
            one["type"],
            str(len(one["attempts"]) or ""),
            duration(seconds_between(one["started_at"], one["ended_at"])),
            (one["error"] or {}).get("message", ""),
        ]
        for one in found["items"]
    ]
    table(rows, ["NODE", "STATE", "TYPE", "ATTEMPTS", "TOOK", "ERROR"], state=1)
    print(f"inputs: {pretty(view['inputs'])}")
    if view["error"]:
        print(f"error: {pretty(view['error'])}")
    elif view["ended_at"]:
        print(f"output: {pretty(view['output'])}")
    return DONE


def steer(connection: Connection, options: Any) -> int:
    body = {"reason": options.reason} if getattr(options, "reason", None) else {}
    view = connection.call("POST", f"/api/v1/runs/{options.run}/{options.action}", body)
    if options.json:
        document(view)
    else:
        print(colour(view["status"], view["status"]))
    return DONE


def signal(connection: Connection, options: Any) -> int:
    _, text, _ = read_json(options.payload, "--payload")
    body = f'{{"name": {json.dumps(options.name)}, "payload": {text}}}'
    answer = connection.send(
        "POST", f"/api/v1/runs/{options.run}/signal", raw(body), {"Content-Type": "application/json"}
    )
    if options.json:
        document(answer)
    else:
        print(f"Sent {options.name}.")
    return DONE


def retry_policy(connection: Connection, options: Any) -> int:
    value, _, _ = read_json(options.retry, "The retry policy")
    view = connection.call("POST", f"/api/v1/runs/{options.run}/retry-policy", {"node": options.node, "retry": value})
    if options.json:
        document(view)
    else:
        print(f"{options.node} is retried by the new policy from here on.")
    return DONE


def replay(connection: Connection, options: Any) -> int:
    body: dict[str, Any] = {"from": options.start}
    if options.inputs is not None:
        value, _, folder = read_json(options.inputs, "--inputs")
        body["inputs"] = with_uploads(connection, value, folder)
    if options.version:
        body["version"] = options.version
    view = connection.call("POST", f"/api/v1/runs/{options.run}/replay", body)
    if options.follow:
        from cli.logs import follow

        return follow(connection, view["id"], as_json=options.json)
    if options.json:
        document(view)
    else:
        print(f"Replays {options.run} from {options.start} as {view['id']}: {view['status']}")
    return DONE


def verify(connection: Connection, options: Any) -> int:
    report = connection.get(f"/api/v1/runs/{options.run}/verify")
    if options.json:
        document(report)
    else:
        for check in report["checks"]:
            mark = colour("✓", "done") if check["ok"] else colour("✗", "failed")
            print(f"{mark} {check['name']} ({check['detail']})")
        for problem in report["problems"]:
            print(f"  seq {problem.get('seq', '–')}: {problem['message']}")
        print("The run is what its log says." if report["ok"] else "The run differs from its log.")
    return DONE if report["ok"] else REFUSED


def why(connection: Connection, options: Any) -> int:
    answer = connection.get(f"/api/v1/runs/{options.run}/why")
    if options.json:
        document(answer)
        return DONE
    print(f"{answer['run']}: {colour(answer['status'], answer['status'])}")
    if answer["error"]:
        print(f"  {answer['error'].get('message')}")
    for cause in answer["causes"]:
        until = f", until {local_time(cause['until'])}" if cause.get("until") else ""
        who = f" – {cause['who']} can end it" if cause.get("who") else ""
        indent = "  " * (cause["depth"] + 1)
        what = f"{cause['node'] or 'the run'} waits for {cause['what']}"
        print(f"{indent}{what}, since {local_time(cause['since'])}{until}{who}")
    if not answer["causes"] and not answer["error"]:
        print("  It waits for nothing.")
    return DONE
