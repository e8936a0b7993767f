"""One conversation of an agent in a process of its own, which is thrown away: bounded memory and processor time, and of
the environment only what its providers need. It reaches the control plane through its parent alone.

Speaks JSON lines over a socket. The parent sends the task and what was recorded; the child asks for what the journal
and the tools do, by number, and ends with its output or its error. A child that ends otherwise, by its limits or by a
defect, is `agent_crashed`: another attempt goes on where the journal ends.

Children are forked by a nursery (`worker.agent.nursery`), which has loaded the large libraries once.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from worker.agent.journal import AgentTask, Journal, Refused, Step, Tools
from worker.agent.nursery import begin
from worker.agent.variables import variables_of
from worker.executors.base import TaskError
from workflows.core.errors import AobError
from workflows.nodes.agent import budget_of

MAX_LINE = 64 * 1024 * 1024
GRACE = 60.0
"""So many seconds beyond its budget a child may be silent, before it is ended."""

PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", "AOB_HTTP_ALLOW",
    "AOB_HTTP_PER_HOST", "AOB_LLM_PRICES", "AOB_AGENT_MEMORY", "AOB_AGENT_CPU",
)  # fmt: skip
JOURNAL = frozenset({"begin", "end"})
TOOLS = frozenset({"patch_workflow", "document", "start_workflow", "read_blob", "ask_human", "ask_consent"})


async def work_in_child(task: AgentTask, journal: Journal, tools: Tools) -> Any:
    """The same as `worker.agent.loop.work`, in a process of its own. Raises TaskError."""
    own, theirs = socket.socketpair()
    with theirs:
        starting = asyncio.ensure_future(asyncio.to_thread(begin, theirs, environment_of(task)))
        try:
            child = await asyncio.shield(starting)
        except asyncio.CancelledError:
            own.close()
            await asyncio.to_thread((await starting).end, patience=0.0)
            raise
    has_crashed = False
    reader, writer = await asyncio.open_connection(sock=own, limit=MAX_LINE)
    try:
        return await _Parent(task, journal, tools, reader, writer).serve()
    except _ChildGone:
        has_crashed = True
    finally:
        writer.close()
        # Also when this is cancelled; and the process is no other one's until it was waited for.
        how = await asyncio.shield(asyncio.to_thread(child.end, patience=1.0 if has_crashed else 0.0))
    raise TaskError("agent_crashed", f"The process of the agent ended by {how}.", transient=True)


def environment_of(task: AgentTask) -> dict[str, str]:
    """Of this process' environment what the child needs."""
    names = task.config["model"]
    needed = [variable for name in ([names] if isinstance(names, str) else names) for variable in variables_of(name)]
    return {name: os.environ[name] for name in (*PASSED_ON, *needed) if name in os.environ}


class _ChildGone(Exception):
    """The child has ended without saying so."""


@contextmanager
def _spoken_to_child() -> Iterator[None]:
    """Tells the end of the child from failures of the connection to the control plane."""
    try:
        yield
    except (ConnectionError, asyncio.IncompleteReadError):
        raise _ChildGone from None


class _Parent:
    """Does for the child what only the control plane can."""

    def __init__(
        self, task: AgentTask, journal: Journal, tools: Tools, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._task = task
        self._journal = journal
        self._tools = tools
        self._reader = reader
        self._writer = writer
        self._patience = (task.budget.get("seconds") or budget_of(task.config)["seconds"]) + GRACE

    async def serve(self) -> Any:
        past = list(self._journal.past)
        with _spoken_to_child():
            await _send(self._writer, {"task": self._task, "past": past})
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    with _spoken_to_child():
                        said = await _receive(self._reader)
            except TimeoutError:
                message = "The process of the agent did not answer any more."
                raise TaskError("agent_crashed", message, transient=True) from None
            if "output" in said:
                return said["output"]
            if "failed" in said:
                raise _task_error(said["failed"])
            answer = await self._answered(said)
            if "id" in said:
                with _spoken_to_child():
                    await _send(self._writer, {"id": said["id"], **answer})

    async def _answered(self, said: dict[str, Any]) -> dict[str, Any]:
        name, given = said["call"], said["given"]
        try:
            if name == "text":
                with suppress(Exception):
                    # Live text may be dropped, whatever is wrong with who takes it.
                    await self._journal.text(*given)
                return {}
            if name in JOURNAL:
                return {"result": await getattr(self._journal, name)(msgspec.convert(given[0], Step))}
            if name not in TOOLS:
                raise Refused("capability", "There is nothing of this name.")
            result = await getattr(self._tools, name)(*given)
            return {"result": base64.b64encode(result).decode() if isinstance(result, bytes) else result}
        except Refused as refusal:
            return {"refused": {**refusal.as_dict(), "errors": refusal.errors}}


def _task_error(failed: dict[str, Any]) -> TaskError:
    return TaskError(
        failed["code"],
        failed["message"],
        transient=bool(failed.get("transient")),
        pointer=failed.get("pointer"),
        hint=failed.get("hint"),
        details=failed.get("details"),
    )


async def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(msgspec.json.encode(message) + b"\n")
    await writer.drain()


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(await reader.readuntil(b"\n"))
    except asyncio.LimitOverrunError:
        raise TaskError("output_too_large", "The agent's process said more than is read.", transient=False) from None
    return found


class _Remote:
    """The journal and the tools as the child has them: everything is asked of the parent."""

    def __init__(self, past: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.past = past
        self._reader = reader
        self._writer = writer
        self._one_at_a_time = asyncio.Lock()
        self._number = 0

    async def _ask(self, call: str, *given: Any) -> Any:
        async with self._one_at_a_time:
            self._number += 1
            await _send(self._writer, {"id": self._number, "call": call, "given": given})
            answer = await _receive(self._reader)
            while answer["id"] != self._number:
                # Of a call that was given up when its time was over.
                answer = await _receive(self._reader)
        if "refused" in answer:
            why = answer["refused"]
            raise Refused(why["code"], why["message"], why.get("pointer"), why.get("hint"), why["errors"])
        return answer["result"]

    async def begin(self, step: Step) -> None:
        await self._ask("begin", step)

    async def end(self, step: Step) -> None:
        await self._ask("end", step)

    async def text(self, number: int, delta: str) -> None:
        await _send(self._writer, {"call": "text", "given": (number, delta)})

    async def patch_workflow(self, key: str, operations: list[dict[str, Any]], reason: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("patch_workflow", key, operations, reason)
        return found

    async def document(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("document")
        return found

    async def start_workflow(self, key: str, workflow: str, inputs: Any, consent: str | None) -> Any:
        return await self._ask("start_workflow", key, workflow, inputs, consent)

    async def read_blob(self, hash: str) -> bytes:
        return base64.b64decode(await self._ask("read_blob", hash))

    async def ask_human(self, key: str, question: str, form: dict[str, Any] | None) -> Any:
        return await self._ask("ask_human", key, question, form)

    async def ask_consent(self, key: str, tool: str, args: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self._ask("ask_consent", key, tool, args)
        return found


async def converse(connection: socket.socket) -> None:
    """The child's part, from the task to its end."""
    from worker.agent.loop import work
    from worker.http.client import Client

    reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_LINE)
    given = await _receive(reader)
    remote = _Remote(msgspec.convert(given["past"], list[Step]), reader, writer)
    http = Client()
    try:
        said: dict[str, Any] = {"output": await work(msgspec.convert(given["task"], AgentTask), remote, remote, http)}
    except AobError as error:
        said = {"failed": error.as_dict()}
    except MemoryError:
        message = "The process of the agent used more memory than it may."
        said = {"failed": {"code": "agent_crashed", "message": message, "transient": True}}
    finally:
        await http.close()
    await _send(writer, said)
    writer.close()
    await writer.wait_closed()
