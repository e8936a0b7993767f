"""HTTP for the libraries of the providers and of MCP, which speak httpx2: bounded answers, bounded attempts.

A request that was not answered with a result is made again, at most twice: one that was refused with a status that
says so, or whose connection was never made. One that may have been executed never is; that would pay twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import httpx
import httpx2

from worker.executors.base import TaskError
from worker.executors.http import retry_after
from worker.http.client import Client
from worker.http.decoding import CodingError, codings, decoded

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
TIMEOUT = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
"""The longest silence within an answer; how long an agent works in all is for its budget."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
AGAIN = 2
AGAIN_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
PAUSE = 0.5
MAX_PAUSE = 20.0


class AnswerTooLarge(Exception):
    """An answer has more bytes than are read."""


class Bounded(httpx2.AsyncBaseTransport):
    """Another transport, whose answers end with AnswerTooLarge beyond `max_bytes`, and which tries again."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, *, max_bytes: int = MAX_ANSWER_BYTES, again: int = AGAIN
    ) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._again = again

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if attempt > self._again:
                    raise
                await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
                continue
            if response.status_code not in AGAIN_STATUSES or attempt > self._again:
                break
            pause = _pause(response, attempt)
            await response.aclose()
            await asyncio.sleep(pause)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        headers = response.headers.copy()
        names = codings(headers.get_list("content-encoding"))
        for name in ("content-encoding", "content-length") if names else ():
            headers.pop(name, None)
        return httpx2.Response(
            response.status_code,
            headers=headers,
            stream=_BoundedStream(response.stream, names, self._max_bytes),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pause(response: httpx2.Response, attempt: int) -> float:
    """Seconds until the next attempt: what the provider asks for, within bounds."""
    milliseconds = response.headers.get("retry-after-ms", "")
    asked = int(milliseconds) / 1000 if milliseconds.isascii() and milliseconds.isdigit() else None
    if asked is None:
        asked = retry_after(response.headers.get("retry-after"))
    return min(PAUSE * 2 ** (attempt - 1) if asked is None else asked, MAX_PAUSE)


class _BoundedStream(httpx2.AsyncByteStream):
    """Bounded on the way and decoded: a small answer may stand for a large one, and the other way round."""

    def __init__(self, inner: httpx2.AsyncByteStream, names: list[str], max_bytes: int) -> None:
        self._inner = inner
        self._names = names
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._within(decoded(self._within(self._inner), self._names)):
                yield part
        except CodingError as error:
            raise httpx2.DecodingError(str(error)) from None

    async def _within(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        left = self._max_bytes
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                raise AnswerTooLarge
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def provider_client() -> httpx2.AsyncClient:
    """For the operator's own providers: any address, no redirects, no proxies from the environment."""
    return httpx2.AsyncClient(
        transport=Bounded(httpx2.AsyncHTTPTransport()), timeout=TIMEOUT, follow_redirects=False, trust_env=False
    )


def guarded_client(http: Client, *, max_bytes: int) -> httpx2.AsyncClient:
    """For addresses that stand in documents: only where the guard lets nodes go."""
    return httpx2.AsyncClient(
        transport=Bounded(_Guarded(http), max_bytes=max_bytes, again=0),
        timeout=TIMEOUT,
        follow_redirects=False,
        trust_env=False,
    )


class _Guarded(httpx2.AsyncBaseTransport):
    """The guarded transport, spoken to in the words of httpx2."""

    def __init__(self, http: Client) -> None:
        self._inner = http.new_transport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        timeout = request.extensions.get("timeout", {})
        asked = httpx.Request(
            request.method, str(request.url), headers=request.headers.raw, content=body, extensions={"timeout": timeout}
        )
        try:
            response = await self._inner.handle_async_request(asked)
        except TaskError as error:
            raise httpx2.ConnectError(error.message) from error
        except httpx.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error)) from None
        except httpx.HTTPError as error:
            raise httpx2.ConnectError(str(error)) from None
        return httpx2.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=_Stream(response),
            extensions={"http_version": b"HTTP/1.1"},
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except httpx.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error)) from None
        except httpx.HTTPError as error:
            raise httpx2.ReadError(str(error)) from None

    async def aclose(self) -> None:
        await self._response.aclose()
