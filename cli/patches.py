"""Commands on patches of running runs and of workflows: propose, list, show, decide, revert, promote, squash."""

from __future__ import annotations

import json

from cli.connection import Connection, query, quote
from cli.exits import DONE, UsageError
from cli.printing import clean, colour, document, local_time, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def propose(connection: Connection, options: Any) -> int:
    """`aob patch propose`: FILE holds a list of operations, or a whole request with `operations`."""
    from cli.reading import read_json

    value = read_json(options.file, "The patch")[0]
    body: dict[str, Any] = {"operations": value} if isinstance(value, list) else value
    if not isinstance(body, dict) or "operations" not in body:
        raise UsageError('a patch is a list of operations as in RFC 6902, or {"operations": […], "reason": "…"}.')
    given = {"reason": options.reason, "base": options.base, "mode": options.mode}
    body |= {name: text for name, text in given.items() if text is not None}
    if _is_run(options.target):
        return _told(connection.call("POST", f"/runs/{quote(options.target)}/patch", body), options)
    name, tag = named(options.target)
    return _told(connection.call("POST", f"/workflows/{quote(name)}/patches", {**body, "tag": tag}), options)


def _is_run(target: str) -> bool:
    """A run is named by a UUID; nobody names workflows so."""
    import uuid

    try:
        return str(uuid.UUID(target)) == target
    except ValueError:
        return False


def named(target: str) -> tuple[str, str]:
    """`name@tag` in parts."""
    name, _, tag = target.partition("@")
    return name, tag or "latest"


def _told(patch: dict[str, Any], options: Any) -> int:
    if options.json:
        document(patch)
    else:
        _said(patch)
    return DONE


def _said(patch: dict[str, Any]) -> None:
    print(f"patch {clean(patch['id'])}: {colour(_words(patch['status']), _colour(patch['status']))}")
    if patch.get("version"):
        print(f"version {clean(patch['version'])}")
    if patch.get("held_because"):
        print(clean(patch["held_because"]))
    for words in patch.get("words", ()):
        print(clean(words))


def listing(connection: Connection, options: Any) -> int:
    """`aob patch list`."""
    is_run = _is_run(options.target)
    page = connection.get(f"/runs/{quote(options.target)}/patches") if is_run else _all(connection, options.target)
    if options.json:
        document(page)
        return DONE
    if not page["items"]:
        print("No patches.")
    rows = [
        [one["id"], _words(one["status"]), _author(one["by"]), local_time(one["at"]), one["reason"]]
        for one in page["items"]
    ]
    table(rows, ["PATCH", "STATUS", "BY", "WHEN", "REASON"], state=1)
    return DONE


def _all(connection: Connection, target: str) -> dict[str, Any]:
    """All patches of a workflow, or of one tag where that is named; the newest first."""
    name, _, tag = target.partition("@")
    items: list[Any] = []
    cursor = None
    while True:
        page = connection.get(f"/workflows/{quote(name)}/patches{query(tag=tag or None, cursor=cursor)}")
        items += page["items"]
        cursor = page["next"]
        if not cursor:
            return {"items": items, "next": None}


def show(connection: Connection, options: Any) -> int:
    """`aob patch show`: what it changes, and what it would do."""
    patch = connection.get(f"/patches/{quote(options.patch)}")
    if options.json:
        document(patch)
        return DONE
    _said(patch)
    if "run" in patch:
        print(f"run {clean(patch['run'])}, seq {clean(patch['seq'])}")
    else:
        place = f", number {clean(patch['number'])} in its chain" if "number" in patch else ""
        print(f"workflow {clean(patch['workflow'])}@{clean(patch['tag'])}{place}")
    print(f"by {_author(patch['by'])}, {local_time(patch['at'])}: {clean(patch['reason']) or 'no reason given'}")
    if patch.get("decided_by"):
        print(f"decided by {clean(patch['decided_by'])}: {clean(patch.get('decision')) or 'no reason given'}")
    for name in patch.get("read", ()):
        print(f"had read {clean(name)}")
    for operation in patch.get("operations", ()):
        place = f"{operation['from']} → {operation['path']}" if "from" in operation else operation["path"]
        value = f" {json.dumps(operation['value'], ensure_ascii=False)}" if "value" in operation else ""
        state = {"add": "done", "remove": "failed"}.get(operation["op"], "running")
        print(f"  {colour(clean(operation['op']), state)} {clean(place)}{clean(value)}")
    for error in patch.get("errors", ()):
        print(f"  {colour('refused', 'failed')} {clean(error['pointer'])}: {clean(error['message'])} ({error['layer']})")
    if "run" in patch:
        _forecast(patch.get("report"))
    return DONE


def _forecast(report: dict[str, Any] | None) -> None:
    if not report:
        return
    print(colour("what would follow", "bold"))
    for key, words in (
        ("starts", "would run"), ("acts", "would act outside"), ("assumed", "taken from an earlier run"),
        ("open", "would wait or act"), ("skips", "would be skipped"),
    ):  # fmt: skip
        if report[key]:
            print(f"  {words}: {', '.join(map(clean, report[key]))}")
    for failure in report["failures"]:
        print(f"  {colour('would fail', 'failed')}: {clean(failure['node'])}: {clean(failure['error']['message'])}")
    if not report["complete"]:
        where = f" at {clean(report['stopped_at'])}" if report.get("stopped_at") else ""
        print(f"  the forecast was cut off{where}")


def decide(connection: Connection, options: Any) -> int:
    """`aob patch approve|reject`."""
    body = {"answer": options.action, **({"reason": options.reason} if options.reason else {})}
    return _changed(connection, options, "decide", body)


def revert(connection: Connection, options: Any) -> int:
    """`aob patch revert`: a new patch that undoes one."""
    return _changed(connection, options, "revert", {"reason": options.reason} if options.reason else {})


def promote(connection: Connection, options: Any) -> int:
    """`aob patch promote`: a run's patch for the later runs of its workflow."""
    given = {"tag": options.tag, "reason": options.reason}
    return _changed(connection, options, "promote", {name: text for name, text in given.items() if text is not None})


def squash(connection: Connection, options: Any) -> int:
    """`aob patch squash`: the chain behind a tag becomes one patch."""
    name, tag = named(options.name)
    body = {"tag": tag, **({"reason": options.reason} if options.reason else {})}
    return _told(connection.call("POST", f"/workflows/{quote(name)}/patches/squash", body), options)


def _changed(connection: Connection, options: Any, door: str, body: dict[str, Any]) -> int:
    return _told(connection.call("POST", f"/patches/{quote(options.patch)}/{door}", body), options)


def _words(status: str) -> str:
    return clean(status).replace("_", " ")


def _colour(status: str) -> str:
    known = {"applied": "done", "pending_review": "waiting", "refused": "failed", "rejected": "failed"}
    return known.get(status, "faint")


def _author(by: dict[str, Any]) -> str:
    return clean(by["name"]) if by["kind"] == "person" else f"{clean(by['kind'])} {clean(by['name'])}"
