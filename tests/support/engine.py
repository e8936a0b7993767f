"""Runs a workflow in memory, with the pure core alone: the outside world is a function of the task."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from runs.core.advance import advance
from runs.core.events import RULES, Event
from runs.core.fold import apply, fold
from runs.core.state import State, dump, load
from runs.core.values import Values, get
from workflows.core.compile import compile_document
from workflows.core.document import document_hash
from workflows.core.ir import WorkflowIR

RUN_ID = "0198c5a0-0000-7000-8000-000000000001"
SECOND = 1_000_000


class Failure(Exception):
    """What a simulated task raises to fail."""

    def __init__(self, code: str = "boom", *, transient: bool = False) -> None:
        super().__init__(code)
        self.error = {"code": code, "message": code, "transient": transient}


class Engine:
    """One run, its log and its state; `step` lets the world answer one waiting thing."""

    def __init__(
        self,
        document: dict[str, Any],
        inputs: Any = None,
        *,
        world: Callable[[str, int, Any], Any] = lambda path, attempt, config: {"config": config},
        seed: int = 0,
        slice_size: int = 1000,
        limits: dict[str, int] | None = None,
        rules: int = RULES,
    ) -> None:
        self.irs: dict[str, WorkflowIR] = {}
        self.values = Values()
        self.state = State()
        self.log: list[Event] = []
        self.world = world
        self.random = random.Random(seed)
        self.slice_size = slice_size
        self.documents: list[dict[str, Any]] = []
        self.now = 1_700_000_000 * SECOND
        version = self.add_version(document)
        started = {"run": RUN_ID, "version": version, "inputs": inputs if inputs else {}, "rules": rules}
        self.fact("RunStarted", None, {**started, "limits": limits} if limits else started)

    def add_version(self, document: dict[str, Any]) -> str:
        version = document_hash(document)
        self.irs[version] = compile_document(document, version=version)
        return version

    def fact(self, kind: str, node: str | None, data: dict[str, Any], *, most: int | None = None) -> None:
        """Something arrives, and what follows is decided: all of it, or at most so many decisions."""
        self.now += 1000
        event = Event(self.state.seq + 1, kind, self.now, node, data)
        apply(self.state, event, self.irs.__getitem__)
        self.log.append(event)
        self.advance(most)

    def advance(self, most: int | None = None) -> None:
        if most is not None:
            advance(self.state, self.irs.__getitem__, self.values, self.log, at=self.now, max_events=most)
            return
        while True:
            made = advance(
                self.state,
                self.irs.__getitem__,
                self.values,
                self.log,
                at=self.now,
                max_events=self.slice_size,
            )
            if made < self.slice_size:
                return

    def waiting_tasks(self) -> list[str]:
        return [
            path
            for path, activation in self.state.active.items()
            if activation.kind == "task" and not activation.retrying and activation.result is None
        ]

    def answer(self, path: str) -> None:
        """The world executes one task."""
        activation = self.state.active[path]
        config = self.values.load(get(self.log[activation.input_seq - 1].data, "input") or [None])
        try:
            output = self.world(path, activation.attempt, config)
        except Failure as failure:
            data = {"attempt": activation.attempt, "error": failure.error, "jitter": self.random.random()}
            self.fact("TaskFailed", path, data)
        else:
            self.fact("TaskCompleted", path, {"attempt": activation.attempt, "output": output})

    def fire_timer(self) -> None:
        due, path = min((due, path) for path, due in self.state.timers.items())
        self.now = max(self.now, due)
        self.fact("TimerFired", path or None, {"due": due})

    def step(self) -> bool:
        """Lets one thing happen, chosen at random; False when nothing can."""
        tasks = self.waiting_tasks()
        timers = [path for path in self.state.timers if path]
        if not tasks and not timers:
            return False
        if tasks and (not timers or self.random.random() < 0.8):
            self.answer(self.random.choice(tasks))
        else:
            self.fire_timer()
        return True

    def run(self, most: int = 100_000) -> Engine:
        for _ in range(most):
            if self.state.ended or not self.step():
                break
        return self

    @property
    def output(self) -> Any:
        last = self.log[-1]
        assert last.type == "RunCompleted", f"{last.type}: {last.data}"
        return self.values.load(get(last.data, "output") or [None])

    def types(self) -> list[str]:
        return [event.type for event in self.log]

    def crash(self) -> None:
        """What was in memory is gone: the state is what its snapshot says."""
        self.state = load(dump(self.state))

    def refolded(self) -> bytes:
        return dump(fold(self.log, self.irs.__getitem__))
