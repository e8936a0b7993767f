"""Commands on workflows."""

from __future__ import annotations

import json
from typing import Any

from cli.connection import Connection, quote
from cli.exits import DONE, REFUSED, UsageError
from cli.printing import colour, document, local_time, table
from cli.reading import raw, read_text

JSON = {"Content-Type": "application/json"}


def push(connection: Connection, options: Any) -> int:
    more = json.dumps({"note": options.note} | ({"tag": options.tag} if options.tag else {}), ensure_ascii=False)
    text = f'{{"document": {read_text(options.file)}, {more[1:]}'
    pushed = connection.send("POST", "/api/v1/workflows", raw(text), JSON)
    if options.json:
        document(pushed)
    else:
        print(f"{pushed['name']} version {pushed['number']}: {pushed['version']}")
    return DONE


def pull(connection: Connection, options: Any) -> int:
    name, _, tag = options.name.partition("@")
    found = connection.get(f"/api/v1/workflows/{quote(name)}/versions/{quote(tag or 'latest')}")
    text = json.dumps(found["document"], indent=2, ensure_ascii=False) + "\n"
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"Wrote {options.output}.")
    elif options.json:
        document(found)
    else:
        print(text, end="")
    return DONE


def listing(connection: Connection, options: Any) -> int:
    page = connection.get("/api/v1/workflows?limit=500")
    if options.json:
        document(page)
        return DONE
    rows = [
        [one["name"], str(one["number"]), ", ".join(sorted(one["tags"])), one["description"].split("\n")[0]]
        for one in page["items"]
    ]
    if not rows:
        print("No workflows. Push one: aob workflow push FILE")
    table(rows, ["NAME", "VERSION", "TAGS", "DESCRIPTION"])
    return DONE


def versions(connection: Connection, options: Any) -> int:
    page = connection.get(f"/api/v1/workflows/{quote(options.name)}/versions")
    if options.json:
        document(page)
        return DONE
    rows = [[str(one["number"]), one["version"], local_time(one["created_at"]), one["note"]] for one in page["items"]]
    table(rows, ["NUMBER", "VERSION", "PUSHED", "NOTE"])
    return DONE


def tag(connection: Connection, options: Any) -> int:
    path = f"/api/v1/workflows/{quote(options.name)}/tags/{quote(options.tag)}"
    moved = connection.call("PUT", path, {"version": options.version})
    if options.json:
        document(moved)
    else:
        print(f"{options.name}@{moved['tag']} is {moved['version']} now.")
    return DONE


def validate(connection: Connection, options: Any) -> int:
    text = f'{{"document": {read_text(options.file)}}}'
    report = connection.send("POST", "/api/v1/workflows/validate", raw(text), JSON)
    if options.json:
        document(report)
    else:
        for problem in report["problems"]:
            hint = f" ({problem['hint']})" if problem.get("hint") else ""
            state = "failed" if problem["severity"] == "error" else "waiting"
            print(f"{colour(problem['severity'], state)} {problem['pointer'] or '/'}: {problem['message']}{hint}")
        print("The document is valid." if report["valid"] else "The document cannot be run.")
    return DONE if report["valid"] else REFUSED


def diff(connection: Connection, options: Any) -> int:
    import difflib

    old, new = (_lines(connection, name) for name in (options.old, options.new))
    lines = list(difflib.unified_diff(old, new, options.old, options.new, lineterm=""))
    if options.json:
        document({"same": not lines, "diff": lines})
        return DONE
    for line in lines:
        print(colour(line, "done" if line.startswith("+") else "failed" if line.startswith("-") else "faint"))
    if not lines:
        print("They are the same.")
    return DONE


def _lines(connection: Connection, name: str) -> list[str]:
    """A document in canonical order, one value a line."""
    if name.endswith(".json") or "/" in name:
        try:
            value = json.loads(read_text(name))
        except ValueError as error:
            raise UsageError(f"{name} is not JSON: {error}.") from None
    else:
        workflow, _, wanted = name.partition("@")
        path = f"/api/v1/workflows/{quote(workflow)}/versions/{quote(wanted or 'latest')}"
        value = connection.get(path)["document"]
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def node_types(connection: Connection, options: Any) -> int:
    page = connection.get("/api/v1/node-types")
    if options.json:
        document(page)
        return DONE
    rows = [[one["name"], one["kind"], ", ".join(one["ports"]), one["help"].split(". ")[0]] for one in page["items"]]
    table(rows, ["TYPE", "KIND", "PORTS", "HELP"])
    return DONE
