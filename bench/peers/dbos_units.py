"""One process of the DBOS peer: the units as DBOS workflows, and the loop that runs them when told to.

It hears lines on stdin, `run N` or `time N`, and answers each with a line of JSON on stdout: the seconds of N
concurrent runs, or of each of N runs one after the other. It ends with its stdin.

As DBOS's documentation recommends: workflows are started in the background by `start_workflow` and awaited by their
handles, on a thread pool of a bounded size; steps in parallel are coroutines under `asyncio.gather`. All settings that
are not named here are DBOS's own. Of what was tried (3.4.0, W3, two cores: direct calls from 1 to 16 threads,
handles, a queue, coroutines) handles and calls from 4 threads were the fastest and equal; a queue reached 80 % of it
and coroutines 65 %.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from dbos import DBOS, DBOSConfig

from bench.documents import PAYLOAD
from bench.peers import length, world

THREADS = 8
CONCURRENT_FANS = 8


@DBOS.step()
def add(payload: dict[str, Any]) -> dict[str, Any]:
    return {"count": payload["count"] + 1, "text": payload["text"]}


@DBOS.step()
def call(number: int) -> Any:
    return world.post(number)


@DBOS.step()
async def numbers(items: int) -> list[int]:
    return list(range(items))


@DBOS.step()
async def double(item: int) -> int:
    return item * 2


@DBOS.step()
async def join(items: list[int]) -> int:
    return len(items)


@DBOS.workflow()
def chain(steps: int, payload: dict[str, Any]) -> dict[str, Any]:
    """W1, W3, W10."""
    for _ in range(steps):
        payload = add(payload)
    return payload


@DBOS.workflow()
def calls(steps: int) -> Any:
    """H3."""
    answer = None
    for number in range(steps):
        answer = call(number)
    return answer


@DBOS.workflow()
async def fan(items: int) -> int:
    """FAN10, FAN1000."""
    return await join(await asyncio.gather(*(double(item) for item in await numbers(items))))


def start(unit: str) -> Any:
    """Starts one run of W or H in the background and gives its handle."""
    if unit.startswith("W"):
        return DBOS.start_workflow(chain, length(unit), PAYLOAD)
    return DBOS.start_workflow(calls, length(unit))


def check(unit: str, result: Any) -> None:
    """Raises AssertionError when a run's result is not the unit's."""
    expected = {"W": {**PAYLOAD, "count": 1 + length(unit)}, "H": {"ok": True}, "F": length(unit)}[unit[0]]
    assert result == expected, result


def run(unit: str, count: int) -> float:
    """Seconds of so many runs at once."""
    began = time.perf_counter()
    handles = [start(unit) for _ in range(count)]
    for handle in handles:
        check(unit, handle.get_result())
    return time.perf_counter() - began


def single(unit: str, count: int) -> list[float]:
    """Seconds of each of so many runs, one after the other."""
    return [run(unit, 1) for _ in range(count)]


async def run_fans(unit: str, count: int) -> float:
    """As `run`, for the units whose workflows are coroutines, of which DBOS itself does not bound the number."""
    places = asyncio.Semaphore(CONCURRENT_FANS)

    async def one() -> None:
        async with places:
            handle = await DBOS.start_workflow_async(fan, length(unit))
            check(unit, await handle.get_result())

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - began


def serve(unit: str) -> None:
    """Does what the lines on stdin say, until there are no more."""
    fans = unit.startswith("F")
    for line in sys.stdin:
        command, count = line.split()
        if command == "time":
            done: Any = single(unit, int(count))
        else:
            done = asyncio.run(run_fans(unit, int(count))) if fans else run(unit, int(count))
        print(json.dumps(done), flush=True)


def main(unit: str, executor: str, url: str, schema: str) -> None:
    config: DBOSConfig = {
        "name": "bench-peer",
        "system_database_url": url,
        "dbos_system_schema": schema,
        "application_version": "bench",
        "executor_id": executor,
        "log_level": "WARNING",
    }
    if not unit.startswith("F"):
        config["max_executor_threads"] = THREADS  # coroutines wait in such threads for each other: not for them
    DBOS(config=config)
    DBOS.launch()
    try:
        serve(unit)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    place = json.loads(sys.stdin.readline())  # not an argument, as the URL holds a password
    main(sys.argv[1], sys.argv[2], place["url"], place["schema"])
