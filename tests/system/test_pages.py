"""The pages in Chromium: sign in, start from a form, watch, look into a node, at both sizes and in both lights."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.installation import ROOT, Installation

pytestmark = pytest.mark.browser


def test_a_wrong_password_is_told_without_details(browser: Browser, aob: Installation) -> None:
    page = browser.new_context(base_url=aob.url).new_page()
    page.goto("/runs/")
    page.get_by_label("User name").fill("somebody")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("correct username and password")


def test_a_run_is_started_from_its_form_and_watched_to_its_end(page: Page, aob: Installation) -> None:
    page.goto("/workflows/access-log/")
    page.get_by_label("Access log").set_input_files(ROOT / "examples/access-log/access.log")
    page.get_by_label("Highest error rate").fill("0.001")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="access-log")).to_be_visible()
    expect(page.locator("#live-part h1 .state")).to_have_text("completed", timeout=30_000)
    expect(page.locator("#row-parse").locator(".state")).to_have_text("done")
    expect(page.locator("#row-fine").locator(".state")).to_have_text("skipped")
    page.locator("#row-parse").get_by_role("link", name="parse").click()
    expect(page.locator("#node-part")).to_contain_text("text.aggregate_lines")
    expect(page.locator("#log")).to_contain_text("Run completed")


def test_a_running_run_changes_on_the_page_without_a_reload(page: Page, aob: Installation) -> None:
    run = aob.json("run", "start", "long-process", "--input", "reminders=1")["id"]
    page.goto(f"/runs/{run}/")
    expect(page.get_by_text("the signal 'paid'").first).to_be_visible(timeout=20_000)
    aob.aob("run", "signal", run, "paid", "--payload", '{"amount": 3}')
    expect(page.locator("#live-part h1 .state")).to_have_text("completed", timeout=10_000)


def test_wrong_inputs_are_told_at_the_form(page: Page, aob: Installation) -> None:
    page.goto("/workflows/long-process/")
    page.get_by_label("Reminders to send").fill("99")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("was not started")
    expect(page.get_by_label("Reminders to send")).to_have_accessible_description("99 is not at most 10.")


def test_text_from_runs_is_never_markup(page: Page, aob: Installation, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    document = '{"name": "evil", "description": "%s", "nodes": {"f": {"type": "fail", "config": {"message": "%s"}}}}'
    (tmp_path / "evil.json").write_text(document % (evil, evil))
    aob.aob("workflow", "push", str(tmp_path / "evil.json"))
    run = aob.json("run", "start", "evil")["id"]
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for place in ("/runs/", f"/runs/{run}/", "/workflows/?q=evil", "/workflows/evil/"):
        page.goto(place)
        expect(page.get_by_text("<script>alert(2)").first).to_be_visible()
    assert dialogs == []
