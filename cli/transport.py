"""HTTP/1.1 (RFC 9112) as this client needs it: one request a connection, bodies streamed both ways.

`http.client` costs 63 ms to import and `socket` 18 ms, more than a whole `aob run status` may take, so http:// is
spoken here on `_socket`, the C module below `socket`. https:// needs certificates and goes through `cli.tls`.
Knows nothing of JSON, tokens or problems. Raises OSError, and NotConnected when nothing has been sent.
"""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Headers: TypeAlias = dict[str, str]
    Body: TypeAlias = "bytes | Upload | None"
    Exchange: TypeAlias = tuple[int, Headers, Iterator[bytes]]

CONNECT_SECONDS = 10.0
PIECE = 65_536
MAX_HEAD = 65_536


class NotConnected(OSError):
    """The server could not be connected to: the request was not sent."""


class Upload:
    """An open file as the body of a request. It is sent in pieces, never held in memory."""

    def __init__(self, file: int, size: int) -> None:
        self.file = file
        self.size = size

    def pieces(self) -> Iterator[bytes]:
        """The bytes from the start. Raises OSError when the file is no longer as long as it was."""
        os.lseek(self.file, 0, os.SEEK_SET)
        left = self.size
        while left:
            piece = os.read(self.file, min(left, PIECE))
            if not piece:
                raise OSError("the file became shorter while it was sent")
            left -= len(piece)
            yield piece


class Transport:
    """What plain HTTP and TLS have in common; they differ in `exchange`."""

    def __init__(self, host: str, port: int, prefix: str = "") -> None:
        self.host = host
        self.port = port
        self.prefix = prefix

    def exchange(self, method: str, path: str, body: Body, headers: Headers, seconds: float) -> Exchange:
        """Status, headers (names in lower case) and the body in pieces, unread. `seconds` bounds every wait."""
        raise NotImplementedError

    def request(self, method: str, path: str, body: Body, headers: Headers, seconds: float) -> tuple[int, Headers, bytes]:
        """Status, headers and the whole body."""
        status, received, pieces = self.exchange(method, path, body, headers, seconds)
        return status, received, b"".join(pieces)

    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """The lines of a streamed body, each as soon as it is complete."""
    rest = b""
    for piece in pieces:
        *complete, rest = (rest + piece).split(b"\n")
        for line in complete:
            yield line.rstrip(b"\r").decode("utf-8", "replace")


class Plain(Transport):
    """http://"""

    def exchange(self, method: str, path: str, body: Body, headers: Headers, seconds: float) -> Exchange:
        wire = _connect(self.host, self.port)
        try:
            wire.settimeout(seconds)
            head = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: {self.authority()}", "Connection: close"]
            head += [f"{name}: {value}" for name, value in headers.items()]
            if body is not None or method in ("POST", "PUT"):
                head.append(f"Content-Length: {size_of(body)}")
            broken = _send(wire, "\r\n".join([*head, "", ""]).encode("latin-1"), body)
            reader = _Reader(wire)
            try:
                status, received = _head(reader)
            except OSError as error:
                raise broken or error from None
            return status, received, _body(reader, method, status, received)
        except BaseException:
            wire.close()
            raise


def size_of(body: Body) -> int:
    """The length of a body in bytes."""
    return 0 if body is None else len(body) if isinstance(body, bytes) else body.size


def _connect(host: str, port: int) -> _socket.socket:
    """A connection to the first address that answers."""
    try:
        # As bytes, since a text would load the IDNA codec; names beyond ASCII are rare enough to pay for it.
        name = host.encode() if host.isascii() else host
        found = _socket.getaddrinfo(name, port, 0, _socket.SOCK_STREAM)
    except OSError as error:
        raise NotConnected(*error.args) from None
    failure: OSError = OSError("it has no address")
    for family, kind, protocol, _, address in found:
        wire = _socket.socket(family, kind, protocol)
        try:
            wire.settimeout(CONNECT_SECONDS)
            wire.connect(address)
            wire.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            return wire
        except OSError as error:
            wire.close()
            failure = error
    raise NotConnected(*failure.args) from None


def _send(wire: _socket.socket, head: bytes, body: Body) -> OSError | None:
    """Sends a request. A server may refuse a large body before it has read it, so a broken connection is not
    raised but returned: the answer, if one came, says why."""
    try:
        if isinstance(body, Upload):
            wire.sendall(head)
            for piece in body.pieces():
                wire.sendall(piece)
        else:
            wire.sendall(head + (body or b""))
    except ConnectionError as error:
        return error
    return None


class _Reader:
    """Buffered reading from a socket."""

    def __init__(self, wire: _socket.socket) -> None:
        self.wire = wire
        self._rest = b""

    def some(self, most: int) -> bytes:
        """At least one byte, at most `most`; nothing at the end."""
        data = self._rest or self.wire.recv(PIECE)
        self._rest = data[most:]
        return data[:most]

    def line(self) -> bytes:
        """One line without its end. Raises ConnectionError when the connection ends before."""
        while (end := self._rest.find(b"\n")) < 0:
            if len(self._rest) > MAX_HEAD:
                raise OSError("it does not speak HTTP")
            piece = self.wire.recv(PIECE)
            if not piece:
                raise ConnectionError("it closed the connection before the answer was complete")
            self._rest += piece
        line, self._rest = self._rest[:end], self._rest[end + 1 :]
        return line.rstrip(b"\r")


def _head(reader: _Reader) -> tuple[int, Headers]:
    """Status and headers of the final answer; 1xx answers are passed over (RFC 9110, section 15.2)."""
    while True:
        words = reader.line().split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise OSError("it does not speak HTTP")
        headers: Headers = {}
        size = 0
        while line := reader.line():
            size += len(line)
            if size > MAX_HEAD:
                raise OSError("the head of its answer is too long")
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        if not 100 <= int(words[1]) < 200:
            return int(words[1]), headers


def _body(reader: _Reader, method: str, status: int, headers: Headers) -> Iterator[bytes]:
    """The body in pieces (RFC 9112, section 6). Raises ConnectionError when it is cut off."""
    try:
        if method == "HEAD" or status in (204, 304):
            return
        if headers.get("transfer-encoding", "").lower().endswith("chunked"):
            while size := _number(reader.line().split(b";")[0], 16):
                yield from _exactly(reader, size)
                reader.line()
            while reader.line():
                pass
        elif "content-length" in headers:
            yield from _exactly(reader, _number(headers["content-length"].encode("latin-1"), 10))
        else:
            while piece := reader.some(PIECE):
                yield piece
    finally:
        reader.wire.close()


def _number(text: bytes, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        number = -1
    if number < 0:
        raise OSError("it does not speak HTTP")
    return number


def _exactly(reader: _Reader, left: int) -> Iterator[bytes]:
    while left:
        piece = reader.some(left)
        if not piece:
            raise ConnectionError("it closed the connection before the answer was complete")
        left -= len(piece)
        yield piece
