"""`agent_runner`: takes agents' tasks from a control plane and works on them, here or anywhere else.

`python -m worker.agent.runner --url https://aob.example --token-file FILE`. It has no database and no secret of the
installation, only a token with the scope `agent` and the keys of the language models in its environment. Each agent
runs in a process of its own (`worker.agent.child`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from worker.agent.child import work_in_child
from worker.agent.journal import AgentTask, Refused, Step
from worker.agent.remote import ControlPlane, RemoteJournal, RemoteTools
from worker.executors.base import TaskError
from workflows.core.errors import AobError

WAIT_SECONDS = 5.0
"""So long a claim waits at the server; who stops the server waits for it as well."""

AGAIN_SECONDS = 2.0
FINISH_SECONDS = 10.0
BEAT_SECONDS = 1.0
SLOTS = 8

_log = logging.getLogger(__name__)


class Runner:
    """Works on up to `slots` agents at a time."""

    def __init__(self, plane: ControlPlane, *, slots: int, alive: Callable[[], None] = lambda: None) -> None:
        self._plane = plane
        self._slots = slots
        self._alive = alive
        self.name = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self._running: dict[int, tuple[dict[str, Any], asyncio.Task[None]]] = {}
        self._stopping = asyncio.Event()
        self._freed = asyncio.Event()
        self._lease_seconds = 1.0

    def stop(self) -> None:
        """Takes no more tasks; what goes on has a while to come to the end of its step."""
        self._stopping.set()

    async def work(self) -> None:
        helpers = [asyncio.create_task(self._renew()), asyncio.create_task(self._beat())]
        while not self._stopping.is_set():
            free = self._slots - len(self._running)
            if free <= 0:
                self._freed.clear()
                await self._either(self._freed.wait())
                continue
            claiming = asyncio.create_task(self._plane.claim(self.name, free, WAIT_SECONDS))
            await self._either(claiming)
            if not claiming.done():
                # Whatever the server leases in this moment runs out by itself, and others take it up.
                claiming.cancel()
                break
            try:
                for told in claiming.result():
                    self._begin(told)
            except (httpx.HTTPError, Refused) as error:
                _log.warning("No tasks can be claimed: %s", error)
                await self._either(asyncio.sleep(AGAIN_SECONDS))
        if self._running:
            await asyncio.wait([work for _, work in self._running.values()], timeout=FINISH_SECONDS)
        for task in (*helpers, *(work for _, work in self._running.values())):
            task.cancel()
        await asyncio.gather(*helpers, *(work for _, work in self._running.values()), return_exceptions=True)

    async def _either(self, something: Any) -> None:
        """Until it is done, or the runner stops."""
        waiting = asyncio.ensure_future(something)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done() and not isinstance(something, asyncio.Task):
            waiting.cancel()

    def _begin(self, told: dict[str, Any]) -> None:
        lease = told["lease"]
        self._lease_seconds = told["lease_seconds"]
        work = asyncio.create_task(self._execute(told))
        self._running[lease["task"]] = (lease, work)
        work.add_done_callback(lambda _: self._ended(lease["task"]))

    def _ended(self, task: int) -> None:
        self._running.pop(task, None)
        self._freed.set()

    async def _execute(self, told: dict[str, Any]) -> None:
        lease = told["lease"]
        task = msgspec.convert({key: told[key] for key in AgentTask.__struct_fields__ if key in told}, AgentTask)
        journal = RemoteJournal(self._plane, lease, msgspec.convert(told["past"], list[Step]))
        result: dict[str, Any]
        try:
            result = {"output": await work_in_child(task, journal, RemoteTools(self._plane, lease))}
        except TaskError as failure:
            if failure.code in ("agent_stopped", "agent_crashed"):
                # Stopped: the run went on without us. Crashed: another attempt goes on from the last recorded step.
                _log.warning("%s of run %s: %s", task.node, task.run, failure.message)
                return
            result = {"error": failure.as_dict(), "jitter": random.random()}
        except AobError as failure:
            result = {"error": {**failure.as_dict(), "transient": False}, "jitter": random.random()}
        try:
            await self._plane.call("finish", {"lease": lease, **result})
        except Refused as refused:
            _log.warning("The result of %s of run %s is not taken: %s", task.node, task.run, refused.message)

    async def _renew(self) -> None:
        """Keeps the leases; what has lost its own is stopped."""
        while True:
            await asyncio.sleep(min(self._lease_seconds / 3, 2.0))
            leases = {task: lease for task, (lease, _) in self._running.items()}
            if not leases:
                continue
            try:
                held = await self._plane.renew(list(leases.values()))
            except (httpx.HTTPError, Refused) as error:
                _log.warning("Leases cannot be renewed: %s", error)
                continue
            for task in leases.keys() - held:
                if task in self._running:
                    self._running[task][1].cancel()

    async def _beat(self) -> None:
        while True:
            self._alive()
            await asyncio.sleep(BEAT_SECONDS)


async def run(url: str, token: str, *, slots: int = SLOTS, alive: Callable[[], None] = lambda: None) -> None:
    """Works until a signal asks it to stop."""
    plane = ControlPlane(url, token)
    runner = Runner(plane, slots=slots, alive=alive)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
    try:
        await runner.work()
    finally:
        await plane.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="agent_runner", description="Works for the agents of an AOB, here or anywhere.")
    parser.add_argument("--url", default=os.environ.get("AOB_URL"), help="the server (AOB_URL)")
    parser.add_argument("--token-file", type=Path, help="a file with the token; AOB_TOKEN by default")
    parser.add_argument("--slots", type=int, default=int(os.environ.get("AOB_AGENT_SLOTS", str(SLOTS))))
    options = parser.parse_args()
    token = options.token_file.read_text().strip() if options.token_file else os.environ.get("AOB_TOKEN", "")
    if not options.url or not token:
        sys.exit("agent_runner: needs the server's URL (--url or AOB_URL) and a token with the scope `agent`.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(run(options.url, token, slots=options.slots))


def settings_of(file: Path) -> tuple[str, str]:
    """URL and token of the runner that belongs to an installation, from the file that its set-up writes."""
    found = json.loads(file.read_text())
    return str(found["url"]), str(found["token"])


if __name__ == "__main__":
    main()
