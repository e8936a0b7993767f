"""What the supervisor says: lines for people, one JSON object per line for programs, or problems only."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

MARKS = {"progress": "•", "ready": "✓", "problem": "!", "refused": "✗"}


def _print(line: str) -> None:
    print(line, flush=True)


class Console:
    """`mode` is text, quiet or json; `write` gets every finished line."""

    def __init__(self, mode: str = "text", write: Callable[[str], None] = _print) -> None:
        self.mode = mode
        self._write = write

    def say(self, kind: str, text: str, **data: Any) -> None:
        """One thing that happened. `kind`: progress, ready, problem, refused or note; `data` is for programs.

        A terminal that is gone must not keep us from watching and, above all, from stopping what we started.
        """
        if self.mode == "quiet" and kind not in ("problem", "refused"):
            return
        if self.mode == "json":
            line = json.dumps({"kind": kind, "text": text, **data}, ensure_ascii=False)
        else:
            line = f"{MARKS[kind]} {text}" if kind in MARKS else text
        with contextlib.suppress(OSError, ValueError):
            self._write(line)

    def refuse(self, message: str, hint: str | None, code: str) -> None:
        """Why it does not start, and what to do about it."""
        if self.mode == "json":
            self.say("refused", message, hint=hint, code=code)
            return
        self.say("refused", message)
        if hint:
            with contextlib.suppress(OSError, ValueError):
                self._write(f"  {hint}")

    def welcome(self, *, url: str, seconds: float, account: dict[str, Any], client_file: str, models: str) -> None:
        """The system is ready: where it is, how to sign in, what to try. Secrets are shown whatever the mode,
        because they are shown only once. `models` is what to say about those of agents."""
        password, token = account.get("password"), account.get("token")
        if self.mode == "json":
            self.say("ready", f"AOB is ready: {url}", url=url, seconds=round(seconds, 1), **account)
            return
        lines = []
        if self.mode == "text":
            lines.append(f"\nAOB is ready after {seconds:.1f} s: {url}")
        if password:
            lines.append(f"  Sign in as {account.get('username')!r} with the password {password} (shown only now)")
        elif self.mode == "text":
            lines.append("  Sign in with your account; a forgotten password: python manage.py changepassword admin")
        if token:
            lines.append(f"  API token (shown only now; kept for you in {client_file}): {token}")
        if self.mode == "text":
            lines.append(
                f"  Try: {_client()} run start examples/access-log/workflow.json"
                " --inputs examples/access-log/inputs.json --follow"
            )
            if models:
                lines.append(models)
            lines.append("  Ctrl-C stops everything.\n")
        with contextlib.suppress(OSError, ValueError):
            for line in lines:
                self._write(line)


def _client() -> str:
    """The client as it can be called from here: by its path where it is not on PATH."""
    import shutil
    from pathlib import Path

    beside = Path(sys.executable).parent / "aob"
    if shutil.which("aob") or not beside.exists():
        return "aob"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)
