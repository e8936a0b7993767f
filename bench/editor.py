"""`python -m bench.editor`: the graph editor with 1,000 nodes in Chromium, driven by real mouse and wheel input.

Measured are the time from the address to an editor that answers a key, frames per second while panning and zooming, and
how long it takes from a mouse event to the frame that shows it while a node is dragged. Chromium paints in software where
there is no graphics card; the table says which it was. `--url`, `--user`, `--password` measure a system that runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from bench.system import System

TARGETS = {"open, s": 2.0, "fps": 50.0, "input to frame, p95 ms": 50.0}
LANE = 25
"""Nodes of one chain; the lanes stand below each other."""
MOVES = 180
"""Mouse events of one gesture, one for each frame of three seconds."""

RECORDER = """() => {
  const frames = [], lags = [];
  let last = performance.now(), open = true;
  const channel = new MessageChannel();
  const waiting = [];
  // A message that is posted in a frame arrives when the frame has been given away for painting.
  channel.port1.onmessage = () => {
    const now = performance.now();
    for (const t of waiting.splice(0)) lags.push(now - t);
  };
  const tick = (now) => {
    frames.push(now - last);
    last = now;
    if (waiting.length) channel.port2.postMessage(0);
    if (open) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  const heard = (event) => waiting.push(event.timeStamp);
  for (const type of ["mousemove", "wheel"]) window.addEventListener(type, heard, { capture: true, passive: true });
  window.stopRecording = () => { open = false; return { frames: frames.slice(1), lags }; };
}"""

OPENED = """() => {
  new MutationObserver((_, observer) => {
    if (!document.querySelector(".backdrop, .react-flow__node")) return;
    observer.disconnect();
    const painted = () => { document.documentElement.dataset.opened = performance.now(); };
    requestAnimationFrame(() => requestAnimationFrame(painted));
  }).observe(document, { childList: true, subtree: true });
}"""


def document(name: str, count: int, *, placed: bool) -> dict[str, Any]:
    """Chains of mixed nodes with references to the node before; with places unless the editor shall find them."""
    nodes: dict[str, Any] = {}
    edges: dict[str, Any] = {}
    layout: dict[str, Any] = {}
    for number in range(count):
        lane, place = divmod(number, LANE)
        key, before = f"n{number}", f"n{number - 1}"
        if number % 5 == 0:
            nodes[key] = {"type": "http", "config": {"method": "GET", "url": f"http://127.0.0.1/{number}"}}
        else:
            nodes[key] = {
                "type": "transform",
                "title": f"Step {number}",
                "config": {"output": f"{{{{ nodes.{before} }}}}"},
            }
        if place:
            edges[f"{before}-{key}"] = {"from": before, "to": key}
        layout[key] = {"x": place * 296, "y": lane * 112}
    return {"name": name, "nodes": nodes, "edges": edges, **({"layout": layout} if placed else {})}


def measured(page: Page, name: str) -> dict[str, Any]:
    """Opens the workflow and makes the gestures of somebody who looks around in it."""
    page.goto(f"/workflows/{name}/edit/", wait_until="commit")
    page.locator("html[data-opened]").wait_for(state="attached")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    answered = page.evaluate("performance.now()")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.wait_for_load_state("networkidle")
    report: dict[str, Any] = {
        "nodes drawn, s": page.evaluate("Number(document.documentElement.dataset.opened)") / 1000,
        "open, s": answered / 1000,
        "heap, MiB": page.evaluate("performance.memory.usedJSHeapSize") / 2**20,
    }
    box = page.locator(".react-flow__pane").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    with recorded(page, report, "pan, all in sight"):
        _drag(page, _empty_place(page), dx=2, dy=1, button="middle")
    with recorded(page, report, "zoom"):
        page.mouse.move(x, y)
        for step in range(MOVES):
            page.mouse.wheel(0, -40 if step % 60 < 40 else 60)
    page.keyboard.press("0")
    page.wait_for_timeout(400)
    page.mouse.move(x, y)
    for _ in range(14):
        page.mouse.wheel(0, -120)
    page.wait_for_timeout(300)
    with recorded(page, report, "pan, close"):
        _drag(page, _empty_place(page), dx=2, dy=1, button="middle")
    node = page.locator(".react-flow__node").nth(page.locator(".react-flow__node").count() // 2).bounding_box()
    assert node is not None
    with recorded(page, report, "drag a node, close"):
        _drag(page, (node["x"] + node["width"] / 2, node["y"] + node["height"] / 2), dx=1, dy=1, button="left")
    page.keyboard.press("0")
    page.wait_for_timeout(400)
    with recorded(page, report, "drag a node, all in sight"):
        _drag(page, _place_of(page, 512), dx=1, dy=1, button="left")
    return report


def _empty_place(page: Page) -> tuple[float, float]:
    """A point of the canvas where no node is."""
    found = page.evaluate("""() => {
      const box = document.querySelector(".react-flow__pane").getBoundingClientRect();
      for (let y = box.top + 80; y < box.bottom - 80; y += 7)
        for (let x = box.left + 80; x < box.right - 300; x += 7)
          if (document.elementFromPoint(x, y)?.classList.contains("react-flow__pane")) return [x, y];
    }""")
    return found[0], found[1]


def _place_of(page: Page, number: int) -> tuple[float, float]:
    """Where the middle of a node is on the screen; from afar it is painted and no element."""
    lane, place = divmod(number, LANE)
    found = page.evaluate(
        """([x, y]) => {
      const box = document.querySelector(".react-flow").getBoundingClientRect();
      const view = new DOMMatrix(getComputedStyle(document.querySelector(".react-flow__viewport")).transform);
      return [box.left + view.e + x * view.a, box.top + view.f + y * view.a];
    }""",
        [place * 296 + 112, lane * 112 + 32],
    )
    return found[0], found[1]


def _drag(page: Page, at: tuple[float, float], *, dx: float, dy: float, button: Any) -> None:
    page.mouse.move(*at)
    page.mouse.down(button=button)
    for step in range(MOVES):
        there = step if step < MOVES / 2 else MOVES - step
        page.mouse.move(at[0] + there * dx, at[1] + there * dy)
    page.mouse.up(button=button)


@contextmanager
def recorded(page: Page, report: dict[str, Any], what: str) -> Iterator[None]:
    """Frames and lags of what is done inside, under this name."""
    page.evaluate(RECORDER)
    yield
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found = page.evaluate("stopRecording()")
    frames, lags = found["frames"], sorted(found["lags"])
    report[what] = {
        "fps": len(frames) / (sum(frames) / 1000),
        "frame, p95 ms": sorted(frames)[int(len(frames) * 0.95)],
        "input to frame, p95 ms": lags[int(len(lags) * 0.95)] if lags else None,
        "input to frame, p50 ms": statistics.median(lags) if lags else None,
    }


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="aob-bench-") as folder:
        if options.url:
            reports = _rounds(options, options.url, options.user, options.password)
        else:
            with System(Path(folder) / "home") as system:
                reports = _rounds(options, system.url, "admin", system.password or "")
    conditions = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{options.nodes} nodes; {conditions}; median of {options.rounds} rounds\n")
    print("| what | measured | target |\n| --- | --- | --- |")
    medians = _medians(reports)
    for what, value in medians.items():
        if isinstance(value, dict):
            for part, one in value.items():
                print(f"| {what}: {part} | {one:.1f} | {_target(what, part)} |")
        else:
            print(f"| {what} | {value:.2f} | {_target('', what)} |")
    print(
        json.dumps({"conditions": {"load": os.getloadavg()[0], "nodes": options.nodes}, "rounds": reports}),
        file=sys.stderr,
    )
    return 0


def _target(what: str, part: str) -> str:
    if part not in TARGETS or (part.startswith("input") and not what.startswith("drag")):
        return ""
    return f"{'≥' if part == 'fps' else '<'} {TARGETS[part]:g}"


def _rounds(options: argparse.Namespace, url: str, user: str, password: str) -> list[dict[str, Any]]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    reports = []
    with sync_playwright() as playwright:
        for _ in range(options.rounds):
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--enable-precise-memory-info"], headless=not options.headed
            )
            context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto("/")
            page.get_by_label("User name").fill(user)
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("navigation", name="Main")).to_be_visible()
            name = f"bench-{uuid.uuid4().hex[:8]}"
            made = document(name, options.nodes, placed=not options.unplaced)
            page.goto("/workflows/")
            csrf = page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
            answer = page.request.post(
                "/api/v1/workflows", data={"document": made}, headers={"x-csrftoken": csrf, "referer": url}
            )
            assert answer.status == 201, answer.text()
            page.add_init_script(f"({OPENED})()")
            time.sleep(1)
            reports.append(measured(page, name))
            browser.close()
    return reports


def _medians(reports: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for what, value in reports[0].items():
        if isinstance(value, dict):
            result[what] = {part: statistics.median(one[what][part] or 0 for one in reports) for part in value}
        else:
            result[what] = statistics.median(one[what] for one in reports)
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unplaced", action="store_true", help="without places: the editor lays the nodes out")
    parser.add_argument("--headed", action="store_true", help="with a window, and the graphics card if there is one")
    parser.add_argument("--url", help="a running system instead of a fresh one")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", default="")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
