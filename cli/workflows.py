"""Commands on workflows and node types."""

from __future__ import annotations

import json

from cli.connection import JSON, Connection, encode, query, quote
from cli.exits import DONE, REFUSED, Refused, UsageError
from cli.printing import clean, colour, document, local_time, table
from cli.reading import check_json, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def push(connection: Connection, options: Any) -> int:
    """`aob workflow push`."""
    members = [b'"document": ' + _document(options.file)]
    for name in ("tag", "note"):
        value = getattr(options, name)
        if value is not None:
            members.append(encode(name) + b": " + encode(value))
    pushed = connection.send("POST", "/workflows", b"{" + b", ".join(members) + b"}", JSON)
    if options.json:
        document(pushed)
    else:
        print(f"{clean(pushed['name'])} version {pushed['number']}: {clean(pushed['version'])}")
        _show_problems(pushed.get("problems", ()))
    return DONE


def _document(name: str) -> bytes:
    """The text of a file as it stands, after a look whether it is JSON."""
    data = read(name)
    check_json(data, "Standard input" if name == "-" else name)
    return data


def pull(connection: Connection, options: Any) -> int:
    """`aob workflow pull`."""
    found = _version(connection, options.name)
    text = json.dumps(found["document"], indent=2, ensure_ascii=False) + "\n"
    if options.output:
        try:
            with open(options.output, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(f"{options.output!r} cannot be written: {error.strerror}.") from None
    if options.json:
        document(found | {"file": options.output} if options.output else found)
    elif options.output:
        print(f"Wrote {clean(options.output)}.")
    else:
        print(text, end="")
    return DONE


def _version(connection: Connection, name: str) -> Any:
    """A version with its document, by NAME[@TAG]."""
    workflow, _, wanted = name.partition("@")
    return connection.get(f"/workflows/{quote(workflow)}/versions/{quote(wanted or 'latest')}")


def _all(connection: Connection, path: str) -> dict[str, Any]:
    """Every item of a list, over all its pages."""
    items: list[Any] = []
    cursor = None
    while True:
        page = connection.get(f"{path}{query(limit=500, cursor=cursor)}")
        items += page["items"]
        cursor = page["next"]
        if not cursor:
            return {"items": items, "next": None}


def listing(connection: Connection, options: Any) -> int:
    """`aob workflow list`."""
    found = _all(connection, "/workflows")
    if options.json:
        document(found)
        return DONE
    rows = [
        [
            one["name"], one.get("number"), ", ".join(sorted(one.get("tags") or ())),
            (one.get("description") or "").split("\n")[0],
        ]
        for one in found["items"]
    ]  # fmt: skip
    if not rows:
        print("No workflows yet. Push one: aob workflow push FILE")
    table(rows, ["NAME", "VERSION", "TAGS", "DESCRIPTION"])
    return DONE


def versions(connection: Connection, options: Any) -> int:
    """`aob workflow versions`."""
    found = _all(connection, f"/workflows/{quote(options.name)}/versions")
    if options.json:
        document(found)
        return DONE
    rows = [
        [one["number"], one["version"], local_time(one.get("created_at")), one.get("note") or ""]
        for one in found["items"]
    ]
    table(rows, ["NUMBER", "VERSION", "PUSHED", "NOTE"])
    return DONE


def tag(connection: Connection, options: Any) -> int:
    """`aob workflow tag`."""
    version = version_hash(connection, options.name, options.version)
    moved = connection.call("PUT", f"/workflows/{quote(options.name)}/tags/{quote(options.tag)}", {"version": version})
    if options.json:
        document(moved)
    else:
        print(f"{clean(options.name)}@{clean(options.tag)} is {clean(version)} now.")
    return DONE


def version_hash(connection: Connection, name: str, version: str) -> str:
    """The hash of a version that is given as a number, a tag or a hash."""
    if version.startswith("sha256:"):
        return version
    if version.isascii() and version.isdigit():
        for one in _all(connection, f"/workflows/{quote(name)}/versions")["items"]:
            if one["number"] == int(version):
                return str(one["version"])
        raise UsageError(f"{name} has no version {version}; see `aob workflow versions {name}`.")
    return str(connection.get(f"/workflows/{quote(name)}/versions/{quote(version)}")["version"])


def validate(connection: Connection, options: Any) -> int:
    """`aob workflow validate`: exit code 1 when the document cannot be run."""
    body = b'{"document": ' + _document(options.file) + b"}"
    report = connection.send("POST", "/workflows/validate", body, JSON)
    if options.json:
        document(report)
        return DONE if report["valid"] else REFUSED
    _show_problems(report["problems"])
    print("The document is valid." if report["valid"] else "The document cannot be run.")
    return DONE if report["valid"] else REFUSED


def _show_problems(problems: Iterable[dict[str, Any]]) -> None:
    for problem in problems:
        hint = f" ({clean(problem['hint'])})" if problem.get("hint") else ""
        severity = clean(problem["severity"])
        place = clean(problem["pointer"] or "(document)")
        print(f"{colour(severity, severity)} {place}: {clean(problem['message'])}{hint}")


def diff(connection: Connection, options: Any) -> int:
    """`aob workflow diff`: the documents in canonical order, one value a line."""
    import difflib

    old, new = (_lines(connection, name) for name in (options.old, options.new))
    lines = list(difflib.unified_diff(old, new, options.old, options.new, lineterm=""))
    if options.json:
        document({"same": not lines, "diff": lines})
        return DONE
    for line in lines:
        state = {"+": "done", "-": "failed", "@": "faint"}.get(line[0], "")
        print(colour(clean(line), state))
    if not lines:
        print("They are the same.")
    return DONE


def _lines(connection: Connection, name: str) -> list[str]:
    from cli.starting import is_file

    if not is_file(name):
        value = _version(connection, name)["document"]
    else:
        value = check_json(read(name), name)
        if value is None:
            raise Refused(400, {"detail": f"{name} is nested too deeply.", "code": "json_too_deep"})
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).split("\n")


def node_types(connection: Connection, options: Any) -> int:
    """`aob node-types [TYPE]`."""
    if options.type is not None:
        return _node_type(connection.get(f"/node-types/{quote(options.type)}"), options)
    page = connection.get("/node-types")
    if options.json:
        document(page)
        return DONE
    rows = [
        [one["name"], one.get("kind"), ", ".join(one.get("ports") or ()), (one.get("help") or "").split(". ")[0]]
        for one in page["items"]
    ]
    table(rows, ["TYPE", "KIND", "PORTS", "HELP"])
    return DONE


def _node_type(one: Any, options: Any) -> int:
    """`aob node-types TYPE`: what it does, its config, examples and errors."""
    if options.json:
        document(one)
        return DONE
    print(f"{clean(one['name'])}: {clean(one['title'])} ({clean(one['kind'])})\n\n{clean(one['help'])}\n")
    print(f"Ports: {clean(', '.join(one['ports']))}\n")
    schema = one["config_schema"]
    required = set(schema.get("required", ()))
    rows = [
        [name, "yes" if name in required else "", _type_of(part), part.get("description") or part.get("title") or ""]
        for name, part in schema.get("properties", {}).items()
    ]
    table(rows, ["CONFIG", "REQUIRED", "TYPE", "WHAT"])
    for example in one.get("examples", ()):
        print(f"\n{clean(example['title'])}:")
        for line in json.dumps(example["config"], indent=2, ensure_ascii=False).split("\n"):
            print(clean(line))
        print(f"gives {clean(json.dumps(example['result'], ensure_ascii=False))} by the port {clean(example['port'])}")
    print()
    table([[note["code"], note["meaning"], note["hint"]] for note in one.get("errors", ())], ["ERROR", "MEANING", "HINT"])
    return DONE


def _type_of(schema: Any) -> str:
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    kind = schema.get("type", "any JSON")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
