"""The operator's console in Chromium: who gets in, what it shows, and that it changes nothing but through services."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import new_account, signed_in
from tests.support.installation import Installation

pytestmark = pytest.mark.browser
GONE = ".messagelist .warning"
"""What the console says of a task or timer that was done between the list and the click."""

LISTS = (
    "runs/run", "console/timer", "runs/task", "runs/inbox", "runs/ticket", "runs/deadletter", "runs/blob",
    "runs/startkey",
    "workflows/workflow", "workflows/draft", "workflows/workflowversion", "workflows/tag", "workflows/tagmove",
    "workflows/version", "workflows/workflowpatch", "workflows/experiment", "accounts/apitoken",
    "learning/tour", "admin/logentry",
)  # fmt: skip


def waiting_run(aob: Installation) -> str:
    """A run that waits for a signal."""
    document = {"name": "w", "nodes": {"s": {"type": "signal", "config": {"name": "go"}}}}
    return str(aob.request("POST", "/api/v1/runs", {"workflow": document})[1]["id"])


def act(page: Page, list_path: str, search: str, action: str) -> None:
    page.goto(f"/admin/{list_path}/?q={search}")
    page.locator("#result_list tbody input[type=checkbox]").first.check()
    page.get_by_label("Action:").select_option(label=action)
    page.get_by_role("button", name="Go", exact=True).click()


def status_of(aob: Installation, run: str) -> str:
    return str(aob.request("GET", f"/api/v1/runs/{run}")[1]["status"])


def test_every_list_and_what_is_in_it_can_be_opened_under_the_strict_policy(page: Page, aob: Installation) -> None:
    aob.request("POST", "/api/v1/templates/dead-letter-and-replay/run", {})
    waiting_run(aob)
    patched = {"operations": [{"op": "add", "path": "/description", "value": "d"}], "mode": "review"}
    document = {"name": "listed", "nodes": {"a": {"type": "transform", "config": {"output": 1}}}}
    aob.request("POST", "/api/v1/workflows", {"document": document})
    assert aob.request("POST", "/api/v1/workflows/listed/patches", patched)[0] == 201
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="How it stands")).to_be_visible()
    expect(page.locator(".figures")).to_contain_text("Nothing is late.")
    for one in LISTS:
        answer = page.goto(f"/admin/{one}/")
        assert answer is not None and answer.ok, one
        expect(page.locator("#changelist")).to_be_visible()
        first = page.locator("#result_list th a").first
        if first.count():
            first.click()
            expect(page.locator(f"#content form, #content .readonly, {GONE}").first).to_be_attached()


def test_nothing_is_added_changed_or_deleted_by_hand(page: Page, aob: Installation) -> None:
    page.goto("/admin/")
    token = page.locator("[name=csrfmiddlewaretoken]").first.get_attribute("value") or ""
    for one in LISTS:
        text = page.request.get(f"/admin/{one}/").text()
        assert "delete_selected" not in text, one
        places = [f"/admin/{one}/add/", *re.findall(f'"(/admin/{one}/[^"]+/change/)', text)[:1]]
        places += [place.replace("/change/", "/delete/") for place in places[1:]]
        for place in places:
            answer = page.request.post(place, form={"csrfmiddlewaretoken": token, "status": "completed", "post": "yes"})
            assert answer.status == 403, place


def test_the_log_of_a_run_is_read_there_and_nothing_else(page: Page, aob: Installation) -> None:
    run = waiting_run(aob)
    page.goto(f"/admin/runs/run/{run}/change/")
    page.get_by_role("link", name="Event log").click()
    expect(page.get_by_role("row", name="NodeWaiting")).to_contain_text("s")
    token = page.locator("[name=csrfmiddlewaretoken]").first.get_attribute("value") or ""
    before = aob.request("GET", f"/api/v1/runs/{run}/events")[1]
    for place in (f"/admin/runs/run/{run}/log/", "/admin/runs/runevent/", f"/admin/runs/runevent/{run},1/change/"):
        page.request.post(place, form={"csrfmiddlewaretoken": token, "type": "RunCompleted", "_save": "yes"})
    assert aob.request("GET", f"/api/v1/runs/{run}/events")[1] == before
    assert page.request.get("/admin/runs/run/01990000-0000-7000-8000-000000000000/log/").status == 404


def test_runs_are_paused_resumed_and_cancelled_through_the_services(page: Page, aob: Installation) -> None:
    run = waiting_run(aob)
    act(page, "runs/run", run, "Pause")
    expect(page.locator(".messagelist")).to_contain_text("Paused: 1.")
    assert status_of(aob, run) == "paused"
    act(page, "runs/run", run, "Resume")
    expect(page.locator(".messagelist")).to_contain_text("Resumed: 1.")
    act(page, "runs/run", run, "Cancel")
    expect(page.get_by_role("heading", name="Cancel these runs?")).to_be_visible()
    assert status_of(aob, run) != "cancelled"
    page.get_by_label("Reason").fill("wrong file")
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.locator(".messagelist")).to_contain_text("Cancelled: 1.")
    events = aob.request("GET", f"/api/v1/runs/{run}/events")[1]["items"]
    told = [one["data"] for one in events if one["type"] == "CancelRequested"]
    assert told == [{"reason": "wrong file", "by": "admin"}]
    act(page, "runs/run", run, "Resume")
    expect(page.locator(".messagelist .error")).to_contain_text("has ended (cancelled)")
    page.goto(f"/admin/admin/logentry/?q={run}")
    expect(page.locator("#result_list tbody tr")).to_have_count(3)


def test_a_dead_letter_is_replayed_and_another_one_discarded(page: Page, aob: Installation) -> None:
    for action, status in (("Replay", "replayed"), ("Discard", "discarded")):
        run = aob.request("POST", "/api/v1/templates/dead-letter-and-replay/run", {})[1]["id"]
        aob.ended(run)
        act(page, "runs/deadletter", run, action)
        if action == "Discard":
            page.get_by_role("button", name="Yes, do it").click()
        expect(page.locator(".messagelist .success")).to_be_visible()
        page.goto(f"/admin/runs/deadletter/?q={run}")
        expect(page.locator("#result_list .state")).to_have_text(status)


def test_runs_are_found_by_id_workflow_status_and_day(page: Page, aob: Installation) -> None:
    run = waiting_run(aob)
    page.goto(f"/admin/runs/run/?q={run}")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.goto("/admin/runs/run/?status=waiting")
    page.get_by_role("link", name="last hour").click()
    expect(page.locator("#result_list .state").first).to_have_text("waiting")
    day = aob.request("GET", f"/api/v1/runs/{run}")[1]["created_at"][:10]
    for chosen in (day[:4], day[:7], day):
        page.locator("#changelist-filter a", has_text=_words(chosen)).first.click()
    expect(page).to_have_url(re.compile(f"started={day}"))
    expect(page.locator("#result_list tbody tr").first).to_be_visible()
    for nonsense in ("2030-13", "0001", "x", "2026-11-99", "%00"):
        answer = page.request.get(f"/admin/runs/run/?started={nonsense}&status={nonsense}&q={nonsense}&p=99999")
        assert answer.status in (200, 400), nonsense


def _words(chosen: str) -> re.Pattern[str]:
    """The link of a year, a month or a day in the filter."""
    from datetime import datetime

    if len(chosen) == 4:
        return re.compile(f"^\\s*{chosen}\\s*$")
    if len(chosen) == 7:
        return re.compile(datetime.strptime(chosen, "%Y-%m").strftime("%B"))
    return re.compile(f"^\\s*– – {int(chosen[8:])}\\s*$")


def test_a_token_is_revoked_and_neither_it_nor_its_hash_is_shown(page: Page, aob: Installation) -> None:
    from aob_web.accounts.models import digest

    page.goto("/account/")
    page.get_by_label("Name").fill("to be revoked")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".notice code").inner_text()
    assert aob.request("GET", "/api/v1/runs?limit=1", token=token)[0] == 200
    page.goto("/admin/accounts/apitoken/?q=to+be+revoked")
    page.locator("#result_list th a").first.click()
    expect(page.locator("#content")).to_contain_text("to be revoked")
    assert token not in page.content() and digest(token) not in page.content()
    act(page, "accounts/apitoken", "to+be+revoked", "Revoke")
    expect(page.locator(".messagelist")).to_contain_text("Revoked: 1.")
    assert aob.request("GET", "/api/v1/runs?limit=1", token=token)[0] == 401


def test_only_staff_gets_in_and_only_by_the_throttled_sign_in(browser: Browser, aob: Installation) -> None:
    stranger = browser.new_context(base_url=aob.url).new_page()
    stranger.goto("/admin/login/?next=/admin/runs/run/")
    expect(stranger).to_have_url(re.compile(r"/sign-in/\?next=/admin/runs/run/"))
    answer = stranger.request.post("/admin/login/", form={"username": "admin", "password": "x"}, max_redirects=0)
    assert answer.status in (302, 403)
    stranger.context.close()
    page = signed_in(browser, aob, user=new_account(browser, aob))
    answer = page.request.get("/admin/runs/run/")
    assert answer.status == 403 and "for staff" in answer.text()
    page.context.close()


def test_staff_without_rights_sees_nothing_and_gives_none(browser: Browser, aob: Installation) -> None:
    page = signed_in(browser, aob, user=new_account(browser, aob, staff=True))
    page.goto("/admin/")
    expect(page.get_by_text("You don’t have permission to view or edit anything.")).to_be_visible()
    run = waiting_run(aob)
    answers: list[Any] = [page.request.get(f"/admin/{one}/") for one in (*LISTS, f"runs/run/{run}/log", "auth/user")]
    assert {one.status for one in answers} == {403}
    page.context.close()


def test_the_console_is_no_wider_than_a_phone(browser: Browser, aob: Installation) -> None:
    page = signed_in(browser, aob, viewport={"width": 390, "height": 900}, color_scheme="dark")
    for place in ("", "runs/run/", "auth/user/add/", "runs/deadletter/"):
        page.goto(f"/admin/{place}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, place
    page.context.close()
