"""What the author of a patch may bring into a graph: the second layer of validation (pure; hazards L1-L3).

People have what their account gives them. Agents and optimizers have what the workflow's owner wrote down for them, and
never more: no limits, no rights, no credentials. An approval and an audit log stay as they are while a run goes on, and
what was behind one stays behind it, whoever patches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec

from workflows.core.addresses import address_granted, address_list
from workflows.core.canonical import value_hash
from workflows.core.document import DOCUMENT_SCHEMA, Document, escape_pointer
from workflows.core.errors import AobError
from workflows.core.guards import PASSES, Gates, acts, body_of, either, gates, implies, may_ask, nodes_of, surroundings
from workflows.core.hidden import AUTH, WEBHOOK, hidden_of
from workflows.core.influence import same_node
from workflows.core.patches import same
from workflows.core.people import assignees
from workflows.core.problems import Problem
from workflows.nodes.agent import consent_of, grant_of, models_of, needs_consent

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

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that change nothing (RFC 9110, section 9.2.1)."""

MAIL_ADDRESSES = ("to", "cc", "bcc", "reply_to")
"""Where addresses stand in the config of a mail."""

GUARD_WORDS = {"approval": "approval", "log": "audit log"}
NOT_BY_AGENTS = frozenset({"mcp"})
"""Tools that only a person gives to an agent."""

_HOST = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(?=[/?#]|\Z)", re.IGNORECASE | re.ASCII)
"""Scheme and host of a URL about which no two parsers can disagree: no user name, no space, no backslash."""


class Author(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who made a patch. `name` is a user's, or an agent's node path; `run` is the agent's run.

    An agent outside AOB has the name of the user whose token it has, and `via` says how it came: `mcp`.
    """

    kind: AuthorKind
    name: str
    run: str | None = None
    via: str | None = None

    @property
    def user(self) -> str | None:
        """The user who answers for the patch, and so does not approve it."""
        return self.name if self.kind == "person" or self.via is not None else None

    @property
    def is_machine(self) -> bool:
        return self.kind in ("agent", "optimizer")


class Grant(msgspec.Struct, frozen=True):
    """What an author may add. None is everything. `tools` (by their hash) are an agent's own, which it may hand on.

    `recipients` are those of mails: `name@example.com`, or `@example.com` for everybody there. `consent` are the
    calls that people allow first, `consent_from` by whom: both are handed on with the tools. `models` are those that
    an agent which it adds may call.
    """

    node_types: frozenset[str] | None = None
    hosts: frozenset[str] | None = None
    workflows: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    recipients: frozenset[str] | None = None
    consent: frozenset[str] = frozenset()
    consent_from: frozenset[str] = frozenset()
    models: frozenset[str] | None = None


EVERYTHING = Grant()
NOTHING = Grant(frozenset(), frozenset(), frozenset(), frozenset(), frozenset(), models=frozenset())


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
        consent_from=frozenset(assignees(config.get("consent_from"), "/consent_from")),
        models=frozenset(models_of(config)),
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
    """What a machine's patch brings beyond its grant, and the credentials that it leads elsewhere."""
    known = dict(nodes_of(before))
    problems: list[Problem] = []
    for path, node in nodes_of(after):
        if path not in known or not same_node(known[path], node):
            problems += beyond(path, node, grant)
            problems += _rebound(path, known.get(path), node)
    return problems


def check_guards(before: Document, after: Document, *, is_machine: bool = True) -> list[Problem]:
    """What a patch takes from people's hands: approvals and audit logs that it changes, or leads a way around.

    A log behind which nothing acts is a log like any other to people; machines leave all as they are.
    """
    known, there = dict(nodes_of(before)), dict(nodes_of(after))
    brought = [path for path, node in there.items() if path not in known or not same_node(known[path], node)]
    was = gates(before)
    audits = {gate for path, one in was.items() if acts(known[path]) for gate in one.followed}
    guards = {path for path, node in known.items() if _is_gate(node) and (is_machine or _asks(node) or path in audits)}
    return [
        *_touched_guards(known, there, guards),
        *_auto_approvals(known, there),
        *_left_guards(before, after, was, brought),
    ]


def unguarded_effects(before: Document, after: Document, begun: Collection[str] = ()) -> list[str]:
    """The nodes that act outside, which a patch brings or changes, and before which no approval stands any more.

    One that has begun was asked for before the patch was there, so it says nothing of what the patch brings.
    """
    known, there = dict(nodes_of(before)), dict(nodes_of(after))
    behind = gates(after)
    return sorted(
        path
        for path, node in there.items()
        if acts(node)
        and (path not in known or not same_node(known[path], node))
        and not is_approved(there, behind[path], begun)
    )


def is_approved(nodes: Mapping[str, Any], behind: Gates, begun: Collection[str] = ()) -> bool:
    """Whether an approval that has not begun stands on every way."""
    return behind.ways is not None and all(
        any(nodes[gate]["type"] == "approval" and gate not in begun for gate in way) for way in behind.ways
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
    if kind == "approval" and config.get("bulk"):
        yield Problem(
            f"{place}/config/bulk",
            "capability_bulk",
            "An approval that a machine adds is looked at on its own.",
            "Leave out bulk.",
        )
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
    for model in models_of(config):
        if grant.models is not None and model not in grant.models:
            yield _refused(f"{place}/config/model", "model", model, grant.models)
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
    asked = frozenset(assignees(config.get("consent_from"), f"{place}/config/consent_from"))
    if grant.tools is not None and config.get("tools") and asked != grant.consent_from:
        known = ", ".join(sorted(grant.consent_from)) or "nobody by name"
        yield Problem(
            f"{place}/config/consent_from",
            "capability_consent",
            "An agent that it adds asks the same people whether its calls are allowed.",
            f"They are: {known}.",
        )
    if grant.tools is not None and "budget" in config:
        yield _refused(f"{place}/config/budget", "right to set", "budget", set())


def _rebound(path: str, before: Mapping[str, Any] | None, node: Mapping[str, Any]) -> Iterator[Problem]:
    """Credentials that a machine's patch gives to a node, or takes along to another host (hazards L3, S10)."""
    place = pointer_of(path)
    if before is None:
        if AUTH in node.get("config", {}):
            yield _credentials(f"{place}/config/{AUTH}")
        return
    known, own = dict(hidden_of(before)), dict(hidden_of(node))
    for pointer, value in own.items():
        if pointer != WEBHOOK and not (pointer in known and same(known[pointer], value)):
            yield _credentials(f"{place}{pointer}")
    if own.keys() & known.keys() and _place_of(before) != _place_of(node):
        yield Problem(
            f"{place}/config",
            "capability_credentials",
            f"{path!r} has credentials, so a machine does not lead it to another place.",
            "Leave its type and the host of its URL as they are.",
        )


def _credentials(pointer: str) -> Problem:
    return Problem(
        pointer, "capability_credentials", "A machine gives a node no credentials.", "Ask somebody to put them in."
    )


def _place_of(node: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a node's credentials go: its type, and its host, or the whole URL where that is computed."""
    config = node.get("config", {})
    token_url = (config.get("auth") or {}).get("token_url")
    return node["type"], *(constant_host(url) or url for url in (config.get("url"), token_url))


def _is_gate(node: Mapping[str, Any]) -> bool:
    return node["type"] in PASSES or _asks(node)


def _asks(node: Mapping[str, Any]) -> bool:
    return node["type"] == "approval" or (bool(body_of(node)) and may_ask(node))


def _touched_guards(before: Mapping[str, Any], after: Mapping[str, Any], guards: set[str]) -> Iterator[Problem]:
    for path, node in before.items():
        if path in guards and (path not in after or not same(node, after[path])):
            word = GUARD_WORDS.get(node["type"], f"{node['type']} with an approval inside")
            yield Problem(
                pointer_of(path),
                "guard_changed",
                f"{path!r} is an {word}; no patch of this kind changes it.",
                "Put new nodes behind it, or publish a new version of the workflow.",
            )


def _auto_approvals(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Problem]:
    """Approvals that would approve by themselves: that must stand in the base document."""
    for path, node in after.items():
        if node["type"] == "approval" and path not in before and node["config"].get("on_timeout") == "approve":
            yield Problem(
                f"{pointer_of(path)}/config/on_timeout",
                "capability_auto_approve",
                "An approval that a patch adds may not approve by itself.",
                "Use reject, escalate or the port timed_out.",
            )


def _left_guards(before: Document, after: Document, was: Mapping[str, Gates], brought: list[str]) -> Iterator[Problem]:
    is_ = gates(after)
    known, there = dict(nodes_of(before)), dict(nodes_of(after))
    told = set()
    for path, gate in was.items():
        if path not in is_ or not acts(known[path]):
            continue
        kept = implies(is_[path].ways, gate.ways)
        if kept is None:
            kept = surroundings(before, path) == surroundings(after, path)
        if not kept or not gate.followed <= is_[path].followed:
            told.add(path)
            yield _unguarded(path, gate.followed)
    # The same effect under another name is the same effect.
    guarded = [path for path, gate in was.items() if acts(known[path]) and gate.followed]
    free = [_action(known[path]) for path, gate in was.items() if acts(known[path]) and not gate.followed]
    for path in brought:
        node = there[path]
        if not acts(node) or path in told or any(same(_action(node), one) for one in free):
            continue
        like = [one for one in guarded if one != path and _target(known[one]) == _target(node)]
        exactly = [one for one in like if same(_action(known[one]), _action(node))]
        if not like:
            continue
        if exactly:
            kept = all(implies(is_[path].ways, was[one].ways) for one in exactly)
        else:
            kept = implies(is_[path].ways, either(was[one].ways for one in like))
        if not kept:
            yield _unguarded(path, frozenset().union(*(was[one].followed for one in exactly or like)))


def _target(node: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an effect acts on, as far as the document says it: two that read somewhere are unlike two that write there."""
    config = node.get("config", {})
    if node["type"] in REQUESTS:
        host = constant_host(config.get("url"))
        method = config.get("method", "POST") if node["type"] == "http" else "POST"
        return "http", host and host[0], str(method).upper() in SAFE_METHODS
    names = {"subworkflow": config.get("workflow"), "function": config.get("name")}
    return node["type"], names.get(node["type"])


def _action(node: Mapping[str, Any]) -> Any:
    """What an effect does: two of them are the same where nothing but their name and their retries is not."""
    config = node.get("config", {})
    if node["type"] in REQUESTS:
        return ["http", str(config.get("method", "POST")).upper(), config.get("url")]
    return [node["type"], config]


def _unguarded(path: str, lost: frozenset[str]) -> Problem:
    return Problem(
        pointer_of(path),
        "guard_bypassed",
        f"{path!r} stood behind {', '.join(map(repr, sorted(lost)[:5]))} and would not any more.",
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
