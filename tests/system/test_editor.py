"""The graph editor in Chromium against the running system: drawn by keyboard and by mouse, undone, saved, merged."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.installation import ROOT, Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser
EXAMPLE = json.loads((ROOT / "examples" / "api-fan-out" / "workflow.json").read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser, aob: Installation) -> Iterator[Page]:
    """A signed-in page that allows no console error and no foreign request."""
    page = signed_in(browser, aob)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if is_fault(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if aob.url not in request.url else None)
    yield page
    page.context.close()
    assert complaints == []


def is_fault(message: Any) -> bool:
    return message.type == "error" and not re.search("status of (409|422)", message.text)


def signed_in(browser: Browser, aob: Installation) -> Page:
    context = browser.new_context(base_url=aob.url, viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=aob.url)
    page = context.new_page()
    page.goto("/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(aob.password or "")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    return page


def begin(page: Page) -> str:
    """An empty canvas."""
    name = f"drawn-{uuid.uuid4().hex[:8]}"
    page.goto("/workflows/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="New workflow").click()
    expect(page.get_by_role("heading", name="An empty workflow")).to_be_visible()
    return name


def saved(aob: Installation, name: str) -> Any:
    return aob.request("GET", f"/api/v1/workflows/{name}/draft")[1]["document"]


def executable(document: dict[str, Any]) -> dict[str, Any]:
    """Without its name, and what is for people alone."""
    return {key: part for key, part in document.items() if key not in ("name", "layout", "notes", "description")}


class Keys:
    """A person who has no mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def add(self, words: str) -> None:
        """Adds a node from the palette, behind what is chosen."""
        count = self.page.locator(".react-flow__node").count()
        self.press("/")
        expect(self.page.get_by_role("combobox")).to_be_focused()
        self.page.keyboard.type(words)
        self.press("Enter")
        expect(self.page.locator(".react-flow__node")).to_have_count(count + 1)

    def fill(self, label: str, text: str) -> None:
        """Goes to a field by Tab and writes into it, in the place of what is there."""
        self.to(label)
        self.press("Control+a", "Delete")
        self.page.keyboard.insert_text(text)

    def to(self, label: str) -> None:
        for _ in range(80):
            if self.page.evaluate(FOCUSED) == label:
                return
            self.press("Tab")
        raise AssertionError(f"Tab does not reach {label!r}")

    def form(self) -> None:
        """To the form of what is chosen."""
        self.press("Enter")
        expect(self.page.get_by_role("complementary").get_by_label("Id", exact=False).first).to_be_focused()

    def leave(self) -> None:
        """Out of a field. The first Escape may only close its list of completions."""
        for _ in range(3):
            if not self.page.evaluate("document.activeElement.matches('input, textarea, [contenteditable=true]')"):
                return
            self.press("Escape")


FOCUSED = """() => {
  const one = document.activeElement;
  const label = one.labels?.[0]?.querySelector(".field-title")?.textContent;
  const named = one.getAttribute("aria-label") ?? label ?? one.textContent;
  return (named ?? "").trim();
}"""


def test_a_call_and_a_map_over_its_answer_are_drawn_with_the_keyboard_alone(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    keys.add("http")
    keys.form()
    keys.fill("Id", "list")
    keys.fill("Title", "Fetch the list")
    keys.fill("URL", "{{ inputs.base }}/demo/items")
    keys.leave()
    keys.add("map")
    keys.form()
    keys.fill("Id", "each")
    keys.fill("Title", "Fetch every item")
    keys.fill("Items (CEL list)", "nodes.list.body.items")
    keys.leave()
    eventually(lambda: "each" in saved(aob, name)["nodes"])
    assert saved(aob, name)["edges"]["list-each"] == {"from": "list", "to": "each"}


def test_everything_is_undone_and_redone(page: Page, aob: Installation) -> None:
    name = begin(page)
    keys = Keys(page)
    keys.add("http")
    keys.add("transform")
    keys.add("log")
    keys.press("Control+d")
    expect(page.locator(".react-flow__node")).to_have_count(4)
    keys.press("Delete")
    expect(page.locator(".react-flow__node")).to_have_count(3)
    for _ in range(5):
        keys.press("Control+z")
    expect(page.get_by_role("heading", name="An empty workflow")).to_be_visible()
    for _ in range(5):
        keys.press("Control+Shift+z")
    expect(page.locator(".react-flow__node")).to_have_count(3)
    eventually(lambda: len(saved(aob, name)["nodes"]) == 3)


def test_a_node_is_copied_into_another_workflow_as_text(page: Page, aob: Installation) -> None:
    page.goto("/workflows/api-fan-out/edit/")
    page.locator('[data-node="each"] .body-head').click()
    expect(page.get_by_role("complementary").or_(page.locator(".body.picked"))).to_be_visible()
    page.keyboard.press("Control+c")
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    name = begin(page)
    page.keyboard.press("Control+v")
    eventually(lambda: "each" in saved(aob, name)["nodes"])
    assert saved(aob, name)["nodes"]["each"] == EXAMPLE["nodes"]["each"]


def test_two_who_draw_at_the_same_time_lose_nothing(browser: Browser, page: Page, aob: Installation) -> None:
    name = begin(page)
    Keys(page).add("http")
    eventually(lambda: "http" in saved(aob, name)["nodes"])
    other = signed_in(browser, aob)
    other.goto(f"/workflows/{name}/edit/")
    expect(other.locator(".react-flow__node")).to_have_count(1)
    expect(page.get_by_label("admin is here too")).to_be_visible()
    Keys(other).add("transform")
    eventually(lambda: "transform" in saved(aob, name)["nodes"])
    Keys(page).add("log")
    expect(page.get_by_role("status").filter(has_text="both changes")).to_be_visible()
    eventually(lambda: {"http", "transform", "log"} <= saved(aob, name)["nodes"].keys())
    other.context.close()


def test_a_problem_is_shown_at_its_place_and_keeps_from_publishing(page: Page, aob: Installation) -> None:
    begin(page)
    keys = Keys(page)
    keys.add("http")
    keys.press("Control+Shift+Enter")
    expect(page.get_by_role("dialog")).to_contain_text("keeps it from being published")
    page.get_by_role("button", name="Show the problems").click()
    page.get_by_role("complementary").get_by_role("button").filter(has_text="/nodes/http/config/url").click()
    expect(page.get_by_role("complementary").get_by_role("heading", name="HTTP request")).to_be_visible()
    page.locator('[data-pointer="/nodes/http/config/url"] .cm-content').fill("http://127.0.0.1/x")
    expect(page.get_by_role("button", name="No problems")).to_be_visible()
    keys.press("Escape", "Control+Shift+Enter")
    page.get_by_role("dialog").get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status").filter(has_text="Published as No. 1")).to_be_visible()
