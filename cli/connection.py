"""The connection to the server: where it is, and plain HTTP/1.1 on a socket.

`http.client` costs 60 ms to import, more than a whole `aob run status` may take, so http:// URLs are spoken
to directly; https:// uses `http.client`.
"""

from __future__ import annotations

import json
import os
import socket

TYPE_CHECKING = False  # typing costs 7 ms to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

TIMEOUT = 60.0
DEFAULT_URL = "http://127.0.0.1:8800"
ATTEMPTS = 5

Headers = dict[str, str]


class Unreachable(Exception):
    """The server does not answer."""


class Refused(Exception):
    """The server answered with a problem (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail", f"HTTP {status}"))
        self.status = status
        self.problem = problem

    def lines(self) -> Iterator[str]:
        """The problem for people."""
        yield f"aob: {self.problem.get('detail', f'the server answered {self.status}')}"
        for error in self.problem.get("errors", ()):
            place = f"{error['pointer'] or '/'}: " if "pointer" in error else ""
            hint = f" ({error['hint']})" if error.get("hint") else ""
            yield f"  {place}{error.get('message', '')}{hint}"
        if self.problem.get("hint"):
            yield f"  {self.problem['hint']}"


class Response:
    """Status, headers (lower case) and the body as a stream."""

    def __init__(self, status: int, headers: Headers, body: Iterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def read(self) -> bytes:
        return b"".join(self.body)


class Connection:
    """Sends requests with the token of its owner."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self.token = token

    @classmethod
    def find(cls, url: str | None = None, token: str | None = None) -> Connection:
        """From the options, AOB_URL and AOB_TOKEN, or client.json in AOB_HOME or the nearest .aob."""
        url = url or os.environ.get("AOB_URL")
        token = token or os.environ.get("AOB_TOKEN")
        if url is None or token is None:
            known = _client_file()
            url = url or known.get("url")
            token = token or known.get("token")
        return cls(url or DEFAULT_URL, token)

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def call(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Any:
        """Sends JSON and gives JSON. Raises Refused and Unreachable."""
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return self.send(method, path, data, {"Content-Type": "application/json", **(headers or {})})

    def send(self, method: str, path: str, data: bytes | None, headers: Headers) -> Any:
        response = self.open(method, path, data, headers)
        return json.loads(response.read() or b"null")

    def retrying(self, method: str, path: str, data: bytes, headers: Headers) -> Any:
        """Like `send`, again after a lost connection or a 503: for requests with an Idempotency-Key."""
        import random
        import time

        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self.send(method, path, data, headers)
            except Unreachable:
                if attempt == ATTEMPTS:
                    raise
            except Refused as error:
                if error.status not in (429, 503) or attempt == ATTEMPTS:
                    raise
            time.sleep(random.random() * min(0.2 * 2**attempt, 5))
        raise Unreachable(self.url)

    def open(
        self, method: str, path: str, data: bytes | IO[bytes] | None = None, headers: Headers | None = None
    ) -> Response:
        """The answer, its body unread. Raises Refused for every status from 400 on."""
        sent = {"Accept": "application/json", "User-Agent": "aob-cli", **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        try:
            if self.url.startswith("https://"):
                response = _over_tls(self.url, method, path, data, sent)
            else:
                response = _plain(self.url, method, path, data, sent)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unreachable(f"cannot reach the server at {self.url}: {reason}.") from None
        if response.status >= 400:
            text = response.read()
            try:
                problem = json.loads(text)
            except ValueError:
                problem = {"detail": f"The server at {self.url} answered {response.status}."}
            raise Refused(response.status, problem if isinstance(problem, dict) else {"detail": str(problem)})
        return response


def _client_file() -> dict[str, Any]:
    """What `aob up` wrote for its owner, or nothing."""
    home = os.environ.get("AOB_HOME")
    candidates = [home] if home else _parents(".aob")
    for folder in candidates:
        try:
            with open(os.path.join(folder, "client.json"), encoding="utf-8") as file:
                known = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(known, dict):
            return known
    return {}


def _parents(name: str) -> Iterator[str]:
    folder = os.getcwd()
    while True:
        yield os.path.join(folder, name)
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _size(data: bytes | IO[bytes] | None) -> int:
    if data is None:
        return 0
    return len(data) if isinstance(data, bytes) else os.fstat(data.fileno()).st_size


def _plain(url: str, method: str, path: str, data: bytes | IO[bytes] | None, headers: Headers) -> Response:
    rest = url.partition("://")[2]
    authority, _, prefix = rest.partition("/")
    host, _, port = authority.rpartition(":") if authority.rpartition(":")[2].isdigit() else (authority, "", "80")
    # As bytes, since a text would load the IDNA codec; names beyond ASCII are rare enough to pay for it.
    name = host.strip("[]")
    address: Any = (name.encode() if name.isascii() else name, int(port))
    connection = socket.create_connection(address, timeout=TIMEOUT)
    lines = [f"{method} {'/' + prefix if prefix else ''}{path} HTTP/1.1", f"Host: {authority}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if data is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {_size(data)}")
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    try:
        if isinstance(data, bytes):
            connection.sendall(data)
        elif data is not None:
            connection.sendfile(data)
    except ConnectionError:
        pass  # The server may refuse a large body before it has read it; its answer says why.
    reader = connection.makefile("rb")
    status, received = _head(reader)
    return Response(status, received, _body(reader, received, connection))


def _head(reader: IO[bytes]) -> tuple[int, Headers]:
    first = reader.readline().split()
    if len(first) < 2 or not first[1].isdigit():
        raise OSError("it does not speak HTTP")
    headers: Headers = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return int(first[1]), headers


def _body(reader: IO[bytes], headers: Headers, connection: socket.socket) -> Iterator[bytes]:
    try:
        if headers.get("transfer-encoding") == "chunked":
            while size := int(reader.readline().split(b";")[0] or b"0", 16):
                yield reader.read(size)
                reader.readline()
        elif "content-length" in headers:
            left = int(headers["content-length"])
            while left and (part := reader.read(min(left, 65_536))):
                left -= len(part)
                yield part
        else:
            while part := reader.read(65_536):
                yield part
    finally:
        connection.close()


def _over_tls(url: str, method: str, path: str, data: bytes | IO[bytes] | None, headers: Headers) -> Response:
    import http.client

    authority, _, prefix = url.partition("://")[2].partition("/")
    connection = http.client.HTTPSConnection(authority, timeout=TIMEOUT)
    sent = headers if data is None else {**headers, "Content-Length": str(_size(data))}
    connection.request(method, f"{'/' + prefix if prefix else ''}{path}", body=data, headers=sent)
    answer = connection.getresponse()
    received = {name.lower(): value for name, value in answer.getheaders()}
    return Response(answer.status, received, iter(lambda: answer.read1(65_536), b""))


def sse(response: Response) -> Iterator[dict[str, str]]:
    """The events of a stream as {"id", "event", "data"} (WHATWG HTML, section 9.2)."""
    rest = b""
    event: dict[str, str] = {}
    for part in response.body:
        rest += part
        while (end := rest.find(b"\n")) >= 0:
            line, rest = rest[:end].rstrip(b"\r"), rest[end + 1 :]
            if not line:
                if "data" in event:
                    yield event
                event = {}
            elif not line.startswith(b":"):
                name, _, value = line.partition(b":")
                text = value.removeprefix(b" ").decode("utf-8", "replace")
                key = name.decode("ascii", "replace")
                event[key] = f"{event[key]}\n{text}" if key == "data" and key in event else text


def quote(text: str) -> str:
    """Percent-encodes one part of a path or query (RFC 3986), without importing urllib."""
    keep = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in text.encode())


def query(**values: Any) -> str:
    """`?name=value&…` of what is not None."""
    parts = [f"{name}={quote(str(value))}" for name, value in values.items() if value not in (None, "")]
    return f"?{'&'.join(parts)}" if parts else ""
