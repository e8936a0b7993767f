"""Judging runs by a CEL expression, in child processes that are given a time and ended when they exceed it.

The expression is anybody's: it never runs in the process that serves pages (`runs.where_host` says why).
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from runs.errors import RunError

AT_ONCE = 2
"""So many searches by expression a process makes at a time; it has the cores of people who only look at a page."""

MAX_KILOBYTES = 400 * 1024
"""A child that has grown beyond this is replaced: the engine leaks with some functions."""

PATIENCE = 10.0
START_SECONDS = 10.0
"""What a child's start may take on a busy machine, beside the time of the question."""

_WORDS = (
    (re.compile("Applying SELECT to non-message type"), "it asks for a field of a value that has none"),
    (
        re.compile(r"<input>:\d+:(\d+): Syntax error: mismatched input '<EOF>' expecting .*", re.DOTALL),
        "it ends too early",
    ),
    (re.compile(r"<input>:\d+:(\d+): Syntax error: (.*?)(?: expecting \{.*)?$", re.DOTALL), r"\2 at character \1"),
)
_ROOT = Path(__file__).resolve().parents[1]
_slots = threading.BoundedSemaphore(AT_ONCE)
_idle: list[_Child] = []


class _Child:
    """A process and the socket to it."""

    def __init__(self) -> None:
        own, theirs = socket.socketpair()
        environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runs.where_host"], stdin=theirs.fileno(), cwd=_ROOT, env=environment
            )
        self._socket = own
        self._rest = b""
        self.fresh = True
        self.kilobytes = 0

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Raises OSError when no answer came in time or the child is gone."""
        until = time.monotonic() + seconds + (START_SECONDS if self.fresh else 0)
        self._socket.settimeout(max(0.05, until - time.monotonic()))
        self._socket.sendall(msgspec.json.encode(request) + b"\n")
        while b"\n" not in self._rest:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            part = self._socket.recv(256 * 1024)
            if not part:
                raise ConnectionResetError("the child has ended")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = msgspec.json.decode(line)
        self.fresh = False
        self.kilobytes = answer.get("memory", 0)
        return answer

    def end(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait()


class Judge:
    """One expression. Raises RunError with pointer `/where` for everything that is wrong with it."""

    def __init__(self, child: _Child, where: str) -> None:
        self._child = child
        self._where = where
        self.why: str | None = None
        """Why a run could not be judged: the first reason met."""

    def roots(self) -> frozenset[str]:
        """The names that the expression uses."""
        return frozenset(self._ask([], PATIENCE)["roots"])

    def verdicts(self, runs: Sequence[dict[str, Any]], seconds: float) -> list[bool | None]:
        """For each run: it fits, it does not, or it lacks what the expression asks for."""
        answer = self._ask(runs, seconds)
        self.why = self.why or _readable(answer["why"])
        verdicts: list[bool | None] = answer["verdicts"]
        return verdicts

    def _ask(self, runs: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
        request = {"where": self._where, "runs": runs}
        try:
            answer = self._child.ask(request, seconds)
        except TimeoutError:
            raise RunError(
                "where_too_slow", "The expression takes too long.", "/where", "Ask for less, or narrow the time."
            ) from None
        if "problem" in answer:
            problem = answer["problem"]
            raise RunError(problem["code"], _readable(problem["message"]) or "", "/where", problem.get("hint"))
        return answer


def _readable(why: str | None) -> str | None:
    """The engine's words for people who are no grammarians."""
    for pattern, words in _WORDS:
        why = why and pattern.sub(words, why)
    return why


@contextmanager
def judging(where: str) -> Iterator[Judge]:
    """A judge for one search. Raises RunError `where_busy` when too many search at a time."""
    if not _slots.acquire(timeout=PATIENCE):
        raise RunError("where_busy", "Too many searches by expression are going on.", "/where", "Try again soon.")
    child = None
    try:
        child = _ready()
        yield Judge(child, where)
        if child.kilobytes < MAX_KILOBYTES:
            _idle.append(child)
            child = None
    except RunError as error:
        # Said by a child that is well; one that was too slow is not.
        if child is not None and error.code not in ("where_too_slow", "where_memory"):
            _idle.append(child)
            child = None
        raise
    except OSError:
        raise RunError("where_failed", "The expression could not be evaluated.", "/where", "Ask for less.") from None
    finally:
        if child is not None:
            child.end()
        _slots.release()


def _ready() -> _Child:
    """A child that is there: one that waited may have ended by itself."""
    while _idle:
        child = _idle.pop()
        try:
            child.ask({"where": "true", "runs": []}, PATIENCE)
        except OSError:
            child.end()
        else:
            return child
    return _Child()
