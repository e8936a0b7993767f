"""Following a run: every event once, over any number of dropped connections."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cli.connection import Connection, Unreachable, query, sse
from cli.exits import DONE, INTERRUPTED, REFUSED
from cli.printing import colour, document, duration, is_terminal, pretty

GIVE_UP_SECONDS = 60.0
BAD_ENDS = ("failed", "cancelled", "timed_out")
ENDS = {
    "RunCompleted": "completed",
    "RunFailed": "failed",
    "RunCancelled": "cancelled",
    "RunTimedOut": "timed_out",
}


def events(connection: Connection, run: str, *, after: int = 0, **filters: Any) -> Iterator[dict[str, Any]]:
    """The events of a run until it ends; goes on after the last seen seq when the connection drops."""
    lost_at: float | None = None
    pause = 0.1
    while True:
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
            response = connection.open("GET", f"/api/v1/runs/{run}/events{query(**filters)}", None, headers)
            for message in sse(response):
                if message.get("event") == "end":
                    return
                event = json.loads(message["data"])
                if event["seq"] > after:
                    after = event["seq"]
                    yield event
                lost_at, pause = None, 0.1
        except (Unreachable, OSError, ValueError) as error:
            now = time.monotonic()
            lost_at = lost_at or now
            if now - lost_at > GIVE_UP_SECONDS or (after == 0 and isinstance(error, Unreachable)):
                raise Unreachable(str(error)) from None
        time.sleep(random.random() * pause)
        pause = min(pause * 2, 5.0)


def stream(connection: Connection, options: Any) -> int:
    """`aob logs stream`."""
    connection.get(f"/api/v1/runs/{options.run}/events?limit=1")
    for event in events(connection, options.run, after=options.after, node=options.node, filter=options.filter):
        if options.json:
            document(event)
        else:
            print(f"{event['seq']:>5} {event['at'][11:23]} {event['type']:<18} {event['node'] or '':<24} {_short(event)}")
        sys.stdout.flush()
    return DONE


def follow(connection: Connection, run: str, *, as_json: bool) -> int:
    """The live timeline of a run, then its result; 1 when it failed."""
    view = Timeline()
    try:
        for event in events(connection, run):
            if as_json:
                document(event)
                sys.stdout.flush()
            else:
                view.take(event)
    except KeyboardInterrupt:
        print(f"\nThe run goes on. Follow it again: aob logs stream {run}", file=sys.stderr)
        return INTERRUPTED
    result = connection.get(f"/api/v1/runs/{run}")
    if as_json:
        document(result)
    else:
        view.finish(result)
    return REFUSED if result["status"] in BAD_ENDS else DONE


class Timeline:
    """Prints one line for each event that matters to people; a map's progress on one line that changes."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._since: dict[str, float] = {}
        self._maps: dict[str, list[int]] = {}
        self._progress = ""

    def take(self, event: dict[str, Any]) -> None:
        at = datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()
        self._start = at if self._start is None else self._start
        node, kind, data = event["node"] or "", event["type"], event["data"]
        took = f"{colour(duration(at - self._since.get(node, at)), 'faint')}"
        if kind == "RunStarted":
            self._line(at, data["workflow"], "running", f"run {data['run']}")
        elif kind == "TaskScheduled":
            self._since.setdefault(node, at)
        elif kind == "MapStarted":
            self._since[node] = at
            self._maps[node] = [0, data["count"]]
        elif kind in ("ItemCompleted", "ItemFailed"):
            self._item(at, node, kind, data)
        elif kind == "NodeCompleted" and not self._in_map(node):
            log = f" {data['log']['message']}" if "log" in data else ""
            self._line(at, node, "done", took + log)
        elif kind == "NodeFailed" and (data["handled"] == "fail" or not self._in_map(node)):
            self._line(at, node, "failed", f"{took} {data['error'].get('message', '')}")
        elif kind == "RetryScheduled":
            self._line(at, node, "waiting", f"attempt {data['attempt']} after {data['because']}")
        elif kind == "NodeWaiting":
            self._since[node] = at
            words = f"for signal {data['name']!r}" if data["kind"] == "signal" else f"until {data.get('until', '')}"
            self._line(at, node, "waiting", words)
        elif kind == "ChildStarted":
            self._since[node] = at
            self._line(at, node, "waiting", f"for run {data['child']} of {data['workflow']}")
        elif kind == "TaskLost":
            self._line(at, node, "waiting", "its worker was lost; another attempt follows")
        elif kind in ("PauseRequested", "ResumeRequested", "CancelRequested", "PatchApplied", "SignalReceived"):
            self._line(at, data.get("name", "the run"), "waiting", kind)

    def _in_map(self, node: str) -> bool:
        return any(node.startswith(f"{name}[") for name in self._maps)

    def _item(self, at: float, node: str, kind: str, data: dict[str, Any]) -> None:
        name = node.rpartition("[")[0]
        progress = self._maps.setdefault(name, [0, 0])
        progress[0] += 1
        if kind == "ItemFailed":
            self._line(at, node, "failed", data["error"].get("message", ""))
        if is_terminal():
            self._progress = f"        {name}  {progress[0]}/{progress[1]}"
            print(f"\r\033[K{self._progress}", end="", flush=True)

    def _line(self, at: float, name: str, state: str, text: str) -> None:
        if self._progress:
            print("\r\033[K", end="")
            self._progress = ""
        when = f"{at - (self._start or at):6.1f}s"
        print(f"{when}  {name:<28} {colour(f'{state:<8}', state)} {text}".rstrip(), flush=True)

    def finish(self, view: dict[str, Any]) -> None:
        if self._progress:
            print("\r\033[K", end="")
        if view["status"] == "completed":
            print(pretty(view["output"]))
        elif view["error"]:
            print(pretty(view["error"]))
        print(f"{colour(view['status'], view['status'])}: {view['workflow']} {view['id']}")


def _short(event: dict[str, Any]) -> str:
    text = json.dumps(event["data"], ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:159]}…"
