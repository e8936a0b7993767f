"""F10, F11, F30: disks that are full and a blob storage that fails, is slow, or lies.

What needs the storage waits or is refused in so many words; everything else goes on; nobody helps it up again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.core.files.storage import storages

from runs import blobs, db, queries
from runs.bells import bells
from runs.coordinator import leave
from runs.core.events import Fact
from runs.verify import verify
from tests.support.servers import HttpServer
from tests.support.system import ended, engine, start
from tests.support.waiting import eventually
from tests.unit.runs_core.test_engine import graph, value

Recovery = Callable[[str, str, float], None]
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
    return Path(storages["blobs"].real.path(blobs._key(name)))


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
