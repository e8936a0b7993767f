"""Command line, idle system and scale: starts a fresh AOB and prints a table in Markdown."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.installation import ROOT, Installation

REPEATS = 25
ITEMS = (1_000, 3_000, 10_000)


def milliseconds(command: list[str], environment: dict[str, str]) -> list[float]:
    """Times of a command as a whole process."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
        times.append((time.perf_counter() - began) * 1000)
    return times


def memory(aob: Installation) -> dict[str, float]:
    """Resident MiB of each process of the system."""
    found: dict[str, float] = {}
    for pid in aob.children():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        size = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
        name = command.rpartition("aob_web.processes ")[2] if "aob_web.processes" in command else command.split()[0][-20:]
        found[f"{name} {pid}"] = size
    return found


def processor_seconds(aob: Installation) -> float:
    total = 0
    for pid in aob.children():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / 100


def chain(length: int) -> dict[str, Any]:
    nodes = {f"n{number}": {"type": "transform", "config": {"output": number}} for number in range(length)}
    edges = {f"e{number}": {"from": f"n{number}", "to": f"n{number + 1}"} for number in range(length - 1)}
    return {"name": "chain", "nodes": nodes, "edges": edges, "output": f"{{{{ nodes.n{length - 1} }}}}"}


def pure_map(items: int) -> dict[str, Any]:
    body = {"nodes": {"double": {"type": "transform", "config": {"output": "{{ item * 2 }}"}}}}
    config = {"items": f"range({items})", "body": body}
    return {"name": "map", "nodes": {"each": {"type": "map", "config": config}}, "output": "{{ size(nodes.each) }}"}


def effect_map(items: int, url: str) -> dict[str, Any]:
    call = {"type": "http", "config": {"method": "GET", "url": f"{url}/demo/items/1"}, "retry": {"max_attempts": 5}}
    config = {"items": f"range({items})", "body": {"nodes": {"get": call}}, "max_concurrency": 20}
    return {"name": "calls", "nodes": {"each": {"type": "map", "config": config}}, "output": "{{ size(nodes.each) }}"}


def timed(aob: Installation, document: dict[str, Any]) -> tuple[float, float]:
    """Seconds until the run has ended, and the most MiB that one process of ours had at its end."""
    began = time.perf_counter()
    status, view = aob.request("POST", "/api/v1/runs", {"workflow": document})
    assert status == 201, view
    view = aob.ended(view["id"], seconds=900)
    took = time.perf_counter() - began
    assert view["status"] == "completed", view["error"]
    report = aob.request("GET", f"/api/v1/runs/{view['id']}/verify")[1]
    assert report["ok"], report["problems"]
    return took, max(size for name, size in memory(aob).items() if "postgres" not in name)


def main() -> None:
    effects = "--effects" in sys.argv
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder, Installation(Path(folder) / "home") as aob:
        time.sleep(25)
        began = processor_seconds(aob)
        time.sleep(20)
        rows.append(("idle: CPU of one core", f"{(processor_seconds(aob) - began) / 20 * 100:.1f} %"))
        rows.append(("idle: RSS of all processes", f"{sum(memory(aob).values()):.0f} MiB"))
        status, view = aob.request("POST", "/api/v1/runs", {"workflow": chain(3)})
        assert status == 201, view
        bare = statistics.median(milliseconds([sys.executable, "-IS", "-c", "pass"], aob.environment))
        rows.append(("python -IS -c pass", f"{bare:.1f} ms"))
        for words in (["--version"], ["--help"], ["run", "status", view["id"]]):
            took = statistics.median(milliseconds([str(ROOT / "bin" / "aob"), *words], aob.environment))
            rows.append((f"aob {' '.join(words[:2])}", f"{took:.1f} ms, {took / bare:.2f} × bare"))
        took, most = timed(aob, chain(200))
        rows.append(("chain of 200 pure nodes", f"{took:.2f} s, largest process {most:.0f} MiB"))
        for items in ITEMS:
            took, most = timed(aob, pure_map(items))
            rows.append(
                (f"map of {items:,} pure items", f"{took:.2f} s, {took / items * 1000:.2f} ms an item, {most:.0f} MiB")
            )
        for items in ITEMS if effects else ():
            took, most = timed(aob, effect_map(items, aob.url))
            rows.append(
                (f"map of {items:,} HTTP calls", f"{took:.1f} s, {took / items * 1000:.1f} ms an item, {most:.0f} MiB")
            )
    print("| what | measured |\n| --- | --- |")
    for what, measured in rows:
        print(f"| {what} | {measured} |")
    print(json.dumps(dict(rows)), file=sys.stderr)


if __name__ == "__main__":
    main()
