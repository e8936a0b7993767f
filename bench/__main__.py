"""`python -m bench`: the work units on a fresh AOB, beside DBOS and a Celery chain, in turns; prints tables, writes JSON.

`--quick` takes under two minutes. `--only W3,H3` measures these units; `--no-peers` AOB alone; `--long` adds LONG.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import effects, hop, scale, units, watch
from bench.peers import ROOT, interpreter
from bench.system import MemoryWatch, System
from embedded.services import Services, start

PEERS = ("DBOS", "Celery")
PEER_UNITS = ("W1", "W3", "W10", "H3", "FAN10")
PEER_RUNS = {"W1": 1000, "W3": 600, "W10": 200, "H3": 400, "FAN10": 80}
FULL_ROUNDS, QUICK_ROUNDS = 3, 1
QUICK = ("W3", "H3", "SUBMIT", "FAN10", "HOP")
ONCE = ("HOP", "WATCH", "LONG", "FULL", "SCALE")
"""Measured once, after the rounds of the others: HOP and SCALE repeat by themselves, WATCH and LONG fill the system.

FULL is W3 and H3 with AOB_FIDELITY=full, where the start of each attempt is recorded before it begins."""


def main() -> int:
    options = _options()
    chosen = _chosen(options)
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    report: dict[str, Any] = {"machine": _machine(), "commit": _commit(), "rounds": rounds, "units": {}}
    with tempfile.TemporaryDirectory(prefix="aob-bench-") as folder, effects.serving() as world:
        place = Path(folder)
        with (
            System(place / "home", AOB_HTTP_ALLOW=world.removeprefix("http://")) as system,
            MemoryWatch(system) as memory,
        ):
            with _peers(place, wanted=not options.no_peers) as services:
                for number in range(rounds):
                    for unit in [one for one in chosen if one not in ONCE]:
                        _round(report, system, services, world, unit, number, quick=options.quick)
            if "HOP" in chosen:
                report["HOP, ms"] = hop.table(hop.hops(system, world, 30 if options.quick else 200))
            if "WATCH" in chosen:
                report["WATCH"] = watch.watch(system)
            if "LONG" in chosen:
                report["LONG"] = units.long(system)
        if "FULL" in chosen:
            with System(place / "full", AOB_FIDELITY="full", AOB_HTTP_ALLOW=world.removeprefix("http://")) as system:
                report["FULL"] = {unit: units.measure(system, world, unit, quick=False)["rate"] for unit in ("W3", "H3")}
        if "SCALE" in chosen:
            report["SCALE"] = scale.scale(place)
        report["memory, MiB"] = {name: round(size) for name, size in memory.most.items()}
    _print(report)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))
    return 0


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true", help="also LONG: a million runs, some minutes and 3 GB of disk")
    parser.add_argument("--only", default="", help="units, separated by commas: " + ", ".join((*units.UNITS, *ONCE)))
    parser.add_argument("--rounds", type=int, default=FULL_ROUNDS)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", default="", help="a file for the whole result")
    options = parser.parse_args()
    unknown = {*options.only.split(",")} - {"", *units.UNITS, *ONCE}
    if unknown:
        parser.error(f"unknown units: {', '.join(sorted(unknown))}; there are {', '.join((*units.UNITS, *ONCE))}")
    return options


def _chosen(options: Any) -> list[str]:
    if options.only:
        return list(options.only.split(","))
    if options.quick:
        return list(QUICK)
    return [*units.UNITS, *(unit for unit in ONCE if unit != "LONG" or options.long)]


def _round(
    report: dict[str, Any], system: System, services: Services | None, world: str, unit: str, number: int, *, quick: bool
) -> None:
    print(f"round {number + 1}: {unit} …", file=sys.stderr, flush=True)
    entry = report["units"].setdefault(unit, {"AOB": [], **{peer: [] for peer in PEERS}})
    entry["AOB"].append(units.measure(system, world, unit, quick=quick))
    if services is None or unit not in PEER_UNITS:
        return
    runs = PEER_RUNS[unit] // (3 if quick else 1)
    for peer in PEERS:
        entry[peer].append(_peer(peer, services, world, unit, runs))


def _peer(peer: str, services: Services, world: str, unit: str, runs: int) -> dict[str, Any]:
    python = str(interpreter()) if peer == "DBOS" else sys.executable
    environment = {
        **os.environ,
        "DBOS_URL": services.database_url,
        "BROKER_URL": services.broker_url,
        "WORLD": f"{world}/effect",
    }
    command = [python, "-m", f"bench.peers.{peer.lower()}_peer", unit, str(runs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{peer} {unit} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def _peers(place: Path, *, wanted: bool) -> Iterator[Services | None]:
    """A Postgres and a Redis for the peers, of the same build and with the same settings as AOB's."""
    if not wanted:
        yield None
        return
    with start(place / "peers", {}) as services:
        yield services


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def _print(report: dict[str, Any]) -> None:
    print(f"{report['machine']}; commit {report['commit']}; {report['rounds']} rounds\n")
    print("| unit | AOB runs/s: median (min to max) | p99 ms | CPU s / 1,000 runs | MB / 1,000 runs | DBOS | Celery |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for unit, entry in report["units"].items():
        rates = [one["rate"] for one in entry["AOB"]]
        middle = statistics.median(rates)
        late = [one["p99 ms"] for one in entry["AOB"] if one.get("p99 ms")]
        cells = [
            unit,
            f"{middle:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
            f"{max(late):.1f}" if late else "",
            f"{statistics.median(one['cpu'] for one in entry['AOB']):.2f}",
            f"{statistics.median(one['bytes'] for one in entry['AOB']) / 1e6:.1f}",
        ]
        for peer in PEERS:
            own = [one["rate"] for one in entry[peer]]
            cells.append(f"{statistics.median(own):,.0f}: {middle / statistics.median(own):.0f} ×" if own else "")
        print("| " + " | ".join(cells) + " |")
    for name in ("HOP, ms", "WATCH", "LONG", "FULL", "SCALE", "memory, MiB"):
        if name in report:
            print(f"\n{name}:")
            for key, value in report[name].items():
                shown = ", ".join(f"{k} {v:.2f}" for k, v in value.items()) if isinstance(value, dict) else value
                print(f"- {key}: {shown:.2f}" if isinstance(shown, float) else f"- {key}: {shown}")


if __name__ == "__main__":
    sys.exit(main())
