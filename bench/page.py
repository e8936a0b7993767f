"""PAGE: the run page in Chromium while a run of thousands of items goes on: `python -m bench.page`.

Prints events a second, frames a second, long tasks of the page, and whether the page has every event once at the end.
`--items` and `--at-once` size the run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bench.system import System
from tests.support.browser import signed_in

WATCH = """
() => {
  const seen = window.seen = {frames: [], tasks: []};
  const next = (now) => { seen.frames.push(now); requestAnimationFrame(next); };
  requestAnimationFrame(next);
  const told = (list) => { for (const one of list.getEntries()) seen.tasks.push(one.duration); };
  new PerformanceObserver(told).observe({type: "longtask"});
}
"""


def document(items: int, at_once: int) -> dict[str, Any]:
    """A map whose items wait a little: some five events each, spread over the whole time."""
    body = {"nodes": {"wait": {"type": "delay", "config": {"for": "200ms"}},
                      "say": {"type": "log", "config": {"message": "Item {{ string(item) }}"}}},
            "edges": {"on": {"from": "wait", "to": "say"}}}  # fmt: skip
    each = {"type": "map", "config": {"items": "nodes.list", "max_concurrency": at_once, "body": body}}
    nodes = {"list": {"type": "transform", "config": {"output": list(range(items))}}, "each": each}
    return {"name": "page", "nodes": nodes, "edges": {"go": {"from": "list", "to": "each"}}}


def measure(page: Page, system: System, items: int, at_once: int) -> dict[str, Any]:
    """Starts the run, looks at its page until it has ended, and reports."""
    status, view = system.request("POST", "/api/v1/runs", {"workflow": document(items, at_once), "inputs": {}})
    assert status == 201, view
    page.goto(f"/runs/{view['id']}/?open=each")
    page.wait_for_selector(".react-flow__node")
    first = system.request("GET", f"/api/v1/runs/{view['id']}")[1]["last_seq"]
    page.evaluate(WATCH)
    begun = time.monotonic()
    page.wait_for_selector("#live-part .state.completed", timeout=600_000)
    seconds = time.monotonic() - begun
    seen = page.evaluate("window.seen")
    ended = system.ended(view["id"])
    lines = page.locator("#log-tools .hint").inner_text()
    gaps = sorted(b - a for a, b in zip(seen["frames"], seen["frames"][1:], strict=False))
    tasks = sorted(seen["tasks"])
    return {
        "events": ended["last_seq"] - first,
        "events/s": round((ended["last_seq"] - first) / seconds),
        "seconds": round(seconds, 1),
        "frames/s": round(len(seen["frames"]) / seconds, 1),
        "frame gap p99, ms": round(gaps[int(len(gaps) * 0.99)], 1),
        "longest gap, ms": round(gaps[-1]),
        "long tasks > 50 ms": len(tasks),
        "long tasks > 200 ms": sum(one > 200 for one in tasks),
        "longest task, ms": round(tasks[-1]) if tasks else 0,
        "last seq": ended["last_seq"],
        "log of the page": lines,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--at-once", type=int, default=40)
    options = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory(prefix="aob-page-") as folder,
        System(Path(folder) / "home") as system,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = signed_in(browser, system)
        print(json.dumps(measure(page, system, options.items, options.at_once), indent=2))
        browser.close()


if __name__ == "__main__":
    main()
