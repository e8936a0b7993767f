"""Where the server is found, how HTTP is spoken, and what is said when nobody answers."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.cli.stub import ID, Answer, Stub, aob, of_json, problem, run


def client_file(folder: Path, url: str, token: str = "aob_file", mode: int = 0o600) -> Path:
    folder.mkdir(parents=True)
    file = folder / "client.json"
    file.write_text(json.dumps({"url": url, "token": token}))
    file.chmod(mode)
    return file


def token_of(stub: Stub) -> str | None:
    return stub.requests[-1].headers.get("authorization")


def test_nobody_there_is_three_with_the_address_and_the_way_to_start_it() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for arguments in (("run", "list"), ("run", "start", "x"), ("run", "status", "x"), ("logs", "stream", "x")):
        done = aob(*arguments, url=url)
        assert (done.code, done.out) == (3, ""), arguments
        assert f"cannot reach the server at {url}: Connection refused." in done.err
        assert "make up" in done.err and "aob up" in done.err
    done = aob("run", "list", "--json", url=url)
    assert (done.code, done.json()["code"], done.err) == (3, "unreachable", "")


def test_the_default_port_is_that_of_the_environment(tmp_path: Path) -> None:
    assert "http://127.0.0.1:9:" in aob("run", "list", cwd=tmp_path, AOB_PORT="9").err


def test_an_address_that_is_none_is_a_mistake_of_usage() -> None:
    for url in ("localhost:8800", "ftp://x", "http://", "http://x:99999", "http://a b", "http://u@x", "http://x\r\ny"):
        done = aob("run", "list", "--url", url, "--token", "t")
        assert done.code == 2 and "is no address of a server" in done.err, url


def test_a_token_that_cannot_be_a_header_is_refused(stub: Stub) -> None:
    done = aob("run", "list", "--url", stub.url, "--token", "a\r\nX-Evil: 1")
    assert done.code == 2 and stub.requests == []


def test_client_json_is_found_above_the_current_directory(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", of_json({"items": [], "next": None}))
    client_file(tmp_path / ".aob", stub.url)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    done = aob("run", "list", cwd=below)
    assert (done.code, done.err, token_of(stub)) == (0, "", "Bearer aob_file")


def test_the_home_of_the_environment_comes_before_the_directory(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", of_json({"items": [], "next": None}))
    client_file(tmp_path / ".aob", "http://127.0.0.1:9")
    client_file(tmp_path / "home", stub.url, "aob_home")
    assert aob("run", "list", cwd=tmp_path, AOB_HOME=str(tmp_path / "home")).code == 0
    assert token_of(stub) == "Bearer aob_home"
    assert aob("run", "list", cwd=tmp_path, AOB_HOME=str(tmp_path / "home"), AOB_TOKEN=" aob_env\n").code == 0
    assert token_of(stub) == "Bearer aob_env"


def test_the_token_of_a_file_goes_to_no_other_server(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", problem(401, "unauthenticated", "Sign in."))
    client_file(tmp_path / ".aob", "https://aob.example")
    done = aob("run", "list", "--url", stub.url, cwd=tmp_path)
    assert done.code == 1 and token_of(stub) is None
    assert f"belongs to https://aob.example; set AOB_TOKEN for {stub.url}" in done.err


def test_the_names_of_loopback_are_one_server(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", of_json({"items": [], "next": None}))
    client_file(tmp_path / ".aob", stub.url)
    assert aob("run", "list", "--url", stub.url.replace("127.0.0.1", "localhost") + "/", cwd=tmp_path).code == 0
    assert token_of(stub) == "Bearer aob_file"


def test_a_file_that_others_can_read_is_warned_of(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", of_json({"items": [], "next": None}))
    file = client_file(tmp_path / ".aob", stub.url, mode=0o644)
    done = aob("run", "list", cwd=tmp_path)
    assert done.code == 0 and f"chmod 600 {file}" in done.err


def test_a_file_that_is_broken_or_of_another_user_is_not_used(stub: Stub, tmp_path: Path) -> None:
    stub.on("GET /runs", of_json({"items": [], "next": None}))
    client_file(tmp_path / "above" / ".aob", stub.url)
    broken = client_file(tmp_path / "above" / "below" / ".aob", stub.url)
    broken.write_text("{")
    done = aob("run", "list", cwd=broken.parent.parent)
    assert done.code == 0 and f"{broken} cannot be read: it is not JSON" in done.err
    if os.geteuid() == 0:
        client_file(tmp_path / "other" / ".aob", stub.url)
        os.chown(tmp_path / "other" / ".aob" / "client.json", 12345, 12345)
        done = aob("run", "list", cwd=tmp_path / "other", AOB_PORT="9")
        assert done.code == 3 and "belongs to another user" in done.err


def test_bodies_come_with_length_in_chunks_or_until_the_end(stub: Stub) -> None:
    data = json.dumps(run(output="ä" * 100_000)).encode()
    pieces = [data[:1], data[1:5000], data[5000:]]
    for framing in ("length", "chunked", "close"):
        stub.on(f"GET /runs/{ID}", Answer(200, pieces, {}, framing))
        assert aob("run", "status", ID, "--json", url=stub.url).json() == json.loads(data), framing


def test_an_answer_that_is_cut_off_is_no_answer(stub: Stub) -> None:
    hold = threading.Event()
    hold.set()
    for framing in ("cut", "chunked"):
        stub.on(f"GET /runs/{ID}", Answer(200, [json.dumps(run()).encode()], {}, framing, hold=hold))
        done = aob("run", "status", ID, url=stub.url)
        assert done.code == 3 and "before the answer was complete" in done.err, framing


def test_what_is_no_aob_is_said_to_be_none(stub: Stub) -> None:
    stub.on("GET /runs/a", Answer(200, [b"<html>"]))
    stub.on("GET /runs/b", Answer(502, [b"<html>"]))
    stub.on("GET /runs/c", Answer(301, [], {"location": "https://aob.example/"}))
    assert "is it the address of AOB?" in aob("run", "status", "a", url=stub.url).err
    assert f"The server at {stub.url} answered 502" in aob("run", "status", "b", url=stub.url).err
    done = aob("run", "status", "c", url=stub.url)
    assert done.code == 1 and "It points to https://aob.example/" in done.err


def test_a_port_that_does_not_speak_http_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            wire, _ = server.accept()
            with wire:
                wire.sendall(b"SSH-2.0-x\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        done = aob("run", "status", "x", url=f"http://127.0.0.1:{server.getsockname()[1]}")
    assert done.code == 3 and "it does not speak HTTP" in done.err


def test_a_refusal_in_the_middle_of_an_upload_is_read(tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    body = json.dumps({"code": "blob_too_large", "detail": "The blob is too large."}).encode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            """Closes with most of the body unread, so that the client's next piece meets a reset."""
            wire, _ = server.accept()
            with wire:
                wire.recv(1000)
                wire.sendall(b"HTTP/1.1 413 Too large\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        threading.Thread(target=refuse, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = aob("blob", "put", "large.bin", url=url, cwd=tmp_path)
    assert (done.code, done.err) == (1, "aob: The blob is too large.\n")


def test_names_in_paths_are_quoted(stub: Stub) -> None:
    aob("run", "status", "../x?y#z é", url=stub.url)
    assert stub.requests[0].path == "/api/v1/runs/..%2Fx%3Fy%23z%20%C3%A9"


def test_a_path_before_the_api_and_ipv6_are_understood(tmp_path: Path) -> None:
    with Stub() as stub:
        stub.on("GET /prefix/api/v1/runs/x", of_json(run()))
        assert aob("run", "status", "x", url=f"{stub.url}/prefix/").code == 0
        assert stub.requests[0].path == "/prefix/api/v1/runs/x"
    assert "http://[::1]:9: Connection refused" in aob("run", "list", url="http://[::1]:9").err


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


def test_https_is_spoken_to_servers_whose_certificate_is_trusted(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    (tmp_path / "a.txt").write_text("abc")
    with Stub() as stub:
        stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True)
        url = stub.url.replace("http:", "https:")
        stub.on(f"GET /runs/{ID}", of_json(run())).on("POST /blobs", of_json({"blob": "sha256:ab"}, 201))
        trusted = {"url": url, "SSL_CERT_FILE": str(file), "cwd": tmp_path}
        assert aob("run", "status", ID, "--json", **trusted).json() == run()  # type: ignore[arg-type]
        assert aob("blob", "put", "a.txt", **trusted).out == "sha256:ab\n"  # type: ignore[arg-type]
        assert stub.asked("POST /blobs")[0].body == b"abc"
        stub.on(f"GET /runs/{ID}", Answer(200, [b"{}"], {}, "cut"))
        assert "before the answer was complete" in aob("run", "status", ID, **trusted).err  # type: ignore[arg-type]
        count = len(stub.requests)
        done = aob("run", "status", ID, url=url)
        assert done.code == 3 and "certificate" in done.err.lower()
        assert len(stub.requests) == count
