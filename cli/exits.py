"""Exit codes, the three ways in which a command ends badly, and the one place where they become messages."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` costs 7 ms to import, half a bare interpreter; type checkers know this name.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TextIO

DONE, REFUSED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130
MAX_SHOWN = 50


class UsageError(Exception):
    """Something that the user wrote cannot be used."""


class Unreachable(Exception):
    """No answer came. `connected` is true when the request may have arrived at the server."""

    def __init__(self, message: str, *, connected: bool = False) -> None:
        super().__init__(message)
        self.connected = connected

    @property
    def hint(self) -> str:
        if self.connected:
            return "`aob doctor` says whether it runs. What was asked for may have been done."
        return "Is it running? Start it with `make up` or `aob up`."

    def problem(self) -> dict[str, Any]:
        return {"type": "urn:aob:problem:unreachable", "code": "unreachable", "detail": str(self), "hint": self.hint}


class Refused(Exception):
    """The server answered with a problem (RFC 9457), or would for certain. `retry_after` is in seconds."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None = None) -> None:
        super().__init__(str(problem.get("detail", f"HTTP {status}")))
        self.status = status
        self.problem = problem
        self.retry_after = retry_after

    def lines(self) -> Iterator[str]:
        """The problem for people: the message, then `pointer: message (hint)` for each error."""
        yield f"aob: {self}"
        errors = self.problem.get("errors") or []
        hints = set()
        for error in errors[:MAX_SHOWN]:
            hint = error.get("hint")
            hints.add(hint)
            place = error.get("pointer") or "(document)"
            yield f"  {place}: {error.get('message', '')}{f' ({hint})' if hint else ''}"
        if len(errors) > MAX_SHOWN:
            yield f"  … {len(errors) - MAX_SHOWN} more; --json shows all"
        if self.problem.get("hint") and self.problem["hint"] not in hints:
            yield f"  {self.problem['hint']}"


def refused(code: str, detail: str, hint: str | None = None, status: int = 400) -> Refused:
    """A refusal that needs no server: what it says is what the server would say."""
    problem = {"type": f"urn:aob:problem:{code}", "status": status, "detail": detail, "code": code}
    return Refused(status, problem | ({"hint": hint} if hint else {}))


def guarded(command: Callable[[], int], *, as_json: bool) -> int:
    """The exit code of a command; whatever it raises on purpose is told to its user."""
    try:
        _prepare(sys.stdout, as_json)
        code = _told(command, as_json)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (`head`) has what it wanted. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _prepare(stdout: TextIO, as_json: bool) -> None:
    """JSON is UTF-8 (RFC 8259, section 8.1), and `\\udXXX`, which this writes for lone surrogates, is valid in it.

    Elsewhere what the terminal cannot show is written with a backslash.
    """
    if as_json:
        stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[attr-defined]
    else:
        stdout.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]


def _told(command: Callable[[], int], as_json: bool) -> int:
    try:
        return command()
    except UsageError as error:
        problem = {"type": "urn:aob:problem:usage", "code": "usage", "detail": str(error)}
        return _tell(as_json, problem, [f"aob: {error}"], USAGE)
    except Refused as error:
        return _tell(as_json, error.problem, list(error.lines()), REFUSED)
    except Unreachable as error:
        return _tell(as_json, error.problem(), [f"aob: {error}", f"  {error.hint}"], UNREACHABLE)
    except KeyboardInterrupt:
        print("\naob: interrupted.", file=sys.stderr)
        return INTERRUPTED


def _tell(as_json: bool, problem: dict[str, Any], lines: list[str], code: int) -> int:
    from cli.printing import clean, document

    if as_json:
        document(problem)
        return code
    sys.stdout.flush()
    for line in lines:
        print("\n".join(clean(part) for part in line.split("\n")), file=sys.stderr)
    return code
