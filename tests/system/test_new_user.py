"""The path of somebody who is here for the first time: template, edit, error, mend, run, watch, find, replay."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import signed_in
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


def test_a_newcomer_mends_a_mistake_and_replays_from_the_item_that_failed(browser: Browser, aob: Installation) -> None:
    page = signed_in(browser, aob)
    page.get_by_role("link", name="Templates").first.click()
    page.get_by_role("link", name="Map with failing items").click()
    page.get_by_role("button", name="Use this template").click()

    page.locator(".react-flow").get_by_text("Read every price").first.dblclick()
    inspector = page.get_by_role("region", name="Settings of each")
    items = inspector.get_by_label("Items", exact=False).first
    items.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("inputs.prices.(")
    expect(page.get_by_role("button", name=re.compile(r"^1 problem|^[2-9] problems"))).to_be_visible()
    expect(inspector.get_by_text("is not CEL").first).to_be_visible()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("problem").first).to_be_visible()
    page.keyboard.press("Escape")
    items.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("inputs.prices")
    expect(page.get_by_role("button", name="No problems")).to_be_visible()
    inspector.get_by_label("On item error", exact=True).select_option("fail")

    page.locator(".toolbar").get_by_role("button", name="Run").click()
    page.get_by_role("dialog", name="Run").get_by_role("button", name="Run").click()
    expect(page.locator("#live-part h1 .state")).to_have_text("failed", timeout=20_000)

    failures = page.locator(".failures")
    failures.get_by_role("listitem").filter(has_text="each[2]/read").get_by_role("link", name="Replay from here").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("to change that, replay from each")
    first = page.url
    dialog.get_by_role("button", name="Start the replay").click()
    expect(page).not_to_have_url(first)
    expect(page.locator("#live-part h1 .state")).to_have_text("failed", timeout=20_000)

    page.locator("#row-each").get_by_role("link", name="each", exact=True).click()
    page.locator("#node-part").get_by_role("link", name="Replay from here").click()
    dialog.get_by_text("Change the inputs").click()
    dialog.get_by_label("JSON").fill(json.dumps({"prices": ["3.50", "12", "0.50", "7.25", "1"]}))
    second = page.url
    dialog.get_by_role("button", name="Start the replay").click()
    expect(page).not_to_have_url(second)
    expect(page.locator("#live-part h1 .state")).to_have_text("completed", timeout=20_000)
    expect(page.locator("main")).to_contain_text("24.25")
    page.context.close()
