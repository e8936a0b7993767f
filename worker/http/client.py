"""Requests with redirects followed hop by hop: each hop is guarded, credentials stay at their origin."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from worker.executors.base import TaskError, in_line
from worker.http.decoding import ACCEPTED
from worker.http.guard import Guard
from worker.http.transport import GuardedTransport

MAX_REDIRECTS = 5
PER_HOST = int(os.environ.get("AOB_HTTP_PER_HOST", "20"))
"""AOB_HTTP_PER_HOST: so many requests to one host at a time, so that a dead one cannot take every slot."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
TIMEOUTS = {"connect": CONNECT_SECONDS, "read": READ_SECONDS}
DEFAULT_HEADERS = {"User-Agent": "aob/0.1", "Accept": "*/*", "Accept-Encoding": ACCEPTED}

_REFUSED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_HARMLESS_HEADERS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent", "idempotency-key"})
"""What another origin may have; any other header that a document sets may be a credential."""

_BODY_HEADERS = frozenset({"content-type", "content-encoding"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Client:
    """A pool of guarded connections; one per process and event loop."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or Guard()
        self._transport = GuardedTransport(self._guard)
        self._bulkheads: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def stream(
        self,
        request: httpx.Request,
        *,
        follow_redirects: bool = True,
        auth: httpx.Auth | None = None,
        admit: Callable[[httpx.URL], None] = lambda url: None,
    ) -> AsyncIterator[httpx.Response]:
        """The final answer, its body unread. Raises TaskError for everything that keeps it from coming.

        `admit` is asked before every hop, and raises where the caller may not go.
        """
        try:
            for _ in range(MAX_REDIRECTS + 1):
                check_url(request.url)
                admit(request.url)
                async with in_line(self._places(request.url)):
                    response = await self._send(request, auth)
                    try:
                        if not (follow_redirects and response.has_redirect_location):
                            yield response
                            return
                    finally:
                        await response.aclose()
                request, auth = _next_hop(request, response, auth)
            raise TaskError("http_redirects", f"More than {MAX_REDIRECTS} redirects.", transient=False)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise as_task_error(error, str(request.url.host)) from None

    def build(self, method: str, url: httpx.URL | str, **more: Any) -> httpx.Request:
        """Raises TaskError `http_url` for what is no absolute http or https URL."""
        try:
            request = httpx.Request(method, url, extensions={"timeout": TIMEOUTS}, **more)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, ValueError, TypeError) as error:
            raise TaskError("http_url", f"The request cannot be made: {error}", transient=False) from None
        for name, value in DEFAULT_HEADERS.items():
            request.headers.setdefault(name, value)
        check_url(request.url)
        return request

    async def _send(self, request: httpx.Request, auth: httpx.Auth | None) -> httpx.Response:
        """One hop, with the further requests that its authentication may need; the body is unread."""
        if auth is None:
            return await self._exchange(request)
        flow = auth.async_auth_flow(request)
        try:
            request = await anext(flow)
            while True:
                response = await self._exchange(request)
                try:
                    request = await flow.asend(response)
                except StopAsyncIteration:
                    return response
                await response.aclose()
        finally:
            await flow.aclose()

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response

    def _places(self, url: httpx.URL) -> asyncio.Semaphore:
        return self._bulkheads.setdefault(f"{url.host}:{url.port}", asyncio.Semaphore(PER_HOST))

    def new_transport(self) -> GuardedTransport:
        """A pool of its own under the same guard, for a library that closes what it was given."""
        return GuardedTransport(self._guard)

    async def close(self) -> None:
        await self._transport.aclose()


def origin(url: httpx.URL) -> str:
    """Scheme, host and port (RFC 6454): what credentials were given for. A port that goes without saying is left out."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def check_url(url: httpx.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise TaskError("http_url", f"{str(url)[:100]!r} is not an http or https URL.", transient=False)
    if url.userinfo:
        raise TaskError(
            "http_url",
            "A URL may not hold a user name or password.",
            transient=False,
            hint="Use `auth` instead.",
        )


def check_headers(headers: dict[str, str]) -> None:
    """Raises TaskError for headers that cannot be set or would break out of their line."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _REFUSED_HEADERS:
            raise TaskError("http_header", f"The header {name[:60]!r} cannot be set.", transient=False)
        if any(letter in value for letter in "\r\n\0"):
            raise TaskError("http_header", f"The value of header {name!r} holds a line break.", transient=False)


def as_task_error(error: Exception, host: str) -> TaskError:
    """The error of a connection in our words; never with credentials in it."""
    if isinstance(error, httpx.TimeoutException):
        return TaskError("http_timeout", f"{host} did not answer in time.", transient=True)
    if isinstance(error, httpx.DecodingError):
        return TaskError("http_body_encoding", f"The body of {host} cannot be decoded. {error}", transient=False)
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return TaskError("http_connection", f"The connection to {host} failed: {reason}", transient=True)


def _next_hop(
    request: httpx.Request, response: httpx.Response, auth: httpx.Auth | None
) -> tuple[httpx.Request, httpx.Auth | None]:
    """The request for the next hop (RFC 9110, section 15.4)."""
    try:
        target = request.url.join(response.headers["location"])
    except httpx.InvalidURL:
        raise TaskError("http_redirect", "The redirect leads to something that is no URL.", transient=False) from None
    if request.url.scheme == "https" and target.scheme == "http":
        raise TaskError("http_redirect", "A redirect from https to http is not followed.", transient=False)
    method, content = request.method, None
    headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
    if response.status_code == 303 or (response.status_code in (301, 302) and method == "POST"):
        method = "GET" if method != "HEAD" else "HEAD"
        for name in ("content-length", "content-type", "transfer-encoding"):
            headers.pop(name, None)
    elif isinstance(request.stream, httpx.ByteStream):
        content = request.content or None
    else:
        raise TaskError("http_redirect", "A streamed body cannot be sent again to a redirect.", transient=False)
    if origin(request.url) != origin(target):
        harmless = _HARMLESS_HEADERS | (_BODY_HEADERS if content is not None else frozenset())
        headers = {name: value for name, value in headers.items() if name.lower() in harmless}
        auth = None
    return httpx.Request(method, target, headers=headers, content=content, extensions=request.extensions), auth
