"""The sign that a process gives its supervisor."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from aob_web import lifesign
from aob_web.lifesign import LifeSign

MEBIBYTE = 2**20


class Clock:
    """A time that passes when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Memory:
    """What a process holds, as the test says."""

    size = 100 * MEBIBYTE

    def memory_info(self) -> Memory:
        return self

    @property
    def rss(self) -> int:
        return self.size


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    made = Memory()
    monkeypatch.setattr(lifesign.psutil, "Process", lambda: made)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lifesign, "time", made)
    return made


def sign(home: Path, *, limit: int = 200, supervised: bool = True) -> LifeSign:
    return LifeSign("front", home, max_bytes=limit * MEBIBYTE, supervised=supervised)


def grown(memory: Memory, clock: Clock, alive: LifeSign, *sizes: int) -> bool:
    """Whether the process asks for a successor when it holds these MiB one after another, after its youth."""
    alive()
    clock.now += lifesign.YOUNG_SECONDS
    for size in sizes:
        clock.now += lifesign.ALIVE_SECONDS + 1
        memory.size = size * MEBIBYTE
        alive()
    return alive.has_grown


def test_a_small_process_shows_its_number_and_asks_for_nothing(tmp_path: Path, clock: Clock, memory: Memory) -> None:
    assert not grown(memory, clock, sign(tmp_path), 100, 150, 199)
    assert (tmp_path / "run/front.alive").read_text() == str(os.getpid())
    assert not (tmp_path / "run/front.grown").exists()


def test_a_grown_process_asks_for_a_successor_and_goes_on_showing_progress(
    tmp_path: Path, clock: Clock, memory: Memory
) -> None:
    alive = sign(tmp_path)
    memory.size = 300 * MEBIBYTE
    alive()
    assert not alive.has_grown, "a young one is left in peace"
    assert grown(memory, clock, alive, 100, 201)
    assert (tmp_path / "run/front.grown").read_text() == str(os.getpid())
    os.utime(tmp_path / "run/front.alive", (0, 0))
    clock.now += lifesign.ALIVE_SECONDS + 1
    alive()
    assert (tmp_path / "run/front.alive").stat().st_mtime > 0


def test_a_process_that_needs_much_is_not_replaced_for_that_but_for_its_growth(
    tmp_path: Path, clock: Clock, memory: Memory
) -> None:
    alive = sign(tmp_path)
    assert not grown(memory, clock, alive, 400, 500, 599)
    assert grown(memory, clock, alive, 601)


def test_a_grown_process_without_a_supervisor_ends_by_itself_once(
    tmp_path: Path, clock: Clock, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
    grown(memory, clock, sign(tmp_path, supervised=False), 100, 300, 300, 300)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_no_limit_means_that_no_process_is_too_large(tmp_path: Path, clock: Clock, memory: Memory) -> None:
    assert not grown(memory, clock, sign(tmp_path, limit=0), 100, 10_000)
