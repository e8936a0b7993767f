"""What every page keeps to: readable without JavaScript, little code, and no serious fault for axe-core."""

from __future__ import annotations

import gzip
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.axe import grave_faults
from tests.support.browser import signed_in
from tests.support.history import PLAIN, History, tell
from tests.support.installation import Installation
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser

LOOKS = ((1440, "light"), (390, "dark"), (1440, "dark"), (390, "light"))
MAX_CODE = 40 * 1024
MAX_EDITOR_CODE = 300 * 1024
SCRIPT = re.compile(r'<script[^>]* src="([^"]+)"')


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(Path(tmp_path_factory.mktemp("reading")) / "home") as made:
        yield made


@pytest.fixture(scope="module")
def history(installation: Installation) -> History:
    return tell(installation)


def test_lists_and_runs_can_be_read_and_steered_without_javascript(
    browser: Browser, installation: Installation, history: History
) -> None:
    page = signed_in(browser, installation, java_script_enabled=False)
    page.goto("/runs/")
    expect(page.get_by_role("link", name=re.compile("weekly-orders")).first).to_be_visible()
    page.goto(f"/runs/{history.failed}/")
    for words in ("failed", "check", "each[3]", PLAIN):
        expect(page.locator("main").get_by_text(words).first).to_be_visible()
    page.goto("/workflows/")
    expect(page.get_by_role("link", name="weekly-orders").first).to_be_visible()
    page.goto("/dead-letters/")
    expect(page.locator("main").get_by_text("http_status").first).to_be_visible()
    page.goto(f"/runs/{history.waiting}/")
    page.get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("link", name="Resume").first).to_be_visible()
    page.context.close()


def test_pages_bring_little_code(browser: Browser, installation: Installation, history: History) -> None:
    page = signed_in(browser, installation)
    for name, place in history.places().items():
        page.goto(place)
        sources = SCRIPT.findall(page.content())
        is_editor = name in ("editor", "run-graph")
        if is_editor:
            # Also what is loaded when the page stands, for the first form.
            eventually(lambda: any("CodeField" in source for source in loaded(page)))
            page.wait_for_load_state("networkidle")
            sources = loaded(page)
        size = sum(compressed(installation, source) for source in sources)
        assert size <= (MAX_EDITOR_CODE if is_editor else MAX_CODE), (name, size, sources)
    page.context.close()


def loaded(page: Page) -> list[str]:
    """The scripts that a page has fetched so far."""
    names: list[str] = page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    return [name for name in names if name.endswith(".js")]


def compressed(installation: Installation, source: str) -> int:
    url = source if source.startswith("http") else f"{installation.url}{source}"
    with urllib.request.urlopen(url) as answer:
        return len(gzip.compress(answer.read()))


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_finds_nothing_grave_on_any_page(
    browser: Browser, installation: Installation, history: History, width: int, scheme: str
) -> None:
    """Every page in one look; pages of one kind in different ones."""
    page = signed_in(browser, installation, viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults = {}
    for name, place in list(history.places().items())[LOOKS.index((width, scheme)) :: len(LOOKS)]:
        page.goto(place)
        drawn = page.locator("#editor, #run-graph, #patch-graph").count() > 0
        if drawn:
            page.locator(".react-flow__node").first.wait_for()
        # A graph is as large as its reader zooms it, and all of it has keys and a list or form beside it.
        faults[name] = grave_faults(page, but=("target-size",) if drawn and width < 1000 else ())
    assert {name: found for name, found in faults.items() if found} == {}
    page.context.close()
