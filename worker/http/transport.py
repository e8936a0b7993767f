"""httpx over aiohttp's connections, which cost a fifth of httpcore's; only to addresses that the guard admits.

The guard is asked before a name or a literal address is connected to, and the socket itself is only made for an
address that the guard admitted: there is no way to a connection around it (hazard S15).
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from worker.executors.base import TaskError
from worker.http.decoding import CodingError, codings, decoded
from worker.http.guard import Guard, literal_address

MAX_CONNECTIONS = 500
KEEP_SECONDS = 15.0
MAX_ADDRESSES = 4
MAX_ADMITTED = 10_000
CHUNK = 64 * 1024


class GuardedTransport(httpx.AsyncBaseTransport):
    """A pool of connections; belongs to one event loop."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._admitted: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._open()
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if _looks_literal(url.host):
            # aiohttp asks no resolver for these.
            await self.admit(url.host, port)
        timeout = request.extensions.get("timeout", {})
        with _in_httpx_words():
            response = await session.request(
                request.method,
                URL(str(url), encoded=True),
                headers=_headers(request),
                data=_content(request),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=timeout.get("connect"), sock_read=timeout.get("read")
                ),
            )
        headers = list(response.raw_headers)
        names = codings(value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding")
        if names and request.method != "HEAD":
            # What they say is no longer so when the body is read; httpx would decode it again, and without a bound.
            headers = [pair for pair in headers if pair[0].lower() not in (b"content-encoding", b"content-length")]
        return httpx.Response(
            response.status,
            headers=headers,
            stream=_Body(response, names),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("latin-1", "replace"),
            },
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            # Closing a TLS connection takes a turn of the loop.
            await asyncio.sleep(0)

    async def admit(self, host: str, port: int) -> list[Any]:
        """The addresses that may be connected to. Raises TaskError."""
        addresses = (await self._guard.addresses(host, port))[:MAX_ADDRESSES]
        for address in addresses:
            self._admitted[str(address), port] = None
            self._admitted.move_to_end((str(address), port))
        while len(self._admitted) > MAX_ADMITTED:
            self._admitted.popitem(last=False)
        return addresses

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self),
                    use_dns_cache=False,
                    limit=MAX_CONNECTIONS,
                    keepalive_timeout=KEEP_SECONDS,
                    ssl=httpx.create_ssl_context(),
                    socket_factory=self._socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
            # An attempt sends its request once; whether there is another one is for the retry policy (hazard I8).
            self._session._retry_connection = False
        return self._session

    def _socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, where = info
        address = literal_address(str(where[0]))
        if address is None or (str(address), where[1]) not in self._admitted:
            raise TaskError("http_address_refused", f"{where[0]} is not an address that was admitted.", transient=False)
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    def __init__(self, transport: GuardedTransport) -> None:
        self._transport = transport

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._transport.admit(host, port)
        ]

    async def close(self) -> None:
        return


class _Body(httpx.AsyncByteStream):
    """A body as it was before it was compressed for the way."""

    def __init__(self, response: aiohttp.ClientResponse, names: list[str]) -> None:
        self._response = response
        self._names = names

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_httpx_words():
            async for part in decoded(self._response.content.iter_chunked(CHUNK), self._names):
                yield part

    async def aclose(self) -> None:
        # A body that was not read to its end closes the connection instead of leaving its rest for the next answer.
        self._response.close() if not self._response.content.at_eof() else self._response.release()


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers.raw
        if name.lower() not in (b"transfer-encoding", b"connection")
    ]


def _content(request: httpx.Request) -> Any:
    try:
        return request.content or None
    except httpx.RequestNotRead:
        return request.stream


def _looks_literal(host: str) -> bool:
    """Also for forms such as `2130706433`, which some resolvers read as an address."""
    return ":" in host or host.replace(".", "").isdigit()


@contextmanager
def _in_httpx_words() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise httpx.ReadTimeout(str(error)) from None
    except CodingError as error:
        raise httpx.DecodingError(str(error)) from None
    except aiohttp.ClientPayloadError as error:
        raise httpx.ReadError(str(error)) from None
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol(str(error)) from None
    except aiohttp.ClientResponseError as error:
        raise httpx.RemoteProtocolError(error.message) from None
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ConnectError(str(error) or type(error).__name__) from None
