"""Tools of MCP servers (streamable HTTP), by the SDK of the protocol, over the guarded transport (hazards S15, L9).

The tools that an agent gets are pinned by a hash of their names, descriptions and schemas: what a server says about its
tools is read by the model, so another text needs another look by whoever drew the node. A conversation has one session
with each server, opened when it is first needed. Nothing depends on it: one that ended is opened anew, by a resumed agent
as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from worker.agent.journal import Step
from worker.agent.outside import MAX_TEXT
from worker.agent.steps import Recorder
from worker.agent.tools import AgentTool, Made, unique
from worker.agent.wire import guarded_client
from worker.executors.base import TaskError
from worker.http.client import Client
from workflows.core.canonical import value_hash
from workflows.core.errors import AobError
from workflows.core.schemas import check_schema
from workflows.core.strictjson import check
from workflows.nodes.agent import granted_as

if TYPE_CHECKING:
    from mcp import ClientSession

MAX_TOOLS = 128
MAX_PAGES = 10
MAX_ANSWER = 16 * MAX_TEXT
CALL_SECONDS = 120.0
IDLE_SECONDS = 60.0
"""A session that nobody used for so long is closed; servers forget them as well."""

CLOSE_SECONDS = 2.0
LIST = "mcp_list_tools"


class Sessions:
    """The sessions of one conversation with its servers, at most one each. `close` ends them all."""

    def __init__(self, http: Client) -> None:
        self._http = http
        self._open: dict[str, _Session] = {}

    async def ask(self, url: str, what: Callable[[ClientSession], Awaitable[Any]]) -> Any:
        """What a server answers. Raises AobError; one that went away in the middle is connected anew the next time."""
        while True:
            session = self._open.get(url)
            if session is None or session.is_over:
                session = self._open[url] = _Session(url, self._http)
            try:
                return await session.ask(what)
            except _Over:
                continue

    async def close(self) -> None:
        await asyncio.gather(*(session.close() for session in self._open.values()))


class _Over(Exception):
    """A session ended before it took a question."""


class _Session:
    """A session, in a task of its own: the SDK wants to be left where it was entered."""

    def __init__(self, url: str, http: Client) -> None:
        self._asked: asyncio.Queue[tuple[Callable[[ClientSession], Awaitable[Any]], asyncio.Future[Any]] | None]
        self._asked = asyncio.Queue()
        self._task = asyncio.create_task(self._keep(url, http))
        # How it ended is told to who asks; when nobody does, it is of no interest.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def ask(self, what: Callable[[ClientSession], Awaitable[Any]]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait((what, answer))
        try:
            await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # Time is over. What is still asked there must not be answered to somebody else.
            answer.cancel()
            await self.close(patience=0.0)
            raise
        if answer.done():
            return answer.result()
        self._task.result()
        raise _Over

    async def close(self, *, patience: float = CLOSE_SECONDS) -> None:
        """Takes leave of the server, for as long as it lets us."""
        self._asked.put_nowait(None)
        await asyncio.wait([self._task], timeout=patience)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def _keep(self, url: str, http: Client) -> None:
        async with _connected(url, http) as session:
            while True:
                try:
                    asked = await asyncio.wait_for(self._asked.get(), IDLE_SECONDS)
                except TimeoutError:
                    return
                if asked is None:
                    return
                what, answer = asked
                try:
                    answer.set_result(await what(session))
                except AobError as error:
                    # The server said so; the session goes on.
                    answer.set_exception(error)


async def mcp_tools(servers: Sequence[Mapping[str, Any]], recorder: Recorder, sessions: Sessions) -> list[AgentTool]:
    """The tools of these servers. Raises TaskError `agent_mcp` where they are not those that were pinned."""
    found: list[AgentTool] = []
    numbers: dict[str, int] = {}
    for place, server in enumerate(servers):
        outcome = await _listed(server, recorder, sessions)
        if "error" in outcome:
            raise TaskError("agent_mcp", outcome["error"]["message"], transient=True)
        offered = _chosen(server, outcome["result"])
        _must_be_pinned(server, offered)
        found += [_tool(server, tool, unique(f"mcp{place}_{tool['name']}", numbers), sessions) for tool in offered]
    return found


async def _listed(server: Mapping[str, Any], recorder: Recorder, sessions: Sessions) -> dict[str, Any]:
    async def act(step: Step) -> dict[str, Any]:
        try:
            return {"result": await sessions.ask(server["url"], _all_tools), "outside": True}
        except AobError as error:
            return {"error": error.as_dict(), "outside": True}

    return await recorder.tool(LIST, LIST, {"url": server["url"]}, act)


async def _all_tools(session: ClientSession) -> list[dict[str, Any]]:
    from mcp_types import PaginatedRequestParams

    found: list[dict[str, Any]] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        found += [
            {"name": tool.name, "description": tool.description or "", "input_schema": tool.input_schema}
            for tool in page.tools
        ]
        cursor = page.next_cursor
        if len(found) > MAX_TOOLS or not cursor:
            break
    if len(found) > MAX_TOOLS or cursor:
        raise TaskError("agent_mcp", f"The MCP server offers more than {MAX_TOOLS} tools.", transient=False)
    check(found)
    return sorted(found, key=lambda tool: str(tool["name"]))


def _chosen(server: Mapping[str, Any], offered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = server.get("tools")
    if wanted is None:
        return offered
    missing = sorted(set(wanted) - {tool["name"] for tool in offered})
    if missing:
        message = f"The MCP server {server['url']} has no tool {missing[0]!r}."
        raise TaskError("agent_mcp", message, transient=False, pointer="/config/tools")
    return [tool for tool in offered if tool["name"] in wanted]


def _must_be_pinned(server: Mapping[str, Any], offered: list[dict[str, Any]]) -> None:
    actual = value_hash(offered)
    if server.get("hash") == actual:
        return
    what = "have changed since they were pinned" if server.get("hash") else "are not pinned"
    names = ", ".join(tool["name"] for tool in offered)[:300]
    raise TaskError(
        "agent_mcp",
        f"The tools of the MCP server {server['url']} {what}: their hash is {actual} ({names}).",
        transient=False,
        pointer="/config/tools",
        hint=f'Look at them; when they are what you want, write "hash": "{actual}" into the tool.',
    )


def _tool(server: Mapping[str, Any], offered: Mapping[str, Any], name: str, sessions: Sessions) -> AgentTool:
    if check_schema(offered["input_schema"]):
        message = f"The schema of the MCP tool {offered['name']!r} cannot be used."
        raise TaskError("agent_mcp", message, transient=False)

    async def call(args: dict[str, Any], made: Made) -> Any:
        return await sessions.ask(server["url"], lambda session: _called(session, offered["name"], args, made.key))

    return AgentTool(
        name,
        offered["description"][:4000],
        offered["input_schema"],
        call,
        is_outside=True,
        granted_as=granted_as(server, offered["name"]),
    )


async def _called(session: ClientSession, name: str, args: dict[str, Any], key: str) -> Any:
    """The text of the result. (`session.call_tool` would run the server's schema on a backtracking engine, S28.)"""
    from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult

    meta: Any = {"aob/idempotency-key": key}
    params = CallToolRequestParams(name=name, arguments=args, _meta=meta)
    result = await session.send_request(
        CallToolRequest(params=params), CallToolResult, request_read_timeout_seconds=CALL_SECONDS
    )
    parts = [part.text if part.type == "text" else f"[{part.type}, left out]" for part in result.content]
    text = "\n".join(parts)
    if result.is_error:
        raise TaskError("mcp_tool_failed", text[:2000] or "The tool failed.", transient=False)
    return text if text or result.structured_content is None else result.structured_content


@asynccontextmanager
async def _connected(url: str, http: Client) -> AsyncIterator[ClientSession]:
    """A session with a server. Raises TaskError for whatever the SDK raises, which is of many kinds and in groups."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    try:
        async with (
            guarded_client(http, max_bytes=MAX_ANSWER) as client,
            streamable_http_client(url, http_client=client, max_sse_event_size=MAX_ANSWER) as streams,
            ClientSession(*streams[:2], read_timeout_seconds=CALL_SECONDS) as session,
        ):
            await session.initialize()
            yield session
    except Exception as error:
        raise _in_our_words(error, url) from None


def _in_our_words(error: BaseException, url: str) -> AobError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, AobError):
        return error
    if isinstance(error.__cause__, AobError):
        return error.__cause__
    text = f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace").decode().replace("\x00", "�")
    return TaskError("agent_mcp", f"The MCP server {url} cannot be spoken to: {text}", transient=True)
