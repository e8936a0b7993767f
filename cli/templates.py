"""Commands on the templates gallery."""

from __future__ import annotations

from cli.connection import Connection, query, quote
from cli.exits import DONE
from cli.printing import clean, colour, document, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def listing(connection: Connection, options: Any) -> int:
    """`aob template list`."""
    found = connection.get(f"/templates{query(q=' '.join(options.words) or None)}")
    if options.json:
        document(found)
        return DONE
    if not found["items"]:
        print("No template has these words. See all: aob template list")
    rows = [[one["slug"], one["level"], one["category"], one["idea"]] for one in found["items"]]
    table(rows, ["TEMPLATE", "LEVEL", "CATEGORY", "IDEA"])
    return DONE


def show(connection: Connection, options: Any) -> int:
    """`aob template show`."""
    one = connection.get(f"/templates/{quote(options.template)}")
    if options.json:
        document(one)
        return DONE
    print(f"{clean(one['title'])} ({clean(one['category'])}, {clean(one['level'])})\n\n{clean(one['idea'])}\n")
    for number, step in enumerate(one["try"], 1):
        print(f"{number}. {clean(step['do'])}\n   {colour(clean(step['see']), 'faint')}")
    print(f"\nNode types: {clean(', '.join(one['node_types']))}")
    print(f"Use it: aob template use {clean(one['slug'])}")
    return DONE


def use(connection: Connection, options: Any) -> int:
    """`aob template use`."""
    body = {} if options.name is None else {"name": options.name}
    made = connection.call("POST", f"/templates/{quote(options.template)}/use", body)
    if options.json:
        document(made)
    else:
        print(f"Began the draft {clean(made['name'])}. Draw on: {clean(connection.url)}{clean(made['editor'])}")
    return DONE


def run(connection: Connection, options: Any) -> int:
    """`aob template run`."""
    from cli.starting import tell

    view = connection.call("POST", f"/templates/{quote(options.template)}/run", {})
    return tell(connection, options, view, f"Started {clean(view['workflow'])} as {clean(view['id'])}")
