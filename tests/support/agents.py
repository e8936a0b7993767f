"""An agent against the scripted provider in the same process, with a journal and a control plane in memory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from aiohttp import web

from worker.agent.child import work_in_child
from worker.agent.journal import AgentTask, Refused, Step
from worker.agent.loop import work
from worker.agent.scripted import Provider
from worker.http.client import Client
from worker.http.guard import AllowList, Guard
from workflows.nodes.agent import budget_of, grant_of

DOCUMENT = {
    "name": "agents",
    "nodes": {"think": {"type": "agent", "config": {"model": "scripted:m", "prompt": "Do it."}}},
}


class Crash(Exception):
    """Stands for the end of the process."""


class MemoryJournal:
    """Keeps steps as a database would: as JSON. `crash_at` ends the process after so many begins and ends."""

    def __init__(self, *, crash_at: int | None = None, refuse: Callable[[Step], Refused | None] | None = None) -> None:
        self.steps: list[Step] = []
        self.past: list[Step] = []
        self.begins: list[int] = []
        self.texts: list[str] = []
        self.commits = 0
        self.crash_at = crash_at
        self._refuse = refuse or (lambda step: None)

    def resumed(self, *, crash_at: int | None = None) -> MemoryJournal:
        again = MemoryJournal(crash_at=crash_at)
        again.steps = [msgspec.json.decode(msgspec.json.encode(step), type=Step) for step in self.steps]
        again.past = msgspec.json.decode(msgspec.json.encode(self.steps), type=list[Step])
        again.begins = self.begins
        return again

    async def begin(self, step: Step) -> None:
        refusal = self._refuse(step)
        if refusal is not None:
            raise refusal
        self.begins.append(step.number)
        kept = msgspec.json.decode(msgspec.json.encode(step), type=Step)
        if step.number == len(self.steps) + 1:
            self.steps.append(kept)
        else:
            assert step.number == len(self.steps) and self.steps[-1].outcome is None
        self._commit()

    async def end(self, step: Step) -> None:
        assert step.number == len(self.steps)
        self.steps[-1] = msgspec.json.decode(msgspec.json.encode(step), type=Step)
        self._commit()

    async def text(self, number: int, delta: str) -> None:
        self.texts.append(delta)

    def _commit(self) -> None:
        self.commits += 1
        if self.commits == self.crash_at:
            raise Crash

    def outcomes(self, tool: str) -> list[dict[str, Any]]:
        return [step.outcome or {} for step in self.steps if step.what.get("tool") == tool]


class MemoryTools:
    """A control plane that does what it is asked and remembers by key."""

    def __init__(self) -> None:
        self.effects: dict[str, Any] = {}
        self.calls: list[tuple[str, str]] = []
        self.blobs: dict[str, bytes] = {}
        self.answer: dict[str, Any] = {"answer": "approve", "by": "anna", "reason": None}
        self.refusal: Refused | None = None
        self.on_effect: Callable[[], None] = lambda: None

    def _once(self, what: str, key: str, value: Any) -> None:
        self.calls.append((what, key))
        if self.refusal is not None:
            raise self.refusal
        self.effects.setdefault(key, value)
        self.on_effect()

    async def patch_workflow(self, key: str, operations: list[dict[str, Any]], reason: str) -> dict[str, Any]:
        self._once("patch", key, operations)
        return {"status": "applied", "version": "sha256:0"}

    async def document(self) -> dict[str, Any]:
        return DOCUMENT

    async def start_workflow(self, key: str, workflow: str, inputs: Any, consent: str | None) -> Any:
        self._once("workflow", key, inputs)
        return {"workflow": workflow, "inputs": inputs}

    async def read_blob(self, hash: str) -> bytes:
        if hash not in self.blobs:
            raise Refused("blob_unknown", "There is no such blob.")
        return self.blobs[hash]

    async def ask_human(self, key: str, question: str, form: dict[str, Any] | None) -> Any:
        self._once("human", key, question)
        return {"answer": "yes"}

    async def ask_consent(self, key: str, tool: str, args: Any) -> dict[str, Any]:
        self._once("consent", key, {"tool": tool, "args": args})
        return self.answer


class Result:
    def __init__(self, provider: Provider, journal: MemoryJournal, tools: MemoryTools) -> None:
        self.provider = provider
        self.journal = journal
        self.tools = tools
        self.output: Any = None
        self.error: Any = None

    @property
    def asked(self) -> int:
        return len(self.provider.requests)


def run_agent(
    turns: list[dict[str, Any]] | dict[str, list[dict[str, Any]]],
    config: dict[str, Any] | None = None,
    *,
    journal: MemoryJournal | None = None,
    tools: MemoryTools | None = None,
    budget: dict[str, Any] | None = None,
    grant: dict[str, Any] | None = None,
    provider: Provider | None = None,
    allow: str = "127.0.0.1",
    in_child: bool = False,
    computed: dict[str, Any] | None = None,
) -> Result:
    """Runs one attempt; what it raises is in `error`."""
    script = turns if isinstance(turns, dict) else {"m": turns}
    found = Result(provider or Provider({"conversations": script}), journal or MemoryJournal(), tools or MemoryTools())
    whole = {"model": "scripted:m", "prompt": "Do it.", **(config or {})}

    async def attempt() -> None:
        runner = web.AppRunner(found.provider.app(), shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        http = Client(Guard(AllowList.parse(allow)))
        task = AgentTask(
            run="r1", node="think", attempt=1, config=whole, grant=grant or grant_of(whole),
            budget={**budget_of(whole), **(budget or {})}, computed=computed or {},
        )  # fmt: skip
        try:
            with environment(AOB_SCRIPTED_URL=url, OPENAI_BASE_URL=f"{url}/v1", ANTHROPIC_BASE_URL=url):
                if in_child:
                    found.output = await work_in_child(task, found.journal, found.tools)
                else:
                    found.output = await work(task, found.journal, found.tools, http)
        except Exception as error:
            found.error = error
        finally:
            await http.close()
            await runner.cleanup()

    asyncio.run(attempt())
    return found


@contextmanager
def environment(**values: str) -> Iterator[None]:
    values = {"OPENAI_API_KEY": "none", "ANTHROPIC_API_KEY": "none", **values}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def seen(result: Result) -> str:
    """Everything that the model was told in its last request."""
    models = [step for step in result.journal.steps if step.kind == "model"]
    return json.dumps(models[-1].what["request"], ensure_ascii=False)
