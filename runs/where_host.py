"""A child process that judges runs by one expression after the other: it holds no credentials and is thrown away.

An evaluation cannot be interrupted and some leak memory, so neither may happen where pages are served. Speaks JSON
lines over the socket on its standard input: `{"where", "runs"}` is answered by `{"verdicts", "why"}` or `{"problem"}`.
"""

from __future__ import annotations

import resource
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec

from workflows.core.errors import AobError
from workflows.core.expressions import Expression, compile_expression

NAMES = frozenset({"inputs", "output", "error", "status", "duration", "workflow"})
"""What an expression may speak about; `duration` is in seconds."""

MEMORY = 1024**3
IDLE_SECONDS = 60
QUESTION_SECONDS = 60
"""Whoever asks waits less and ends it; this is for a question whose asker is gone."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=0)
    connection.settimeout(IDLE_SECONDS)
    judge = Judge()
    with connection.makefile("rb") as requests:
        try:
            for line in requests:
                # Nothing catches this signal, so it ends the process also in the middle of the engine.
                signal.alarm(QUESTION_SECONDS)
                connection.sendall(msgspec.json.encode(judge.answer(msgspec.json.decode(line))) + b"\n")
                signal.alarm(0)
        except OSError:
            return


def _kilobytes() -> int:
    """What this process holds now. (`ru_maxrss` would begin with what the process that started it held.)"""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


class Judge:
    """Keeps the last expression compiled: a search asks for the same one batch after batch."""

    def __init__(self) -> None:
        self._source = ""
        self._expression: Expression | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            expression = self._compiled(request["where"])
        except AobError as error:
            return {"problem": {"code": error.code, "message": error.message, "hint": error.hint}}
        answer = self._judge(expression, request["runs"])
        return {**answer, "roots": sorted(expression.roots), "memory": _kilobytes()}

    def _compiled(self, source: str) -> Expression:
        if self._expression is None or source != self._source:
            self._expression = compile_expression(source, pointer="/where", allowed=NAMES)
            self._source = source
        return self._expression

    def _judge(self, expression: Expression, runs: list[dict[str, Any]]) -> dict[str, Any]:
        """True, false, or null for a run that lacks what the expression asks for."""
        verdicts: list[bool | None] = []
        why = None
        for run in runs:
            try:
                value = expression.evaluate(run)
            except AobError as error:
                why = why or error.message
                verdicts.append(None)
                continue
            except MemoryError:
                return {"problem": {"code": "where_memory", "message": "The expression needs too much memory."}}
            if not isinstance(value, bool):
                shown = msgspec.json.encode(value)[:80].decode(errors="replace")
                return {
                    "problem": {
                        "code": "where_not_boolean",
                        "message": f"The expression gives {shown}, not true or false.",
                        "hint": "Compare it with something: inputs.total > 100",
                    }
                }
            verdicts.append(value)
        return {"verdicts": verdicts, "why": why}


if __name__ == "__main__":
    main()
