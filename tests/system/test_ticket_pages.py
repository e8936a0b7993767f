"""Patches that wait for review, in the inbox: over REST, the command line and the pages of a whole AOB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import grave_faults
from tests.support.browser import Colleague, signed_in
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

EVIL = "<img src=x onerror=alert(1)> {{ 7*7 }}"
DOCUMENT: dict[str, Any] = {
    "name": "asked-about",
    "patches": "review",
    "nodes": {
        "wait": {"type": "signal", "config": {"name": "go"}},
        "last": {"type": "transform", "config": {"output": "{{ inputs.x }}"}},
    },
    "edges": {"wait-last": {"from": "wait", "to": "last"}},
}
MORE: list[dict[str, Any]] = [
    {"op": "add", "path": "/nodes/more", "value": {"type": "transform", "config": {"output": "{{ inputs.x * 2 }}"}}},
    {"op": "add", "path": "/edges/wait-more", "value": {"from": "wait", "to": "more"}},
]


def proposed(aob: Installation, token: str, **parts: Any) -> tuple[str, dict[str, Any]]:
    """A run, and a patch of it that waits for review."""
    run = aob.request("POST", "/api/v1/runs", {"workflow": DOCUMENT, "inputs": {"x": 21}})[1]["id"]
    body = {"operations": MORE, "reason": "twice", **parts}
    status, patch = aob.request("POST", f"/api/v1/runs/{run}/patch", body, token=token)
    assert (status, patch["status"]) == (201, "pending_review"), patch
    return run, patch


def decide(aob: Installation, door: str, patch: str, answer: str) -> tuple[int, Any]:
    return aob.request("POST", f"/api/v1/{door}/{patch}/decide", {"answer": answer})


def ticket(aob: Installation, name: str) -> dict[str, Any]:
    return dict(aob.request("GET", f"/api/v1/approvals/{name}")[1])


def test_a_patch_is_listed_and_decided_as_a_ticket(aob: Installation, colleague: Colleague) -> None:
    run, patch = proposed(aob, colleague.token)
    [found] = aob.request("GET", f"/api/v1/approvals?run={run}")[1]["items"]
    assert (found["kind"], found["patch"], found["ticket"]) == ("patch", patch["id"], patch["id"])
    assert patch["id"] in aob.aob("approvals", "list", "--run", run)
    assert f"aob patch show {patch['id']}" in aob.aob("approvals", "show", patch["id"])
    status, problem = aob.request(
        "POST", f"/api/v1/approvals/{patch['id']}/decide", {"answer": "approve"}, token=colleague.token
    )
    assert (status, problem["code"]) == (403, "ticket_forbidden")
    status, problem = aob.request(
        "POST", f"/api/v1/patches/{patch['id']}/decide", {"answer": "approve"}, token=colleague.token
    )
    assert (status, problem["code"]) == (403, "patch_own")
    done = aob.json("approve", patch["id"], "approve", "--reason", "checked")
    assert (done["status"], done["decided_by"]) == ("approved", "admin")
    assert aob.json("patch", "show", patch["id"])["status"] == "applied"
    assert "already" in aob.aob("patch", "reject", patch["id"], code=1)
    aob.aob("run", "signal", run, "go")
    assert aob.ended(run)["output"] == {"last": 21, "more": 42}
    assert aob.json("verify", run)["ok"]


def test_of_two_doors_at_one_instant_one_counts(aob: Installation, colleague: Colleague) -> None:
    for _ in range(5):
        run, patch = proposed(aob, colleague.token)
        with ThreadPoolExecutor(2) as both:
            said = {"approvals": "approve", "patches": "reject"}
            asked = {door: both.submit(decide, aob, door, patch["id"], answer) for door, answer in said.items()}
            answers = {door: one.result() for door, one in asked.items()}
        [won] = [door for door, (status, _) in answers.items() if status == 200]
        [lost] = [answer for door, answer in answers.items() if door != won]
        assert lost[0] == 409 and "already, by admin" in lost[1]["detail"], answers
        ends = {"approvals": ("approved", "applied"), "patches": ("rejected", "rejected")}[won]
        assert (ticket(aob, patch["id"])["status"], aob.json("patch", "show", patch["id"])["status"]) == ends
        assert aob.json("verify", run)["ok"]
        aob.aob("run", "cancel", run)


def test_from_the_inbox_to_the_decision(page: Page, aob: Installation, colleague: Colleague) -> None:
    run, patch = proposed(aob, colleague.token, reason=EVIL)
    page.goto("/approvals/")
    row = page.locator(f"#ticket-{patch['id']}")
    expect(row).to_contain_text("patch")
    expect(row).to_contain_text("<img src=x onerror=alert(1)> {{ 7*7 }}")
    row.get_by_role("link").click()
    expect(page.locator(".told")).to_contain_text("adds node more")
    expect(page.locator("#patch-graph .diff-added").first).to_be_visible()
    expect(page.locator(".facts")).to_contain_text(colleague.name)
    assert grave_faults(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("e")
    page.keyboard.type("looked at it")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/approvals/")
    page.goto(f"/runs/{run}/patches/{patch['id']}/")
    expect(page.locator("h1 .state")).to_have_text("applied")
    expect(page.locator(".review-side")).to_contain_text("looked at it")
    page.goto(f"/approvals/{patch['id']}/")
    expect(page.locator(".review-side")).to_contain_text("Approved by admin")


def test_an_author_takes_back_and_a_workflows_patch_is_read_without_javascript(
    browser: Browser, aob: Installation, colleague: Colleague
) -> None:
    page = signed_in(browser, aob, user=(colleague.name, colleague.password), java_script_enabled=False)
    _, patch = proposed(aob, colleague.token)
    page.goto(f"/approvals/{patch['id']}/")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.get_by_role("button", name="Take it back").click()
    assert ticket(aob, patch["id"])["status"] == "rejected"
    aob.request("POST", "/api/v1/workflows", {"document": {**DOCUMENT, "name": "asked-later"}})
    body = {"operations": MORE, "reason": "for later runs"}
    patch = aob.request("POST", "/api/v1/workflows/asked-later/patches", body)[1]
    page.goto("/approvals/")
    page.locator(f"#ticket-{patch['id']}").get_by_role("link").click()
    for words in ("adds node more", "for later runs", "asked-later@latest", "No recorded run"):
        expect(page.locator("main").get_by_text(words).first).to_be_visible()
    page.get_by_label("Reason").fill("good")
    page.get_by_role("button", name="Approve").click()
    shown = aob.json("patch", "show", patch["id"])
    assert (shown["status"], shown["decided_by"], shown["decision"]) == ("applied", colleague.name, "good")
    page.context.close()
