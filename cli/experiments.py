"""`aob workflow experiment`: try a version on a share of the new runs of a tag, and compare both."""

from __future__ import annotations

from cli.connection import Connection, quote
from cli.exits import DONE, UsageError
from cli.patches import named
from cli.printing import clean, document, local_time, table
from cli.workflows import version_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def experiment(connection: Connection, options: Any) -> int:
    """`aob workflow experiment`: begins one, ends it, or says how it goes."""
    name, tag = named(options.name)
    path = f"/workflows/{quote(name)}/tags/{quote(tag)}/experiment"
    begins = options.version is not None or options.patch is not None
    if begins + options.outcomes + (options.end is not None) != 1:
        raise UsageError("say one of --version or --patch with --share, --outcomes, or --end.")
    if begins:
        if options.share is None:
            raise UsageError("--share says how many of a hundred new runs get the version.")
        version = None if options.version is None else version_hash(connection, name, options.version)
        given = {"version": version, "patch": options.patch, "share": options.share}
        found = connection.call("PUT", path, {key: part for key, part in given.items() if part is not None})
    elif options.end is not None:
        keep = "true" if options.end == "keep" else "false"
        found = connection.send("DELETE", f"{path}?keep={keep}", None, {})
    else:
        found = connection.get(path)
    if options.json:
        document(found)
        return DONE
    where = f"{clean(found['workflow'])}@{clean(found['tag'])}"
    print(f"{where}: {clean(found['status'])}, {clean(found['share'])} % since {local_time(found['began_at'])}")
    rows = [
        [
            one["role"], one["version"], one["runs"], one["completed"], one["failed"], _seconds(one["median"]),
            _seconds(one["p95"]),
        ]
        for one in found["versions"]
    ]  # fmt: skip
    table(rows, ["WHICH", "VERSION", "RUNS", "COMPLETED", "FAILED", "MEDIAN", "P95"])
    return DONE


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"
