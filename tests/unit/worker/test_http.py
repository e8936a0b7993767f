"""The guarded client and the http node against real local servers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.support.servers import HttpServer
from worker.executors import http
from worker.executors.base import TaskContext, TaskError
from worker.http.client import Client
from worker.http.guard import AllowList, Guard, is_public


class Blobs:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.largest = 0

    async def put(self, chunks: AsyncIterator[bytes], *, media_type: str, max_bytes: int) -> dict[str, Any]:
        size = 0
        kept = b""
        async for chunk in chunks:
            self.largest = max(self.largest, len(chunk))
            size += len(chunk)
            if size > max_bytes:
                raise TaskError("blob_too_large", "too large", transient=False)
            kept += chunk[: 1000 - len(kept)]
        name = f"sha256:{len(self.kept):064d}"
        self.kept[name] = kept
        return {"blob": name, "bytes": size, "media_type": media_type}

    async def open(self, reference: Any) -> AsyncIterator[bytes]:
        yield self.kept[reference["blob"]]


BLOBS = Blobs()


def context(**more: Any) -> TaskContext:
    values = {
        "run_id": "r", "path": "n", "attempt": 1, "idempotency_key": "r:n", "blobs": BLOBS, "max_value_bytes": 100_000,
        "max_blob_bytes": 10**9, "log": lambda level, message: None, **more,
    }  # fmt: skip
    return TaskContext(**values)


def call(config: dict[str, Any], *, allow: str = "127.0.0.1", timeout: float = 10, **more: Any) -> Any:
    async def run() -> Any:
        client = Client(Guard(AllowList.parse(allow)))
        http._clients[asyncio.get_running_loop()] = client
        try:
            async with asyncio.timeout(timeout):
                return await http.execute({"method": "GET", **config}, context(**more))
        finally:
            await client.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1", "2606:4700::5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_inner_addresses_are_refused_in_every_form(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are_reachable(address: str) -> None:
    assert is_public(ip_address(address))


def test_a_name_that_resolves_to_an_inner_address_is_refused_and_resolved_only_once() -> None:
    asked = 0

    async def resolver(host: str, port: int) -> Any:
        nonlocal asked
        asked += 1
        return [ip_address("1.1.1.1"), ip_address("10.0.0.1")] if asked == 1 else [ip_address("1.1.1.1")]

    async def run() -> None:
        client = Client(Guard(AllowList(), resolver))
        async with client.stream(client.build("GET", "http://rebind.example/")):
            pass

    with pytest.raises(TaskError) as refused:
        asyncio.run(run())
    assert refused.value.code == "http_address_refused" and asked == 1


def test_the_allow_list_compares_exactly() -> None:
    allow = AllowList.parse("good.example, 10.0.0.0/8:8080, [::1]:80")
    assert allow.admits("GOOD.example.", ip_address("10.9.9.9"), 1)
    assert not allow.admits("notgood.example", ip_address("192.168.0.1"), 1)
    assert allow.admits("x", ip_address("10.9.9.9"), 8080) and not allow.admits("x", ip_address("10.9.9.9"), 80)
    assert allow.admits("x", ip_address("::1"), 80) and not allow.admits("x", ip_address("::1"), 81)


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/", "http://localhost:1/", "file:///etc/passwd", "gopher://x/", "http://u:p@1.1.1.1/"],
)
def test_redirects_to_inner_addresses_are_refused(target: str) -> None:
    with HttpServer() as server:
        server.script = [(302, {"location": target}, b"")]
        with pytest.raises(TaskError) as refused:
            call({"url": server.url}, allow=f"127.0.0.1:{server.url.rpartition(':')[2]}")
    assert refused.value.transient is False and len(server.requests) == 1


def test_credentials_stay_at_their_origin_and_redirects_end() -> None:
    with HttpServer() as first, HttpServer() as second:
        first.script = [(302, {"location": second.url + "/x"}, b"")]
        call({"url": first.url, "headers": {"Authorization": "Bearer s3cret", "X-Other": "1"}})
        assert "authorization" in first.requests[0]["headers"]
        assert "authorization" not in second.requests[0]["headers"] and second.requests[0]["headers"]["x-other"] == "1"
        first.script = [(302, {"location": "/again"}, b"")] * 10
        with pytest.raises(TaskError, match="redirects"):
            call({"url": first.url})


def test_methods_queries_and_bodies() -> None:
    with HttpServer() as server:
        call({"method": "POST", "url": server.url + "/a?z=1", "query": {"x": [1, "b"], "n": None}, "json": {"k": 1}})
        call({"method": "PUT", "url": server.url, "form": {"a": "1", "b": 2}})
        BLOBS.kept["sha256:file"] = b"content"
        reference = {"blob": "sha256:file", "bytes": 7, "media_type": "text/plain"}
        call({"method": "POST", "url": server.url, "form": {"f": reference, "t": "x"}})
        call({"method": "PATCH", "url": server.url, "body": "text", "headers": {"Idempotency-Key": "mine"}})
        first, second, third, fourth = server.requests
    assert first["path"] == "/a?z=1&x=1&x=b" and json.loads(first["body"]) == {"k": 1}
    assert first["headers"]["idempotency-key"] == "r:n"
    assert second["body"] == b"a=1&b=2"
    assert b"content" in third["body"] and third["headers"]["content-type"].startswith("multipart/form-data")
    assert fourth["body"] == b"text" and fourth["headers"]["idempotency-key"] == "mine"


def test_answers_are_json_text_or_blobs() -> None:
    with HttpServer() as server:
        server.script = [
            (200, {"content-type": "text/plain; charset=latin-1"}, "Grüße".encode("latin-1")),
            (200, {"content-type": "image/png"}, b"\x89PNG"),
            (200, {"content-type": "application/json"}, b'{"a": 1, "a": 2}'),
            (200, {"content-type": "text/plain"}, b"x" * 5_000_000),
            (204, {}, b""),
        ]
        assert call({"url": server.url})["body"] == "Grüße"
        assert call({"url": server.url})["body"]["media_type"] == "image/png"
        with pytest.raises(TaskError) as bad:
            call({"url": server.url})
        assert bad.value.code == "http_body_not_json" and not bad.value.transient
        assert call({"url": server.url})["body"]["bytes"] == 5_000_000
        assert call({"url": server.url, "response": "json"})["body"] is None


def test_statuses_and_retry_after() -> None:
    with HttpServer() as server:
        server.script = [(503, {"retry-after": "7"}, b"busy"), 404, (418, {}, b""), 429]
        with pytest.raises(TaskError) as busy:
            call({"url": server.url})
        assert busy.value.transient and busy.value.retry_after == 7 and busy.value.details["body"] == "busy"
        with pytest.raises(TaskError) as gone:
            call({"url": server.url})
        assert not gone.value.transient
        assert call({"url": server.url, "ok_status": ["400-499"]})["status"] == 418
        with pytest.raises(TaskError) as many:
            call({"url": server.url})
        assert many.value.transient
    assert http.retry_after("garbage") is None and http.retry_after("99999999") == 86_400
    assert http.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_dead_host_and_a_silent_one() -> None:
    with pytest.raises(TaskError) as dead:
        call({"url": "http://127.0.0.1:9/"})
    assert dead.value.code == "http_connection" and dead.value.transient
    with HttpServer(delay=5) as silent:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            call({"url": silent.url}, timeout=0.3)
        assert time.monotonic() - began < 2


def test_a_body_that_never_ends_meets_its_limit() -> None:
    async def run() -> None:
        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\r\n")
            try:
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
            except ConnectionError:
                return

        server = await asyncio.start_server(endless, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client(Guard(AllowList.parse("127.0.0.1")))
        http._clients[asyncio.get_running_loop()] = client
        with pytest.raises(TaskError) as large:
            config = {"method": "GET", "url": f"http://127.0.0.1:{port}/"}
            await http.execute(config, context(max_blob_bytes=20_000_000))
        assert large.value.code == "blob_too_large"
        await client.close()
        server.close()

    asyncio.run(run())
    assert BLOBS.largest < 1_000_000


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"headers": {"X": "a\r\nInjected: 1"}}, "http_header"),
        ({"headers": {"Host": "x"}}, "http_header"),
        ({"headers": {"Bad Name": "x"}}, "http_header"),
        ({"url": "nonsense"}, "http_url"),
        ({"url": "http://"}, "http_url"),
        ({"auth": {"type": "bearer", "token": "a\nb"}}, "http_auth"),
        ({"auth": {"type": "basic", "username": "a"}}, "http_auth"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_sent(config: dict[str, Any], code: str) -> None:
    with HttpServer() as server, pytest.raises(TaskError) as refused:
        call({"url": server.url, **config})
    assert refused.value.code == code and server.requests == []


def test_kinds_of_authentication() -> None:
    with HttpServer() as server:
        server.script = [
            200,
            200,
            200,
            (200, {"content-type": "application/json"}, b'{"access_token": "tok", "expires_in": 99}'),
            200,
        ]
        call({"url": server.url, "auth": {"type": "basic", "username": "a", "password": "b"}})
        call({"url": server.url, "auth": {"type": "header", "name": "X-Key", "value": "k"}})
        call({"url": server.url, "auth": {"type": "query", "name": "key", "value": "k"}})
        grant = {
            "type": "oauth2_client_credentials",
            "token_url": server.url + "/token",
            "client_id": "i",
            "client_secret": "s",
        }
        call({"url": server.url, "auth": grant})
        basic, header, query, token, granted = server.requests
    assert basic["headers"]["authorization"] == "Basic YTpi"
    assert header["headers"]["x-key"] == "k" and query["path"] == "/?key=k"
    assert b"client_credentials" in token["body"] and granted["headers"]["authorization"] == "Bearer tok"


def aws_signature(request: dict[str, Any], secret: str) -> str:
    """The signature that S3 would compute from what it received (AWS General Reference, Signature Version 4)."""
    headers = request["headers"]
    credential, signed, _ = (part.split("=", 1)[1] for part in headers["authorization"].split(" ", 1)[1].split(", "))
    path, _, query = request["path"].partition("?")
    pairs = sorted(part if "=" in part else f"{part}=" for part in query.split("&") if part)
    canonical = [request["method"], quote(unquote(path), safe="/"), "&".join(pairs)]
    canonical += [*(f"{name}:{headers[name].strip()}" for name in signed.split(";")), "", signed]
    canonical.append(hashlib.sha256(request["body"]).hexdigest())
    scope = credential.split("/", 1)[1]
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashed])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("path", ["/bucket/a.csv", "/bucket/a b(1)+ü.csv", "/b/x?list-type=2&prefix=a%20b%2Fc&acl"])
def test_a_blob_is_uploaded_with_a_signature_that_s3_would_compute(path: str) -> None:
    BLOBS.kept["sha256:signed"] = b"a,b\n1,2\n"
    auth = {"type": "aws", "access_key": "AK", "secret_key": "s3cr3t", "region": "eu-central-1", "session_token": "tok"}
    reference = {"blob": "sha256:signed", "bytes": 8, "media_type": "text/csv"}
    with HttpServer() as server:
        call({"method": "PUT", "url": server.url + path, "body": reference, "auth": auth})
        [request] = server.requests
    headers = request["headers"]
    assert request["body"] == b"a,b\n1,2\n" and headers["content-length"] == "8"
    assert headers["content-type"] == "text/csv" and headers["x-amz-security-token"] == "tok"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AK/") and "/s3/aws4_request" in str(headers)
    assert headers["authorization"].endswith("Signature=" + aws_signature(request, "s3cr3t"))
    assert "s3cr3t" not in str(headers)


def test_signed_requests_are_bounded_and_leave_their_credentials_at_their_origin(monkeypatch: Any) -> None:
    auth = {"type": "aws", "access_key": "AK", "secret_key": "s", "region": "r", "session_token": "tok"}
    with HttpServer() as server, HttpServer() as other:
        server.script = [(307, {"location": other.url}, b"")]
        call({"method": "PUT", "url": server.url, "body": "x", "auth": auth})
        assert not {"authorization", "x-amz-security-token"} & other.requests[0]["headers"].keys()
        monkeypatch.setattr(http, "MAX_SIGNED", 3)
        BLOBS.kept["sha256:signed"] = b"four"
        for config, code in (
            ({"body": {"blob": "sha256:signed"}, "auth": auth}, "http_body_too_large"),
            ({"auth": {**auth, "secret_key": ""}}, "http_auth"),
            ({"auth": {"type": "aws", "access_key": "AK"}}, "http_auth"),
            ({"auth": {**auth, "access_key": "a\r\nX: 1"}}, "http_auth"),
        ):
            with pytest.raises(TaskError) as refused:
                call({"method": "PUT", "url": server.url, **config})
            assert refused.value.code == code
        assert len(server.requests) == 1


def test_pages_are_followed_and_a_circle_ends() -> None:
    def page(body: Any, **headers: str) -> Any:
        return (200, {"content-type": "application/json", **headers}, json.dumps(body).encode())

    with HttpServer() as server:
        server.script = [page({"d": [1], "next": "b"}), page({"d": [2], "next": "b"})]
        answer = call({"url": server.url, "paginate": {"type": "cursor", "items": "/d", "cursor": "/next"}})
        assert answer["body"] == [1, 2] and answer["pages"] == 2
        server.script = [page([1, 2]), page([3]), page([])]
        assert call({"url": server.url, "paginate": {"type": "page"}})["body"] == [1, 2, 3]
        server.script = [page([1], link=f'<{server.url}/2>; rel="next"'), page([2])]
        assert call({"url": server.url, "paginate": {"type": "link"}})["body"] == [1, 2]
        server.script = [page([1, 2]), page([3])]
        assert call({"url": server.url, "paginate": {"type": "offset", "limit": 2}})["body"] == [1, 2, 3]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_an_attempt_sends_its_request_once_even_when_a_kept_connection_breaks(method: str) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        # The second request on this connection is read and never answered.
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(Guard(AllowList.parse("127.0.0.1")))
        http._clients[asyncio.get_running_loop()] = client
        config = {"method": method, "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"}
        assert (await http.execute(config, context()))["status"] == 200
        with pytest.raises(TaskError) as failure:
            await http.execute(config, context())
        assert failure.value.code == "http_connection" and failure.value.transient
        await client.close()
        server.close()

    asyncio.run(run())
    assert len(seen) == 2


def test_a_node_that_an_agent_brought_stays_within_its_hosts_on_every_hop() -> None:
    with HttpServer() as server, HttpServer() as other:
        mine, theirs = (one.url.removeprefix("http://") for one in (server, other))
        server.script = [(302, {"location": other.url}, b"")]
        with pytest.raises(TaskError) as caught:
            call({"method": "GET", "url": server.url}, hosts=[mine])
        assert caught.value.code == "capability_missing" and other.requests == []
        server.script = [(302, {"location": other.url}, b"")]
        assert call({"method": "GET", "url": server.url}, hosts=[mine, theirs])["status"] == 200
