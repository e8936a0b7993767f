"""The audit of tickets: who decided what, by which door, seeing what; through the doors of the API."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from aob_web.accounts.models import ApiToken
from aob_web.mcp.door import _caller
from approvals import audit, parts, reading, services
from approvals.people import Person
from runs import experiments, patches, workflow_patches
from runs.models import Ticket
from runs.services import cancel
from runs.verify import verify
from tests.integration.test_patch_tickets import BOB, begun, proposed, published
from tests.integration.test_ticket_mails import asked, user
from tests.support.system import engine
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.ALLOWED_HOSTS = ["testserver"]
    yield
    User.objects.all().delete()


def token(*scopes: str, name: str = "bob") -> dict[str, str]:
    owner = User.objects.filter(username=name).first() or user(name)
    return {"Authorization": f"Bearer {ApiToken.issue(owner, 'robot', scopes)}"}


def send(path: str, body: Any, headers: dict[str, str], method: str = "POST") -> tuple[int, Any]:
    response = Client().generic(method, f"/api/v1{path}", json.dumps(body), "application/json", headers=headers)
    return response.status_code, json.loads(response.content)


def lines(ticket: str) -> list[dict[str, Any]]:
    """What the export says of one ticket; every page of it can be written."""
    pages = list(audit.pages(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)))
    for page in pages:
        assert audit.written(page, "csv").count("\r\n") >= len(page)
    return [line for page in pages for line in page if line["ticket"] == ticket]


def test_a_patch_is_decided_with_the_scopes_write_and_execute_alone() -> None:
    of_run, of_workflow = proposed(begun())["id"], published()["id"]
    for patch in (of_run, of_workflow):
        for scopes in (("read", "write"), ("read", "execute")):
            status, problem = send(f"/patches/{patch}/decide", {"answer": "approve"}, token(*scopes))
            assert (status, problem["code"]) == (403, "forbidden")
        status, found = send(f"/patches/{patch}/decide", {"answer": "approve"}, token("write", "execute"))
        assert (status, found["status"]) == (200, "applied"), found


def test_the_end_of_an_experiment_decides_its_patch_with_these_scopes_too() -> None:
    patch = published("tried")
    experiments.begin("tried", "latest", share=50, by="bob", patch=patch["id"])
    path = "/workflows/tried/tags/latest/experiment?keep=true"
    assert send(path, None, token("write"), "DELETE")[1]["code"] == "forbidden"
    assert send(path, None, token("write", "execute"), "DELETE")[0] == 200
    [line] = lines(patch["id"])
    assert (line["by"], line["status"], line["door"], line["token"]) == ("bob", "approved", "token", "robot")


def test_the_decision_of_a_patch_stands_in_the_audit_with_its_door() -> None:
    run = begun()
    applied, rejected = proposed(run), proposed(run)
    door = {"door": "browser", "address": "192.0.2.1"}
    services.decide(rejected["id"], "reject", by=Person("bob", frozenset(), True, True, door), reason="no")
    status, found = send(
        f"/patches/{applied['id']}/decide", {"answer": "approve", "reason": "fine"}, token("write", "execute")
    )
    assert status == 200 and verify(run)["ok"]
    [line] = lines(rejected["id"])
    assert (line["what"], line["kind"], line["answer"], line["status"]) == ("decided", "patch", "reject", "rejected")
    assert (line["by"], line["reason"], line["door"], line["address"]) == ("bob", "no", "browser", "192.0.2.1")
    assert (line["run"], line["title"]) == (run, "Change the running graph: one more")
    [line] = lines(applied["id"])
    assert (line["status"], line["by"], line["reason"], line["version"]) == ("approved", "bob", "fine", found["version"])
    assert (line["door"], line["token"]) == ("token", "robot")
    patches.answer(proposed(run)["id"], "reject", by="bob")  # Without a door nothing is said of one.


def test_the_decision_of_a_workflows_patch_stands_in_the_audit_with_its_door() -> None:
    applied, rejected = published("one"), published("two")
    assert send(f"/patches/{applied['id']}/decide", {"answer": "approve"}, token("write", "execute"))[0] == 200
    services.decide(rejected["id"], "reject", by=BOB, reason="no")
    [line] = lines(applied["id"])
    assert (line["what"], line["by"], line["answer"], line["status"]) == ("decided", "bob", "approve", "approved")
    assert (line["run"], line["workflow"], line["door"], line["token"]) == (None, "one", "token", "robot")
    assert line["version"] == workflow_patches.show(applied["id"])["version"]
    [line] = lines(rejected["id"])
    assert (line["status"], line["reason"], line["door"]) == ("rejected", "no", None)


def test_a_call_by_mcp_says_that_it_came_by_mcp() -> None:
    header = [(name.lower().encode(), text.encode()) for name, text in token("execute").items()]

    async def door(scope: dict[str, Any]) -> Any:
        found = (await _caller({"headers": [*header, (b"host", b"testserver"), *scope["headers"]], **scope["more"]})).door
        await database_sync_to_async(connections.close_all)()
        return found

    direct = {"headers": [(b"x-aob-client", b"203.0.113.7")], "more": {"client": ("192.0.2.1", 5)}}
    assert asyncio.run(door(direct)) == {"door": "mcp", "address": "192.0.2.1", "token": "robot"}
    by_front = {"headers": [(b"x-aob-client", b"203.0.113.7")], "more": {"client": None}}
    assert asyncio.run(door(by_front)) == {"door": "mcp", "address": "203.0.113.7", "token": "robot"}


@pytest.mark.parametrize("most", [1, 2, 500])
def test_comments_and_forms_stand_in_the_audit_however_it_is_paged(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "EVENTS_PAGE", most)
    form = {"type": "object", "properties": {"percent": {"type": "integer"}, "note": {"type": "string"}}}
    run = begun()
    cancelled = proposed(run)["id"]
    patches.answer(proposed(run)["id"], "reject", by="bob")
    with engine():
        ticket = str(asked(form=form).pk)
        parts.comment(ticket, "Is this\nright?", by=BOB)
        services.decide(ticket, "approve", by=BOB, form={"percent": 5, "note": "x" * 20_000})
    cancel(run, by="ada")
    said = lines(ticket)
    assert [one["what"] for one in said] == ["commented", "answered", "decided"]
    assert (said[0]["text"], said[0]["by"]) == ("Is this\nright?", "bob")
    assert json.loads(said[1]["form"]) == {"percent": 5, "note": "x" * 20_000}
    assert [one["what"] for one in lines(cancelled)] == ["cancelled"]


def test_a_context_that_nobody_said_to_have_seen_is_not_recorded() -> None:
    with engine():
        blind, looked, other = (str(asked(bulk=True).pk) for _ in range(3))
        headers = token("read", "execute")
        seen = {one: send(f"/approvals/{one}", None, headers, "GET")[1]["context"] for one in (looked, other)}
        assert reading.contexts([blind, looked, other]).items() >= seen.items()
        assert send(f"/approvals/{blind}/decide", {"answer": "approve"}, headers)[0] == 200
        wanted = {
            "tickets": [looked, other],
            "answer": "approve",
            "seen": {looked: seen[looked], other: "something else"},
        }
        first, second = send("/approvals/decide-many", wanted, headers)[1]["items"]
        assert (first["done"], second["error"]["code"]) == (True, "context_changed")
        del wanted["seen"]
        assert send("/approvals/decide-many", wanted, headers)[1]["items"][1]["done"]
    for ticket, context in ((blind, None), (looked, seen[looked]), (other, None)):
        [answered] = [one for one in lines(ticket) if one["what"] == "answered"]
        assert answered["context"] == context and answered["version"] is not None


def test_what_an_escalation_or_a_patch_changes_has_another_context_in_lists_too() -> None:
    user("anna")
    with engine():
        ticket = asked(assignees=["user:anna"], timeout="2s", on_timeout="escalate", escalate_to=["user:anna"])
        name = str(ticket.pk)
        before = reading.contexts([name])[name]
        assert before == reading.find(name).context
        eventually(lambda: reading.find(name).context != before, seconds=20)
    assert reading.contexts([name])[name] == reading.find(name).context


def test_chosen_tickets_of_the_inbox_are_decided_on_what_their_rows_showed() -> None:
    client = Client()
    client.force_login(user("anna"))
    with engine():
        ticket = str(asked(bulk=True).pk)
        page = client.get("/approvals/").content.decode()
        shown = re.search(rf'name="(seen\.{ticket})" value="(\w+)"', page)
        assert shown is not None
        client.post("/approvals/bulk/", {"ticket": ticket, "answer": "approve", shown[1]: "something else"})
        assert Ticket.objects.get(pk=ticket).status == "open"
        client.post("/approvals/bulk/", {"ticket": ticket, "answer": "approve", shown[1]: shown[2]})
    [answered] = [one for one in lines(ticket) if one["what"] == "answered"]
    assert answered["context"] == shown[2]
