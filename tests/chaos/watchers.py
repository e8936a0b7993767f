"""Watchers of the event stream: what they got over any number of reconnects is compared with the log at the end."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

import psycopg

from tests.chaos.load import Load
from tests.support.installation import Installation

MAX_RUNS = 400


class Watchers:
    def __init__(self, system: Installation, load: Load, count: int) -> None:
        self._system, self._load = system, load
        self._stop = threading.Event()
        self.seen: dict[str, list[tuple[int, str]]] = {}
        self.reconnects = 0
        self._threads = [threading.Thread(target=self._watch, args=(number,), daemon=True) for number in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _watch(self, number: int) -> None:
        while not self._stop.is_set() and len(self.seen) < MAX_RUNS:
            run = self._load.newest(number)
            if run is None or run in self.seen:
                self._stop.wait(0.2)
                continue
            events = self.seen[run] = []
            while not self._stop.is_set() and not self._follow(run, events):
                self.reconnects += 1
                self._stop.wait(0.3)

    def _follow(self, run: str, events: list[tuple[int, str]]) -> bool:
        """Adds what comes; True at the end of the run."""
        connection = http.client.HTTPConnection("127.0.0.1", self._system.port, timeout=10)
        headers = {"Authorization": f"Bearer {self._system.token}", "Accept": "text/event-stream"}
        if events:
            headers["Last-Event-ID"] = str(events[-1][0])
        try:
            connection.request("GET", f"/api/v1/runs/{run}/events", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return False
            kind, seq = "", 0
            for line in answer:
                text = line.decode().rstrip("\n")
                if text.startswith("event: "):
                    kind = text[7:]
                elif text.startswith("id: "):
                    seq = int(text[4:])
                elif text.startswith("data: "):
                    if kind == "end":
                        return True
                    events.append((seq, json.dumps(json.loads(text[6:])["data"], sort_keys=True)))
            return False
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()

    def violations(self, connection: psycopg.Connection[Any]) -> list[str]:
        found = []
        for run, events in self.seen.items():
            log = [
                (seq, json.dumps(data, sort_keys=True))
                for seq, data in connection.execute(
                    "SELECT seq, data FROM run_event WHERE run_id = %s ORDER BY seq", [run]
                ).fetchall()
            ]
            if events != log[: len(events)]:
                found.append(f"I13: run {run}: the stream gave {[seq for seq, _ in events]}, the log has {len(log)}")
        return found
