"""One POST through the guarded client, for who has no event loop of its own: webhooks that tell of tickets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from functools import cache
from threading import Thread
from typing import Any

from worker.executors.base import TaskError
from worker.http.client import Client

SECONDS = 15.0
"""For all of it."""

MAX_ANSWER = 2_000


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """The status, and the beginning of the answer; redirects are not followed. Raises TaskError."""
    done: Future[Any] = asyncio.run_coroutine_threadsafe(_post(url, body, headers), _loop())
    status, text = done.result()
    return status, text


async def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    client = _client()
    request = client.build("POST", url, content=body, headers={"Content-Type": "application/json", **headers})
    try:
        async with asyncio.timeout(SECONDS), client.stream(request, follow_redirects=False) as response:
            answer = b""
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) >= MAX_ANSWER:
                    break
            return response.status_code, answer[:MAX_ANSWER].decode("utf-8", "replace").replace("\x00", "�")
    except TimeoutError:
        message = f"{request.url.host} did not answer within {SECONDS:g} s."
        raise TaskError("http_timeout", message, transient=True) from None


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="posts", daemon=True).start()
    return loop


@cache
def _client() -> Client:
    return Client()
