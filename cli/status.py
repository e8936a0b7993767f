"""`aob run status`: asked by scripts again and again, so it does without argparse (30 ms)."""

from __future__ import annotations

from cli.connection import Connection, quote
from cli.exits import DONE, REFUSED, guarded
from cli.printing import colour, document, local_time

ENDED_BADLY = ("failed", "cancelled", "timed_out")


def quick(arguments: list[str]) -> int | None:
    """Runs `RUN [--json]`; None when there are other options, which the parser understands."""
    names = [word for word in arguments if word != "--json"]
    if len(names) != 1 or names[0].startswith("-"):
        return None
    as_json = "--json" in arguments
    return guarded(lambda: status(Connection.find(), names[0], as_json=as_json), as_json=as_json)


def status(connection: Connection, run: str, *, as_json: bool) -> int:
    """Prints the state of a run and what it waits for; 1 when it ended badly."""
    view = connection.get(f"/api/v1/runs/{quote(run)}")
    if as_json:
        document(view)
    else:
        print(colour(view["status"], view["status"]))
        for one in view["waiting_for"][:10]:
            print(f"  {one['node'] or 'the run'} waits for {one['what']} since {local_time(one['since'])}")
        if view["error"]:
            print(f"  {view['error'].get('code')}: {view['error'].get('message')}")
    return REFUSED if view["status"] in ENDED_BADLY else DONE
