"""What the process at the public port holds of requests that it has not answered yet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aob_web.front import starts
from runs.errors import Unavailable

CHUNK = 1000


def test_bodies_that_never_end_are_counted_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "MAX_BODIES", 4 * CHUNK)

    async def play() -> tuple[list[Any], int, int]:
        front = starts.Starts()
        end = asyncio.Event()

        async def body() -> bytes:
            chunks = [b"x" * CHUNK]

            async def receive() -> dict[str, Any]:
                if chunks:
                    return {"type": "http.request", "body": chunks.pop(), "more_body": True}
                await end.wait()
                return {"type": "http.disconnect"}

            return await front._body({}, receive)

        tasks = [asyncio.create_task(body()) for _ in range(20)]
        refused, _ = await asyncio.wait(tasks[4:], timeout=5)
        held = front._held
        end.set()
        await asyncio.wait(tasks)
        return [task.exception() for task in refused], held, front._held

    refused, held, left = asyncio.run(play())
    assert len(refused) == 16 and all(isinstance(error, Unavailable) for error in refused)
    assert held == 4 * CHUNK
    assert left == 0, "what was held of the others is given back when their clients go away"
