"""What a user writes is text on every page: it runs nothing, calls nobody, and breaks no layout (S19, S24)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import signed_in
from tests.support.history import History, tell
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

WORDS = (
    "<script>alert(1)</script><img src=//canary.example/x onerror=alert(2)><svg onload=alert(3)>"
    "</textarea></script><iframe srcdoc='<script>alert(4)</script>'></iframe>"
    "\"' onmouseover=alert(5) x='javascript:alert(6) {{ 7*7 }} ${7*7} {% load x %} %00 ../../etc/passwd "
    "\u202egnirts desrever\u202c مرحبا 👩‍👩‍👧‍👦 z̸̛͎a̷͔l̴͇g̵͉o " + "W" * 300 + " __proto__ constructor"
)
LINE = "x" * 100_000
"""A log line, an input and an output of 100 KB without a space."""

SHOWING = ("workflows", "workflow", "editor", "run-failed", "approvals", "ticket", "ticket-decided")
SIZES = ((1440, "light"), (390, "dark"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(Path(tmp_path_factory.mktemp("hostile")) / "home") as made:
        yield made


@pytest.fixture(scope="module")
def history(installation: Installation) -> History:
    return tell(installation, WORDS)


def visit(page: Page, place: str, width: int) -> None:
    page.goto(place)
    if page.locator("#run-graph, #patch-graph").count():
        page.locator(".react-flow__node").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{place} is wider than its screen"


@pytest.fixture(scope="module")
def long_lines(installation: Installation, history: History) -> str:
    """A run of the same workflow whose texts are lines of 100 KB."""
    body = {"workflow": history.drawn, "inputs": {"title": LINE, LINE[:200]: LINE}}
    status, answer = installation.request("POST", "/api/v1/runs", body)
    assert status == 201, answer
    installation.ended(answer["id"])
    return str(answer["id"])


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_hostile_words_are_text_on_every_page(
    browser: Browser, installation: Installation, history: History, long_lines: str, width: int, scheme: str
) -> None:
    page = signed_in(browser, installation, viewport={"width": width, "height": 900}, color_scheme=scheme)
    harm: list[str] = []
    page.on("dialog", lambda dialog: (harm.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: harm.append(request.url) if not request.url.startswith(installation.url) else None)
    page.on("pageerror", lambda error: harm.append(str(error)))
    places = [*history.places().items(), ("run-long", f"/runs/{long_lines}/")]
    for number, (name, place) in enumerate(places):
        # Those that show the words as something else than rows are looked at in both sizes, the others in turns.
        is_mine = number % len(SIZES) == SIZES.index((width, scheme)) or name in (*SHOWING, "run-long")
        if name != "sign-in" and is_mine:
            visit(page, place, width)
            if name in SHOWING:
                expect(page.get_by_text("<script>alert(1)").first).to_be_attached()
            if page.locator("#run-graph").count():
                look_around(page, width)
    assert harm == []
    page.context.close()


def look_around(page: Page, width: int) -> None:
    """The log is there, and the values of a node are opened."""
    expect(page.locator("#log .log-row").first).to_be_visible()
    page.locator(".rows .row").first.get_by_role("link").last.click()
    expect(page.locator("#node-part section").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "what is opened is wider than the screen"
