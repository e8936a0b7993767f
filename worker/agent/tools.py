"""The tools of an agent, made from its grant and from nothing else; each call is a step of the journal (hazard L1).

Whatever goes wrong with a call is told to the model, which may try something else; its budget ends that. What comes
from outside is bounded, framed as data, and marked in the record.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic_ai import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

from worker.agent import patching
from worker.agent.journal import AgentTask, Refused, Step, Tools
from worker.agent.outside import MAX_TEXT, as_json, bounded, cut, framed
from worker.agent.steps import FATAL, Recorder, as_task_error
from worker.executors.base import TaskError
from worker.http.client import Client, check_headers
from worker.http.client import as_task_error as http_error
from worker.http.guard import host_admitted
from workflows.core.errors import AobError
from workflows.core.hidden import without_hidden
from workflows.core.schemas import compile_schema
from workflows.core.strictjson import check, decode
from workflows.nodes.agent import CONSENT, granted_as, needs_consent

MAX_INVALID_PATCHES = 3
"""So often in a row an agent is told what is wrong with its patch."""

MAX_ARGS_BYTES = 1024 * 1024
GO_ON = "This patch was invalid too. Do not try again: finish the task without changing the workflow."
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_RAW = "raw"


@dataclass(frozen=True)
class Made:
    """What a call is made under: its idempotency key, and that of the step in which people allowed it."""

    key: str
    consent: str | None = None


Call = Callable[[dict[str, Any], Made], Awaitable[Any]]
"""Takes the arguments of a call and gives its result."""


@dataclass(frozen=True)
class AgentTool:
    """A tool as the model sees it, and what it does."""

    name: str
    description: str
    parameters: dict[str, Any]
    call: Call
    is_outside: bool = False
    is_waiting: bool = False
    granted_as: str = ""
    """What `consent` of the node calls it; nothing where nobody is asked before it is called."""


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


class AgentTools(AbstractToolset[None]):
    """Every tool of one agent. `own` are those of its grant, `more` come from MCP servers."""

    def __init__(self, task: AgentTask, recorder: Recorder, tools: Tools, http: Client, more: list[AgentTool]) -> None:
        self._task = task
        self._recorder = recorder
        self._tools = tools
        self._http = http
        self._invalid_patches = 0
        self._known = {tool.name: tool for tool in (*self._own(), *more)}

    @property
    def id(self) -> str:
        return "agent-tools"

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        return {
            tool.name: ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(
                    name=tool.name,
                    description=tool.description,
                    parameters_json_schema=tool.parameters,
                    sequential=True,
                ),
                max_retries=0,
                args_validator=_AsWritten(),
            )
            for tool in self._known.values()
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[None], tool: ToolsetTool[None]
    ) -> Any:
        known = self._known[name]
        args, fault = _arguments(tool_args[_RAW], known.parameters)

        consent = None
        if fault is None and needs_consent(self._task.grant.get("consent", ()), known.granted_as):
            consent, refusal = await self._consent(known, args, ctx.tool_call_id or "")
            if refusal is not None:
                return as_json({"error": refusal})

        async def act(step: Step) -> dict[str, Any]:
            made = Made(step.what["key"], consent)
            return {"error": fault} if fault is not None else await self._outcome(known, args, made)

        outcome = await self._recorder.tool(ctx.tool_call_id or "", name, args, act, is_waiting=known.is_waiting)
        return self._told(known, outcome)

    async def _consent(self, tool: AgentTool, args: dict[str, Any], call: str) -> tuple[str, dict[str, Any] | None]:
        """The key under which people were asked, and why the call is not made, if it is not."""
        key = self._recorder.next_key()

        async def act(step: Step) -> dict[str, Any]:
            asking = AgentTool(CONSENT, "", {}, lambda args, made: self._tools.ask_consent(made.key, **args))
            return await self._outcome(asking, step.what["args"], Made(key))

        what = {"tool": tool.granted_as, "args": args}
        outcome = await self._recorder.tool(f"consent:{call}", CONSENT, what, act, is_waiting=True)
        if "error" in outcome:
            return key, outcome["error"]
        answer = outcome["result"]
        if answer["answer"] == "approve":
            return key, None
        message = "People were asked whether this call may be made, and did not allow it."
        return key, {"code": "consent_refused", "message": message, "reason": answer.get("reason")}

    async def _outcome(self, tool: AgentTool, args: dict[str, Any], made: Made) -> dict[str, Any]:
        outside = {"outside": True} if tool.is_outside else {}
        try:
            result = bounded(await tool.call(args, made))
            check(result)
        except Refused as refusal:
            if refusal.code in FATAL:
                raise as_task_error(refusal) from None
            return {"error": {**refusal.as_dict(), **({"errors": refusal.errors} if refusal.errors else {})}}
        except AobError as error:
            return {"error": error.as_dict(), **outside}
        return {"result": result, **outside}

    def _told(self, tool: AgentTool, outcome: Mapping[str, Any]) -> str:
        """What the model reads of an outcome, whether it was just made or is replayed."""
        if "error" in outcome:
            text = self._patch_told(outcome) if tool.name == "patch_workflow" else as_json({"error": outcome["error"]})
        else:
            result = outcome["result"]
            if tool.name == "patch_workflow":
                self._invalid_patches = 0
            text = result if isinstance(result, str) else as_json(result)
        return framed(text, self._task) if outcome.get("outside") else text

    def _own(self) -> list[AgentTool]:
        found: list[AgentTool] = []
        grant = self._task.grant
        numbers: dict[str, int] = {}
        for entry in grant.get("tools", ()):
            kind = entry["type"]
            if kind == "read_blob":
                found.append(self._read_blob())
            elif kind == "http":
                found.append(self._http_tool(entry))
            elif kind == "ask_human":
                found.append(self._ask_human())
            elif kind == "workflow":
                name = unique(f"workflow_{entry['name']}", numbers)
                found.append(self._workflow(name, entry))
        if grant.get("patches", "off") != "off":
            found += [self._read_workflow(), self._patch_workflow()]
        return found

    def _read_blob(self) -> AgentTool:
        async def call(args: dict[str, Any], made: Made) -> Any:
            text, was_cut = cut(await self._tools.read_blob(args["hash"]))
            return {"text": text, "cut": was_cut}

        return AgentTool(
            "read_blob",
            f"Reads a blob as text, at most its first {MAX_TEXT} bytes. Its name is `sha256:` and 64 digits.",
            _object({"hash": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}}, ["hash"]),
            call,
            is_outside=True,
            granted_as="read_blob",
        )

    def _http_tool(self, entry: Mapping[str, Any]) -> AgentTool:
        hosts, methods = entry["hosts"], entry.get("methods", ["GET"])

        async def call(args: dict[str, Any], made: Made) -> Any:
            return await http_call(self._http, args, made.key, hosts=hosts, methods=methods)

        return AgentTool(
            "http",
            f"Makes an HTTP request to one of these hosts: {', '.join(hosts)}. At most {MAX_TEXT} bytes are read.",
            _object(
                {
                    "method": {"enum": methods},
                    "url": {"type": "string", "maxLength": 8000},
                    "headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 30},
                    "json": {},
                    "body": {"type": "string"},
                },
                ["method", "url"],
            ),
            call,
            is_outside=True,
            granted_as=granted_as(entry),
        )

    def _ask_human(self) -> AgentTool:
        async def call(args: dict[str, Any], made: Made) -> Any:
            return await self._tools.ask_human(made.key, args["question"], args.get("form"))

        return AgentTool(
            "ask_human",
            "Asks a person and waits for the answer. `form` is a JSON Schema of what is to be filled in.",
            _object(
                {"question": {"type": "string", "minLength": 1, "maxLength": 10_000}, "form": {"type": "object"}},
                ["question"],
            ),
            call,
            is_waiting=True,
        )

    def _workflow(self, name: str, entry: Mapping[str, Any]) -> AgentTool:
        async def call(args: dict[str, Any], made: Made) -> Any:
            return await self._tools.start_workflow(made.key, entry["name"], args.get("inputs", {}), made.consent)

        return AgentTool(
            name,
            entry.get("description") or f"Runs the workflow {entry['name']} and gives its output.",
            _object({"inputs": {"type": "object"}}, []),
            call,
            is_outside=True,
            is_waiting=True,
            granted_as=granted_as(entry),
        )

    def _read_workflow(self) -> AgentTool:
        async def call(args: dict[str, Any], made: Made) -> Any:
            # The control plane hides it already; a model sees no credentials whoever gives the document.
            return without_hidden(await self._tools.document())

        return AgentTool("read_workflow", "The workflow document of this run as it is now.", _object({}, []), call)

    def _patch_workflow(self) -> AgentTool:
        async def call(args: dict[str, Any], made: Made) -> Any:
            found = patching.problems(await self._tools.document(), args["operations"], self._task.grant)
            if found:
                raise Refused("patch_invalid", "The patch is invalid; nothing was changed.", errors=found)
            return await self._tools.patch_workflow(made.key, args["operations"], args["reason"])

        kinds = ", ".join(self._task.grant.get("may_add", {}).get("node_types", ())) or "none"
        return AgentTool(
            "patch_workflow",
            "Proposes a change of this run's workflow as a JSON Patch (RFC 6902). What has started cannot be changed. "
            f"Types of nodes that may be added: {kinds}.",
            _object(
                {
                    "operations": {"type": "array", "items": {"type": "object"}, "minItems": 1},
                    "reason": {"type": "string", "minLength": 1, "maxLength": 2000},
                },
                ["operations", "reason"],
            ),
            call,
        )

    def _patch_told(self, outcome: Mapping[str, Any]) -> str:
        """Raises TaskError `agent_patch_invalid` when it was told often enough, and the config wants that."""
        self._invalid_patches += 1
        if self._invalid_patches <= MAX_INVALID_PATCHES:
            return as_json({"error": outcome["error"], "valid_examples": patching.EXAMPLES})
        if self._task.config.get("on_invalid_patch", "error") == "continue":
            return GO_ON
        raise TaskError(
            "agent_patch_invalid",
            f"The agent's patch was invalid {self._invalid_patches} times: {outcome['error']['message']}",
            transient=False,
            details={"errors": outcome["error"].get("errors", [])},
        )


class _AsWritten:
    """Takes arguments as the model wrote them: they are judged as a step, by the strict decoder."""

    def validate_json(self, input: str | bytes | bytearray, **more: Any) -> Any:
        return {_RAW: input if isinstance(input, str) else bytes(input).decode("utf-8", "replace")}

    def validate_python(self, input: Any, **more: Any) -> Any:
        return {_RAW: input}


def _arguments(raw: Any, schema: dict[str, Any]) -> tuple[Any, dict[str, Any] | None]:
    """The arguments, or what was written and what is wrong with it."""
    try:
        args = decode(raw, max_bytes=MAX_ARGS_BYTES) if isinstance(raw, str) else raw
        check(args)
    except AobError as error:
        written = raw if isinstance(raw, str) else as_json(raw)
        return cut(written.encode("utf-8", "replace"))[0], {**error.as_dict(), "code": "arguments_invalid"}
    faults = compile_schema(schema).problems(args, limit=10)
    if not faults:
        return args, None
    told = [fault.as_dict() for fault in faults]
    return args, {"code": "arguments_invalid", "message": faults[0].message, "errors": told}


async def http_call(
    http: Client, args: Mapping[str, Any], key: str, *, hosts: list[str], methods: list[str]
) -> dict[str, Any]:
    """One request to a granted host, and to granted hosts only wherever it is sent on to. Raises TaskError."""
    method = str(args["method"]).upper()
    if method not in methods:
        raise TaskError("capability", f"This agent may not use {method}.", transient=False)

    def admit(url: httpx.URL) -> None:
        if not host_admitted(url, hosts):
            message = f"The host {url.host!r} is not granted to this agent."
            raise TaskError("capability", message, transient=False, hint=f"Granted: {', '.join(hosts)}.")

    headers = dict(args.get("headers", {}))
    check_headers(headers)
    if method not in SAFE_METHODS:
        headers = {name: value for name, value in headers.items() if name.lower() != "idempotency-key"}
        headers["Idempotency-Key"] = key
    body: dict[str, Any] = {}
    if "json" in args:
        body = {"json": args["json"]}
    elif "body" in args:
        body = {"content": args["body"].encode()}
    request = http.build(method, args["url"], headers=headers, **body)
    async with http.stream(request, admit=admit) as response:
        data = b""
        try:
            async for chunk in response.aiter_bytes(16 * 1024):
                data += chunk
                if len(data) > MAX_TEXT:
                    break
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise http_error(error, str(request.url.host)) from None
        text, was_cut = cut(data)
        kind = response.headers.get("content-type", "").encode("latin-1", "replace").decode("latin-1")[:200]
        found = {"status": response.status_code, "content_type": kind.replace("\x00", "�"), "body": text}
        return {**found, "cut": f"Only the first {MAX_TEXT} bytes were read."} if was_cut else found


def unique(name: str, numbers: dict[str, int]) -> str:
    """A name as providers take it, which no tool has yet."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:56]
    numbers[plain] = numbers.get(plain, 0) + 1
    return plain if numbers[plain] == 1 else f"{plain}_{numbers[plain]}"
