"""F10, F11, F30: disks that are full and a blob storage that fails, is slow, or lies.

What needs the storage waits or is refused in so many words; everything else goes on; nobody helps it up again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from django.core.files.storage import storages

from runs import blobs, db, queries
from runs.bells import bells
from runs.coordinator import leave
from runs.core.events import Fact
from runs.verify import verify
from tests.chaos.adversary import SmallDisk
from tests.drills.conftest import Recovery
from tests.support.checker import History, violations
from tests.support.installation import Installation
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value

LARGE = "x" * 200_000


class Faulty:
    """The real storage, with a switch: `error` is raised by every use, `delay` slows every use."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.error: Exception | None = None
        self.delay = 0.0
        self.refused = 0

    def _use(self) -> Any:
        threading.Event().wait(self.delay)
        if self.error is not None:
            self.refused += 1
            raise self.error
        return self.real

    def exists(self, name: str) -> bool:
        return bool(self._use().exists(name))

    def open(self, name: str, mode: str = "rb") -> Any:
        return self._use().open(name, mode)

    def save(self, name: str, content: Any) -> str:
        return str(self._use().save(name, content))


@pytest.fixture
def storage(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    faulty = Faulty(storages["blobs"])
    monkeypatch.setitem(storages._storages, "blobs", faulty)
    yield faulty


class ServerError(Exception):
    """What the client of an object store raises; no OSError, as with botocore."""


ERRORS = [OSError(5, "Input/output error"), ServerError("500 Internal Server Error")]


def stored_file(name: str) -> Path:
    return Path(storages["blobs"].real.path(blobs.key_of(name)))


def waiting_for_go() -> dict[str, Any]:
    """Waits for a signal, then reads its large input again."""
    nodes = {"wait": {"type": "signal", "config": {"name": "go"}}, "after": value("{{ size(inputs.text) }}")}
    return graph(nodes, ("wait", "after"))


def statuses(runs: list[str]) -> dict[str, bool]:
    """Which of these runs have ended; by the rows alone, since their inputs may not be readable."""
    with db.statement() as cursor:
        rows = cursor.execute("SELECT id::text, ended_at IS NOT NULL FROM run WHERE id = ANY(%s::uuid[])", [runs])
        return dict(rows.fetchall())


def go(runs: list[str]) -> None:
    """The signal for all of them in one commit, so that they meet in one batch."""
    with db.transaction() as cursor:
        for run in runs:
            leave(cursor, run, Fact("SignalReceived", None, {"name": "go", "payload": 1, "by": "test"}))
    bells.ring(ready=True)


@pytest.mark.parametrize("error", ERRORS, ids=["file system", "object store"])
def test_a_storage_that_fails_holds_up_only_the_runs_that_read_it(
    storage: Faulty, recovery: Recovery, error: Exception
) -> None:
    document = waiting_for_go()
    text = f"{error}{time.time()}" + LARGE
    hungry = [start(document, {"text": f"{n}{text}"}) for n in range(3)]
    others = [start(document, {"text": "small"}) for _ in range(20)]
    with engine():
        storage.error = error
        go([*hungry, *others])
        assert [ended(run, seconds=10)["output"] for run in others] == [{"after": 5}] * 20
        eventually(lambda: storage.refused > 3, seconds=10)
        assert not any(statuses(hungry).values())
        storage.error = None
        began = time.monotonic()
        assert [ended(run, seconds=10)["output"] for run in hungry] == [{"after": len(text) + 1}] * 3
        recovery("F30", f"blob storage fails to read: {type(error).__name__}", time.monotonic() - began)
    assert all(verify(run)["ok"] for run in (*hungry, *others))


def test_a_result_that_the_storage_does_not_take_waits_and_its_neighbours_are_recorded(
    storage: Faulty, recovery: Recovery
) -> None:
    with HttpServer() as server, engine(slots=4) as runner:
        large = (200, {"content-type": "text/plain"}, f"{time.time()}{LARGE}".encode())
        storage.error = OSError(28, "No space left on device")
        server.script = [large, large]
        document = graph({"call": {"type": "http", "config": {"method": "POST", "url": server.url}}})
        stuck = [start(document) for _ in range(2)]
        eventually(lambda: storage.refused >= 2)
        others = [start(document) for _ in range(20)]
        assert {ended(run, seconds=10)["status"] for run in others} == {"completed"}
        assert not any(statuses(stuck).values())
        storage.error = None
        began = time.monotonic()
        assert {ended(run, seconds=10)["status"] for run in stuck} == {"completed"}
        recovery("F30", "blob storage takes no results", time.monotonic() - began)
        assert len(server.requests) == 22, "an effect happened twice although its result was there"
        eventually(lambda: not runner._running)
    assert all(verify(run)["ok"] for run in (*stuck, *others))


def test_an_attempt_that_cannot_read_its_input_is_tried_again(storage: Faulty, recovery: Recovery) -> None:
    with HttpServer() as server:
        node = {
            "type": "http",
            "config": {"method": "POST", "url": server.url, "json": "{{ inputs.text }}"},
            "retry": {"schedule": ["1s", "1s", "1s", "1s", "1s"]},
        }
        run = start(graph({"call": node}), {"text": f"{time.time()}{LARGE}"})
        storage.error = OSError(5, "Input/output error")
        with engine():
            eventually(lambda: storage.refused >= 1)
            storage.error = None
            began = time.monotonic()
            view = ended(run, seconds=10)
        recovery("F30", "input of an attempt cannot be read", time.monotonic() - began)
        assert view["status"] == "completed" and len(server.requests) == 1
    failed = [event["data"]["error"] for event in queries.events(run)["items"] if event["type"] == "TaskFailed"]
    assert {error["code"] for error in failed} == {"blob_storage_unavailable"} and failed[0]["transient"]


def test_a_slow_storage_makes_runs_slow_and_nothing_else(storage: Faulty) -> None:
    document = waiting_for_go()
    runs = [start(document, {"text": f"{number}{time.time()}{LARGE}"}) for number in range(4)]
    storage.delay = 0.5
    with engine(coordinators=2):
        go(runs)
        assert {ended(run, seconds=20)["status"] for run in runs} == {"completed"}
    assert all(verify(run)["ok"] for run in runs)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda file: file.unlink(), "blob_missing"),
        (lambda file: file.write_bytes(zstandard.compress(b"other bytes" * 90_000)), "blob_damaged"),
        (lambda file: file.write_bytes(b"no zstandard at all"), "blob_damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), "blob_damaged"),
    ],
    ids=["missing", "other bytes", "garbage", "cut off"],
)
def test_wrong_bytes_are_never_handed_on(storage: Faulty, damage: Callable[[Path], Any], code: str) -> None:
    reference = blobs.put([f"{time.time()}".encode() * 100_000], media_type="text/plain", max_bytes=10**8)
    damage(stored_file(reference["blob"]))
    with pytest.raises(blobs.BlobError) as refused:
        next(iter(blobs.read(reference["blob"])))
    assert refused.value.code == code
    with HttpServer() as server, engine():
        call = {"type": "http", "config": {"method": "POST", "url": server.url, "body": "{{ inputs.file }}"}}
        view = ended(start(graph({"call": {**call, "retry": {"policy": "none"}}}), {"file": reference}))
        assert server.requests == [] or not any(request["body"] for request in server.requests)
    assert view["status"] == "failed" and view["error"]["code"] == code

    text = f"{time.time()}{LARGE}"
    run, other = start(waiting_for_go(), {"text": text}), start(waiting_for_go(), {"text": "small"})
    with db.transaction() as cursor:
        [name] = cursor.execute("SELECT hash FROM blob_use WHERE run_id = %s", [run]).fetchone() or [""]
    damage(stored_file(name))
    with engine():
        go([run, other])
        assert ended(run)["error"]["code"] == "blob_missing" and ended(other)["output"] == {"after": 5}


class Small:
    """An installation on a small disk, with an even smaller one for its blobs."""

    def __init__(self, aob: Installation, disk: SmallDisk, blob_disk: SmallDisk) -> None:
        self.aob, self.disk, self.blob_disk = aob, disk, blob_disk
        self.history = History()
        self.keys = 0

    def start(self, text: str = "", key: str | None = None) -> tuple[int, Any]:
        """A run with an effect, in a start that is noted; without an answer its status is 0."""
        self.keys += 1
        key = key or f"key-{self.keys}"
        body = {"workflow": "small", "inputs": {"text": text}}
        try:
            status, answer = self.aob.request("POST", "/api/v1/runs", body, Idempotency_Key=key)
        except OSError:
            return 0, None
        if status == 201:
            wrong = self.history.learned(key, answer["id"])
            assert wrong is None, wrong
        return status, answer

    def accepts(self) -> float:
        """Seconds until a start is accepted and its run has ended."""
        began = time.monotonic()
        status, view = eventually(lambda: answer if (answer := self.start())[0] == 201 else None, seconds=40) or (0, {})
        assert self.aob.ended(view["id"], seconds=30)["status"] == "completed"
        return time.monotonic() - began

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(json.loads((self.aob.home / "run" / "runtime.json").read_text())["database_url"])

    def check(self) -> None:
        """All runs end, and nothing is half."""
        with self.connect() as connection:
            connection.autocommit = True
            eventually(
                lambda: not connection.execute("SELECT 1 FROM run WHERE ended_at IS NULL").fetchone(),
                seconds=60,
                every=0.1,
            )
            self.history.keys.clear()
            assert violations(connection, history=self.history) == []
            assert connection.execute("SELECT DISTINCT status FROM run").fetchall() == [("completed",)]
            names = connection.execute("SELECT hash FROM blob WHERE data IS NULL").fetchall()
        for [name] in names:
            status, _ = self.aob.request("GET", f"/api/v1/blobs/{name}")
            assert status == 200, name
        assert not list((self.aob.home / "blobs").rglob("*.part"))

    def log_lines(self) -> int:
        return sum(file.read_bytes().count(b"\n") for file in (self.aob.home / "log").glob("*.log*"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    place = Path(tmp_path_factory.mktemp("small"))
    disk = SmallDisk(place / "home", 320)
    blob_disk = SmallDisk(place / "home" / "blobs", 8)
    disk.mount()
    if not disk.mounted:
        pytest.skip("no file system of our own can be mounted here (that needs root)")
    try:
        blob_disk.mount()
        with Installation(place / "home", AOB_LEASE_SECONDS="5", AOB_LOG_LEVEL="WARNING") as aob:
            nodes = {"call": {"type": "function", "config": {"name": "text.lines", "args": {"source": "a"}}}}
            assert aob.request("POST", "/api/v1/workflows", {"document": {"name": "small", "nodes": nodes}})[0] == 201
            made = Small(aob, disk, blob_disk)
            made.accepts()
            yield made
    finally:
        blob_disk.unmount()
        disk.unmount()


def test_a_full_disk_for_blobs_refuses_what_needs_it_and_nothing_else(small: Small, recovery: Recovery) -> None:
    small.blob_disk.fill()
    lines = small.log_lines()
    large = os.urandom(300_000).hex()
    for _ in range(3):
        status, problem = small.start(large, key="large")
        assert (status, problem["code"]) == (503, "blob_storage_unavailable") and problem["retry_after"], problem
        assert small.start()[0] == 201
    status, problem = small.aob.request("POST", "/api/v1/blobs", data=os.urandom(300_000))
    assert (status, problem["code"]) == (503, "blob_storage_unavailable")
    items = [{"workflow": "small", "inputs": {"text": text}} for text in ("", large, "")]
    status, answer = small.aob.request("POST", "/api/v1/runs/batch", {"runs": items})
    assert [item["status"] for item in answer["items"]] == [201, 503, 201]
    small.history.accepted |= {item["run"]["id"] for item in answer["items"] if "run" in item}
    assert small.log_lines() - lines < 30
    small.blob_disk.empty()
    began = time.monotonic()
    status, view = small.start(large, key="large")
    assert status == 201 and small.aob.ended(view["id"])["inputs"]["text"] == large
    recovery("F11", "disk full for blobs", time.monotonic() - began)
    small.check()


def test_a_full_disk_for_everything_is_waited_out(small: Small, recovery: Recovery) -> None:
    """Postgres with its log, all logs and the signs of life; a process is killed meanwhile."""
    small.disk.fill()
    statuses_seen = [small.start("x" * 15_000)[0] for _ in range(150)]
    small.aob.kill("aob_web.processes coordinator")
    until = time.monotonic() + 6
    while time.monotonic() < until:
        statuses_seen.append(small.start("x" * 15_000)[0])
    lines = small.log_lines() + small.aob.text().count("\n")
    small.disk.empty()
    seconds = small.accepts()
    recovery("F10", "disk full for Postgres, logs and all else", seconds)
    assert set(statuses_seen) <= {0, 201, 503}, set(statuses_seen)
    assert statuses_seen.count(503) > 10 and lines < 1_000, lines
    small.check()


@contextlib.contextmanager
def failing_sync(small: Small) -> Iterator[None]:
    """The next write-ahead sync of every Postgres process fails with EIO."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    postmaster = (small.aob.home / "postgres" / "postmaster.pid").read_text().split()[0]
    backends = subprocess.run(["ps", "-o", "pid=", "--ppid", postmaster], capture_output=True, text=True).stdout.split()
    pids = [part for pid in (postmaster, *backends) for part in ("-p", pid)]
    tracer = subprocess.Popen(
        [strace, "-f", "-q", *pids, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"],
        stderr=subprocess.PIPE,
    )
    try:
        eventually(lambda: "TracerPid:\t0" not in Path(f"/proc/{postmaster}/status").read_text(), seconds=5)
        yield
    except AssertionError:
        pytest.skip("this machine lets nobody trace a process")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate()


def test_a_sync_that_fails_is_never_answered_as_accepted(small: Small, recovery: Recovery) -> None:
    def panics() -> int:
        return (small.aob.home / "log" / "postgres.log").read_text().count("PANIC")

    before = panics()
    with failing_sync(small):
        began = time.monotonic()
        status, problem = small.start()
        print("answer", time.monotonic() - began)
        eventually(lambda: panics() > before, seconds=5)
    print("detached", time.monotonic() - began)
    seconds = small.accepts()
    recovery("F10", "a sync of the write-ahead log fails", seconds)
    assert status == 503, problem
    small.check()
