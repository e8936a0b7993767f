"""Functions run in processes of their own: what they do there stays there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.unit.worker.test_http import BLOBS, context
from worker.executors import function
from worker.executors.base import TaskError

MODULE = """
import ctypes, os, signal, sys, time
from worker.functions.registry import NewBlob

def echo(**args): return args
def env(): return [dict(os.environ), open("/proc/self/environ").read().replace(chr(0), " ")]
def crash(): ctypes.string_at(0)
def leave(): os._exit(3)
def fail(): raise ValueError("no luck")
def busy(): raise TimeoutError("later")
def spin(mark):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pid = os.fork()
    open(mark, "a").write(f"{os.getpid()}\\n")
    while True: time.sleep(0.05)
def memory(): return len(bytearray(4 * 1024**3))
def talk():
    for _ in range(200): print("x" * 65536)
    return "done"
def make(n): return {"report": NewBlob("x" * n, "text/plain")}
def size(source): return source.size
def who(context): return context
def bad(): return {1, 2}
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with entry points, as an operator installs it."""
    (tmp_path / "testfunctions.py").write_text(MODULE)
    info = tmp_path / "testfunctions-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: testfunctions\nVersion: 2.1\n")
    names = ["echo", "env", "crash", "leave", "fail", "busy", "spin", "memory", "talk", "make", "size", "who", "bad"]
    points = "".join(f"test.{name} = testfunctions:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[aob.functions]\ntest.broken = nowhere:x\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from worker.functions import registry

    registry.functions.cache_clear()
    assert "testfunctions" not in sys.modules


def call(name: str, timeout: float = 20, **args: Any) -> Any:
    async def run() -> Any:
        try:
            async with asyncio.timeout(timeout):
                return await function.execute({"name": name, "args": args}, context())
        finally:
            function._pool().close()
            await asyncio.sleep(0.05)

    return asyncio.run(run())


def refused(name: str, **args: Any) -> TaskError:
    with pytest.raises(TaskError) as failure:
        call(name, **args)
    return failure.value


def test_values_go_in_and_out(functions: None) -> None:
    assert call("test.echo", a=[1, {"b": None}], text="ä") == {"a": [1, {"b": None}], "text": "ä"}
    assert call("test.who")["idempotency_key"] == "r:n"


def test_no_credentials_reach_the_process(functions: None) -> None:
    text = str(call("test.env"))
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "AOB_SECRET_KEY"):
        assert name in os.environ and os.environ[name] not in text


def test_blobs_go_in_and_out(functions: None) -> None:
    made = call("test.make", n=10)["report"]
    assert made["bytes"] == 10
    assert call("test.size", source=made) == 10


@pytest.mark.parametrize(
    ("name", "code", "transient"),
    [
        ("test.crash", "function_crashed", True),
        ("test.leave", "function_crashed", True),
        ("test.fail", "function_failed", False),
        ("test.busy", "function_failed", True),
        ("test.memory", "function_memory", False),
        ("test.bad", "function_failed", False),
        ("test.gone", "function_unknown", False),
        ("test.broken", "function_failed", False),
    ],
)
def test_failures_are_told_apart(functions: None, name: str, code: str, transient: bool) -> None:
    error = refused(name)
    assert (error.code, error.transient) == (code, transient)


def test_what_hangs_is_killed_with_all_it_started(functions: None, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    with pytest.raises(TimeoutError):
        call("test.spin", timeout=3, mark=str(mark))
    pids = [int(line) for line in mark.read_text().split()]
    assert len(pids) == 2

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in pids)

    assert eventually(gone)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_talkative_function_is_not_stalled_by_its_pipe(functions: None) -> None:
    assert call("test.talk") == "done"


def test_built_in_functions() -> None:
    text = "1.2.3.4 200 12\nbroken\n1.2.3.5 500 30\n"
    BLOBS.kept["sha256:log"] = text.encode()
    source = {"blob": "sha256:log", "bytes": len(text), "media_type": "text/plain"}
    pattern = r"^(?P<ip>\S+) (?P<status>\d+) (?P<bytes>\d+)$"
    rows = call("text.parse_lines", source=source, pattern=pattern, convert={"bytes": "int"})
    assert rows == {
        "rows": [{"ip": "1.2.3.4", "status": "200", "bytes": 12}, {"ip": "1.2.3.5", "status": "500", "bytes": 30}],
        "matched": 2,
        "skipped": 1,
    }
    summary = call("text.aggregate_lines", source=text, pattern=pattern, count_by=["status"], sum=["bytes"])
    assert summary == {"count": 2, "skipped": 1, "by": {"status": {"200": 1, "500": 1}}, "sum": {"bytes": 42.0}}
    assert call("csv.parse", source="a,b\n1,2\n") == [{"a": "1", "b": "2"}]
    assert call("json.parse_lines", source='{"a": 1}\n\n[2]\n') == [{"a": 1}, [2]]
