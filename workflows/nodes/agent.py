"""`agent`: config, output, help, and what its config grants. The loop is `worker.agent.loop`.

What an agent may do stands in the document and nowhere else (hazard L1): every part of the config but the two texts is
taken as it stands, without expressions, so that a capability never comes from data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from workflows.core.errors import AobError
from workflows.nodes.approval import PEOPLE
from workflows.nodes.registry import ErrorNote, Example, NodeType, config_object, template_string

DEFAULT_BUDGET: dict[str, Any] = {"tokens": 200_000, "cost": 1.0, "seconds": 600, "steps": 50}
"""Tokens of all requests and answers, cost in US dollars, seconds of work, steps (model calls and tool calls)."""

DEFAULT_MAX_TOKENS = 4_096
DEFAULT_MAY_ADD: dict[str, Any] = {
    "node_types": ["transform", "switch", "log", "fail", "delay"],
    "hosts": [],
    "workflows": [],
    "recipients": [],
}
"""What the patches of an agent may bring where its config does not say: nothing that acts on the outside."""

_HOST = re.compile(r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MODEL_PATTERN = "^[A-Za-z][A-Za-z0-9_-]{0,40}:[^\\s]{1,200}$"
_TOOL_NAME = "^[A-Za-z0-9_-]{1,64}$"
_WORKFLOW_PATTERN = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@[A-Za-z0-9_.-]{1,64})?$"

_CONSENT_PATTERN = "^(http|read_blob|workflow(:[^\\s]{1,200})?|mcp(:[^\\s]{1,400})?)$"

_model = {"type": "string", "pattern": _MODEL_PATTERN, "examples": ["openai:gpt-5-mini", "anthropic:claude-sonnet-4-5"]}
_hosts = {"type": "array", "maxItems": 100, "items": {"type": "string", "minLength": 1, "maxLength": 255}}


def _tool(kind: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, **properties},
        "required": ["type", *required],
        "additionalProperties": False,
    }


TOOL_SCHEMAS: dict[str, dict[str, Any]] = {
    "http": _tool(
        "http",
        {
            "hosts": {**_hosts, "minItems": 1},
            "methods": {
                "type": "array",
                "minItems": 1,
                "items": {"enum": ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]},
            },
        },
        ["hosts"],
    ),
    "workflow": _tool(
        "workflow",
        {
            "name": {"type": "string", "pattern": _WORKFLOW_PATTERN},
            "description": {"type": "string", "maxLength": 2000},
        },
        ["name"],
    ),
    "mcp": _tool(
        "mcp",
        {
            "url": {"type": "string", "pattern": "^https?://", "maxLength": 2000},
            "tools": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": {"type": "string", "pattern": _TOOL_NAME},
            },
            "hash": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        },
        ["url"],
    ),
    "ask_human": _tool(
        "ask_human", {"assignees": {"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 200}}}, []
    ),
    "read_blob": _tool("read_blob", {}, []),
}
TEXTS = ("prompt", "system")
"""The keys that hold expressions; all others are taken as they stand."""

PLAIN_TOOLS = ("read_blob", "ask_human")
"""Tools that need no settings and may be named by a string."""

CONSENT = "ask_consent"
"""The step in which people allow a call; the model has no such tool."""

CONFIG_SCHEMA: dict[str, Any] = config_object(
    {
        "model": {
            "title": "Model",
            "description": "`provider:model`; a list is tried in order when a provider fails.",
            **_model,
            "type": ["string", "array"],
            "items": _model,
            "minItems": 1,
            "maxItems": 5,
        },
        "prompt": template_string(
            title="Prompt",
            description="Values of expressions in it reach the model marked as data, unless they are all that is said.",
            minLength=1,
            maxLength=100_000,
        ),
        "system": template_string(title="System prompt", maxLength=100_000),
        "tools": {
            "title": "Tools",
            "description": '`"read_blob"`, or a map with `type`: http, workflow, mcp, ask_human.',
            "type": "array",
            "maxItems": 32,
            "items": {"type": ["string", "object"]},
        },
        "consent": {
            "title": "Calls that people allow first",
            "description": "`all`, or a list: `http`, `read_blob`, `workflow` or `workflow:NAME`, `mcp`, `mcp:HOST` or "
            "`mcp:HOST/TOOL`. Such a call waits for a ticket; rejected, it is not made, and the model is told why.",
            "type": ["array", "string"],
            "pattern": "^all$",
            "items": {"type": "string", "pattern": _CONSENT_PATTERN},
            "maxItems": 100,
            "default": [],
        },
        "consent_from": {
            **PEOPLE,
            "title": "Who allows them",
            "description": "user:NAME and group:NAME; where there are none, anyone who may decide.",
        },
        "output_schema": {
            "type": ["object", "boolean"],
            "title": "Schema of the output",
            "description": "JSON Schema; without it the output is text.",
        },
        "budget": {
            "type": "object",
            "title": "Budget",
            "properties": {
                "tokens": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100_000_000,
                    "description": "Of all requests and answers; a request is reserved with a token for each byte.",
                },
                "cost": {"type": "number", "minimum": 0, "maximum": 100_000, "description": "In US dollars."},
                "seconds": {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "maximum": 86_400,
                    "description": "Waiting for people and other runs is not counted.",
                },
                "steps": {"type": "integer", "minimum": 1, "maximum": 10_000, "description": "Model and tool calls."},
            },
            "additionalProperties": False,
            "default": DEFAULT_BUDGET,
        },
        "patches": {
            "enum": ["off", "auto", "review", "shadow"],
            "title": "Patches",
            "description": "Whether the agent may change this run's graph: at once, after a review, or only on paper.",
            "default": "off",
        },
        "may_add": {
            "type": "object",
            "title": "What its patches may bring",
            "properties": {
                "node_types": {"type": "array", "maxItems": 100, "items": {"type": "string", "maxLength": 100}},
                "hosts": _hosts,
                "workflows": {
                    "type": "array",
                    "maxItems": 100,
                    "items": {"type": "string", "pattern": _WORKFLOW_PATTERN},
                },
                "recipients": {
                    "type": "array",
                    "maxItems": 100,
                    "items": {"type": "string", "maxLength": 320, "pattern": "^[^@\\s]*@[^@\\s]+$"},
                    "description": "Of mails: name@example.com, or @example.com for everybody there.",
                },
            },
            "additionalProperties": False,
        },
        "on_invalid_patch": {
            "enum": ["error", "continue"],
            "description": "After it was told three times what is wrong with its patch: fail, or go on without.",
            "default": "error",
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": 2, "description": "Where the model takes one."},
        "max_tokens": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1_000_000,
            "description": "Of one answer.",
            "default": DEFAULT_MAX_TOKENS,
        },
    },
    ["model", "prompt"],
)


def tool_of(entry: Any) -> dict[str, Any]:
    """An entry of `tools` as a map with `type`."""
    return {"type": entry} if isinstance(entry, str) else dict(entry)


def grant_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config grants: tools as maps, `consent`, `consent_from`, `models`, `patches`, `may_add`.

    Nothing else gives an agent a right.
    """
    return {
        "models": models_of(config),
        "consent_from": config.get("consent_from", []),
        "tools": [tool_of(entry) for entry in config.get("tools", ())],
        "consent": consent_of(config),
        "patches": config.get("patches", "off"),
        "may_add": {**DEFAULT_MAY_ADD, **config.get("may_add", {})},
    }


def models_of(config: Mapping[str, Any]) -> list[str]:
    """The models of a config, in the order in which they are tried."""
    model = config.get("model", ())
    return [model] if isinstance(model, str) else list(model)


def consent_of(config: Mapping[str, Any]) -> list[str]:
    """The calls that people allow first, as names and beginnings of names; "" is the beginning of all."""
    consent = config.get("consent", ())
    return [""] if consent == "all" else list(consent)


def granted_as(tool: Mapping[str, Any], name: str = "") -> str:
    """What a tool is called in `consent`: `http`, `read_blob`, `workflow:NAME`, `mcp:HOST/TOOL` (TOOL is `name`)."""
    if tool["type"] == "workflow":
        return f"workflow:{tool['name']}"
    if tool["type"] == "mcp":
        return f"mcp:{urlsplit(tool['url']).netloc.lower()}/{name}"
    return str(tool["type"])


def needs_consent(consent: Iterable[str], name: str) -> bool:
    """Whether people allow the calls of a tool, as `granted_as` names it, before they are made."""
    if not name or name == "ask_human":
        return False
    # A beginning ends where a part of the name does: `workflow:pay` is also `workflow:pay@stable`.
    return any(not one or name == one or name.startswith((f"{one}:", f"{one}/", f"{one}@")) for one in consent)


def waits(config: Mapping[str, Any], tool: str) -> bool:
    """Whether a step waits for people or for another run, as the config lets it: that costs an agent no seconds."""
    if tool == CONSENT:
        return bool(consent_of(config))
    kinds = {entry["type"] for entry in grant_of(config)["tools"]}
    return ("ask_human" in kinds and tool == "ask_human") or ("workflow" in kinds and tool.startswith("workflow_"))


def budget_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The whole budget of a config: what it says, and the defaults."""
    return {**DEFAULT_BUDGET, **config.get("budget", {})}


def most_tokens(request: Any) -> int:
    """An upper bound of the tokens of a request: no tokenizer makes more tokens than the text has bytes in UTF-8.

    Counted is the JSON of messages and tools, whose punctuation is more than what providers add around them. Runner and
    control plane count alike.
    """
    return len(json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def enclosed(schema: Any) -> Any:
    """The schema of the arguments by which a model gives its output: those of a tool are always a map.

    What is no map stands in it under `value`.
    """
    if isinstance(schema, Mapping) and schema.get("type") == "object":
        return dict(schema)
    inner = dict(schema) if isinstance(schema, Mapping) else schema
    definitions = inner.pop("$defs", None) if isinstance(inner, dict) else None
    outer = {"type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}
    return outer if definitions is None else {**outer, "$defs": definitions}


def check(config: Mapping[str, Any], pointer: str) -> list[AobError]:
    """What is wrong with a config beyond what its JSON Schema says."""
    from workflows.core.schemas import check_schema

    found: list[AobError] = []
    if "output_schema" in config:
        found.extend(check_schema(config["output_schema"], pointer=f"{pointer}/output_schema"))
    tools = config.get("tools")
    seen: set[str] = set()
    for number, entry in enumerate(tools if isinstance(tools, list) else ()):
        found.extend(_tool_problems(entry, f"{pointer}/tools/{number}", seen))
    found.extend(_consent_problems(config, pointer))
    may_add = config.get("may_add")
    if isinstance(may_add, Mapping):
        found.extend(_host_problems(may_add.get("hosts"), f"{pointer}/may_add/hosts"))
        found.extend(_type_problems(may_add.get("node_types"), f"{pointer}/may_add/node_types"))
    return found


def _tool_problems(entry: Any, place: str, seen: set[str]) -> list[AobError]:
    from workflows.core.schemas import compile_schema

    kind = entry if isinstance(entry, str) else entry.get("type") if isinstance(entry, Mapping) else None
    if kind not in TOOL_SCHEMAS:
        known = ", ".join(TOOL_SCHEMAS)
        where = place if isinstance(entry, str) else f"{place}/type"
        return [AobError("agent_tool_unknown", f"There is no tool {str(kind)[:60]!r}.", where, f"Known: {known}.")]
    if isinstance(entry, str):
        if kind not in PLAIN_TOOLS:
            hint = f'Write it as a map: {{"type": "{kind}", …}}.'
            return [AobError("agent_tool_settings", f"The tool {kind!r} needs settings.", place, hint)]
        faults: list[AobError] = []
    else:
        faults = list(compile_schema(TOOL_SCHEMAS[kind]).problems(dict(entry), pointer=place))
        if kind == "http":
            faults += _host_problems(entry.get("hosts"), f"{place}/hosts")
    mark = f"{kind} {entry.get('name') or entry.get('url')}" if kind in ("workflow", "mcp") else kind
    if mark in seen:
        faults.append(AobError("agent_tool_doubled", f"The tool {mark!r} stands there twice.", place, "Remove one."))
    seen.add(mark)
    return faults


def _consent_problems(config: Mapping[str, Any], pointer: str) -> list[AobError]:
    """A name that fits no tool would protect nothing."""
    from workflows.core.people import assignees

    consent, tools = config.get("consent"), config.get("tools", [])
    found = []
    if isinstance(consent, list) and isinstance(tools, list):
        given = [tool_of(tool) for tool in tools if isinstance(tool, (str, dict))]
        for number, name in enumerate(consent):
            if isinstance(name, str) and not any(_fits(name, tool) for tool in given):
                known = ", ".join(granted_as(tool).rstrip("/") for tool in given if _is_named(tool)) or "none"
                message = f"No tool of this agent is {name[:100]!r}."
                found.append(
                    AobError("agent_consent_unknown", message, f"{pointer}/consent/{number}", f"Its tools: {known}.")
                )
    try:
        assignees(config.get("consent_from"), f"{pointer}/consent_from")
    except AobError as error:
        found.append(error)
    return found


def _is_named(tool: Mapping[str, Any]) -> bool:
    wanted = {"workflow": "name", "mcp": "url"}.get(str(tool.get("type")), "type")
    return isinstance(tool.get(wanted), str)


def _fits(name: str, tool: Mapping[str, Any]) -> bool:
    """Of the tools of a server only those are known that the document names."""
    if not _is_named(tool):
        return False
    if tool["type"] != "mcp" or not isinstance(tool.get("tools"), list):
        own = granted_as(tool)
        return needs_consent([name], own) or (tool["type"] == "mcp" and name.startswith(own))
    return any(needs_consent([name], granted_as(tool, str(one))) for one in tool["tools"])


def _host_problems(hosts: Any, place: str) -> list[AobError]:
    return [
        AobError(
            "agent_host",
            f"{host[:100]!r} is no host name.",
            f"{place}/{number}",
            "Write the host alone, as api.example.com or api.example.com:8443, without scheme, path or wildcard.",
        )
        for number, host in enumerate(hosts if isinstance(hosts, list) else ())
        if isinstance(host, str) and not is_host(host)
    ]


def is_host(text: str) -> bool:
    """True for `name`, `address`, `[IPv6 address]`, each with `:port` or without."""
    return len(text) <= 255 and _HOST.fullmatch(text) is not None


def _type_problems(names: Any, place: str) -> list[AobError]:
    from workflows.core.problems import nearest
    from workflows.nodes.registry import node_types

    return [
        AobError(
            "unknown_node_type",
            f"There is no node type {name[:60]!r}.",
            f"{place}/{number}",
            nearest(name, node_types()) or f"Known types: {', '.join(node_types())}.",
        )
        for number, name in enumerate(names if isinstance(names, list) else ())
        if isinstance(name, str) and name not in node_types()
    ]


HELP = (
    "Gives a task to a language model. It may use the tools that are named here and no others, within a budget that is "
    "reserved before each call; each of its steps is recorded, so a crash repeats at most one call. With an output "
    "schema the output fits it. With `patches` it may propose changes of this run's graph. Calls that `consent` names "
    "wait until people have allowed them, each by a ticket that shows what would be sent."
)

EXAMPLES = (
    Example(
        title="Sort a message into a class",
        config={
            "model": ["openai:gpt-5-mini", "anthropic:claude-haiku-4-5"],
            "prompt": "Which kind of request is this?\n\n{{ inputs.message }}",
            "output_schema": {
                "type": "object",
                "properties": {"kind": {"enum": ["question", "complaint", "order"]}},
                "required": ["kind"],
                "additionalProperties": False,
            },
            "budget": {"tokens": 20_000, "steps": 5},
        },
        inputs={"message": "Where is my parcel?"},
        result={"kind": "question"},
    ),
    Example(
        title="Look something up with a tool",
        config={
            "model": "anthropic:claude-sonnet-4-5",
            "system": "You answer in one sentence.",
            "prompt": "What does item {{ inputs.item }} cost? See https://shop.example/items/{{ inputs.item }}.",
            "tools": [{"type": "http", "hosts": ["shop.example"], "methods": ["GET"]}],
        },
        inputs={"item": 7},
        result="Item 7 costs 12.50.",
    ),
    Example(
        title="Somebody allows each order before it is made",
        config={
            "model": "anthropic:claude-sonnet-4-5",
            "prompt": "Order what is missing: {{ inputs.missing }}",
            "tools": [{"type": "http", "hosts": ["shop.example"], "methods": ["GET", "POST"]}, "read_blob"],
            "consent": ["http"],
            "consent_from": ["group:buyers"],
        },
        inputs={"missing": ["paper"]},
        result="Ordered: paper.",
    ),
    Example(
        title="Try it without a key: the scripted provider (no language model)",
        config={"model": "scripted:hello", "prompt": "Say hello to {{ inputs.name }}."},
        inputs={"name": "Ada"},
        result="Hello. I am a script, not a language model.",
    ),
)

ERRORS = (
    ErrorNote(
        "agent_budget",
        "The next step would exceed the budget of tokens, cost, seconds or steps; the message says which.",
        "Raise that part of `budget`, or give the agent less to do.",
    ),
    ErrorNote(
        "agent_provider",
        "No model gave an answer that can be used; the details say what each provider answered.",
        "Look at the status of the provider; name further models as fallbacks.",
        transient=True,
    ),
    ErrorNote(
        "agent_provider_setting",
        "A provider is not set up: the message names the variable that is missing.",
        "Set it for the process agent_runner, e.g. OPENAI_API_KEY.",
    ),
    ErrorNote(
        "agent_answer_invalid",
        "The model's answer cannot be kept or followed: broken characters, too many tool calls, unknown tools.",
        "Try again or choose another model.",
    ),
    ErrorNote(
        "agent_output_invalid",
        "The output did not fit `output_schema`, also after it was told twice what is wrong.",
        "Simplify the schema, or say in the prompt what is expected.",
    ),
    ErrorNote(
        "agent_patch_invalid",
        "The agent's patch was invalid, also after it was told three times what is wrong.",
        'Set on_invalid_patch to "continue", or say in the prompt what it may change.',
    ),
    ErrorNote(
        "agent_mcp",
        "The tools of an MCP server are not those that its `hash` names, or the server cannot be spoken to.",
        "Look at the tools; when they are what you want, copy the hash from the message.",
    ),
    ErrorNote(
        "agent_nondeterministic",
        "A resumed agent asked something else than what was recorded, so it was stopped before paying twice.",
        "Start a new run; a change of AOB between the attempts is the usual cause.",
    ),
    ErrorNote(
        "agent_stopped",
        "Somebody stopped this agent, or all of them.",
        "Start it again when it may go on; what it did is kept.",
        transient=True,
    ),
    ErrorNote(
        "agent_crashed",
        "The process of the agent ended, for instance because it used more memory than it may.",
        "It is resumed where it was; look for large answers of tools.",
        transient=True,
    ),
)

NODE_TYPE = NodeType(
    name="agent",
    kind="agent",
    title="Agent",
    help=HELP,
    icon="bot",
    category="Agents",
    config_schema=CONFIG_SCHEMA,
    output_schema={},
    parts={key: "literal" for key in CONFIG_SCHEMA["properties"] if key not in TEXTS},
    plane="agent",
    check=check,
    example={"model": "scripted:hello", "prompt": "Say hello."},
    examples=EXAMPLES,
    errors=ERRORS,
)
