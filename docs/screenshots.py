"""Takes a picture of every page, wide and narrow, light and dark: `make screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support.browser import chromium, signed_in
from tests.support.history import tell
from tests.support.installation import Installation

HERE = Path(__file__).parent / "screenshots"
SIZES = {1440: 900, 390: 844}
MAX_HEIGHT = 2400
SETTLED = """async () => {
  await document.fonts.ready;
  const ending = document.getAnimations().filter((one) => one.effect.getTiming().iterations < 9);
  await Promise.all(ending.map((one) => one.finished));
}"""


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.jpg"):
        old.unlink()
    with (
        tempfile.TemporaryDirectory() as folder,
        Installation(Path(folder) / "home") as aob,
        sync_playwright() as playwright,
    ):
        places = tell(aob).places()
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for width, height in SIZES.items():
            for scheme in ("light", "dark"):
                screen = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                page = signed_in(browser, aob, **screen)
                stranger = browser.new_context(base_url=aob.url, **screen).new_page()
                for name, place in places.items():
                    shown = stranger if name == "sign-in" else page
                    shown.goto(place)
                    take(shown, HERE / f"{name}-{width}-{scheme}.jpg", height)
    sys.stdout.write(f"{len(list(HERE.glob('*.jpg')))} pictures in {HERE}\n")


def take(page: Page, file: Path, height: int) -> None:
    """Once what loads by itself is there: the graph of the editor, of the run page with its states, and of a patch."""
    if page.locator("#editor, #run-graph, #patch-graph").count():
        page.locator(".react-flow__node").first.wait_for()
    if page.locator("#run-graph").count():
        page.locator("output").get_by_text("now, 0 events").wait_for(state="hidden")
    page.evaluate(SETTLED)
    whole = min(page.evaluate("document.documentElement.scrollHeight"), MAX_HEIGHT)
    size = page.viewport_size or {"width": 0, "height": 0}
    page.set_viewport_size({"width": size["width"], "height": max(whole, height)})
    page.screenshot(path=file, type="jpeg", quality=72)
    page.set_viewport_size({"width": size["width"], "height": height})


if __name__ == "__main__":
    main()
