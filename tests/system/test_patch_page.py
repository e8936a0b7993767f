"""Patches in Chromium: they appear while one looks, are read, answered and undone, and time travel shows what was."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import grave_faults
from tests.support.browser import Colleague, signed_in
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)>\n{{ 7*7 }}"
DOCUMENT: dict[str, Any] = {
    "name": "page-patched",
    "nodes": {
        "wait": {"type": "signal", "config": {"name": "go"}},
        "last": {"type": "transform", "config": {"output": "{{ inputs.x }}"}},
    },
    "edges": {"wait-last": {"from": "wait", "to": "last"}},
    "layout": {"wait": {"x": 0, "y": 0}, "last": {"x": 320, "y": 0}},
}
MORE: list[dict[str, Any]] = [
    {"op": "add", "path": "/nodes/more", "value": {"type": "transform", "config": {"output": "{{ inputs.x * 2 }}"}}},
    {"op": "add", "path": "/edges/wait-more", "value": {"from": "wait", "to": "more"}},
]
CHANGED = [{"op": "replace", "path": "/nodes/last/config/output", "value": 7}]


def begin(aob: Installation, **parts: Any) -> str:
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": {**DOCUMENT, **parts}, "inputs": {"x": 21}})
    assert status == 201, view
    return str(view["id"])


def propose(aob: Installation, run: str, operations: list[dict[str, Any]], **parts: Any) -> dict[str, Any]:
    token = parts.pop("token", "")
    body = {"operations": operations, "reason": "twice", **parts}
    status, patch = aob.request("POST", f"/api/v1/runs/{run}/patch", body, token=token)
    assert status == 201, patch
    return dict(patch)


def shown(page: Page, name: str) -> Any:
    return page.locator(f"#run-graph [data-node='{name}']")


def status_of(page: Page) -> Any:
    return page.locator("h1 .state")


def test_a_patch_appears_on_the_graph_and_in_the_list_while_one_looks(page: Page, aob: Installation) -> None:
    run = begin(aob)
    page.goto(f"/runs/{run}/")
    expect(shown(page, "wait")).to_contain_text("waiting")
    expect(page.locator("#patches")).to_have_count(0)
    before = shown(page, "last").bounding_box()
    patch = propose(aob, run, [*MORE, *CHANGED], reason=EVIL)
    expect(shown(page, "more")).to_contain_text("patched by admin")
    expect(shown(page, "more")).to_have_class(re.compile("patched-added.*fresh"))
    expect(shown(page, "last")).to_have_class(re.compile("patched-changed"))
    expect(page.locator("#said")).to_contain_text("patched by admin: 2 added, 1 changed")
    after = shown(page, "last").bounding_box()
    assert before and after and before["y"] == after["y"], "what stood there was moved"
    expect(page.locator("#patches")).to_contain_text("applied")
    expect(page.locator("#patches")).to_contain_text("<img src=x onerror=alert(1)>")
    shown(page, "more").get_by_role("link").click()
    page.wait_for_url(f"**/runs/{run}/patches/{patch['id']}/")
    expect(status_of(page)).to_have_text("applied")
    expect(page.locator(".said").first).to_have_text(EVIL)
    expect(page.locator(".told li").first).to_contain_text("adds node more transform")
    expect(page.locator(".told")).to_contain_text("changes /nodes/last/config/output")


def test_what_is_proposed_can_be_seen_on_the_graph_and_approved_by_the_keyboard(
    page: Page, aob: Installation, colleague: Colleague
) -> None:
    run = begin(aob, patches="review")
    removal = [{"op": "remove", "path": "/edges/wait-last"}, {"op": "remove", "path": "/nodes/last"}]
    page.goto(f"/runs/{run}/")
    expect(shown(page, "wait")).to_be_visible()
    patch = propose(aob, run, [*MORE, *removal], token=colleague.token)
    page.get_by_role("button", name="Show what is proposed").click()
    expect(shown(page, "more")).to_contain_text("would be added")
    expect(shown(page, "last")).to_contain_text("would be removed")
    page.get_by_role("button", name="Show what is proposed").press("Enter")
    expect(shown(page, "more")).to_have_count(0)
    expect(shown(page, "last")).not_to_contain_text("would be")
    page.locator("#patches").get_by_role("link", name="Review").press("Enter")
    page.wait_for_url(f"**/patches/{patch['id']}/")
    expect(page.locator("#patch-graph .diff-added").first).to_be_visible()
    expect(page.locator("#patch-graph .diff-removed").first).to_be_visible()
    page.get_by_label("Reason").focus()
    page.keyboard.type("looked at it")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")
    expect(status_of(page)).to_have_text("applied")
    expect(page.get_by_role("status").first).to_contain_text("goes on with the changed graph")
    expect(page.locator(".review-side")).to_contain_text("Approved by admin")
    expect(page.locator(".review-side")).to_contain_text("looked at it")
    page.goto(f"/runs/{run}/")
    expect(shown(page, "more")).to_contain_text(f"patched by {colleague.name}")
    expect(page.get_by_role("button", name="Show what is proposed")).to_have_count(0)


def test_time_travel_shows_the_graph_before_and_after_a_patch(page: Page, aob: Installation) -> None:
    run = begin(aob)
    patch = propose(aob, run, MORE)
    aob.aob("run", "signal", run, "go")
    aob.ended(run)
    page.goto(f"/runs/{run}/")
    expect(shown(page, "more")).to_contain_text("done")
    stood = shown(page, "last").bounding_box()
    page.goto(f"/runs/{run}/?at={patch['seq'] - 1}")
    expect(shown(page, "wait")).to_be_visible()
    expect(shown(page, "more")).to_have_count(0)
    expect(page.locator("#patches")).to_have_count(0)
    page.get_by_role("button", name="One event forward").click()
    expect(shown(page, "more")).to_contain_text("patched by admin")
    expect(shown(page, "more")).not_to_have_class(re.compile("fresh"))
    expect(page.locator("#patches")).to_contain_text("applied")
    page.get_by_role("button", name="Now").click()
    expect(shown(page, "more")).to_contain_text("done")
    assert stood is not None
    now = shown(page, "last").bounding_box()
    assert now is not None and (now["width"], now["height"]) == (stood["width"], stood["height"])


def test_a_patch_is_read_rejected_and_undone_without_javascript(
    browser: Browser, aob: Installation, colleague: Colleague
) -> None:
    page = signed_in(browser, aob, java_script_enabled=False)
    run = begin(aob, patches="review")
    waiting = propose(aob, run, MORE, reason=EVIL, token=colleague.token)
    page.goto(f"/runs/{run}/")
    page.locator("#patches").get_by_role("link", name="Review").click()
    for words in ("waits for review", "adds node more", "adds edge wait → more", "would wait", "onerror=alert(1)"):
        expect(page.locator("main").get_by_text(words).first).to_be_visible()
    expect(page.locator("table.diff ins").first).to_be_visible()
    page.get_by_label("Reason").fill("too much")
    page.get_by_role("button", name="Reject").click()
    expect(status_of(page)).to_have_text("rejected")
    expect(page.locator(".review-side")).to_contain_text("too much")
    assert aob.request("GET", f"/api/v1/patches/{waiting['id']}")[1]["status"] == "rejected"

    free = begin(aob)
    applied = propose(aob, free, MORE)
    page.goto(f"/runs/{free}/patches/{applied['id']}/")
    page.get_by_role("button", name="Undo this patch").click()
    expect(page.locator("#messages")).to_contain_text("took the change back")
    expect(page.locator(".told")).to_contain_text("removes node more")
    page.get_by_role("link", name="an earlier patch").click()
    expect(status_of(page)).to_have_text("undone")
    assert "more" not in aob.request("GET", f"/api/v1/runs/{free}/document")[1]["document"]["nodes"]
    page.context.close()


def test_who_reviews_hears_at_once_what_others_have_answered(page: Page, aob: Installation, colleague: Colleague) -> None:
    run = begin(aob, patches="review")
    patch = propose(aob, run, MORE, token=colleague.token)
    page.goto(f"/runs/{run}/patches/{patch['id']}/")
    page.get_by_label("Reason").fill("half of a reas")
    assert aob.request("POST", f"/api/v1/patches/{patch['id']}/decide", {"answer": "reject"})[0] == 200
    expect(page.locator("#news")).to_contain_text("The patch is rejected, by admin, just now.")
    expect(page.get_by_label("Reason")).to_have_value("half of a reas")
    page.locator("#news").get_by_role("link", name="Show").click()
    expect(status_of(page)).to_have_text("rejected")


def test_what_does_not_go_any_more_is_told_in_place(page: Page, aob: Installation, colleague: Colleague) -> None:
    run = begin(aob)
    waiting = propose(aob, run, CHANGED, mode="review", token=colleague.token)
    other = [{**CHANGED[0], "value": 8}]
    applied = propose(aob, run, other)
    page.goto(f"/runs/{run}/patches/{waiting['id']}/")
    page.get_by_label("Reason").fill("mine")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#fault")).to_contain_text("others changed what this patch touches: /nodes/last/config/output")
    expect(page.get_by_label("Reason")).to_have_value("mine")
    expect(status_of(page)).to_have_text("waits for review")

    aob.aob("run", "signal", run, "go")
    aob.ended(run)
    page.goto(f"/runs/{run}/patches/{waiting['id']}/")
    expect(status_of(page)).to_have_text("expired")
    expect(page.locator(".review-side")).to_contain_text("before somebody answered")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.goto(f"/runs/{run}/patches/{applied['id']}/")
    expect(page.get_by_role("button", name="Undo this patch")).to_have_count(0)


def test_what_has_started_is_named_when_undoing_comes_too_late(page: Page, aob: Installation) -> None:
    second = {"type": "signal", "config": {"name": "end"}}
    run = begin(aob, nodes={**DOCUMENT["nodes"], "end": second}, edges={"1": {"from": "wait", "to": "last"}})
    patch = propose(
        aob, run, [MORE[0], {"op": "add", "path": "/edges/wait-more", "value": {"from": "wait", "to": "more"}}]
    )
    aob.aob("run", "signal", run, "go")
    page.goto(f"/runs/{run}/")
    expect(shown(page, "more")).to_contain_text("done")
    page.goto(f"/runs/{run}/patches/{patch['id']}/")
    page.get_by_role("button", name="Undo this patch").click()
    expect(page.locator("#fault")).to_contain_text("/nodes/more")
    expect(page.locator("#fault")).to_contain_text("refused by the server")
    expect(status_of(page)).to_have_text("applied")


def test_a_patch_of_another_run_or_none_is_not_found(page: Page, aob: Installation) -> None:
    run, other = begin(aob), begin(aob)
    patch = propose(aob, run, MORE)
    for place in (f"/runs/{other}/patches/{patch['id']}/", f"/runs/{run}/patches/nothing/"):
        answer = page.request.get(place)
        assert answer.status == 404, place
    assert page.request.get(f"/runs/{run}/patches/").url.endswith(f"/runs/{run}/#patches")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_the_preview_has_no_grave_fault(browser: Browser, aob: Installation, width: int, scheme: str) -> None:
    run = begin(aob)
    propose(aob, run, MORE)
    propose(aob, run, CHANGED, mode="review")
    page = signed_in(browser, aob, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(f"/runs/{run}/")
    page.get_by_role("button", name="Show what is proposed").click()
    expect(shown(page, "last")).to_contain_text("would be changed")
    assert grave_faults(page, but=("target-size",) if width < 1000 else ()) == []
    page.context.close()


def opened_to_draw(page: Page, run: str) -> None:
    page.goto(f"/runs/{run}/")
    page.get_by_role("link", name="Edit graph").click()
    page.wait_for_url(f"**/runs/{run}/graph/")
    expect(page.locator(".react-flow__node[data-id='wait']")).to_be_visible()


def add(page: Page, after: str, words: str) -> None:
    """Adds a node from the palette behind another."""
    page.locator(f".canvas [data-node='{after}'] .node-text").click()
    page.keyboard.press("Escape")
    page.locator(f".canvas [data-node='{after}'] .node-text").click()
    page.get_by_role("button", name="Add a node").first.click()
    expect(page.locator(".chooser input")).to_be_focused()
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    expect(page.locator(".chooser input")).to_have_count(0)


def test_a_patch_is_drawn_on_the_graph_of_the_run(page: Page, aob: Installation) -> None:
    run = begin(aob)
    opened_to_draw(page, run)
    expect(page.locator("[data-node='wait']").get_by_label("locked")).to_be_visible()
    expect(page.locator("[data-node='last']").get_by_label("locked")).to_have_count(0)
    page.get_by_role("button", name="Propose").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nothing is changed yet")
    page.get_by_role("button", name="Go on drawing").click()
    page.locator(".canvas [data-node='wait'] .node-text").click()
    expect(page.locator(".side")).to_contain_text("cannot be changed any more")
    page.keyboard.press("Delete")
    expect(page.locator(".message")).to_contain_text("wait is waiting in this run")
    add(page, "last", "log")
    page.get_by_role("button", name="Propose").click()
    page.get_by_label("Why").fill("it shall be told")
    page.get_by_role("dialog").get_by_role("button", name="Propose").click()
    page.wait_for_url(f"**/runs/{run}/")
    expect(shown(page, "log")).to_contain_text("patched by admin")
    expect(page.locator("#patches")).to_contain_text("it shall be told")
    document = aob.request("GET", f"/api/v1/runs/{run}/document")[1]["document"]
    assert {(edge["from"], edge["to"]) for edge in document["edges"].values()} == {("wait", "last"), ("last", "log")}
    assert set(document["layout"]) == {"wait", "last", "log"}


def test_what_the_run_refuses_is_shown_where_it_was_drawn(page: Page, aob: Installation) -> None:
    run = begin(aob, patches="review")
    opened_to_draw(page, run)
    page.locator(".canvas [data-node='last'] .node-text").click()
    page.get_by_role("button", name="Delete last").click()
    expect(page.locator(".canvas [data-node='last']")).to_have_count(0)
    aob.aob("run", "signal", run, "go")
    # It ends before the patch comes: nothing of it can be changed any more.
    aob.ended(run)
    page.get_by_role("button", name="Propose").click()
    page.get_by_role("dialog").get_by_role("button", name="Propose").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("has ended")
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"/runs/{run}/graph/")
    expect(page.locator("#messages")).to_contain_text("has ended")

    end = {"type": "signal", "config": {"name": "end"}}
    other = begin(aob, nodes={**DOCUMENT["nodes"], "end": end}, layout={**DOCUMENT["layout"], "end": {"x": 0, "y": 200}})
    opened_to_draw(page, other)
    page.locator(".canvas [data-node='last'] .node-text").click()
    page.get_by_role("button", name="Delete last").click()
    aob.aob("run", "signal", other, "go")
    eventually(lambda: "last" in aob.request("GET", f"/api/v1/runs/{other}/started")[1]["nodes"])
    page.get_by_role("button", name="Propose").click()
    page.get_by_role("dialog").get_by_role("button", name="Propose").click()
    expect(page.locator(".problems")).to_contain_text("/nodes/last")
    expect(page.locator(".message")).to_contain_text("refused")
    assert aob.request("GET", f"/api/v1/runs/{other}/patches")[1]["items"] == []


def test_what_waits_for_review_leads_to_its_page(page: Page, aob: Installation) -> None:
    run = begin(aob, patches="review")
    opened_to_draw(page, run)
    page.locator(".canvas [data-node='last'] .node-text").click()
    page.get_by_role("button", name="Delete last").click()
    page.keyboard.press("Control+Enter")
    page.get_by_role("dialog").get_by_role("button", name="Propose").click()
    page.wait_for_url(f"**/runs/{run}/patches/*/")
    expect(status_of(page)).to_have_text("waits for review")
    expect(page.locator(".told")).to_contain_text("removes node last")


def test_what_begins_while_one_draws_is_locked_from_then_on(page: Page, aob: Installation) -> None:
    run = begin(aob, nodes={**DOCUMENT["nodes"], "last": {"type": "signal", "config": {"name": "end"}}})
    opened_to_draw(page, run)
    expect(page.locator("[data-node='last']").get_by_label("locked")).to_have_count(0)
    aob.aob("run", "signal", run, "go")
    expect(page.locator("[data-node='last']").get_by_label("locked")).to_be_visible(timeout=10_000)
