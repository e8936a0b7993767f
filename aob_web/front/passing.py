"""Passes requests and WebSockets on to the web process, as they are, both ways streamed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from django.conf import settings
from yarl import URL

from aob_web import mcp
from aob_web.accounts.access import AccessError
from aob_web.api import problems
from aob_web.front.starts import MAX_DRAINED, Receive, Scope, Send, drain, refuse
from workflows.core.errors import AobError, LimitExceeded

CLIENT_HEADER = "x-aob-client"
"""Tells the web from which address a request came (see `aob_web.accounts.access`)."""

BLOBS = "/api/v1/blobs"
LINKS = "/approvals/link/"
WITH_FILES = ("/workflows/", "/approvals/")
"""Pages below have forms with files."""

CREDENTIALS = frozenset({"host", "authorization", "cookie", CLIENT_HEADER})
ANY_ANSWER = "/api/v1/node-types/fail"
"""Costs little, and is refused with 401 to who is not known."""

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""What belongs to one connection and not to the message (RFC 9110, section 7.6.1)."""

MAX_HEAD_BYTES = 15 * 1024
"""The web process takes 16 KiB of address and headers, of which one is ours. (Of more than 100 headers there is no
telling here: the server refuses them itself, with 431 and nothing else.)"""

WEBSOCKET = frozenset({"sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-accept"})
GONE = (aiohttp.ClientError, ConnectionError, TimeoutError)
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


_log = logging.getLogger(__name__)


class Passing:
    """The way to the web process behind a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # One connection for each request: one that is kept may end, with its process, just as it is used again.
                connector=aiohttp.UnixConnector(str(self._socket), limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Answers 503 itself when the web process does not."""
        refusal = _too_long(scope)
        if refusal is not None:
            await refuse(send, refusal)
            return
        body = _Body(receive, scope, self._is_known) if _has_body(scope) else None
        answered = asyncio.Event()
        try:
            await _until_either(
                self._exchange(scope, body, answered, _limited(send)),
                _until_gone(receive, body.taken if body else None),
            )
        except GONE as error:
            if answered.is_set():
                raise
            if body and body.refusal:
                await drain(receive, MAX_DRAINED)
                await refuse(send, problems.problem(body.refusal))
                return
            _log.warning("The web process does not answer: %s", error)
            await refuse(send, problems.unavailable_details("The web process does not answer."))

    async def _exchange(self, scope: Scope, body: _Body | None, answered: asyncio.Event, send: Send) -> None:
        async with self._client().request(
            scope["method"],
            _url("http", scope),
            headers=_headers(scope, HOP_BY_HOP),
            data=body.chunks() if body else None,
            allow_redirects=False,
        ) as response:
            headers = [
                (name.lower(), value)
                for name, value in response.raw_headers
                if name.decode("latin-1").lower() not in HOP_BY_HOP
            ]
            answered.set()
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            if body:
                body.taken.set()
            await self._pump(response, send)

    async def _is_known(self, scope: Scope) -> bool:
        """Whether the web knows who sends this: by a token or a session, or by the link of a mail."""
        by_link = scope["path"].startswith(LINKS)
        async with self._client().get(
            _url("http", scope) if by_link else URL(f"http://web{ANY_ANSWER}"),
            headers=[pair for pair in _headers(scope, HOP_BY_HOP) if pair[0] in CREDENTIALS],
            allow_redirects=False,
        ) as response:
            return response.status == 200 if by_link else response.status != 401

    @staticmethod
    async def _pump(response: aiohttp.ClientResponse, send: Send) -> None:
        async for chunk in response.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket, closed with the code that either end gives; with 1013 when the web process is away."""
        send = _limited(send)
        await receive()
        try:
            upstream = await self._client().ws_connect(
                _url("ws", scope),
                headers=_headers(scope, HOP_BY_HOP | WEBSOCKET),
                autoclose=False,
                autoping=True,
                max_msg_size=4 * 1024 * 1024,
            )
        except aiohttp.WSServerHandshakeError as error:
            await send(
                {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": f"The web answers {error.status}."}
            )
            return
        except GONE:
            # A close before the acceptance is a 403 to the client, as if it might not come: it would not come again.
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "The web process does not answer."})
            return
        async with upstream:
            await send({"type": "websocket.accept"})
            gone = asyncio.Event()
            await _until_either(self._downward(upstream, send), self._upward(upstream, receive, gone))
            # Only now: the server sends no close while a receive is waiting.
            if not gone.is_set():
                code = upstream.close_code
                if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
                    code = TRY_AGAIN_LATER
                await send({"type": "websocket.close", "code": code})

    @staticmethod
    async def _downward(upstream: aiohttp.ClientWebSocketResponse, send: Send) -> None:
        async for message in upstream:
            if message.type is aiohttp.WSMsgType.TEXT:
                await send({"type": "websocket.send", "text": message.data})
            elif message.type is aiohttp.WSMsgType.BINARY:
                await send({"type": "websocket.send", "bytes": message.data})
            else:
                return

    @staticmethod
    async def _upward(upstream: aiohttp.ClientWebSocketResponse, receive: Receive, gone: asyncio.Event) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                gone.set()
                return
            if message.get("text") is not None:
                await upstream.send_str(message["text"])
            elif message.get("bytes") is not None:
                await upstream.send_bytes(message["bytes"])


def _limited(send: Send) -> Send:
    """Gives up a client that does not take what is sent to it; it may come back and resume (hazard F24)."""

    async def limited(message: dict[str, Any]) -> None:
        async with asyncio.timeout(settings.AOB_STALL_SECONDS):
            await send(message)

    return limited


def _url(kind: str, scope: Scope) -> URL:
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    return URL(f"{kind}://web{path}{'?' if query else ''}{query}", encoded=True)


def _headers(scope: Scope, dropped: frozenset[str]) -> list[tuple[str, str]]:
    pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
    passed = [(name, value) for name, value in pairs if name not in dropped and name != CLIENT_HEADER]
    client = scope.get("client")
    return [*passed, (CLIENT_HEADER, str(client[0]))] if client else passed


def _has_body(scope: Scope) -> bool:
    return any(
        (name == b"content-length" and value != b"0") or name == b"transfer-encoding" for name, value in scope["headers"]
    )


class _Body:
    """A request's body on its way; it ends at the limit, as the web process holds all of it (hazard F23).

    A large one is taken from who is known only: anybody may send to a page.
    """

    def __init__(self, receive: Receive, scope: Scope, is_known: Callable[[Scope], Awaitable[bool]]) -> None:
        self._receive = receive
        self._scope = scope
        self._is_known = is_known
        self.refusal: AobError | None = None
        self.taken = asyncio.Event()
        """All of it has gone on, or no more is wanted."""

    async def chunks(self) -> AsyncIterator[bytes]:
        taken, limit, known = 0, _limit(self._scope), False
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            taken += len(message.get("body", b""))
            if not known and taken > settings.AOB_MAX_FORM_BYTES:
                known = await self._is_known(self._scope)
                self.refusal = None if known else _unknown(self._scope)
            if taken > limit:
                self.refusal = self.refusal or _too_large(self._scope)
            if self.refusal is not None:
                raise ConnectionError(self.refusal.message)
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                self.taken.set()
                return


def _too_long(scope: Scope) -> dict[str, Any] | None:
    """The refusal of an address or of headers that the web process would not take."""
    address = len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    size = address + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if address > MAX_HEAD_BYTES:
        text = f"The address has {address} bytes; the limit is {MAX_HEAD_BYTES}."
        return problems.plain_details(414, "address_too_long", text)
    if size > MAX_HEAD_BYTES:
        text = f"Address and headers have {size} bytes; the limit is {MAX_HEAD_BYTES}."
        return problems.plain_details(431, "headers_too_large", text)
    return None


def _limit(scope: Scope) -> int:
    """The most bytes of a body from somebody who is known. Some pages' forms may carry blobs beside their fields."""
    if scope["path"] == BLOBS:
        return int(settings.AOB_MAX_BLOB_BYTES)
    if scope["path"].startswith(WITH_FILES):
        return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + settings.AOB_MAX_BLOB_BYTES)
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


def _unknown(scope: Scope) -> AobError:
    most = f"The request has more than {settings.AOB_MAX_FORM_BYTES} bytes, the most from somebody who is not signed in."
    hint = "Sign in, or raise AOB_MAX_FORM_BYTES."
    if scope["path"].startswith("/api/") or scope["path"] == mcp.PATH:
        return AccessError("unauthenticated", most, hint=f"{hint} Programs send an API token.")
    return LimitExceeded("request_too_large", most, hint=hint)


def _too_large(scope: Scope) -> LimitExceeded:
    limit = _limit(scope)
    if scope["path"] == BLOBS:
        return LimitExceeded(
            "blob_too_large", f"The blob has more than {limit} bytes.", hint="Send less, or raise AOB_MAX_BLOB_BYTES."
        )
    return LimitExceeded(
        "request_too_large",
        f"The request has more than {limit} bytes.",
        hint="Send large data as a blob, or raise AOB_MAX_REQUEST_BYTES.",
    )


async def _until_gone(receive: Receive, after: asyncio.Event | None) -> None:
    """Until the client has gone, so that nothing goes on for nobody: who waits for tasks would lease them."""
    if after is not None:
        await after.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_either(first: Any, second: Any) -> None:
    """Runs both until one of them ends, which ends the other."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
