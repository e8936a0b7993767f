"""`why` and `verify`: what a run waits for, and whether it is what its log says."""

from __future__ import annotations

from cli.connection import LONG_SECONDS, Connection, quote
from cli.exits import DONE, REFUSED
from cli.printing import clean, colour, document, error_text, local_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def why(connection: Connection, options: Any) -> int:
    """`aob why RUN`: a tree; what waits for a child run has the causes of that run below it."""
    answer = connection.get(f"/runs/{quote(options.run)}/why")
    if options.json:
        document(answer)
        return DONE
    print(f"{clean(answer['run'])}: {colour(clean(answer['status']), answer['status'])}")
    if answer.get("error"):
        print(f"  {error_text(answer['error'])}")
    causes = answer["causes"]
    for line in tree([(cause["depth"], _words(cause)) for cause in causes]):
        print(line)
    if not causes and not answer.get("error"):
        print("  It waits for nothing.")
    return DONE


def _words(cause: dict[str, Any]) -> str:
    until = f", until {local_time(cause['until'])}" if cause.get("until") else ""
    who = f" – ended by {clean(cause['who'])}" if cause.get("who") else ""
    waits = f"{clean(cause['node'] or 'the run')} waits for {colour(clean(cause['what']), 'waiting')}"
    return f"{waits}, since {local_time(cause['since'])}{until}{who}"


def tree(entries: list[tuple[int, str]]) -> list[str]:
    """Lines with branches drawn before them, from (depth, text) in the order of a walk."""
    lines = []
    open_at: list[bool] = []
    for place, (depth, text) in enumerate(entries):
        following = (later for later, _ in entries[place + 1 :] if later <= depth)
        goes_on = next(following, -1) == depth
        open_at = [*open_at[:depth], *([False] * (depth - len(open_at))), goes_on]
        before = "".join("│  " if more else "   " for more in open_at[:depth])
        lines.append(f"{before}{'├─' if goes_on else '└─'} {text}")
    return lines


def verify(connection: Connection, options: Any) -> int:
    """`aob verify RUN`: exit code 1 when a check fails."""
    report = connection.get(f"/runs/{quote(options.run)}/verify", seconds=LONG_SECONDS)
    if options.json:
        document(report)
        return DONE if report["ok"] else REFUSED
    for check in report["checks"]:
        mark = colour("✓", "done") if check["ok"] else colour("✗", "failed")
        detail = f" ({clean(check['detail'])})" if check.get("detail") else ""
        print(f"{mark} {clean(check['name'])}{detail}")
    for problem in report["problems"]:
        print(f"  seq {problem.get('seq', '–')}: {clean(problem['message'])} ({clean(problem['code'])})")
    said = "The run is what its log says." if report["ok"] else "The run differs from its log."
    print(f"{said} {report['events']} events.")
    return DONE if report["ok"] else REFUSED
