"""The first of three layers that judge an agent's patch, before anything is sent: its shape, the document that comes of
it, and what its author may bring (hazard L3). Pure. The control plane judges again, and trusts none of this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from worker.http.guard import host_admitted
from workflows.core.addresses import address_granted, address_list
from workflows.core.canonical import canonical
from workflows.core.document import escape_pointer
from workflows.core.errors import AobError
from workflows.core.grants import MAIL_ADDRESSES, REQUESTS
from workflows.core.patches import normalized, patched
from workflows.core.validate import validate
from workflows.nodes.agent import consent_of, models_of, tool_of
from workflows.nodes.registry import node_types

LAYER = "agent"
MAX_TOLD = 20
FROZEN = ("name", "inputs", "limits")
"""Parts of a document that no agent changes."""

EXAMPLES = (
    {
        "reason": "Write down how many rows there are.",
        "operations": [
            {"op": "add", "path": "/nodes/note", "value": {"type": "log", "config": {"message": "Rows were read."}}}
        ],
    },
    {
        "reason": "Call the order by its number.",
        "operations": [
            {
                "op": "add",
                "path": "/nodes/label",
                "value": {"type": "transform", "config": {"output": {"title": "Order {{ run.id }}"}}},
            },
            {"op": "add", "path": "/nodes/tell", "value": {"type": "log", "config": {"message": "Labelled."}}},
            {"op": "add", "path": "/edges/label-tell", "value": {"from": "label", "to": "tell"}},
        ],
    },
)
"""Valid on every document that has no nodes of these names."""

_SCHEME_AND_HOST = re.compile(r"https?://[^/?#{}\\\s]+(?=[/?#]|$)", re.IGNORECASE)


def problems(document: dict[str, Any], operations: Any, grant: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with a patch on this document, each `{pointer, code, message, hint?, layer}`; empty when nothing."""
    try:
        known = normalized(operations)
        after = patched(document, known)
    except AobError as error:
        return [_told(error)]
    found = [_told(problem) for problem in validate(after) if problem.severity == "error"]
    if not found and isinstance(after, dict):
        found = [_told(error) for error in _beyond(document, after, grant)]
    return found[:MAX_TOLD]


def _told(problem: Any) -> dict[str, Any]:
    parts = {"pointer": problem.pointer or "", "code": problem.code, "message": problem.message, "layer": LAYER}
    return {**parts, "hint": problem.hint} if problem.hint else parts


def _beyond(before: Mapping[str, Any], after: Mapping[str, Any], grant: Mapping[str, Any]) -> Iterator[AobError]:
    """What the patch brings that the agent may not bring."""
    may_add = grant.get("may_add", {})
    for part in FROZEN:
        if not _same(before.get(part), after.get(part)):
            yield AobError("capability", f"An agent may not change {part!r}.", f"/{part}", "Leave it as it is.")
    old = dict(_nodes(before, ""))
    for place, node in _nodes(after, ""):
        if place in old and _same(old[place], node):
            continue
        yield from _node_beyond(node, old.get(place), place, may_add, grant)


def _nodes(graph: Mapping[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with its pointer, those of bodies included."""
    for name, node in graph.get("nodes", {}).items():
        inner = f"{place}/nodes/{escape_pointer(name)}"
        yield inner, node
        body = node.get("config", {}).get("body")
        kind = node_types().get(node["type"])
        if isinstance(body, dict) and kind is not None and kind.kind == "structure":
            yield from _nodes(body, f"{inner}/config/body")


def _node_beyond(
    node: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    place: str,
    may_add: Mapping[str, Any],
    grant: Mapping[str, Any],
) -> Iterator[AobError]:
    kind = node["type"]
    config = node.get("config", {})
    if kind not in may_add.get("node_types", ()):
        known = ", ".join(may_add.get("node_types", ())) or "none"
        yield AobError(
            "capability",
            f"This agent may not add or change nodes of type {kind!r}.",
            f"{place}/type",
            f"It may: {known}.",
        )
    if kind in REQUESTS:
        yield from _host_beyond(config.get("url"), f"{place}/config/url", may_add)
    if kind == "subworkflow" and config.get("workflow") not in may_add.get("workflows", ()):
        message = f"This agent may not call the workflow {str(config.get('workflow'))[:100]!r}."
        yield AobError("capability", message, f"{place}/config/workflow")
    if kind == "email":
        yield from _mail_beyond(config, f"{place}/config", may_add)
    if kind == "agent":
        yield from _agent_beyond(config, (before or {}).get("config", {}), f"{place}/config", grant)


def _host_beyond(url: Any, place: str, may_add: Mapping[str, Any]) -> Iterator[AobError]:
    """The host must stand in the document as text: one that an expression gives could be any."""
    found = _SCHEME_AND_HOST.match(url) if isinstance(url, str) else None
    if found is None:
        hint = "Write scheme and host as text; expressions may stand behind them."
        yield AobError("capability", "The host of this URL does not stand in it as text.", place, hint)
        return
    try:
        target = httpx.URL(found[0])
    except httpx.InvalidURL:
        target = httpx.URL("")
    if target.userinfo or not host_admitted(target, may_add.get("hosts", ())):
        known = ", ".join(may_add.get("hosts", ())) or "none"
        yield AobError("capability", f"The host {target.host!r} is not granted.", place, f"Granted: {known}.")


def _mail_beyond(config: Mapping[str, Any], place: str, may_add: Mapping[str, Any]) -> Iterator[AobError]:
    """The addresses must stand in the document as text, and the mail comes from nobody else's."""
    granted = [one.lower() for one in may_add.get("recipients", ())]
    if "from" in config:
        yield AobError("capability", "An agent's mail is not from anybody else.", f"{place}/from", "Leave it out.")
    for key in MAIL_ADDRESSES:
        try:
            addresses = address_list(config.get(key))
        except AobError as error:
            yield AobError("capability", error.message, f"{place}/{key}", "Write the addresses as they are.")
            continue
        for _, address in addresses:
            if not address_granted(address, frozenset(granted)):
                known = ", ".join(granted) or "none"
                yield AobError("capability", f"The recipient {address!r} is not granted.", f"{place}/{key}", known)


def _agent_beyond(
    config: Mapping[str, Any], before: Mapping[str, Any], place: str, grant: Mapping[str, Any]
) -> Iterator[AobError]:
    """An agent hands on no more than it has, and never the right to patch."""
    own = [canonical(tool_of(tool)) for tool in grant.get("tools", ())]
    for number, tool in enumerate(config.get("tools", ())):
        if canonical(tool_of(tool)) not in own:
            yield AobError("capability", "An agent hands on only tools that it has.", f"{place}/tools/{number}")
    for model in models_of(config):
        if model not in grant.get("models", ()):
            yield AobError("capability", f"This agent may not add one that calls {model!r}.", f"{place}/model")
    if config.get("tools") and not _same(config.get("consent_from", []), grant.get("consent_from", [])):
        hint = "Give it the same `consent_from` as this agent has."
        yield AobError("capability", "An agent's agents ask the same people.", f"{place}/consent_from", hint)
    asked = consent_of(config)
    if config.get("tools") and "" not in asked and not set(grant.get("consent", ())) <= set(asked):
        hint = "Give it the same `consent` as this agent has."
        yield AobError("capability", "An agent hands on that people allow its calls first.", f"{place}/consent", hint)
    if config.get("patches", "off") != "off" or "may_add" in config:
        yield AobError("capability", "An agent does not hand on the right to patch.", f"{place}/patches")
    if "budget" in config and not _same(config["budget"], before.get("budget")):
        yield AobError("capability", "An agent sets no budgets.", f"{place}/budget", "Leave it out.")


def _same(first: Any, second: Any) -> bool:
    return canonical(first) == canonical(second)
