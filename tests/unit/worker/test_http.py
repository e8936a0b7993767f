"""The guarded client and the http node against real local servers."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.support.servers import HttpServer
from worker.executors import http, http_auth
from worker.executors.base import TaskContext, TaskError
from worker.http import posting
from worker.http.client import Client
from worker.http.guard import AllowList, Guard, is_public
from workflows.core.errors import AobError


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
        "2001:db8::1", "2606:4700::5efe:10.0.0.1", "64:ff9b:1:a9fe:a9:fe00:808:808", "64:ff9b:1:7f00:0:100:808:808",
        "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:0:a9fe:a9fe:808:808", "64:ff9b:1:808:a9:fea9:fe00:808",
        "64:ff9b:1:808:a9fe:a9:fe08:0", "64:ff9b:1:808:8:a9fe:a9fe:0", "64:ff9b:1::808:808", "64:ff9b:1:808:8:800::",
        "2606:4700::200:5efe:7f00:1", "2606:4700::100:5efe:7f00:1", "2606:4700::300:5efe:7f00:1", "::ffff:0:7f00:1",
        "::a9fe:a9fe", "2001:0:7f00:1::", "192.0.0.192", "3fff::1", "::ffff:192.0.0.192", "5f00::1",
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


SECRETS: list[dict[str, Any]] = [
    {"auth": {"type": "bearer", "token": "s3cret"}},
    {"auth": {"type": "basic", "username": "s3cret", "password": "s3cret"}},
    {"auth": {"type": "header", "name": "X-Api-Key", "value": "s3cret"}},
    {"auth": {"type": "query", "name": "key", "value": "s3cret"}},
    {"headers": {"Authorization": "Bearer s3cret"}},
    {"headers": {"PRIVATE-TOKEN": "s3cret"}},
    {"headers": {"Cookie": "s3cret"}},
]
ENCODED = ("s3cret", "czNjcmV0OnMzY3JldA==")


@pytest.mark.parametrize("config", SECRETS, ids=str)
def test_credentials_stay_at_their_origin(config: dict[str, Any]) -> None:
    with HttpServer() as first, HttpServer() as second:
        first.script = [(302, {"location": "/here"}, b""), (302, {"location": second.url + "/x"}, b"")]
        call({"url": first.url, **config})
        assert any(text in str(first.requests[0]) for text in ENCODED)
        assert len(first.requests) == 2 and len(second.requests) == 1
        assert not any(text in str(second.requests) for text in ENCODED)


def test_another_origin_gets_the_harmless_headers_alone() -> None:
    mine = {"Accept": "a/b", "Accept-Language": "de", "User-Agent": "me", "X-Other": "1", "Content-Type": "text/plain"}
    with HttpServer() as first, HttpServer() as second:
        first.script = [(307, {"location": second.url}, b""), (303, {"location": second.url}, b"")]
        for _ in range(2):
            call({"method": "POST", "url": first.url, "headers": mine, "body": "text"})
        with_body, without = (request["headers"] for request in second.requests)
    assert second.requests[0]["body"] == b"text" and with_body["content-type"] == "text/plain"
    for found in (with_body, without):
        assert (found["accept"], found["accept-language"], found["user-agent"]) == ("a/b", "de", "me")
        assert "x-other" not in found
    assert "content-type" not in without and with_body["idempotency-key"] == "r:n"


@pytest.mark.parametrize("target", ["http://other.example/2", "http://127.0.0.1:1/2", "https://127.0.0.1/2"])
@pytest.mark.parametrize("config", [*SECRETS, {}], ids=str)
def test_pages_of_another_origin_are_not_fetched(target: str, config: dict[str, Any]) -> None:
    with HttpServer() as server:
        server.script = [(200, {"content-type": "application/json", "link": f'<{target}>; rel="next"'}, b"[1]")]
        with pytest.raises(TaskError) as refused:
            call({"url": server.url, "paginate": {"type": "link"}, **config}, allow="127.0.0.1,other.example")
    assert refused.value.code == "http_page_origin" and not refused.value.transient
    assert server.url in refused.value.message and target.removesuffix("/2") in refused.value.message


def test_redirects_end() -> None:
    with HttpServer() as first:
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


LINE_BREAKS = ("text/plain\r\nX-Injected: 1", "text/plain\r\n\r\nFAKE", "text/plain; a=b\r\nX: 1", "text/plain\0")


@pytest.mark.parametrize("place", ["form", "body"])
@pytest.mark.parametrize("media_type", [*LINE_BREAKS, "text", 7, "text/plaïn", "text/plaſn"])
def test_the_media_type_of_a_blob_reference_sets_no_header_but_its_own(place: str, media_type: Any) -> None:
    BLOBS.kept["sha256:file"] = b"content"
    reference = {"blob": "sha256:file", "bytes": 7, "media_type": media_type}
    with HttpServer() as server, pytest.raises(TaskError) as refused:
        call({"method": "POST", "url": server.url, place: {"f": reference} if place == "form" else reference})
    assert refused.value.code == "http_file" and server.requests == []
    assert refused.value.pointer == ("/form/f/media_type" if place == "form" else "/body/media_type")


@pytest.mark.parametrize("name", ['a"\r\nX: y', "a\nb", "", 7, "../x", "n" * 300])
def test_the_name_of_a_blob_reference_is_one_of_a_file(name: Any) -> None:
    reference = {"blob": "sha256:file", "bytes": 7, "name": name}
    with HttpServer() as server, pytest.raises(TaskError) as refused:
        call({"method": "POST", "url": server.url, "form": {"f": reference}})
    assert (refused.value.code, refused.value.pointer) == ("http_file", "/form/f/name") and server.requests == []


def test_a_blob_in_a_form_says_its_name_and_type_and_the_charset_of_its_text() -> None:
    BLOBS.kept["sha256:file"] = b"content"
    reference = {"blob": "sha256:file", "bytes": 7, "media_type": "text/csv; charset=utf-8", "name": "März 1.csv"}
    with HttpServer() as server:
        call({"method": "POST", "url": server.url, "form": {"f": reference}})
        call({"method": "POST", "url": server.url, "form": {"f": {"blob": "sha256:file"}}})
        form, bare = server.requests
    assert b"Content-Type: text/csv; charset=utf-8\r\n" in form["body"] and "März 1.csv".encode() in form["body"]
    assert b'filename="f"' in bare["body"]


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


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)


def test_compressed_answers_are_read_as_what_they_stand_for() -> None:
    raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bare = raw.compress(b"hello") + raw.flush()
    with HttpServer() as server:
        for coding, data in (
            ("gzip", gzipped(b"hello")), ("x-gzip", gzipped(b"hello")), ("identity, GZip", gzipped(b"hello")),
            ("deflate", zlib.compress(b"hello")), ("deflate", bare), ("identity", b"hello"), ("utf-8", b"hello"),
        ):  # fmt: skip
            server.script = [(200, {"content-type": "text/plain", "content-encoding": coding}, data)]
            assert call({"url": server.url})["body"] == "hello", coding
        server.script = [(200, {"content-type": "text/plain", "content-encoding": "gzip"}, gzipped(b"a" * 300_001))]
        assert call({"url": server.url})["body"]["bytes"] == 300_001


def test_a_compressed_answer_is_decoded_no_further_than_its_limit() -> None:
    bomb = gzipped(bytes(2**28))
    plain = {"content-type": "text/plain", "content-encoding": "gzip"}
    BLOBS.largest = 0
    with HttpServer() as server:
        server.script = [(200, plain, bomb), (500, plain, bomb), (200, plain, bomb), (200, plain, bomb)]
        tracemalloc.start()
        with pytest.raises(TaskError, match="too large"):
            call({"url": server.url}, max_blob_bytes=1_000_000)
        with pytest.raises(TaskError, match="500"):
            call({"url": server.url})
        grant = {"type": "oauth2_client_credentials", "token_url": server.url + "/bomb", "client_id": "i"}
        with pytest.raises(AobError):
            call({"url": server.url, "auth": {**grant, "client_secret": "s"}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(posting, "_client", lambda: Client(Guard(AllowList.parse("127.0.0.1"))))
            assert posting.post(server.url, b"{}", {})[0] == 200
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert BLOBS.largest < 200_000 and peak < 8_000_000


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip, deflate", "x-gzip, gzip, gzip", "zstd", "br"])
def test_one_coding_at_most_is_taken_off_a_body(coding: str) -> None:
    twice = {"content-type": "text/plain", "content-encoding": coding}
    with HttpServer() as server:
        server.script = [(200, twice, gzipped(gzipped(b"x"))), (503, twice, gzipped(gzipped(b"x")))]
        with pytest.raises(TaskError) as refused:
            call({"url": server.url})
        assert refused.value.code == "http_body_encoding" and coding in refused.value.message
        with pytest.raises(TaskError) as status:
            call({"url": server.url})
        assert status.value.code == "http_status" and status.value.transient


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


def test_a_token_is_given_again_only_to_who_has_all_the_credentials_that_it_was_given_for(monkeypatch: Any) -> None:
    answers = [(200, {"content-type": "application/json"}, b'{"access_token": "theirs", "expires_in": 99}'), 200, 200]
    with HttpServer() as server:
        grant = {"type": "oauth2_client_credentials", "token_url": server.url, "client_id": "i", "client_secret": "s"}
        server.script = list(answers)
        call({"url": server.url, "auth": grant})
        call({"url": server.url, "auth": {**grant, "scope": ""}})
        assert [request["method"] for request in server.requests] == ["POST", "GET", "GET"]
        for more in ({"client_secret": "wrong"}, {"client_id": "other"}, {"scope": "more"}):
            server.script = [401]
            with pytest.raises(TaskError, match="401"):
                call({"url": server.url, "auth": {**grant, **more}})
        monkeypatch.setattr(http_auth, "MAX_TOKENS", 2)
        for client in ("a", "b", "c"):
            server.script = list(answers)
            call({"url": server.url, "auth": {**grant, "client_id": client}})
    assert len(http_auth._tokens) == 2 and "wrong" not in str(http_auth._tokens)


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
