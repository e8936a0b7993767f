"""JSON to and from the server: with the token of its owner, problems as Refused, silence as Unreachable."""

from __future__ import annotations

import json
import os

from cli.exits import Refused, Unreachable, UsageError
from cli.transport import NotConnected, Plain, Transport, lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cli.transport import Body, Headers

SECONDS = 60.0
LONG_SECONDS = 600.0
STREAM_SECONDS = 30.0
ATTEMPTS = 5
LONGEST_PAUSE = 30.0
JSON = {"Content-Type": "application/json"}
BASE = "/api/v1"


class Connection:
    """Sends requests to one server. `origin` says in words where the token came from."""

    def __init__(self, url: str, token: str | None, origin: str = "") -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.origin = origin
        self._transport: Transport | None = None

    @classmethod
    def find(cls, url: str | None, token: str | None) -> Connection:
        """The server of the options, of AOB_URL and AOB_TOKEN, or of client.json."""
        from cli.client_file import find

        return cls(*find(url, token))

    def get(self, path: str, *, seconds: float = SECONDS) -> Any:
        """The JSON that stands at a path below /api/v1."""
        return self.send("GET", path, None, {}, seconds=seconds)

    def call(self, method: str, path: str, body: Any) -> Any:
        """Sends a JSON value; gives the JSON of the answer."""
        return self.send(method, path, encode(body), JSON)

    def send(self, method: str, path: str, body: Body, headers: Headers, *, seconds: float = SECONDS) -> Any:
        """Sends a body as it is; gives the JSON of the answer."""
        _, pieces = self.open(method, path, body, headers, seconds=seconds)
        data = b"".join(pieces)
        try:
            return json.loads(data) if data else None
        except ValueError:
            raise Unreachable(f"{self.url} does not answer in JSON; is it the address of AOB?", connected=True) from None

    def retrying(self, method: str, path: str, body: Body, headers: Headers) -> Any:
        """Like `send`, again after a lost connection or a 503: only for requests that may be repeated.

        A server that cannot be connected to at the first attempt is not running: that is told at once.
        """
        import time

        for attempt in range(1, ATTEMPTS + 1):
            wanted = 0.0
            try:
                return self.send(method, path, body, headers)
            except Unreachable as error:
                if attempt == ATTEMPTS or (attempt == 1 and not error.connected):
                    raise
            except Refused as error:
                if attempt == ATTEMPTS or error.status not in (429, 502, 503, 504):
                    raise
                wanted = error.retry_after or 0.0
            time.sleep(min(max(wanted, jitter(0.2 * 2**attempt)), LONGEST_PAUSE))
        raise AssertionError("the last attempt returns or raises")

    def stream(self, path: str, headers: Headers) -> Iterator[str]:
        """The lines of a stream of events, as they come. Nothing for 30 s counts as a lost connection."""
        sent = {"Accept": "text/event-stream", "Cache-Control": "no-store", **headers}
        return lines(self.open("GET", path, None, sent, seconds=STREAM_SECONDS)[1])

    def open(
        self, method: str, path: str, body: Body, headers: Headers, *, seconds: float = SECONDS
    ) -> tuple[Headers, Iterator[bytes]]:
        """Headers and unread body of a successful answer. Raises Refused for every other status."""
        sent = {"Accept": "application/json", "User-Agent": "aob-cli", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        for name, value in sent.items():
            if not (value.isascii() and value.isprintable()):
                raise UsageError(f"{name} has a character that cannot be sent: {value[:7]!r}…")
        if self._transport is None:
            self._transport = transport(self.url)
        try:
            status, received, pieces = self._transport.exchange(method, BASE + path, body, sent, seconds)
            if not 200 <= status < 300:
                raise self._refused(status, received, b"".join(pieces))
        except OSError as error:
            raise self._unreachable(error, seconds) from None
        return received, self._watched(pieces, seconds)

    def _watched(self, pieces: Iterator[bytes], seconds: float) -> Iterator[bytes]:
        try:
            yield from pieces
        except OSError as error:
            raise self._unreachable(error, seconds) from None

    def _unreachable(self, error: OSError, seconds: float) -> Unreachable:
        connected = not isinstance(error, NotConnected)
        reason = error.strerror or str(error)
        if isinstance(error, TimeoutError) and connected:
            reason = f"it did not answer within {seconds:g} s"
        words = "lost the server at" if connected else "cannot reach the server at"
        return Unreachable(f"{words} {self.url}: {reason}.", connected=connected)

    def _refused(self, status: int, headers: Headers, data: bytes) -> Refused:
        try:
            problem = json.loads(data)
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            detail = f"The server at {self.url} answered {status}."
            problem = {"type": "about:blank", "status": status, "code": f"http_{status}", "detail": detail}
            if 300 <= status < 400:
                problem["hint"] = f"It points to {headers.get('location', 'nowhere')}; set AOB_URL to the final address."
        if status == 401 and self.origin and "hint" not in (problem.get("errors") or [{}])[0]:
            problem["hint"] = self.origin
        after = headers.get("retry-after", "")
        return Refused(status, problem, float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None)


def transport(url: str) -> Transport:
    """The transport of an address: http:// or https://, a host, and perhaps a port and a path before /api."""
    scheme, _, rest = url.partition("://")
    authority, slash, prefix = rest.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, "443" if scheme == "https" else "80"
    host = host.removeprefix("[").removesuffix("]")
    usable = authority.isascii() and authority.isprintable() and not set(authority) & set(" @?#\\")
    if scheme not in ("http", "https") or not host or not usable or not (port.isdigit() and 0 < int(port) < 65_536):
        raise UsageError(f"{url!r} is no address of a server; it looks like http://127.0.0.1:8800.")
    before = f"/{prefix}" if slash and prefix else ""
    if scheme == "http":
        return Plain(host, int(port), before)
    from cli.tls import Secure

    return Secure(host, int(port), before)


def encode(value: Any) -> bytes:
    """A value as JSON. Lone surrogates stay what they are (`\\udXXX`): the server judges them."""
    return json.dumps(value).encode()


def jitter(seconds: float) -> float:
    """A random part of a pause, so that many clients do not come back at once. `random` costs 4 ms to import."""
    return seconds * int.from_bytes(os.urandom(4), "big") / 2**32


def quote(text: str) -> str:
    """Percent-encodes one part of a path or query (RFC 3986); `urllib.parse` is not needed for that."""
    keep = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    quoted = "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def query(**values: Any) -> str:
    """`?name=value&…` of what is given."""
    parts = [f"{name}={quote(str(value))}" for name, value in values.items() if value not in (None, "")]
    return f"?{'&'.join(parts)}" if parts else ""
