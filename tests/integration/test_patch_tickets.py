"""Patches that wait for review are tickets: opened and closed with them, through whichever door."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from approvals import inbox, services
from approvals.errors import TicketError
from approvals.people import Person
from runs import db, patches, queries, workflow_patches
from runs.errors import RunError
from runs.patches import Proposal
from runs.services import StartRequest, cancel, replay, signal, start
from runs.verify import verify
from tests.support.checker import violations
from workflows.core.errors import AobError
from workflows.core.grants import Author
from workflows.services import push

ADA = Author("person", "ada")
BOB = Person("bob", frozenset(), may_decide=True, may_change=True)
OWN = Person("ada", frozenset(), may_decide=True, may_change=True)
DOCUMENT: dict[str, Any] = {
    "name": "reviewed",
    "patches": "review",
    "nodes": {"wait": {"type": "signal", "config": {"name": "go"}}},
}


def more(name: str) -> list[dict[str, Any]]:
    return [{"op": "add", "path": f"/nodes/{name}", "value": {"type": "transform", "config": {"output": 1}}}]


def begun() -> str:
    return start(StartRequest(DOCUMENT, {})).id


def proposed(run: str, **parts: Any) -> dict[str, Any]:
    return patches.propose(run, Proposal(**{"operations": more("more"), "reason": "one  more\n", "author": ADA, **parts}))


def sound(*runs: str) -> None:
    for run in runs:
        assert verify(run)["ok"], verify(run)
    with db.transaction() as cursor:
        # Logs of earlier tests stay, without their runs.
        assert [one for one in violations(cursor.connection) if one.startswith(("I12", "I14"))] == []


def published(name: str = "later") -> dict[str, Any]:
    push({**DOCUMENT, "name": name})
    return workflow_patches.propose(name, "latest", Proposal(operations=more("more"), reason="", author=ADA))


def test_a_waiting_patch_is_a_ticket_that_its_author_cannot_approve() -> None:
    run = begun()
    patch = proposed(run)
    [listed] = inbox.tickets(BOB, mine=True)["items"]
    assert (listed["ticket"], listed["patch"], listed["kind"], listed["run"]) == (patch["id"], patch["id"], "patch", run)
    assert listed["title"] == "Change the running graph: one more" and listed["node"] is None
    assert inbox.tickets(OWN, mine=True)["items"] == []
    assert services.ticket(patch["id"], BOB)["may_decide"] and not services.ticket(patch["id"], OWN)["may_decide"]
    with pytest.raises(TicketError, match="wrote the patch"):
        services.decide(patch["id"], "approve", by=OWN)
    with pytest.raises(RunError, match="wrote the patch"):
        patches.answer(patch["id"], "approve", by="ada")
    with pytest.raises(TicketError, match="'write'"):
        services.decide(patch["id"], "approve", by=Person("bob", frozenset(), may_decide=True))
    sound(run)
    found = services.decide(patch["id"], "approve", by=BOB, reason="fine")
    assert (found["status"], found["decided_by"], found["reason"]) == ("approved", "bob", "fine")
    assert [(one["answer"], one["by"]) for one in found["answers"]] == [("approve", "bob")]
    shown = patches.show(patch["id"])
    assert (shown["status"], shown["decided_by"], shown["decision"]) == ("applied", "bob", "fine")
    with pytest.raises(TicketError, match="by bob"):
        services.decide(patch["id"], "reject", by=Person("eve", frozenset(), may_decide=True, may_change=True))
    sound(run)


def test_the_patches_own_door_closes_the_ticket_and_authors_may_take_back() -> None:
    run = begun()
    one, two = proposed(run), proposed(run)
    patches.answer(one["id"], "reject", by="bob", reason="no")
    assert services.ticket(one["id"], BOB)["status"] == "rejected"
    assert services.decide(two["id"], "reject", by=OWN)["decided_by"] == "ada"
    assert patches.show(two["id"])["status"] == "rejected"
    sound(run)


def test_a_run_that_ends_closes_the_tickets_of_its_patches() -> None:
    run = begun()
    patch = proposed(run)
    cancel(run, by="ada")
    found = services.ticket(patch["id"], BOB)
    assert (found["status"], found["answers"], found["may_decide"]) == ("cancelled", [], False)
    assert patches.show(patch["id"])["status"] == "expired"
    with pytest.raises(TicketError, match="did not wait"):
        services.decide(patch["id"], "approve", by=BOB)
    sound(run)


OUTSIDE = Author("agent", "ada", via="mcp")
"""An agent outside that has a token of Ada's."""


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(AobError) as caught:
        call()
    return caught.value.code


def test_what_an_outside_agent_adds_is_reviewed_by_somebody_else_than_the_owner_of_its_token() -> None:
    run = start(StartRequest({**DOCUMENT, "patches": "auto"}, {})).id
    call = {
        "type": "http",
        "config": {"method": "GET", "url": "http://127.0.0.1:1/"},
        "on_failure": {"continue": "called"},
    }
    operations = [{"op": "add", "path": "/nodes/call", "value": call}]
    patch = proposed(run, operations=operations, author=OUTSIDE, outside=True, mode="auto")
    assert (patch["status"], patch["by"]) == ("pending_review", {"kind": "agent", "name": "ada", "via": "mcp"})
    [ticket] = inbox.tickets(BOB, run=run)["items"]
    assert (ticket["not_by"], ticket["node"]) == ("ada", None)
    assert inbox.tickets(OWN, mine=True, run=run)["items"] == []
    assert code_of(lambda: services.decide(patch["id"], "approve", by=OWN)) == "ticket_forbidden"
    assert code_of(lambda: patches.answer(patch["id"], "approve", by="ada")) == "patch_own"
    services.decide(patch["id"], "approve", by=BOB)
    assert queries.state_of(run).granted == {}
    assert queries.state_of(run).active["call"].kind == "task", "no node of a run bounds it"
    sound(run)


def test_an_outside_agent_takes_no_approval_away_and_its_owner_may_take_its_patch_back() -> None:
    approval = {"type": "approval", "config": {"title": "Pay?"}}
    nodes = {**DOCUMENT["nodes"], "ok": approval}
    run = start(StartRequest({"name": "w", "nodes": nodes, "edges": {"e": {"from": "wait", "to": "ok"}}}, {})).id
    remove = [{"op": "remove", "path": "/edges/e"}, {"op": "remove", "path": "/nodes/ok"}]
    assert code_of(lambda: proposed(run, operations=remove, author=OUTSIDE, outside=True, mode="auto")) == "guard_changed"
    mode = [{"op": "add", "path": "/patches", "value": "auto"}]
    assert code_of(lambda: proposed(run, operations=mode, author=OUTSIDE, outside=True)) == "patch_part_fixed"
    patch = proposed(run, author=OUTSIDE, outside=True, mode="review")
    services.decide(patch["id"], "reject", by=OWN)
    assert patches.show(patch["id"])["status"] == "rejected"


def test_a_workflows_patch_by_an_outside_agent_is_not_approved_by_the_owner_of_its_token() -> None:
    published("outside")
    proposal = Proposal(operations=more("other"), reason="", author=OUTSIDE, outside=True, mode="review")
    patch = workflow_patches.propose("outside", "latest", proposal)
    assert patch["by"] == {"kind": "agent", "name": "ada", "via": "mcp"}
    assert code_of(lambda: workflow_patches.answer(patch["id"], "approve", by="ada")) == "patch_own"
    assert code_of(lambda: services.decide(patch["id"], "approve", by=OWN)) == "ticket_forbidden"
    assert workflow_patches.answer(patch["id"], "approve", by="bob")["status"] == "applied"


def test_only_patches_for_review_are_tickets() -> None:
    run = begun()
    proposed(run, mode="shadow")
    free = start(StartRequest({**DOCUMENT, "patches": "auto"}, {})).id
    proposed(free)
    assert inbox.tickets(BOB)["items"] == []
    sound(run, free)


def test_a_failed_node_does_not_close_the_ticket_of_a_patch() -> None:
    document = {
        **DOCUMENT,
        "nodes": {
            **DOCUMENT["nodes"],
            "bad": {"type": "transform", "config": {"output": "{{ 1 / inputs.zero }}"}, "on_failure": "skip"},
            "ask": {"type": "approval", "config": {"title": "?"}},
        },
        "edges": {"wait-bad": {"from": "wait", "to": "bad"}},
    }
    run = start(StartRequest(document, {"zero": 0})).id
    patch = proposed(run)
    signal(run, "go", None, by="ada")
    assert "NodeFailed" in [one["type"] for one in queries.events(run)["items"]]
    assert services.ticket(patch["id"], BOB)["status"] == "open"
    sound(run)


def test_a_patch_of_a_workflow_is_a_ticket_without_a_run() -> None:
    patch = published()
    [listed] = inbox.tickets(BOB, mine=True)["items"]
    assert (listed["ticket"], listed["run"], listed["seq"], listed["workflow"]) == (patch["id"], None, None, "later")
    assert listed["title"] == "Change later@latest"
    with pytest.raises(RunError, match="wrote the patch"):
        workflow_patches.answer(patch["id"], "approve", by="ada")
    sound()
    assert services.decide(patch["id"], "approve", by=BOB, reason="go")["status"] == "approved"
    assert workflow_patches.show(patch["id"])["status"] == "applied"
    other = published("other")
    workflow_patches.answer(other["id"], "reject", by="bob")
    assert services.ticket(other["id"], BOB)["status"] == "rejected"
    with pytest.raises(TicketError, match="already"):
        services.decide(other["id"], "approve", by=BOB)
    sound()


def test_what_waits_for_review_stays_behind_in_a_replay() -> None:
    document = {**DOCUMENT, "nodes": {"first": {"type": "transform", "config": {"output": 1}}, **DOCUMENT["nodes"]}}
    document["edges"] = {"first-wait": {"from": "first", "to": "wait"}}
    run = start(StartRequest(document, {})).id
    waiting, refused, taken = (proposed(run, operations=more(name)) for name in ("a", "b", "c"))
    services.decide(refused["id"], "reject", by=BOB)
    same = replay(run, "wait", by="bob")
    assert [one["id"] for one in patches.listed(same)] == [refused["id"]]
    services.decide(taken["id"], "approve", by=BOB)
    patched = replay(run, "wait", by="bob")
    assert patches.listed(patched) == []
    assert services.ticket(waiting["id"], BOB)["run"] == run
    assert [inbox.tickets(BOB, run=one)["items"] for one in (same, patched)] == [[], []]
    sound(run, same, patched)


def test_patches_from_before_there_were_tickets_get_theirs() -> None:
    run = begun()
    one, two, three = (proposed(run, operations=more(name)) for name in ("a", "b", "c"))
    services.decide(one["id"], "approve", by=BOB, reason="fine")
    services.decide(two["id"], "reject", by=BOB)
    over = begun()
    proposed(over)
    cancel(over, by="ada")
    waiting = published("before")
    upgrade = import_module("runs.migrations.0008_patch_tickets")
    with db.transaction() as cursor:
        cursor.execute("SELECT * FROM ticket ORDER BY id")
        rows = cursor.fetchall()
        cursor.execute("DELETE FROM ticket")
        cursor.execute(upgrade.OF_RUNS)
        cursor.execute(upgrade.OF_WORKFLOWS)
        cursor.execute("SELECT * FROM ticket ORDER BY id")
        # That of a workflow was opened a moment after its patch.
        assert [[part for part in row if row[1]] for row in cursor.fetchall()] == [
            [part for part in row if row[1]] for row in rows
        ]
    assert [services.ticket(name["id"], BOB)["status"] for name in (three, waiting)] == ["open", "open"]
    sound(run, over)


def test_who_answered_what_a_patch_changes_is_asked_again() -> None:
    document: dict[str, Any] = {
        "name": "paid",
        "nodes": {
            "ok": {"type": "approval", "config": {"title": "Pay?", "quorum": {"n": 2}}},
            "pay": {"type": "transform", "config": {"output": 10}},
        },
        "edges": {"e": {"from": "ok", "to": "pay", "port": "approved"}},
    }
    run = start(StartRequest(document, {})).id
    [listed] = inbox.tickets(BOB, run=run)["items"]
    carl = Person("carl", frozenset(), may_decide=True, may_change=True)
    services.decide(listed["ticket"], "approve", by=BOB)
    changed = [{"op": "replace", "path": "/nodes/pay/config/output", "value": 1_000_000}]
    assert patches.propose(run, Proposal(operations=changed, reason="", author=ADA))["status"] == "applied"
    assert [one["ticket"] for one in inbox.tickets(BOB, run=run, mine=True)["items"]] == [listed["ticket"]]
    sound(run)
    assert services.decide(listed["ticket"], "approve", by=carl)["status"] == "open"
    assert services.decide(listed["ticket"], "approve", by=BOB)["status"] == "approved"
    assert queries.run(run)["output"] == {"pay": 1_000_000}
    sound(run)
