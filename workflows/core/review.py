"""Why somebody looks at an admitted patch first that its workflow would take at once (pure; hazards L2, L3, L8).

An approval says yes to what people saw. So nobody changes behind it what it said yes to, or would; and what a machine
changes is no part of what it shows, nor of where credentials go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from workflows.core.addresses import address_list
from workflows.core.document import Document
from workflows.core.errors import AobError
from workflows.core.grants import MAIL_ADDRESSES, REQUESTS, constant_host, is_approved, unguarded_effects
from workflows.core.guards import acts, gates, nodes_of
from workflows.core.influence import changed, fed, reached, sources
from workflows.core.ir import WorkflowIR

MAX_NAMED = 5


def reason(
    head: Document,
    after: Document,
    ir: WorkflowIR,
    *,
    is_machine: bool,
    is_tainted: bool = False,
    begun: Collection[str] = (),
) -> str | None:
    """Why a patch from `head` to `after` (compiled: `ir`) is looked at first, in words; None where it need not be.

    `begun` are the nodes of a run that have started: an approval among them was asked for what was there before.
    """
    touched = changed(head, after)
    behind = _behind_approvals(head, after, ir, touched, begun, is_machine=is_machine)
    if behind:
        return f"It changes what is done behind an approval ({_named(behind)})."
    if not is_machine:
        return None
    if is_tainted and (effects := unguarded_effects(head, after, begun)):
        return f"It brings effects before which no approval stands ({_named(effects)}), after reading outside data."
    if led := _led_elsewhere(head, after, ir, touched):
        return f"It changes from what the address is computed to which these go: {_named(led)}."
    if shown := _shown_otherwise(head, ir, touched, begun):
        return f"It changes what an approval shows, or whom it asks ({_named(shown)})."
    return None


def _behind_approvals(
    head: Document, after: Document, ir: WorkflowIR, touched: set[str], begun: Collection[str], *, is_machine: bool
) -> list[str]:
    """Effects that stood behind approvals and are done in another way than those were, or will be, asked for."""
    was, is_ = gates(head), gates(after)
    known, there = dict(nodes_of(head)), dict(nodes_of(after))
    approvals = {path for path, node in known.items() if node["type"] == "approval"}

    def is_asked(key: str, port: str) -> bool:
        return port == "approved" and key in approvals and key not in begun

    @cache
    def unseen(asked: frozenset[str]) -> set[str]:
        """What is made of something that the patch changes and none of these approvals shows."""
        shown = set().union(*(sources(ir, one)[0] for one in asked if one in there and one not in begun))
        return fed(ir, touched - shown)

    unasked = reached(ir, touched, stops=is_asked)
    found = []
    for path in sorted(was.keys() & is_.keys()):
        asked = was[path].followed & approvals
        if not asked or not acts(known[path]) or not is_approved(known, was[path]) or path in begun:
            continue
        if is_machine:
            if path in unasked or path in unseen(asked):
                found.append(path)
        elif path in unasked and not is_approved(there, is_[path], begun):
            found.append(path)
    return found


def _led_elsewhere(head: Document, after: Document, ir: WorkflowIR, touched: set[str]) -> list[str]:
    """Effects whose address is computed from what the patch changes, though they stay as they are."""
    known = dict(nodes_of(head))
    moved = fed(ir, touched)
    found = []
    for path, node in nodes_of(after):
        if path not in known or path not in moved:
            continue
        config = node.get("config", {})
        keys: list[str] = []
        if node["type"] in REQUESTS and constant_host(config.get("url")) is None:
            keys = ["url"]
        elif node["type"] == "email":
            keys = [key for key in MAIL_ADDRESSES if key in config and _is_computed(config[key])]
        if keys and sources(ir, path, only=keys)[0] & touched:
            found.append(path)
    return sorted(found)


def _is_computed(addresses: Any) -> bool:
    try:
        address_list(addresses)
    except AobError:
        return True
    return False


def _shown_otherwise(head: Document, ir: WorkflowIR, touched: set[str], begun: Collection[str]) -> list[str]:
    """Approvals to come that show, or ask by, values of what the patch changes."""
    moved = fed(ir, touched)
    return sorted(path for path, node in nodes_of(head) if node["type"] == "approval" and path in moved - {*begun})


def _named(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:MAX_NAMED]) + (" …" if len(shown) > MAX_NAMED else "")
