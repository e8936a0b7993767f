"""What the author of a patch may bring into a graph: the second layer of validation (pure; hazards L1-L3).

People have what their account gives them. Agents and optimizers have what the workflow's owner wrote down for them, and
never more: they change no limits, no rights, no approval and no audit log, and nothing that was behind one leaves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from workflows.core.addresses import address_granted, address_list
from workflows.core.canonical import value_hash
from workflows.core.document import DOCUMENT_SCHEMA, Document, escape_pointer
from workflows.core.errors import AobError
from workflows.core.guards import PASSES, acts, body_of, guards, nodes_of
from workflows.core.patches import same
from workflows.core.problems import Problem
from workflows.nodes.agent import consent_of, grant_of, needs_consent

AuthorKind = Literal["person", "agent", "optimizer", "import"]
Mode = Literal["auto", "review", "shadow", "off"]
MODES: tuple[Mode, ...] = ("auto", "review", "shadow", "off")
"""From the freest to the strictest."""

OPEN_PARTS = frozenset({"nodes", "edges", "output", "layout", "notes"})
"""The parts of a document that a patch of a running run may change, and an agent's patch ever."""

PARTS_FOR_PEOPLE = frozenset(DOCUMENT_SCHEMA["properties"]) - {"name"}
"""The parts that a person's patch of a workflow may change: it keeps its name."""

REQUESTS = frozenset({"http", "notify"})
"""The types of nodes that reach the host of their `url`."""

MAIL_ADDRESSES = ("to", "cc", "bcc", "reply_to")
"""Where addresses stand in the config of a mail."""

GUARD_WORDS = {"approval": "approval", "log": "audit log"}
NOT_BY_AGENTS = frozenset({"mcp"})
"""Tools that only a person gives to an agent."""

_HOST = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(?=[/?#]|\Z)", re.IGNORECASE | re.ASCII)
"""Scheme and host of a URL about which no two parsers can disagree: no user name, no space, no backslash."""


class Author(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who made a patch. `name` is a user's, or an agent's node path; `run` is the agent's run."""

    kind: AuthorKind
    name: str
    run: str | None = None

    @property
    def is_machine(self) -> bool:
        return self.kind in ("agent", "optimizer")


class Grant(msgspec.Struct, frozen=True):
    """What an author may add. None is everything. `tools` (by their hash) are an agent's own, which it may hand on.

    `recipients` are those of mails: `name@example.com`, or `@example.com` for everybody there. `consent` are the
    calls that people allow first; that is handed on with the tools.
    """

    node_types: frozenset[str] | None = None
    hosts: frozenset[str] | None = None
    workflows: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    recipients: frozenset[str] | None = None
    consent: frozenset[str] = frozenset()


EVERYTHING = Grant()
NOTHING = Grant(frozenset(), frozenset(), frozenset(), frozenset(), frozenset())


def grant_of_config(config: Mapping[str, Any]) -> Grant:
    """What the owner of a workflow lets an agent node's patches bring, by the node's config."""
    may_add = grant_of(config)["may_add"]
    return Grant(
        node_types=frozenset(may_add["node_types"]),
        hosts=frozenset(host.lower() for host in may_add["hosts"]),
        workflows=frozenset(may_add["workflows"]),
        tools=frozenset(value_hash(_tool(tool)) for tool in config.get("tools", ())),
        recipients=frozenset(one.lower() for one in may_add["recipients"]),
        consent=frozenset(consent_of(config)),
    )


def _tool(tool: Any) -> dict[str, Any]:
    """A tool of an agent as a map: its name alone says its type."""
    return tool if isinstance(tool, dict) else {"type": tool}


def strictest(*modes: Mode) -> Mode:
    return max(modes, key=MODES.index)


def check_parts(before: Document, after: Document, open_parts: frozenset[str] = OPEN_PARTS) -> list[Problem]:
    """Parts of the document that are not open to the patch and were changed all the same."""
    changed = sorted(
        part
        for part in before.keys() | after.keys()
        if part not in open_parts and not (part in before and part in after and same(before[part], after[part]))
    )
    return [
        Problem(
            f"/{part}",
            "patch_part_fixed",
            f"This patch may not change {part!r}.",
            "Publish a new version of the workflow.",
        )
        for part in changed
    ]


def check_grant(before: Document, after: Document, grant: Grant) -> list[Problem]:
    """What a machine's patch brings beyond its grant, or takes from people's hands."""
    known = dict(nodes_of(before))
    brought = [(path, node) for path, node in nodes_of(after) if path not in known or not _same_node(known[path], node)]
    problems = [problem for path, node in brought for problem in beyond(path, node, grant)]
    problems += _touched_guards(known, dict(nodes_of(after)))
    problems += _left_guards(before, after, [path for path, _ in brought])
    return problems


def unguarded_effects(before: Document, after: Document) -> list[str]:
    """The nodes that act outside, which a patch brings or changes, and before which no approval stands."""
    known = dict(nodes_of(before))
    behind = guards(after)
    there = dict(nodes_of(after))
    return sorted(
        path
        for path, node in there.items()
        if acts(node)
        and (path not in known or not _same_node(known[path], node))
        and not any(there[guard]["type"] == "approval" for guard in behind[path])
    )


def constant_host(url: Any) -> tuple[str, str] | None:
    """The host of a URL template, alone and with its port, when no expression can change it; else None."""
    if not isinstance(url, str):
        return None
    constant = url.split("{{", 1)[0]
    found = _HOST.match(constant)
    # Where an expression follows at once, it could make the host longer.
    if found is None or (found.end() == len(constant) and constant != url):
        return None
    host = found[1].lower()
    port = found[2] or (":443" if constant[:5].lower() == "https" else ":80")
    return host, host + port


def _same_node(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a node is the same but for its body, whose nodes are looked at one by one."""
    return same(_without_body(before), _without_body(after))


def _without_body(node: Mapping[str, Any]) -> dict[str, Any]:
    if not body_of(node):
        return dict(node)
    body = {key: value for key, value in body_of(node).items() if key not in ("nodes", "edges")}
    return {**node, "config": {**node["config"], "body": body}}


def beyond(path: str, node: Mapping[str, Any], grant: Grant) -> Iterator[Problem]:
    """What of one node, as it stands in a document or as its expressions gave it, a grant does not cover."""
    place = pointer_of(path)
    config = node.get("config", {})
    kind = node["type"]
    if grant.node_types is not None and kind not in grant.node_types:
        yield _refused(f"{place}/type", "node type", kind, grant.node_types)
        return
    if kind in REQUESTS and grant.hosts is not None:
        urls = [("url", config.get("url"))]
        if "token_url" in config.get("auth", {}):
            urls.append(("auth/token_url", config["auth"]["token_url"]))
        for key, url in urls:
            host = constant_host(url)
            if host is None:
                yield Problem(
                    f"{place}/config/{key}",
                    "capability_host_computed",
                    "The host of this URL is computed, so nobody can say where it leads.",
                    "Write scheme and host as they are; expressions may follow behind.",
                )
            elif grant.hosts.isdisjoint(host):
                yield _refused(f"{place}/config/{key}", "host", host[1], grant.hosts)
    if kind == "subworkflow" and grant.workflows is not None and config.get("workflow") not in grant.workflows:
        yield _refused(f"{place}/config/workflow", "workflow", str(config.get("workflow")), grant.workflows)
    if kind == "approval" and config.get("on_timeout") == "approve":
        yield Problem(
            f"{place}/config/on_timeout",
            "capability_auto_approve",
            "An approval that a machine adds may not approve by itself.",
            "Use reject, escalate or the port timed_out.",
        )
    if kind == "email" and grant.recipients is not None:
        yield from _beyond_mail(place, config, grant.recipients)
    if kind == "agent":
        yield from _beyond_agent(place, config, grant)


def _beyond_mail(place: str, config: Mapping[str, Any], granted: frozenset[str]) -> Iterator[Problem]:
    """A mail that a machine adds goes to people whom the owner named, in the installation's own name."""
    if "from" in config:
        yield _refused(f"{place}/config/from", "right to set", "from", set())
    for key in MAIL_ADDRESSES:
        try:
            addresses = address_list(config.get(key))
        except AobError:
            yield Problem(
                f"{place}/config/{key}",
                "capability_recipient_computed",
                "These addresses are computed, or none, so nobody can say where the mail goes.",
                "Write them as they are.",
            )
            continue
        for _, address in addresses:
            if not address_granted(address, granted):
                yield _refused(f"{place}/config/{key}", "recipient", address, granted)


def _beyond_agent(place: str, config: Mapping[str, Any], grant: Grant) -> Iterator[Problem]:
    """An agent that an agent adds has at most what that one has, and changes no graph itself."""
    if config.get("patches", "off") != "off":
        yield _refused(f"{place}/config/patches", "right to patch", str(config["patches"]), {"off"})
    for number, given in enumerate(config.get("tools", ())):
        tool = _tool(given)
        kind = str(tool.get("type"))
        if kind in NOT_BY_AGENTS or (grant.tools is not None and value_hash(tool) not in grant.tools):
            yield _refused(f"{place}/config/tools/{number}", "tool", kind, set())
    own = consent_of(config)
    left_out = sorted(one for one in grant.consent if one not in own and not needs_consent(own, one))
    if left_out and config.get("tools") and "" not in own:
        known = ", ".join(one or "all" for one in sorted(grant.consent))
        yield Problem(
            f"{place}/config/consent",
            "capability_consent",
            "People allow calls of this author's tools first; an agent that it adds asks them as well.",
            f"Write consent: {known}.",
        )
    if grant.tools is not None and "budget" in config:
        yield _refused(f"{place}/config/budget", "right to set", "budget", set())


def _touched_guards(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Problem]:
    for path, node in before.items():
        if node["type"] in PASSES and (path not in after or not same(node, after[path])):
            yield Problem(
                pointer_of(path),
                "guard_changed",
                f"{path!r} is an {GUARD_WORDS[node['type']]}; machines leave it as it is.",
                "Put new nodes behind it.",
            )


def _left_guards(before: Document, after: Document, brought: list[str]) -> Iterator[Problem]:
    was, is_ = guards(before), guards(after)
    known, there = dict(nodes_of(before)), dict(nodes_of(after))
    for path, behind in was.items():
        lost = sorted(behind - is_[path]) if path in is_ and acts(known[path]) else []
        if lost:
            yield _unguarded(path, lost)
    # The same effect under another name is the same effect.
    guarded: dict[tuple[str, Any], frozenset[str]] = {}
    for path, behind in was.items():
        if acts(known[path]):
            target = _target(known[path])
            guarded[target] = guarded.get(target, behind) & behind
    for path in brought:
        lost = sorted(guarded.get(_target(there[path]), frozenset()) - is_[path]) if acts(there[path]) else []
        if lost and not (path in was and was[path] - is_[path]):
            yield _unguarded(path, lost)


def _target(node: Mapping[str, Any]) -> tuple[str, Any]:
    """What an effect acts on, as far as the document says it."""
    config = node.get("config", {})
    host = constant_host(config.get("url"))
    if node["type"] in REQUESTS:
        return "http", host and host[0]
    names = {
        "subworkflow": config.get("workflow"),
        "function": config.get("name"),
    }
    return node["type"], names.get(node["type"])


def _unguarded(path: str, lost: list[str]) -> Problem:
    return Problem(
        pointer_of(path),
        "guard_bypassed",
        f"{path!r} stood behind {', '.join(map(repr, lost[:5]))} and would not any more.",
        "Lead every way to it through what guards it.",
    )


def _refused(pointer: str, what: str, name: str, allowed: frozenset[str] | set[str]) -> Problem:
    known = ", ".join(sorted(allowed)[:20]) or "none"
    return Problem(
        pointer, "capability_missing", f"The {what} {name[:100]!r} is not granted to this author.", f"Granted: {known}."
    )


def pointer_of(path: str) -> str:
    """`each/parse` → `/nodes/each/config/body/nodes/parse`."""
    return "/nodes/" + "/config/body/nodes/".join(escape_pointer(part) for part in path.split("/"))
