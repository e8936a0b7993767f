"""Clients that start runs, send again under the same key what got no answer, and remember what they were told."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from typing import Any

from tests.support.checker import History
from tests.support.installation import Installation

PATIENCE = 120.0
BATCH = 10


def documents(world: str) -> dict[str, dict[str, Any]]:
    """MIX: pure runs, calls in a row, a map of calls, a wait with a child; one call in ten fails at first."""
    retry = {"schedule": ["200ms", "500ms", "1s", "2s", "2s", "2s"], "on": "any"}
    call = {"type": "http", "config": {"method": "POST", "url": world, "json": {"n": 1}}, "retry": retry, "timeout": "8s"}

    def value(output: Any) -> dict[str, Any]:
        return {"type": "transform", "config": {"output": output}}

    pure = {"name": "pure", "nodes": {"a": value("{{ inputs.n + 1 }}"), "b": value("{{ nodes.a * 2 }}"), "c": value("x")}}
    pure["edges"] = {"a-b": {"from": "a", "to": "b"}, "b-c": {"from": "b", "to": "c"}}
    calls = {"name": "calls", "nodes": {"a": call, "b": call, "c": value("{{ nodes.b.status }}")}}
    calls["edges"] = {"a-b": {"from": "a", "to": "b"}, "b-c": {"from": "b", "to": "c"}}
    each = {"type": "map", "config": {"items": "range(4)", "body": {"nodes": {"get": call}}, "max_concurrency": 3}}
    fan = {"name": "fan", "nodes": {"each": each, "sum": value("{{ size(nodes.each) }}")}}
    fan["edges"] = {"e": {"from": "each", "to": "sum"}}
    child = {"type": "subworkflow", "config": {"workflow": "pure", "inputs": {"n": 1}}}
    wait = {"type": "delay", "config": {"for": "300ms"}}
    slow = {"name": "slow", "nodes": {"wait": wait, "child": child, "call": call}}
    slow["edges"] = {"a": {"from": "wait", "to": "child"}, "b": {"from": "child", "to": "call"}}
    heavy = {"name": "heavy", "nodes": {"get": {**call, "config": {**call["config"], "url": f"{world}large"}}}}
    return {"pure": pure, "calls": calls, "fan": fan, "slow": slow, "heavy": heavy}


class Load:
    """Closed-loop clients: each has one request in flight and waits a little between two."""

    def __init__(self, system: Installation, seed: int, clients: int, pause: float) -> None:
        self._system = system
        self._token = system.token
        self._seed, self._clients, self._pause = seed, clients, pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.history = History()
        self.problems: list[str] = []
        self.accepted = 0
        self._newest: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.each_second: Counter[int] = Counter()

    def start(self) -> None:
        for number in range(self._clients):
            thread = threading.Thread(target=self._client, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Lets every client learn what became of its last request."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE + 30)
            if thread.is_alive():
                self.problems.append("I19: a client never got an answer")

    def newest(self, number: int) -> str | None:
        """A run that was just accepted, another one for each watcher."""
        with self._lock:
            return self._newest[-1 - number] if len(self._newest) > number else None

    def _client(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        count = 0
        while not self._stop.is_set():
            count += 1
            key = f"{number}-{count}"
            name = chance.choices(["pure", "calls", "fan", "slow", "heavy"], [12, 4, 2, 2, 1])[0]
            start = {"workflow": name, "inputs": {"n": count}}
            if name == "pure" and chance.random() < 0.6:
                answer = self._send("/api/v1/runs/batch", {"runs": [start] * BATCH}, key)
                items = answer["items"] if answer else []
                runs = [(f"1:{key}#{place}", item["run"]["id"]) for place, item in enumerate(items) if "run" in item]
                if len(runs) < len(items):
                    self.problems.append(f"I20: a batch was answered with {items}")
            else:
                answer = self._send("/api/v1/runs", start, key)
                runs = [(f"1:{key}", answer["id"])] if answer else []
            with self._lock:
                for own, run in runs:
                    wrong = self.history.learned(own, run)
                    if wrong:
                        self.problems.append(wrong)
                if name in ("fan", "slow"):
                    self._newest = [*self._newest[-9:], *(run for _, run in runs)]
                self.accepted += len(runs)
                self.each_second[int(time.monotonic())] += len(runs)
            self._stop.wait(self._pause)

    def _send(self, path: str, body: Any, key: str) -> Any:
        """The answer to a request, sent again under its key until there is one."""
        data = json.dumps(body).encode()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                status, answer = self._once(path, data, key)
            except (OSError, http.client.HTTPException):
                self.statuses[0] += 1
                time.sleep(0.2)
                continue
            self.statuses[status] += 1
            if status in (200, 201):
                return answer
            if status not in (429, 503):
                with self._lock:
                    self.problems.append(f"I20: {status} for {path}: {str(answer)[:200]}")
                return None
            time.sleep(0.3)
        with self._lock:
            self.problems.append(f"I19: no answer to {key} within {PATIENCE:.0f} s")
        return None

    def _once(self, path: str, data: bytes, key: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._system.port, timeout=15)
        try:
            connection.request(
                "POST",
                path,
                data,
                {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", "Idempotency-Key": key},
            )
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text.decode("utf-8", "replace")
        finally:
            connection.close()
