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
    """MIX: pure runs, calls in a row, a map of calls, a wait with a child, runs that are patched while they wait.

    One call in ten fails at first.
    """
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
    go = {"type": "signal", "config": {"name": "go"}}
    patched = {"name": "patched", "nodes": {"first": call, "go": go, "last": value({"ready": 1})}}
    patched["edges"] = {"a": {"from": "first", "to": "go"}, "b": {"from": "go", "to": "last"}}
    return {"pure": pure, "calls": calls, "fan": fan, "slow": slow, "heavy": heavy, "patched": patched}


def insertion(name: str, node: Any) -> list[dict[str, Any]]:
    """A patch that leads from the signal by a new node to the end."""
    return [
        {"op": "test", "path": "/nodes/last/config/output/ready", "value": 1},
        {"op": "add", "path": f"/nodes/{name}", "value": node},
        {"op": "add", "path": f"/edges/go-{name}", "value": {"from": "go", "to": name}},
        {"op": "add", "path": f"/edges/{name}-last", "value": {"from": name, "to": "last"}},
    ]


FORGED = [
    {"op": "test", "path": "/nodes/last/config/output/ready", "value": True},
    {"op": "add", "path": "/nodes/last/title", "value": "ready"},
]
"""`true` is not 1 (RFC 6902, section 4.6)."""

TOO_LATE = [{"op": "add", "path": "/nodes/first/title", "value": "changed"}]
"""The first node starts with the run."""


class Load:
    """Closed-loop clients: each has one request in flight and waits a little between two."""

    def __init__(
        self, system: Installation, documents: dict[str, dict[str, Any]], seed: int, clients: int, pause: float
    ) -> None:
        self._system = system
        self._documents = documents
        self._token = system.token
        self._seed, self._clients, self._pause = seed, clients, pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.history = History()
        self.problems: list[str] = []
        self.accepted = self.patched = 0
        self._newest: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.each_second: Counter[int] = Counter()
        """Answered starts. A batch counts once, else the chance of a few batches more or less is most of the figure."""

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
            name = chance.choices(["pure", "calls", "fan", "slow", "heavy", "patched"], [12, 4, 2, 2, 1, 2])[0]
            start = {"workflow": name, "inputs": {"n": count}}
            if name == "pure" and chance.random() < 0.6:
                answer = self._send("/api/v1/runs/batch", {"runs": [start] * BATCH}, key)
                items = answer["items"] if answer else []
                began = [(place, item["run"]["id"]) for place, item in enumerate(items) if "run" in item]
                runs = [(f"batch:1:{key}#{place}", run) for place, run in began]
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
                if name in ("fan", "slow", "patched"):
                    self._newest = [*self._newest[-9:], *(run for _, run in runs)]
                self.accepted += len(runs)
                self.each_second[int(time.monotonic())] += bool(runs)
            if name == "patched" and runs:
                self._patch(runs[0][1], key, chance)
            self._stop.wait(self._pause)

    def _patch(self, run: str, key: str, chance: random.Random) -> None:
        """Patches a run a few times, some of them patches that must be refused, then lets it go on."""
        call = self._documents["calls"]["nodes"]["a"]
        added = {"type": "transform", "config": {"output": "{{ inputs.n }}"}}
        for number in range(chance.randint(1, 3)):
            wanted = [FORGED, TOO_LATE, insertion(f"p{number}", call), insertion(f"p{number}", added)]
            operations = chance.choices(wanted, [1, 1, 2, 2])[0]
            own = f"{key}-patch-{number}"
            body = {"operations": operations, "reason": "chaos"}
            bad = operations is FORGED or operations is TOO_LATE
            answer = self._send(f"/api/v1/runs/{run}/patch", body, own, refused=bad)
            with self._lock:
                if bad and answer is not None:
                    self.problems.append(f"I10: run {run}: a patch that must be refused was answered with {answer['id']}")
                elif answer is not None:
                    wrong = self.history.learned_patch(own, run, answer["id"])
                    self.problems += [wrong] if wrong else []
                    self.patched += 1
        self._send(f"/api/v1/runs/{run}/signal", {"name": "go", "payload": None}, f"{key}-go")

    def _send(self, path: str, body: Any, key: str, *, refused: bool = False) -> Any:
        """The answer to a request, sent again under its key until there is one; None where it was refused, as it must."""
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
            if status in (200, 201, 202):
                return answer
            if refused and status == 422:
                return None
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
