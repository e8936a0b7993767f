"""The events of a run: every one once and in order, over any number of dropped connections."""

from __future__ import annotations

import json
import sys
import time

from cli.connection import Connection, jitter, query, quote
from cli.exits import DONE, INTERRUPTED, Refused, Unreachable
from cli.printing import clean, colour, cut, document, local_time, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

GIVE_UP_SECONDS = 60.0
LONGEST_PAUSE = 5.0
TERMINAL = ("RunCompleted", "RunFailed", "RunCancelled", "RunTimedOut")
ENDED = ("completed", "failed", "cancelled", "timed_out")
STATES = {
    "TaskFailed": "failed", "TaskLost": "failed", "NodeFailed": "failed", "ItemFailed": "failed", "RunFailed": "failed",
    "RunTimedOut": "failed", "EngineFailed": "failed", "RetryScheduled": "retry", "NodeWaiting": "waiting",
    "NodeCompleted": "done", "RunCompleted": "done", "NodeSkipped": "skipped", "RunCancelled": "cancelled",
}  # fmt: skip


class Stream:
    """The events of a run until its end. `last` is the seq of the last one that was given."""

    def __init__(self, connection: Connection, run: str, *, after: int = 0, **filters: str | None) -> None:
        self.last = after
        self._connection = connection
        self._run = run
        self._filters = filters
        self._pause = 0.5
        self._ended = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Goes on after the last event when the connection drops. Raises Unreachable after 60 s without server."""
        lost_at: float | None = None
        tries = 0
        while not self._ended:
            wanted = 0.0
            reason = "the stream ended early"
            try:
                for event in self._connected(first=lost_at is None and tries == 0):
                    lost_at, tries = None, 0
                    yield event
            except Unreachable as error:
                if self.last == 0 and not error.connected and tries == 0:
                    raise
                reason = str(error)
            except Refused as error:
                if error.status not in (429, 502, 503, 504):
                    raise
                reason, wanted = str(error), error.retry_after or 0.0
            if self._ended:
                return
            now = time.monotonic()
            lost_at = lost_at or now
            if now - lost_at > GIVE_UP_SECONDS:
                raise Unreachable(f"{reason}\n  Go on later: {self.command()}", connected=True)
            longest = min(self._pause * 2**tries, LONGEST_PAUSE)
            time.sleep(max(wanted, longest / 2 + jitter(longest / 2)))
            tries += 1

    def command(self) -> str:
        """What to type to go on after the last event."""
        return f"aob logs stream {clean(self._run)}" + (f" --after {self.last}" if self.last else "")

    def _connected(self, *, first: bool) -> Iterator[dict[str, Any]]:
        """The events of one connection that are new."""
        filters = {**self._filters, "after": self.last or None} if first else self._filters
        headers = {} if first else {"Last-Event-ID": str(self.last)}
        path = f"/runs/{quote(self._run)}/events{query(**filters)}"
        for name, data in self._messages(self._connection.stream(path, headers)):
            if name == "end":
                self._ended = True
                return
            event = json.loads(data)
            if event["seq"] <= self.last:
                continue
            # After its terminal event a run has no more: a server that is asked for what follows would say nothing,
            # so a connection that drops before `end` is not opened again.
            self._ended = event["type"] in TERMINAL
            self.last = event["seq"]
            yield event

    def _messages(self, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        """Name and data of each complete message (WHATWG HTML, section 9.2.6)."""
        name = ""
        data: list[str] = []
        for line in lines:
            if not line:
                if data:
                    yield name, "\n".join(data)
                name, data = "", []
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "retry" and value.isascii() and value.isdigit():
                self._pause = min(int(value) / 1000, LONGEST_PAUSE)


def stream(connection: Connection, options: Any) -> int:
    """`aob logs stream`."""
    view = connection.get(f"/runs/{quote(options.run)}")
    if view["status"] in ENDED and options.after >= view["last_seq"]:
        return DONE
    events = Stream(connection, options.run, after=options.after, node=options.node, filter=options.filter)
    try:
        for event in events:
            document(event) if options.json else _print(event)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\nStopped watching. Go on: {events.command()}", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _print(event: dict[str, Any]) -> None:
    state = STATES.get(event["type"], "")
    start = f"{event['seq']:>6}  {local_time(event['at'], '%H:%M:%S')}  "
    middle = f"{clean(event['type']):<18}"
    end = f"  {clean(event['node'] or ''):<20}  {clean(json.dumps(event['data'], ensure_ascii=False))}"
    columns = width()
    room = max(columns - len(start) - len(middle), 8) if columns else 0
    if not columns:
        room = len(f"  {clean(event['node'] or ''):<20}  ") + 400
    print(f"{start}{colour(middle, state)}{cut(end, room)}".rstrip())
