"""Starts as the front reads them: bounded before they are decoded, and large ones beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from aob_web.api import starts as reading
from aob_web.front.starts import LARGE_BODY, Starts
from workflows.core.errors import LimitExceeded

LINES = {"content-type": "application/x-ndjson"}
SOMEBODY: Any = SimpleNamespace(name="somebody", user=SimpleNamespace(pk=1))


@pytest.fixture(autouse=True)
def database() -> None:
    """Nothing here needs it."""


@pytest.mark.parametrize("line", [b"1\n", b"\n", b"\r", b'{"workflow": "w"}\r\n'])
def test_lines_beyond_the_limit_are_refused_before_one_is_decoded(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    decoded: list[Any] = []
    monkeypatch.setattr(reading, "decode", decoded.append)
    with pytest.raises(LimitExceeded) as refused:
        reading.many(line * 5_000, LINES, SOMEBODY)
    assert refused.value.code == "limit_batch" and "AOB_MAX_BATCH" in (refused.value.hint or "")
    assert decoded == []


def test_a_batch_of_the_largest_size_with_blank_lines_is_taken() -> None:
    requests, answers = reading.many(b'{"workflow": "w"}\r\n\r\n' * 1_000, LINES, SOMEBODY)
    assert len(requests) == len(answers) == 1_000


@pytest.mark.parametrize(("size", "is_beside"), [(100, False), (LARGE_BODY + 1, True)])
def test_a_large_body_is_read_beside_the_event_loop(size: int, is_beside: bool) -> None:
    def read(body: bytes) -> threading.Thread:
        return threading.current_thread()

    async def which() -> tuple[threading.Thread, threading.Thread]:
        return await Starts()._read(read, bytes(size)), threading.current_thread()

    reader, loop = asyncio.run(which())
    assert (reader is not loop) is is_beside
