"""Tickets from the outside: over REST, the command line, the pages and the WebSocket of a whole AOB."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import uuid
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.browser import signed_in
from tests.support.installation import Installation
from tests.support.waiting import eventually

FORM = {
    "type": "object",
    "properties": {
        "percent": {"type": "integer", "minimum": 1, "maximum": 100, "default": 100, "title": "Percent"},
        "answer": {"type": "string", "title": "A field called answer"},
    },
    "additionalProperties": False,
}
BODY = (
    "Above **100** a person decides.\n\n[safe](https://example.com/) [bad](javascript:alert(1)) ![x](//canary.example/x)"
)


def document(name: str, **config: Any) -> dict[str, Any]:
    """Asks, and says which way it went."""
    ports = ("approved", "rejected", "timed_out")
    nodes: dict[str, Any] = {"ok": {"type": "approval", "config": {"title": "Refund {{ inputs.n }}?", **config}}}
    for port in ports:
        nodes[port] = {"type": "transform", "title": f"Went {port}", "config": {"output": "{{ nodes.ok }}"}}
    edges = {port: {"from": "ok", "to": port, "port": port} for port in ports}
    return {"name": name, "nodes": nodes, "edges": edges}


def asked(aob: Installation, *, n: Any = 7, name: str = "asks-somebody", **config: Any) -> dict[str, Any]:
    """The ticket of a new run."""
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document(name, **config), "inputs": {"n": n}})
    assert status == 201, view
    assert view["status"] == "waiting", view
    [ticket] = aob.request("GET", f"/api/v1/approvals?run={view['id']}")[1]["items"]
    return dict(ticket)


def decide(aob: Installation, ticket: dict[str, Any], answer: str = "approve", **more: Any) -> tuple[int, Any]:
    token, client = more.pop("token", ""), more.pop("X_AOB_Client", None)
    path = f"/api/v1/approvals/{ticket['ticket']}/decide"
    headers = {"X_AOB_Client": client} if client else {}
    return aob.request("POST", path, {"answer": answer, **more}, token=token, **headers)


def output(aob: Installation, ticket: dict[str, Any]) -> Any:
    view = aob.ended(ticket["run"])
    assert view["status"] == "completed", view
    assert aob.request("GET", f"/api/v1/runs/{ticket['run']}/verify")[1]["ok"]
    return view["output"]


@pytest.fixture(scope="module")
def people(aob: Installation, browser: Browser) -> dict[str, tuple[str, str, str]]:
    """Three accounts with name, password and a token that may decide; anna and berta are in a group."""
    page = signed_in(browser, aob)
    page.goto("/admin/auth/group/add/")
    page.get_by_label("Name:").fill("ops")
    page.get_by_role("button", name="Save", exact=True).click()
    made = {}
    for who in ("anna", "berta", "carl"):
        name, password = f"{who}-{uuid.uuid4().hex[:6]}", uuid.uuid4().hex
        page.goto("/admin/auth/user/add/")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password:", exact=True).fill(password)
        page.get_by_label("Password confirmation").fill(password)
        page.get_by_role("button", name="Save and continue editing").click()
        if who != "carl":
            page.locator("#id_groups_from option", has_text="ops").dblclick()
            page.get_by_role("button", name="Save and continue editing").click()
        expect(page.locator(".messagelist .success")).to_be_visible()
        made[who] = (name, password, token_of(browser, aob, (name, password), "read", "execute"))
    page.context.close()
    return made


def token_of(browser: Browser, aob: Installation, user: tuple[str, str], *scopes: str) -> str:
    page = signed_in(browser, aob, user=user)
    page.goto("/account/")
    page.get_by_label("Name").fill("for a test")
    for box in page.locator("input[name=scope]").all():
        box.set_checked(box.get_attribute("value") in scopes)
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".notice code").inner_text()
    page.context.close()
    return token


# Over REST


@pytest.mark.parametrize(("answer", "port"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_lets_the_run_go_on_by_its_port(aob: Installation, answer: str, port: str) -> None:
    ticket = asked(aob)
    assert (ticket["status"], ticket["title"], ticket["node"]) == ("open", "Refund 7?", "ok")
    status, found = decide(aob, ticket, answer, reason="because")
    assert (status, found["status"], found["decided_by"]) == (200, port, "admin"), found
    [said] = output(aob, ticket).values()
    assert (said["answer"], said["by"], said["reason"], said["form"]) == (answer, "admin", "because", None)
    status, problem = decide(aob, ticket, "approve")
    assert (status, problem["code"]) == (409, "ticket_decided")
    assert "admin" in problem["detail"] and found["decided_at"] in problem["detail"]


def test_a_ticket_shows_all_that_it_asks(aob: Installation) -> None:
    ticket = asked(aob, body=BODY, values={"n": "{{ inputs.n }}", "large": ["x" * 100] * 400}, form=FORM, timeout="2h")
    found = aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]
    assert found["body"] == BODY and found["values"]["n"] == 7 and len(found["values"]["large"]) == 400
    assert found["form"] == FORM and found["quorum"] == "any" and found["may_decide"] and found["answers"] == []
    waits = aob.request("GET", f"/api/v1/runs/{ticket['run']}")[1]["waiting_for"]
    assert waits[0]["ticket"] == ticket["ticket"] and "“Refund 7?”" in waits[0]["what"]
    assert decide(aob, ticket)[0] == 200


def test_the_form_is_checked_against_its_schema(aob: Installation) -> None:
    ticket = asked(aob, form=FORM)
    for form, pointer in (
        ({"percent": 200}, "/form/percent"),
        ({"gone": 1}, "/form"),
        ({"percent": "x"}, "/form/percent"),
    ):
        status, problem = decide(aob, ticket, form=form)
        assert (status, problem["code"]) == (422, "form_invalid"), problem
        assert problem["errors"][0]["pointer"] == pointer
    assert decide(aob, ticket, form=[1])[0] == 422
    assert decide(aob, ticket, form={"percent": 50})[0] == 200
    assert output(aob, ticket)["approved"]["form"] == {"percent": 50}
    assert decide(aob, asked(aob), form={"x": 1})[1]["code"] == "form_unexpected"


def test_bad_input_is_refused_with_what_is_wrong_and_changes_nothing(aob: Installation) -> None:
    ticket = asked(aob)
    for body, code, pointer in (
        ({"answer": "approve", "reason": "x" * 1_000_000}, "reason_too_long", "/reason"),
        ({"answer": "approve", "reason": "\u0000"}, None, None),
        ({"answer": "maybe"}, "wrong_type", "/answer"),
        ({}, "field_missing", "/answer"),
        ({"answer": "approve", "by": "root"}, "unknown_field", "/by"),
        ({"answer": "approve", "status": "approved"}, "unknown_field", "/status"),
    ):
        status, problem = aob.request("POST", f"/api/v1/approvals/{ticket['ticket']}/decide", body)
        assert status in (400, 422), problem
        assert code is None or (problem["code"], problem["errors"][0]["pointer"]) == (code, pointer)
        if code == "reason_too_long":
            assert "2000" in problem["detail"]
    for unknown in ("nope", ticket["run"], "x" * 3000, "../runs"):
        assert aob.request("GET", f"/api/v1/approvals/{unknown}")[0] == 404
        assert aob.request("POST", f"/api/v1/approvals/{unknown}/decide", {"answer": "approve"})[0] == 404
    assert aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]["status"] == "open"
    html = "<script>alert(1)</script>"
    assert decide(aob, ticket, "reject", reason=html)[1]["reason"] == html


def test_the_ticket_of_a_run_that_ended_is_cancelled_and_takes_no_answer(aob: Installation) -> None:
    ticket = asked(aob)
    aob.request("POST", f"/api/v1/runs/{ticket['run']}/cancel", {})
    found = aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]
    assert found["status"] == "cancelled" and not found["may_decide"]
    status, problem = decide(aob, ticket)
    assert (status, problem["code"]) == (409, "run_ended")
    assert aob.request("GET", f"/api/v1/runs/{ticket['run']}/verify")[1]["ok"]


def test_a_paused_run_takes_the_answer_at_once_and_goes_on_later(aob: Installation) -> None:
    ticket = asked(aob)
    aob.request("POST", f"/api/v1/runs/{ticket['run']}/pause", {})
    status, found = decide(aob, ticket)
    assert (status, found["status"]) == (200, "approved")
    assert decide(aob, ticket, "reject")[0] == 409
    assert aob.request("GET", f"/api/v1/runs/{ticket['run']}/verify")[1]["ok"]
    aob.request("POST", f"/api/v1/runs/{ticket['run']}/resume", {})
    assert "approved" in output(aob, ticket)


def test_two_at_one_instant_are_one_decision_and_the_other_hears_who_was_first(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    for _ in range(8):
        ticket = asked(aob)
        barrier = threading.Barrier(3)
        answers: dict[str, tuple[int, Any]] = {}

        def at_once(who: str, said: str, ticket: Any = ticket, barrier: Any = barrier, answers: Any = answers) -> None:
            barrier.wait()
            answers[who] = decide(aob, ticket, said, token=people[who][2])

        threads = [
            threading.Thread(target=at_once, args=one)
            for one in (("anna", "approve"), ("berta", "reject"), ("carl", "approve"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(status for status, _ in answers.values()) == [200, 409, 409], answers
        [first] = [who for who, (status, _) in answers.items() if status == 200]
        for status, problem in answers.values():
            assert status == 200 or people[first][0] in problem["detail"], problem
        [said] = output(aob, ticket).values()
        assert said["by"] == people[first][0]
        log = aob.request("GET", f"/api/v1/runs/{ticket['run']}/events?limit=500")[1]["items"]
        assert [one["type"] for one in log].count("TicketAnswered") == 1


def test_only_those_who_are_asked_may_decide(aob: Installation, people: dict[str, tuple[str, str, str]]) -> None:
    ticket = asked(aob, assignees=["group:ops"], quorum={"n": 2})
    status, problem = decide(aob, ticket, token=people["carl"][2])
    assert (status, problem["code"]) == (403, "ticket_forbidden")
    assert decide(aob, ticket)[0] == 403, "an administrator is not asked either"
    assert decide(aob, ticket, token=people["anna"][2])[1]["status"] == "open"
    assert decide(aob, ticket, token=people["anna"][2])[1]["code"] == "ticket_answered"
    mine = f"/api/v1/approvals?mine=true&run={ticket['run']}"
    counts = {who: len(aob.request("GET", mine, token=token)[1]["items"]) for who, (_, _, token) in people.items()}
    assert counts == {"anna": 0, "berta": 1, "carl": 0}
    assert decide(aob, ticket, token=people["berta"][2])[1]["status"] == "approved"
    assert [one["by"] for one in output(aob, ticket)["approved"]["answers"]] == [people["anna"][0], people["berta"][0]]


def test_whoever_started_the_run_may_be_kept_from_deciding_it(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    ticket = asked(aob, not_starter=True)
    status, problem = decide(aob, ticket)
    assert (status, problem["code"]) == (403, "ticket_forbidden") and "started" in problem["detail"]
    assert decide(aob, ticket, token=people["carl"][2])[0] == 200


def test_deciding_needs_execute_and_reading_needs_read(
    aob: Installation, browser: Browser, people: dict[str, tuple[str, str, str]]
) -> None:
    ticket = asked(aob)
    reader = token_of(browser, aob, people["anna"][:2], "read")
    assert aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}", token=reader)[1]["may_decide"] is False
    assert decide(aob, ticket, token=reader)[0] == 403
    for path in ("/api/v1/approvals", f"/api/v1/approvals/{ticket['ticket']}"):
        assert aob.request("GET", path, token=None)[0] == 401
    assert decide(aob, ticket, token=None)[0] == 401
    assert aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]["answers"] == []


def test_silence_escalates_and_then_rejects(aob: Installation, people: dict[str, tuple[str, str, str]]) -> None:
    config = {
        "assignees": [people["anna"][0]],
        "timeout": "1s",
        "on_timeout": "escalate",
        "escalate_to": [people["carl"][0]],
    }
    first, second = asked(aob, **config), asked(aob, **config)
    path = f"/api/v1/approvals/{first['ticket']}"
    eventually(lambda: aob.request("GET", path)[1]["assignees"] == [f"user:{people['carl'][0]}"], seconds=20)
    assert decide(aob, first, token=people["carl"][2])[0] == 200
    assert "approved" in output(aob, first)
    said = output(aob, second)["rejected"]
    assert (said["answer"], said["by"]) == ("reject", None)
    assert decide(aob, second, token=people["carl"][2])[0] == 409


def say(aob: Installation, ticket: dict[str, Any], what: str, body: Any = None, **more: Any) -> tuple[int, Any]:
    return aob.request("POST", f"/api/v1/approvals/{ticket['ticket']}/{what}", body or {}, **more)


def test_a_part_is_handed_over_and_who_gave_it_away_cannot_decide(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    anna, berta, carl = (people[who] for who in ("anna", "berta", "carl"))
    ticket = asked(aob, assignees=["group:ops", "user:admin"], quorum="all")
    for body, token, code in (
        ({"to": "nobody-here"}, anna[2], "delegate_unknown"),
        ({"to": "group:ops"}, anna[2], "delegate_unknown"),
        ({"to": "\u0000"}, anna[2], None),
        ({"to": anna[0]}, anna[2], "delegate_refused"),
        ({"to": berta[0]}, anna[2], "delegate_refused"),
        ({"to": anna[0]}, carl[2], "ticket_forbidden"),
        ({"to": carl[0], "reason": "x" * 1_000_000}, anna[2], "reason_too_long"),
        ({"to": carl[0], "by": "root"}, anna[2], "unknown_field"),
    ):
        status, problem = say(aob, ticket, "delegate", body, token=token)
        assert status in (400, 403, 409, 422), problem
        assert code is None or problem["code"] == code, problem
    status, found = say(aob, ticket, "delegate", {"to": carl[0], "reason": "<b>holiday</b>"}, token=anna[2])
    assert status == 200, found
    assert found["assignees"] == ["group:ops", "user:admin", f"user:{carl[0]}"] and not found["may_decide"]
    assert found["thread"][-1] == {
        **found["thread"][-1], "what": "delegated", "by": anna[0], "to": carl[0], "reason": "<b>holiday</b>"
    }  # fmt: skip
    assert say(aob, ticket, "delegate", {"to": anna[0]}, token=carl[2])[1]["code"] == "delegate_refused"
    problem = decide(aob, ticket, token=anna[2])[1]
    assert problem["code"] == "ticket_forbidden" and "handed" in problem["detail"]
    mine = f"/api/v1/approvals?mine=true&run={ticket['run']}"
    assert [len(aob.request("GET", mine, token=one[2])[1]["items"]) for one in (anna, carl)] == [0, 1]
    assert decide(aob, ticket, token=carl[2])[1]["status"] == "open"
    assert decide(aob, ticket)[1]["status"] == "approved"
    assert "approved" in output(aob, ticket)
    assert say(aob, ticket, "delegate", {"to": berta[0]})[0] == 409


def test_a_claim_is_shown_and_keeps_nobody_from_deciding(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    anna, berta, carl = (people[who] for who in ("anna", "berta", "carl"))
    ticket = asked(aob, assignees=["group:ops"])
    assert say(aob, ticket, "claim", token=carl[2])[0] == 403
    assert say(aob, ticket, "release", token=anna[2])[1]["code"] == "ticket_not_claimed"
    for _ in range(2):
        assert say(aob, ticket, "claim", token=anna[2])[1]["claimed_by"] == anna[0]
    assert say(aob, ticket, "release", token=berta[2])[0] == 409
    assert say(aob, ticket, "release", token=anna[2])[1]["claimed_by"] is None
    say(aob, ticket, "claim", token=anna[2])
    assert aob.request("GET", f"/api/v1/approvals?run={ticket['run']}")[1]["items"][0]["claimed_by"] == anna[0]
    found = decide(aob, ticket, token=berta[2])[1]
    assert (found["status"], found["decided_by"]) == ("approved", berta[0])
    assert [one["what"] for one in found["thread"]] == [
        "asked", "claimed", "released", "claimed", "answered", "decided",
    ]  # fmt: skip
    output(aob, ticket)


def test_comments_stand_in_the_thread_as_they_were_written_and_are_bounded(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    ticket = asked(aob, assignees=["group:ops"])
    html = "<script>alert(1)</script> **bold** " + "é" * 9_900
    assert say(aob, ticket, "comment", {"text": html}, token=people["carl"][2])[0] == 200
    for body, code in (
        ({"text": "x" * 10_001}, "text_too_long"),
        ({"text": "x" * 1_000_000}, "text_too_long"),
        ({"text": "  "}, "comment_empty"),
        ({"text": "\ud800"}, None),
        ({}, "field_missing"),
    ):
        status, problem = say(aob, ticket, "comment", body)
        assert status in (400, 413, 422) and (code is None or problem["code"] == code), problem
    thread = aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]["thread"]
    assert [(one["what"], one.get("text")) for one in thread] == [("asked", None), ("commented", html)]
    decide(aob, ticket, token=people["anna"][2])
    assert say(aob, ticket, "comment", {"text": "too late"})[1]["code"] == "ticket_decided"
    cancelled = asked(aob)
    aob.request("POST", f"/api/v1/runs/{cancelled['run']}/cancel", {})
    for what, body in (("comment", {"text": "x"}), ("claim", None), ("release", None), ("delegate", {"to": "admin"})):
        assert say(aob, cancelled, what, body)[1]["code"] == "run_ended"
        assert say(aob, {"ticket": "nope"}, what, body)[0] == 404
        assert say(aob, cancelled, what, body, token=None)[0] == 401
    output(aob, ticket)


def test_people_who_do_not_exist_are_passed_over_at_once(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    ticket = asked(aob, assignees=["group:nobody-in-it", "user:gone"])
    path = f"/api/v1/approvals/{ticket['ticket']}"
    eventually(lambda: aob.request("GET", path)[1]["assignees"] == ["user:admin"], seconds=20)
    thread = aob.request("GET", path)[1]["thread"]
    assert [one["what"] for one in thread] == ["asked", "unattended", "escalated"]
    assert decide(aob, ticket)[0] == 200 and output(aob, ticket)
    chain = [["user:also-gone"], [people["carl"][0]]]
    config = {"assignees": ["user:gone"], "timeout": "1h", "on_timeout": "escalate", "escalate_to": chain}
    ticket = asked(aob, **config)
    path = f"/api/v1/approvals/{ticket['ticket']}"
    eventually(lambda: aob.request("GET", path)[1]["assignees"] == [f"user:{people['carl'][0]}"], seconds=20)
    assert decide(aob, ticket, token=people["carl"][2])[0] == 200 and output(aob, ticket)


def test_people_are_reminded_while_it_is_open(aob: Installation) -> None:
    ticket = asked(aob, remind_every="1s")
    path = f"/api/v1/approvals/{ticket['ticket']}"

    def reminded() -> int:
        return [one["what"] for one in aob.request("GET", path)[1]["thread"]].count("reminded")

    eventually(lambda: reminded() >= 2, seconds=20)
    assert decide(aob, ticket)[0] == 200 and output(aob, ticket)


def test_who_saw_something_else_does_not_decide(aob: Installation, people: dict[str, tuple[str, str, str]]) -> None:
    carl = people["carl"]
    ticket = asked(aob, assignees=["group:ops", carl[0]])
    path = f"/api/v1/approvals/{ticket['ticket']}"
    seen = aob.request("GET", path)[1]["context"]
    say(aob, ticket, "comment", {"text": "changes nothing that is decided on"})
    assert aob.request("GET", path)[1]["context"] == seen
    graph = [{"op": "add", "path": "/nodes/more", "value": {"type": "transform", "config": {"output": 1}}}]
    patched = aob.request("POST", f"/api/v1/runs/{ticket['run']}/patch", {"operations": graph, "reason": "more"})
    assert patched[0] == 201, patched
    status, problem = decide(aob, ticket, seen=seen, token=carl[2])
    assert (status, problem["code"]) == (409, "context_changed")
    now = aob.request("GET", path)[1]["context"]
    assert now != seen and decide(aob, ticket, seen=now, token=carl[2])[0] == 200
    output(aob, ticket)


def test_a_failed_node_is_reviewed_by_people(aob: Installation) -> None:
    bad = {"type": "http", "config": {"method": "GET", "url": "http://127.0.0.1:1/"}, "retry": {"policy": "none"}}
    graph = {
        "name": "reviewed",
        "nodes": {"call": {**bad, "on_failure": {"review": ["admin"]}}, "after": {"type": "transform", "config": {}}},
        "edges": {"e": {"from": "call", "to": "after"}},
    }
    graph["nodes"]["after"]["config"] = {"output": "{{ nodes.call }}"}

    def review() -> dict[str, Any]:
        run = aob.request("POST", "/api/v1/runs", {"workflow": graph})[1]["id"]
        return dict(next_ticket(run))

    def next_ticket(run: str) -> Any:
        found: list[Any] = []

        def is_there() -> bool:
            found[:] = aob.request("GET", f"/api/v1/approvals?run={run}&status=open")[1]["items"]
            return bool(found)

        eventually(is_there, seconds=30)
        return found[0]

    ticket = review()
    assert ticket["kind"] == "failure" and ticket["title"].startswith("call failed: ")
    assert "127.0.0.1" in aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]["body"]
    assert decide(aob, ticket, form={"do": "explode"})[0] == 422
    assert decide(aob, ticket, form={"do": "retry"})[0] == 200
    again = next_ticket(ticket["run"])
    assert again["ticket"] != ticket["ticket"]
    assert decide(aob, again, form={"do": "skip", "value": {"body": "by hand"}})[0] == 200
    assert output(aob, ticket) == {"after": {"body": "by hand"}}
    ticket = review()
    assert decide(aob, ticket, "reject", reason="no use")[0] == 200
    view = aob.ended(ticket["run"])
    assert view["status"] == "failed" and view["error"]["node"] == "call"
    assert aob.request("GET", f"/api/v1/runs/{ticket['run']}/verify")[1]["ok"]
    letters = aob.request("GET", "/api/v1/dead-letters?workflow=reviewed")[1]["items"]
    assert ticket["run"] in [one["run"] for one in letters]


def test_many_are_decided_at_once_where_their_workflow_allows_it(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    yes = [asked(aob, bulk=True, n=n) for n in range(3)]
    single, others = asked(aob), asked(aob, bulk=True, assignees=["group:ops"])
    wanted = [*(one["ticket"] for one in (*yes, single, others)), "nope", yes[0]["ticket"]]
    body = {"tickets": wanted, "answer": "approve", "reason": "all good"}
    items = aob.request("POST", "/api/v1/approvals/decide-many", body)[1]["items"]
    assert [one["done"] for one in items] == [True, True, True, False, False, False]
    assert [one["error"]["code"] for one in items[3:]] == ["ticket_not_bulk", "ticket_forbidden", "ticket_unknown"]
    assert output(aob, yes[2])["approved"]["reason"] == "all good"
    assert aob.request("POST", "/api/v1/approvals/decide-many", {**body, "tickets": []})[0] == 422
    assert aob.request("POST", "/api/v1/approvals/decide-many", {**body, "tickets": ["x"] * 101})[0] == 200
    many = [str(uuid.uuid4()) for _ in range(101)]
    assert aob.request("POST", "/api/v1/approvals/decide-many", {**body, "tickets": many})[0] == 422


def test_the_audit_says_who_decided_what_from_where_and_why(
    aob: Installation, browser: Browser, people: dict[str, tuple[str, str, str]]
) -> None:
    ticket = asked(aob, n="=1+1", assignees=[people["anna"][0]])
    seen = aob.request("GET", f"/api/v1/approvals/{ticket['ticket']}")[1]
    decide(aob, ticket, reason="=cmd()", seen=seen["context"], token=people["anna"][2])
    claimed = asked(aob)
    assert decide(aob, claimed, X_AOB_Client="203.0.113.7")[0] == 200
    by_cli = asked(aob)
    shown = aob.request("GET", f"/api/v1/approvals/{by_cli['ticket']}")[1]["context"]
    aob.json("approve", by_cli["ticket"], "reject")
    output(aob, ticket)
    lines = [json.loads(line) for line in aob.aob("approvals", "audit", "--since", "1h").splitlines()]
    [answered] = [one for one in lines if one["ticket"] == ticket["ticket"] and one["what"] == "answered"]
    assert (answered["by"], answered["answer"], answered["reason"]) == (people["anna"][0], "approve", "=cmd()")
    assert answered["context"] == seen["context"] and answered["version"] == seen["version"]
    assert (answered["door"], answered["token"], answered["address"]) == ("token", "for a test", "127.0.0.1")
    [own] = [one for one in lines if one["ticket"] == claimed["ticket"] and one["what"] == "answered"]
    assert own["address"] == "127.0.0.1", "an address is what the front saw, not what a client says"
    assert own["context"] is None, "nobody said what they saw"
    [rejected] = [one for one in lines if one["ticket"] == by_cli["ticket"] and one["what"] == "answered"]
    assert rejected["door"] == "cli" and rejected["context"] == shown
    assert [one["at"] for one in lines if one["what"] == "decided"] == sorted(
        one["at"] for one in lines if one["what"] == "decided"
    )
    table = list(csv.DictReader(io.StringIO(aob.aob("approvals", "audit", "--format", "csv", "--since", "1h"))))
    [row] = [one for one in table if one["ticket"] == ticket["ticket"] and one["what"] == "answered"]
    assert row["reason"] == "'=cmd()" and row["title"] == "Refund =1+1?"
    assert len(table) == len(lines)
    assert aob.aob("approvals", "audit", "--until", "2020-01-01") == ""
    for query, status in (("since=x", 422), ("format=xml", 422)):
        assert aob.request("GET", f"/api/v1/approvals/audit?{query}")[0] == status
    assert aob.request("GET", "/api/v1/approvals/audit", token=people["anna"][2])[0] == 403


def test_lists_are_by_due_time_and_paged_without_a_gap(aob: Installation) -> None:
    name = f"listed-{uuid.uuid4().hex[:6]}"
    made = [asked(aob, name=name, n=n, timeout=f"{50 - n}h") for n in range(5)] + [asked(aob, name=name, n=9)]
    expected = [one["ticket"] for one in [*reversed(made[:5]), made[5]]]
    query = f"/api/v1/approvals?status=open&workflow={name}&limit=2"
    seen, cursor = [], ""
    while True:
        page = aob.request("GET", query + cursor)[1]
        seen += [one["ticket"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next'].replace('+', '%2B').replace(' ', '%20')}"
    assert seen == expected
    for place, one in enumerate(made[:3]):
        decide(aob, one, "reject" if place else "approve")
    closed = aob.request("GET", f"/api/v1/approvals?status=closed&workflow={name}")[1]["items"]
    assert [one["ticket"] for one in closed] == [one["ticket"] for one in reversed(made[:3])]
    approved = aob.request("GET", f"/api/v1/approvals?status=approved&workflow={name}")[1]["items"]
    assert [one["ticket"] for one in approved] == [made[0]["ticket"]]
    assert len(aob.request("GET", f"/api/v1/approvals?workflow={name}")[1]["items"]) == 6
    assert aob.request("GET", "/api/v1/approvals?status=nonsense")[0] == 422
    for cursor in ("x", "infinity~x", "'; DROP TABLE ticket; --~" + made[0]["ticket"]):
        status, problem = aob.request("GET", f"/api/v1/approvals?status=open&cursor={cursor.replace(' ', '%20')}")
        assert (status, problem["code"]) == (422, "cursor_invalid")


def test_an_unknown_assignee_is_a_warning_when_it_is_published(aob: Installation) -> None:
    people = ["user:gone", "group:gone", "user:admin"]
    body = {"document": document("warned", assignees=people, timeout="1h", on_timeout="timed_out")}
    answer = aob.request("POST", "/api/v1/workflows/validate", body)[1]
    assert answer["valid"]
    assert [(one["code"], one["severity"]) for one in answer["problems"]] == [("assignee_unknown", "warning")] * 2
    more = {"on_timeout": "escalate", "escalate_to": [["user:admin"], ["user:gone"]], "veto": ["group:gone"]}
    graph = document("warned", timeout="1h", **more)
    graph["nodes"]["approved"]["on_failure"] = {"review": ["user:gone"]}
    found = aob.request("POST", "/api/v1/workflows/validate", {"document": graph})[1]["problems"]
    assert sorted(one["pointer"] for one in found if one["code"] == "assignee_unknown") == [
        "/nodes/approved/on_failure/review", "/nodes/ok/config/escalate_to/1", "/nodes/ok/config/veto",
    ]  # fmt: skip


def test_a_replay_asks_anew_what_was_open(aob: Installation) -> None:
    graph = document("twice")
    graph["nodes"]["other"] = {"type": "approval", "config": {"title": "And this?"}}
    run = aob.request("POST", "/api/v1/runs", {"workflow": graph, "inputs": {"n": 1}})[1]["id"]
    tickets = aob.request("GET", f"/api/v1/approvals?run={run}")[1]["items"]
    [first] = [one for one in tickets if one["node"] == "ok"]
    decide(aob, first)
    again = aob.request("POST", f"/api/v1/runs/{run}/replay", {"from": "approved"})[1]["id"]
    [asked_anew] = aob.request("GET", f"/api/v1/approvals?run={again}")[1]["items"]
    assert asked_anew["node"] == "other" and asked_anew["ticket"] not in [one["ticket"] for one in tickets]
    assert decide(aob, asked_anew)[0] == 200
    assert output(aob, asked_anew)["other"]["by"] == "admin"
    assert len(aob.request("GET", f"/api/v1/approvals?run={run}&status=open")[1]["items"]) == 1


def test_what_was_approved_is_not_replayed_with_other_inputs(aob: Installation) -> None:
    ticket = asked(aob)
    decide(aob, ticket)
    output(aob, ticket)
    path = f"/api/v1/runs/{ticket['run']}/replay"
    status, problem = aob.request("POST", path, {"from": "approved", "inputs": {"n": 7_000_000}})
    assert (status, problem["code"]) == (422, "replay_approved_otherwise")
    again = aob.request("POST", path, {"from": "approved", "inputs": {"n": 7}})[1]
    assert aob.ended(again["id"])["status"] == "completed"
    anew = aob.request("POST", path, {"from": "ok", "inputs": {"n": 7_000_000}})[1]
    assert aob.request("GET", f"/api/v1/approvals?run={anew['id']}")[1]["items"][0]["title"] == "Refund 7000000?"


def test_every_item_of_a_map_asks_for_itself_and_a_failure_cancels_the_rest(aob: Installation) -> None:
    body = {
        "nodes": {
            "ok": {"type": "approval", "config": {"title": "Item {{ index }}?"}},
            "no": {"type": "fail", "config": {"message": "rejected"}},
        },
        "edges": {"no": {"from": "ok", "to": "no", "port": "rejected"}},
    }
    graph = {"name": "many", "nodes": {"each": {"type": "map", "config": {"items": "[1, 2, 3]", "body": body}}}}
    run = aob.request("POST", "/api/v1/runs", {"workflow": graph})[1]["id"]
    found = {one["node"]: one for one in aob.request("GET", f"/api/v1/approvals?run={run}")[1]["items"]}
    assert set(found) == {"each[0]/ok", "each[1]/ok", "each[2]/ok"}
    decide(aob, found["each[1]/ok"])
    decide(aob, found["each[0]/ok"], "reject")
    aob.ended(run)
    after = {one["node"]: one["status"] for one in aob.request("GET", f"/api/v1/approvals?run={run}")[1]["items"]}
    assert after == {"each[0]/ok": "rejected", "each[1]/ok": "approved", "each[2]/ok": "cancelled"}
    assert aob.request("GET", f"/api/v1/runs/{run}/verify")[1]["ok"]


# By the command line


def test_the_command_line_lists_shows_and_decides(aob: Installation) -> None:
    ticket = asked(aob, form=FORM, assignees=["admin"])
    mine = aob.json("approvals", "list", "--mine", "--run", ticket["run"])["items"]
    assert [one["ticket"] for one in mine] == [ticket["ticket"]]
    assert "Refund 7?" in aob.aob("approvals", "list", "--run", ticket["run"])
    assert "No tickets" in aob.aob("approvals", "list", "--run", ticket["run"], "--workflow", "another")
    assert "percent" in aob.aob("approvals", "show", ticket["ticket"])
    assert ticket["ticket"] in aob.aob("why", ticket["run"]) and "aob approve" in aob.aob("why", ticket["run"])
    assert ticket["ticket"] in aob.aob("run", "status", ticket["run"])
    refused = aob.json("approve", ticket["ticket"], "approve", "--set", "percent=0", code=1)
    assert refused["errors"][0]["pointer"] == "/form/percent"
    done = aob.json("approve", ticket["ticket"], "approve", "--reason", "checked", "--set", "percent=40")
    assert (done["status"], done["reason"]) == ("approved", "checked")
    assert output(aob, ticket)["approved"]["form"] == {"percent": 40}
    assert "already" in aob.aob("approve", ticket["ticket"], "reject", code=1)
    assert "choice" in aob.aob("approve", ticket["ticket"], "perhaps", code=2)
    assert ticket["ticket"] in [one["ticket"] for one in aob.json("approvals", "list", "--all")["items"]]


def test_the_command_line_hands_over_claims_and_discusses(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    ticket = asked(aob, assignees=["admin"])
    name = ticket["ticket"]
    assert aob.json("approvals", "claim", name)["claimed_by"] == "admin"
    assert "does not look at it" in aob.aob("approvals", "release", name)
    assert "admin wrote: why?" in aob.aob("approvals", "comment", name, "why?")
    aob.aob("approvals", "delegate", name, "nobody-at-all", code=1)
    assert people["anna"][0] in aob.aob("approvals", "delegate", name, people["anna"][0], "--reason", "busy")
    told = aob.aob("approvals", "history", name)
    assert "why?" in told and "busy" in told
    assert [one["what"] for one in aob.json("approvals", "history", name)] == [
        "asked", "claimed", "released", "commented", "delegated",
    ]  # fmt: skip
    decide(aob, ticket, token=people["anna"][2])


# On the pages


@pytest.mark.browser
def test_a_ticket_is_decided_on_its_page_with_its_form(page: Page, aob: Installation) -> None:
    ticket = asked(aob, n="browser", body=BODY, values={"amount": 7}, form=FORM, timeout="2h")
    page.goto("/approvals/")
    expect(page.get_by_role("link", name="Approvals", exact=False).first).to_contain_text("waiting for you")
    page.get_by_role("link", name="Refund browser?").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Refund browser?")
    expect(page.locator(".markdown strong")).to_have_text("100")
    assert (
        page.locator(".markdown a").evaluate_all("all => all.map(one => one.href)")
        == [
            "https://example.com/",
            "http://canary.example/x",
        ]
        or page.locator(".markdown a").count() == 1
    )
    assert page.locator(".markdown img").count() == 0
    expect(page.get_by_role("tree")).to_contain_text("amount")
    expect(page.locator(".ways")).to_contain_text("Went approved")
    page.get_by_label("Percent").fill("500")
    page.get_by_label("A field called answer").fill("not the answer")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("not at most 100")
    page.get_by_label("Percent").fill("50")
    page.get_by_label("Reason (kept with your answer)").fill("fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#messages")).to_contain_text("Approved: Refund browser?")
    said = output(aob, ticket)["approved"]
    assert (said["form"], said["reason"]) == ({"percent": 50, "answer": "not the answer"}, "fine")
    page.goto(f"/approvals/{ticket['ticket']}/")
    expect(page.locator("#decide-title")).to_have_text("Closed")
    page.goto("/approvals/?tab=closed")
    expect(page.locator(f"#ticket-{ticket['ticket']}")).to_contain_text("by admin")


@pytest.mark.browser
@pytest.mark.parametrize("scripts", [True, False])
def test_enter_in_a_field_decides_nothing(browser: Browser, aob: Installation, scripts: bool) -> None:
    word = f"enter-{uuid.uuid4().hex[:6]}"
    ticket = asked(aob, n=word, form=FORM, bulk=True)
    page = signed_in(browser, aob, java_script_enabled=scripts)
    page.goto(f"/approvals/{ticket['ticket']}/")
    for field in ("Percent", "A field called answer"):
        page.get_by_label(field).press("Enter")
    page.goto(f"/approvals/?q={word}")
    page.locator(".pick input[name=ticket]").check()
    page.locator(".pick input[name=ticket]").press("Enter")
    page.get_by_label("Reason").press("Enter")
    page.goto(f"/approvals/{ticket['ticket']}/")
    expect(page.locator("#decide-title")).to_have_text("Decide")
    page.get_by_role("button", name="Approve").press("Enter")
    expect(page.locator("#messages")).to_contain_text("Approved")
    page.context.close()


@pytest.mark.browser
def test_a_comment_leaves_the_reason_that_is_being_written(page: Page, aob: Installation) -> None:
    ticket = asked(aob, form={"type": "object", "properties": {"sure": {"type": "boolean", "default": True}}})
    page.goto(f"/approvals/{ticket['ticket']}/")
    for comment, thread in (("  ", 1), ("Is it?", 2)):
        page.get_by_label("Reason (kept with your answer)").fill("half a reas")
        page.get_by_label("sure").uncheck()
        page.get_by_label("Comment", exact=False).fill(comment)
        page.get_by_role("button", name="Comment").click()
        expect(page.locator(".thread > li")).to_have_count(thread)
        expect(page.get_by_label("Reason (kept with your answer)")).to_have_value("half a reas")
        expect(page.get_by_label("sure")).not_to_be_checked()
    decide(aob, ticket)


@pytest.mark.browser
def test_the_inbox_is_used_by_keys_and_keeps_itself_current(page: Page, aob: Installation) -> None:
    word = f"key-{uuid.uuid4().hex[:6]}"
    page.goto(f"/approvals/?q={word}")
    expect(page.get_by_role("heading", name="No ticket fits")).to_be_visible()
    later, sooner = asked(aob, n=f"{word} later", timeout="2h"), asked(aob, n=f"{word} sooner", timeout="1h")
    expect(page.locator("[data-row]")).to_have_count(2, timeout=10_000)
    expect(page.locator("[data-row]").first).to_contain_text("sooner")
    mine = aob.request("GET", "/api/v1/approvals?mine=true&limit=200")[1]["items"]
    expect(page.locator("nav [data-mine]").last).to_contain_text(str(len(mine)))
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".at-hand")).to_contain_text("later")
    page.keyboard.press("k")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", level=1)).to_contain_text("sooner")
    page.wait_for_load_state("domcontentloaded")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("rejects")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Reject")).to_be_focused()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("Approved")
    assert "approved" in output(aob, sooner)
    page.goto(f"/runs/{later['run']}/")
    page.get_by_role("link", name="Open the ticket").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("later")


def test_what_is_for_a_group_is_told_apart(aob: Installation, people: dict[str, tuple[str, str, str]]) -> None:
    name, _, token = people["anna"]
    own, shared = asked(aob, n="own", assignees=[f"user:{name}"]), asked(aob, n="shared", assignees=["group:ops"])

    def listed(kind: str, token: str) -> set[str]:
        found = aob.request("GET", f"/api/v1/approvals?{kind}=true&limit=200", token=token)[1]
        return {one["ticket"] for one in found["items"]}

    assert own["ticket"] in listed("mine", token) - listed("groups", token)
    assert shared["ticket"] in listed("mine", token) & listed("groups", token)
    assert listed("groups", people["carl"][2]) == set()


@pytest.mark.browser
def test_a_ticket_shows_what_comes_later_on_each_way(page: Page, aob: Installation) -> None:
    graph = document("asks-and-goes-on")
    graph["nodes"]["call"] = {"type": "http", "config": {"method": "GET", "url": "http://127.0.0.1/x"}}
    graph["nodes"]["end"] = {"type": "log", "config": {"message": "end"}}
    graph["edges"] |= {"approved-call": {"from": "approved", "to": "call"}, "call-end": {"from": "call", "to": "end"}}
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": graph, "inputs": {"n": 1}})
    assert status == 201, view
    [ticket] = aob.request("GET", f"/api/v1/approvals?run={view['id']}")[1]["items"]
    page.goto(f"/approvals/{ticket['ticket']}/")
    expect(page.locator(".ways dd").first).to_contain_text("Went approved")
    expect(page.locator(".ways dd").first).to_contain_text("and later call http, acts outside; end log")
    expect(page.locator(".ways dd").nth(1)).not_to_contain_text("and later")


@pytest.mark.browser
def test_a_ticket_that_somebody_else_decides_says_so_at_once(page: Page, aob: Installation) -> None:
    ticket = asked(aob, n="twice")
    page.goto(f"/approvals/{ticket['ticket']}/")
    page.get_by_label("Reason").fill("half of a reas")
    assert decide(aob, ticket, "reject")[0] == 200
    expect(page.locator("#thread")).to_contain_text("This ticket was rejected by admin.")
    expect(page.get_by_label("Reason")).to_have_value("half of a reas")


@pytest.mark.browser
def test_without_scripts_a_ticket_is_decided_all_the_same(browser: Browser, aob: Installation) -> None:
    ticket = asked(aob, n="plain", form=FORM, values={"a": 1})
    page = signed_in(browser, aob, java_script_enabled=False, viewport={"width": 390, "height": 800})
    page.goto(f"/approvals/{ticket['ticket']}/")
    page.get_by_label("Reason (kept with your answer)").fill("<b>no</b>")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator("#messages")).to_contain_text("Rejected: Refund plain?")
    page.goto(f"/approvals/{ticket['ticket']}/")
    expect(page.get_by_text("<b>no</b>")).to_be_visible()
    assert output(aob, ticket)["rejected"]["reason"] == "<b>no</b>"
    page.context.close()


@pytest.mark.browser
def test_who_may_not_decide_sees_why_and_who_comes_second_who_was_first(
    browser: Browser, aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    page = signed_in(browser, aob, user=people["carl"][:2])
    page.goto(f"/approvals/{asked(aob, assignees=['group:ops'])['ticket']}/")
    expect(page.locator("#decide-title")).to_have_text("Not yours to decide")
    expect(page.get_by_text("It is for group:ops.")).to_be_visible()
    ticket = asked(aob, n="twice")
    page.goto(f"/approvals/{ticket['ticket']}/")
    decide(aob, ticket, "reject")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("rejected already, by admin")
    assert page.goto("/approvals/nothing/").status == 404  # type: ignore[union-attr]
    page.context.close()


@pytest.mark.browser
def test_a_ticket_is_claimed_discussed_and_handed_over_on_its_page(
    page: Page, aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    anna = people["anna"]
    ticket = asked(aob, n="<i>page</i>", assignees=["admin"], body="Look.")
    page.goto(f"/approvals/{ticket['ticket']}/")
    page.get_by_role("button", name="I look at it", exact=True).click()
    expect(page.locator(".facts")).to_contain_text("admin looks at it")
    page.keyboard.press("c")
    expect(page.get_by_label("Comment (Markdown)")).to_be_focused()
    page.keyboard.type("<img src=x onerror=alert(1)> **sure?** [bad](javascript:alert(1))")
    page.get_by_role("button", name="Comment").click()
    expect(page.locator(".thread .was-commented strong", has_text="sure?")).to_be_visible()
    assert page.locator(".thread img").count() == 0
    expect(page.locator(".thread")).to_contain_text("<img src=x")
    say(aob, ticket, "comment", {"text": "from elsewhere"}, token=anna[2])
    expect(page.locator(".thread")).to_contain_text("from elsewhere", timeout=10_000)
    page.keyboard.press("d")
    page.get_by_label("User name").fill("nobody-here")
    page.get_by_role("button", name="Hand it over").click()
    expect(page.get_by_role("alert")).to_contain_text("no active user")
    page.get_by_label("User name").fill(anna[0])
    page.get_by_role("button", name="Hand it over").click()
    expect(page.locator("#messages")).to_contain_text(f"{anna[0]} decides in your place now")
    expect(page.locator("#decide-title")).to_have_text("Not yours to decide")
    assert decide(aob, ticket, token=anna[2])[0] == 200
    expect(page.locator("#thread [role=status]")).to_contain_text(f"approved by {anna[0]}", timeout=10_000)
    output(aob, ticket)


@pytest.mark.browser
def test_who_saw_something_else_is_shown_what_it_is_now(page: Page, aob: Installation) -> None:
    ticket = asked(aob, n="seen")
    page.goto(f"/approvals/{ticket['ticket']}/")
    graph = [{"op": "add", "path": "/nodes/more", "value": {"type": "transform", "config": {"output": 1}}}]
    aob.request("POST", f"/api/v1/runs/{ticket['run']}/patch", {"operations": graph, "reason": "more"})
    page.get_by_label("Reason (kept with your answer)").fill("fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("has changed since you looked")
    expect(page.get_by_label("Reason (kept with your answer)")).to_have_value("fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#messages")).to_contain_text("Approved")


@pytest.mark.browser
def test_chosen_tickets_are_decided_together_on_a_phone_too(browser: Browser, aob: Installation) -> None:
    word = f"bulk-{uuid.uuid4().hex[:6]}"
    tickets = [asked(aob, n=f"{word} {n}", bulk=True) for n in range(3)]
    single = asked(aob, n=f"{word} alone")
    page = signed_in(browser, aob, viewport={"width": 390, "height": 844})
    page.goto(f"/approvals/?q={word}")
    expect(page.locator("[data-row]")).to_have_count(4)
    expect(page.locator("[data-row] .pick input")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for one in tickets[:2]:
        page.locator(f"#ticket-{one['ticket']} .pick input").check()
    decide(aob, tickets[0], "reject")
    page.get_by_label("Reason").fill("in one go")
    page.get_by_role("button", name="Approve the chosen").click()
    expect(page.locator("#messages")).to_contain_text("Approved 1 ticket.")
    expect(page.locator("#messages")).to_contain_text("1 not decided")
    expect(page).to_have_url(re.compile(word))
    assert output(aob, tickets[1])["approved"]["reason"] == "in one go"
    expect(page.locator("[data-row]")).to_have_count(2)
    page.goto(f"/approvals/{single['ticket']}/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#messages")).to_contain_text("Approved")
    page.context.close()


@pytest.mark.browser
def test_every_page_shows_the_number_live_and_tells_by_a_notification_where_that_is_wished_for(
    browser: Browser, aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    anna = people["anna"]
    older = asked(aob, n="older", assignees=[anna[0]])
    page = signed_in(browser, aob)
    page.context.grant_permissions(["notifications"], origin=aob.url)
    page.add_init_script(
        """window.told = [];
        const Real = window.Notification;
        window.Notification = class { constructor(title, options) { told.push([title, options.tag]); }
            addEventListener() {} static get permission() { return "granted"; }
            static requestPermission() { return Promise.resolve("granted"); } };"""
    )
    other = page.context.new_page()
    page.goto("/runs/")
    other.goto("/workflows/")
    badge = "nav.large-screens [data-mine] > span:first-child"
    first = asked(aob, n="before")
    expect(page.locator(badge)).not_to_have_text("", timeout=10_000)
    assert page.evaluate("told") == [], "nobody asked for it"
    page.goto("/approvals/")
    page.get_by_role("button", name="Notify me in this browser").click()
    expect(page.get_by_role("button", name="Do not notify me here")).to_have_attribute("aria-pressed", "true")
    page.goto("/runs/")
    mine = len(aob.request("GET", "/api/v1/approvals?mine=true&limit=200")[1]["items"])
    expect(page.locator(badge)).to_have_text(str(mine), timeout=10_000)
    # The socket has told how many there are; what comes from here on is news.
    eventually(lambda: page.evaluate("mine !== null"))
    second = asked(aob, n="after")
    for one in (page, other):
        expect(one.locator(badge)).to_have_text(str(mine + 1), timeout=10_000)
    assert page.evaluate("told") == [["Refund after?", second["ticket"]]]
    assert say(aob, older, "delegate", {"to": "admin"}, token=anna[2])[0] == 200
    eventually(lambda: page.evaluate("told.length > 1"))
    assert page.evaluate("told")[1:] == [["An older ticket came to you", ""]]
    for one in (older, first, second):
        decide(aob, one)
    expect(other.locator(badge)).to_have_text(str(mine - 1) if mine > 1 else "0", timeout=10_000)
    page.context.close()


# By WebSocket


def test_the_inbox_socket_tells_what_changes_and_refuses_strangers(
    aob: Installation, people: dict[str, tuple[str, str, str]]
) -> None:
    url = f"ws://127.0.0.1:{aob.port}/ws/inbox/"
    good = {"Authorization": f"Bearer {aob.token}"}

    def refused(**headers: str) -> int:
        with connect(url, additional_headers=headers, proxy=None) as socket, pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
        return closed.value.rcvd.code if closed.value.rcvd else 0

    with connect(url, additional_headers=good, proxy=None) as socket:
        before = json.loads(socket.recv(timeout=20))
        ticket = asked(aob, assignees=[people["anna"][0]])
        assert json.loads(socket.recv(timeout=20)) == {**before, "open": before["open"] + 1}
        aob.request("POST", f"/api/v1/runs/{ticket['run']}/cancel", {})
        assert json.loads(socket.recv(timeout=20)) == before
        ticket = asked(aob, n="newest")
        told = json.loads(socket.recv(timeout=20))
        assert told["newest"].pop("at")
        assert told["newest"] == {"ticket": ticket["ticket"], "title": "Refund newest?"}
        assert told["mine"] == before["mine"] + 1
        newer = asked(aob, n="newer")
        with connect(url, additional_headers=good, proxy=None) as another:
            told = json.loads(another.recv(timeout=20))
        assert (told["newest"]["ticket"], told["mine"]) == (newer["ticket"], before["mine"] + 2)
    assert refused(Origin=aob.url) == 4401
    assert refused(Authorization="Bearer x") == 4401
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{aob.port}", "http://127.0.0.1:1"):
        assert refused(Origin=origin, **good) == 4403, origin
