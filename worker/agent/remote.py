"""The control plane as a runner reaches it: by HTTP, with the token of a runner and the lease of each task.

What is not answered is asked again, under the same numbers and keys, so that a lost answer or a restarted server costs
time and nothing else. Only a refusal, or a lease that has run out, ends the work on a task.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

import httpx

from worker.agent.journal import Refused, Step

PREFIX = "/api/v1/agent-tasks"
SECONDS = 60.0
PAUSE_SECONDS = 1.0
LOOK_SECONDS = 1.0
AGAIN_SECONDS = (0.2, 5.0)
WAITING = frozenset({"run_paused", "agents_stopped"})
AGAIN = frozenset({429, 502, 503, 504})

_log = logging.getLogger(__name__)


class ControlPlane:
    """One server, one token."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(SECONDS, connect=5.0),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def claim(self, runner: str, slots: int, wait: float) -> list[dict[str, Any]]:
        answer = await self.call("claim", {"runner": runner, "slots": slots, "wait": wait}, tries=1)
        tasks: list[dict[str, Any]] = answer.json()["tasks"]
        return tasks

    async def renew(self, leases: Sequence[dict[str, Any]]) -> set[int]:
        answer = await self.call("renew", {"leases": list(leases)}, tries=1)
        return set(answer.json()["held"])

    async def call(self, door: str, body: dict[str, Any], *, tries: int | None = None) -> httpx.Response:
        """The answer of a door, however long it takes to get one. Raises Refused; httpx.HTTPError after `tries`."""
        pause, most = AGAIN_SECONDS
        made = 0
        while True:
            made += 1
            try:
                answer = await self._client.post(f"{PREFIX}/{door}", json=body)
                if answer.status_code not in AGAIN:
                    break
                problem = f"status {answer.status_code}"
                if made == tries:
                    answer.raise_for_status()
            except httpx.TransportError as error:
                if made == tries:
                    raise
                problem = f"{type(error).__name__}: {error}"
            _log.info("%s is asked again: %s", door, problem)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, most)
        if answer.is_success:
            return answer
        raise _refused(answer)


def _refused(answer: httpx.Response) -> Refused:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    return Refused(
        str(problem.get("code", "control_plane")),
        str(problem.get("detail", f"The control plane answered with status {answer.status_code}.")),
        hint=problem.get("hint"),
        errors=problem.get("errors", ()),
    )


class RemoteJournal:
    """The journal of one task. While the run is paused, or agents are stopped by the operator, a step waits."""

    def __init__(self, plane: ControlPlane, lease: dict[str, Any], past: Sequence[Step]) -> None:
        self._plane = plane
        self._lease = lease
        self.past = past

    async def begin(self, step: Step) -> None:
        while True:
            try:
                await self._plane.call("begin", {"lease": self._lease, "step": _told(step)})
                return
            except Refused as refused:
                if refused.code not in WAITING:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def end(self, step: Step) -> None:
        await self._plane.call("end", {"lease": self._lease, "step": _told(step)})

    async def text(self, number: int, delta: str) -> None:
        try:
            await self._plane.call("text", {"lease": self._lease, "number": number, "text": delta}, tries=1)
        except (httpx.HTTPError, Refused):
            return


class RemoteTools:
    """What the control plane does for one task's agent."""

    def __init__(self, plane: ControlPlane, lease: dict[str, Any]) -> None:
        self._plane = plane
        self._lease = lease

    async def _call(self, door: str, **body: Any) -> httpx.Response:
        return await self._plane.call(door, {"lease": self._lease, **body})

    async def patch_workflow(self, key: str, operations: list[dict[str, Any]], reason: str) -> dict[str, Any]:
        patch: dict[str, Any] = (await self._call("patch", key=key, operations=operations, reason=reason)).json()
        return {name: patch[name] for name in ("id", "status", "version", "held_because", "report") if name in patch}

    async def document(self) -> dict[str, Any]:
        document: dict[str, Any] = (await self._call("document")).json()["document"]
        return document

    async def start_workflow(self, key: str, workflow: str, inputs: Any, consent: str | None) -> Any:
        started = await self._call("workflow", key=key, workflow=workflow, inputs=inputs, consent=consent)
        return await self._output(started.json()["run"])

    async def ask_human(self, key: str, question: str, form: dict[str, Any] | None) -> Any:
        asked = await self._call("question", key=key, question=question, form=form)
        return (await self._output(asked.json()["run"]))["ask"]

    async def ask_consent(self, key: str, tool: str, args: Any) -> dict[str, Any]:
        asked = await self._call("consent", key=key, tool=tool, arguments=args)
        answer: dict[str, Any] = (await self._output(asked.json()["run"]))["consent"]
        return answer

    async def _output(self, run: str) -> Any:
        while True:
            view = (await self._call("workflow-output", started=run)).json()
            if view["ended_at"]:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if view["status"] != "completed":
            error = view["error"] or {}
            raise Refused(
                "workflow_failed", f"The run {run} is {view['status']}: {error.get('message', 'no reason given')}"
            )
        return view["output"]

    async def read_blob(self, hash: str) -> bytes:
        return (await self._call("blob", hash=hash)).content


def _told(step: Step) -> dict[str, Any]:
    return {"number": step.number, "kind": step.kind, "what": step.what, "outcome": step.outcome}
