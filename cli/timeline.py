"""`--follow`: the live timeline of a run, then its result."""

from __future__ import annotations

import sys
import time

from cli.connection import Connection, quote
from cli.exits import DONE, INTERRUPTED, REFUSED
from cli.logs import Stream
from cli.printing import between, clean, colour, cut, document, duration, error_text, is_terminal, moment, pretty, width
from cli.status import BAD_ENDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SMALL_MAP = 20
"""Items of a map up to which what happens inside them is printed line by line; larger ones show only n/m."""
REDRAW_SECONDS = 0.1


def follow(connection: Connection, run: str, *, as_json: bool) -> int:
    """Prints until the run has ended; 1 when it ended badly, 130 on Ctrl-C, which leaves the run alone."""
    events = Stream(connection, run)
    view = Timeline()
    try:
        if not as_json:
            print(colour(f"run {clean(run)}", "faint"), flush=True)
        for event in events:
            if as_json:
                document(event)
                sys.stdout.flush()
            else:
                view.take(event)
        result = connection.get(f"/runs/{quote(run)}")
    except KeyboardInterrupt:
        view.clear()
        sys.stdout.flush()
        print(f"\nThe run goes on. Follow it: {events.command()}", file=sys.stderr)
        print(f"Cancel it: aob run cancel {clean(run)}", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        document(result)
    else:
        view.clear()
        _finish(result)
    return REFUSED if result["status"] in BAD_ENDS else DONE


def _finish(run: dict[str, Any]) -> None:
    hint = f"aob run status {clean(run['id'])} --json shows all"
    if run["status"] == "completed":
        print(pretty(run["output"], hint))
    elif run["error"]:
        print(pretty(run["error"], hint))
    took = between(run["created_at"], run["ended_at"])
    print(f"{colour(clean(run['status']), run['status'])}: {clean(run['workflow'])} {clean(run['id'])} in {took}")


class Timeline:
    """One line for each event that matters; the progress of large maps on one line that changes."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._since: dict[str, float] = {}
        self._maps: dict[str, list[int]] = {}
        self._drawn = False
        self._drawn_at = 0.0

    def take(self, event: dict[str, Any]) -> None:
        """Prints what an event tells."""
        at = moment(event["at"])
        self._start = at if self._start is None else self._start
        data = event.get("data") or {}
        act = getattr(self, f"_on_{event['type']}", None)
        if act is not None:
            act(at, event.get("node") or "", data)

    def clear(self) -> None:
        """Takes the line that changes away."""
        if self._drawn:
            print("\r\033[K", end="")
            self._drawn = False

    def _on_RunStarted(self, at: float, node: str, data: dict[str, Any]) -> None:
        origin = data.get("forked_from") or {}
        text = f"replays {origin.get('run')} from {origin.get('from')}" if origin else ""
        self._line(at, str(data.get("workflow") or "the run"), "running", text)

    def _on_TaskScheduled(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._since.setdefault(node, at)

    _on_TaskStarted = _on_TaskScheduled

    def _on_IterationStarted(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._since.setdefault(node.rpartition("[")[0] if node.endswith("]") else node, at)

    def _on_TaskFailed(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node, "error", f"attempt {data.get('attempt', '?')}: {error_text(data.get('error'))}")

    def _on_TaskLost(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node, "error", f"attempt {data.get('attempt', '?')}: its worker was lost")

    def _on_RetryScheduled(self, at: float, node: str, data: dict[str, Any]) -> None:
        until = data.get("until")
        when = f" in {duration(moment(until) - at)}" if until else ""
        because = f", because of {data['because']}" if data.get("because") else ""
        self._line(at, node, "retry", f"attempt {data.get('attempt', '?')}{when}{because}")

    def _on_NodeCompleted(self, at: float, node: str, data: dict[str, Any]) -> None:
        if self._is_hidden(node):
            return
        parts = [duration(at - self._since[node])] if node in self._since else []
        if node in self._maps:
            parts.append("{}/{}".format(*self._maps[node]))
        if data.get("port") not in (None, "out"):
            parts.append(f"→ {data['port']}")
        if data.get("log"):
            parts.append(str(data["log"].get("message", "")))
        self._line(at, node, "done", "  ".join(parts))

    def _on_NodeFailed(self, at: float, node: str, data: dict[str, Any]) -> None:
        handled = data.get("handled", "fail")
        if handled != "fail" and self._is_hidden(node):
            return
        after = "" if handled == "fail" else f" (on_failure: {handled})"
        self._line(at, node, "failed", error_text(data.get("error")) + after)

    def _on_NodeWaiting(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._since.setdefault(node, at)
        if self._is_hidden(node):
            return
        words = [f"for the signal {data['name']!r}"] if data.get("kind") == "signal" and "name" in data else []
        if data.get("ticket"):
            words = [f"for a decision: {data.get('title', '')} (aob approve {data.get('ticket', '')} approve|reject)"]
        if data.get("until"):
            words.append(f"{'at most ' if words else ''}{duration(moment(data['until']) - at)}")
        self._line(at, node, "waiting", ", ".join(words))

    def _on_MapStarted(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._since[node] = at
        self._maps[node] = [0, int(data.get("count") or 0)]
        self._line(at, node, "running", f"{self._maps[node][1]} items")

    def _on_ItemCompleted(self, at: float, node: str, data: dict[str, Any]) -> None:
        name = node.rpartition("[")[0] if node.endswith("]") else node
        done = self._maps.setdefault(name, [0, 0])
        done[0] += 1
        if is_terminal():
            self._draw(at, name, done)
        elif done[1] > SMALL_MAP and done[0] * 10 // done[1] > (done[0] - 1) * 10 // done[1]:
            self._line(at, name, "running", f"{done[0]}/{done[1]}")

    def _on_ItemFailed(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node, "failed", error_text(data.get("error")))
        self._on_ItemCompleted(at, node, data)

    def _on_ChildStarted(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._since[node] = at
        if not self._is_hidden(node):
            self._line(at, node, "waiting", f"for run {data.get('child') or data.get('run') or ''}")

    def _on_LoopEnded(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node, "running", f"the loop ended after {data.get('iterations', '?')} iterations")

    def _on_EngineFailed(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "failed", error_text(data.get("error")))

    def _on_SignalReceived(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node or "the run", "running", f"signal {data.get('name', '')!r} {_by(data)}")

    def _on_TicketEscalated(self, at: float, node: str, data: dict[str, Any]) -> None:
        people = ", ".join(data.get("assignees", ())) or "anybody"
        self._line(at, node, "waiting", f"for a decision of {people} now")

    def _on_TicketDelegated(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node, "waiting", f"for {data.get('to', '')} to decide, handed over {_by(data)}")

    def _on_TicketDecided(self, at: float, node: str, data: dict[str, Any]) -> None:
        by = _by(data) if data.get("by") else ""
        self._line(at, node, "running", f"{data.get('status', '')} {by} {data.get('reason') or ''}".replace("_", " "))

    def _on_PauseRequested(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "paused", _by(data))

    def _on_ResumeRequested(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "running", f"resumed {_by(data)}")

    def _on_CancelRequested(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "cancelled", f"{_by(data)} {data.get('reason') or ''}")

    def _on_RetryOverridden(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, node, "running", f"another retry policy {_by(data)}")

    def _on_PatchApplied(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "running", f"patched {_author(data)}")

    def _on_PatchProposed(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "waiting", f"patch proposed {_author(data)}")

    def _on_PatchRefused(self, at: float, node: str, data: dict[str, Any]) -> None:
        self._line(at, "the run", "failed", f"patch refused {_author(data)}")

    def _is_hidden(self, node: str) -> bool:
        """True inside an item of a large map."""
        return any(count > SMALL_MAP and node.startswith(f"{name}[") for name, (_, count) in self._maps.items())

    def _draw(self, at: float, name: str, done: list[int]) -> None:
        now = time.monotonic()
        if now - self._drawn_at < REDRAW_SECONDS and done[0] < done[1]:
            return
        self._drawn, self._drawn_at = True, now
        text = f"{self._when(at)}  {clean(name)}  {done[0]}/{done[1]}"
        print(f"\r\033[K{cut(text, max(width() - 1, 8))}", end="", flush=True)

    def _when(self, at: float) -> str:
        return f"{max(at - (self._start or at), 0.0):6.1f}s"

    def _line(self, at: float, name: str, state: str, text: str) -> None:
        self.clear()
        start = f"{self._when(at)}  {clean(name):<24}  "
        room = max(width() - len(start) - 11, 20) if width() else 0
        end = cut(clean(text.strip()), room)
        print(f"{start}{colour(f'{state:<9}', state)}  {end}".rstrip(), flush=True)


def _author(data: dict[str, Any]) -> str:
    author = data.get("by")
    return f"by {author['name']}" if isinstance(author, dict) and "name" in author else ""


def _by(data: dict[str, Any]) -> str:
    return f"by {data['by']}" if data.get("by") else ""
