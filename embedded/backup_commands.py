"""What `aob backup` and `aob restore` do and say around `embedded.backup` and `embedded.restore`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from embedded import home as homes
from embedded.backup import rotate, take
from embedded.console import Console
from embedded.home import EmbeddedError
from embedded.manifest import EXTERNAL, Manifest
from embedded.restore import rehearse
from embedded.restore import restore as fill
from workflows.core.durations import format_duration

DONE, FAILED, INTERRUPTED = 0, 1, 130


def backup(home: Path, directory: Path, *, keep: int | None, every: float | None, verify: bool, as_json: bool) -> int:
    """Takes one backup or, with `every` (seconds from start to start), one after the other until a signal comes."""
    say = _Say(as_json)
    if every is None:
        return _guarded(say, directory, lambda: _take(home, directory, keep, verify, say))
    while True:
        began = time.monotonic()
        # A database that is away, or a full disk, is told; the next backup may succeed.
        code = _guarded(say, directory, lambda: _take(home, directory, keep, verify, say))
        if code == INTERRUPTED:
            return code
        say.progress(f"The next backup begins {format_duration(every)} after this one did; Ctrl-C ends.")
        try:
            time.sleep(max(0.0, every - (time.monotonic() - began)))
        except KeyboardInterrupt:
            return DONE


def restore(source: Path, home: Path, *, verify: bool, as_json: bool) -> int:
    """Restores into `home`, or with `verify` only into a temporary directory."""
    say = _Say(as_json)

    def action() -> None:
        if verify:
            found = rehearse(source, say.progress)
            text = f"The backup can be restored: {_counts(found.manifest)}"
        else:
            if os.environ.get("DATABASE_URL"):
                raise EmbeddedError(
                    "external_database",
                    "DATABASE_URL is set, and aob restore makes a database in the data directory only.",
                    hint="Unset it to restore there; for a database of your own see docs/operations.md.",
                )
            found = fill(source, home, say.progress)
            text = f"Restored {_counts(found.manifest)} into {home}; `aob up --home {home}` starts it"
        say.done(
            text,
            _notes(found.manifest),
            path=str(source),
            home=None if verify else str(home),
            leases_cleared=found.leases_cleared,
            **msgspec.to_builtins(found.manifest),
        )

    return _guarded(say, home, action)


def _take(home: Path, directory: Path, keep: int | None, verify: bool, say: _Say) -> None:
    began = time.monotonic()
    made = take(
        home,
        directory,
        os.environ,
        check=(lambda part: rehearse(part, say.progress)) if verify else None,
        tell=say.progress,
    )
    removed = rotate(made, keep) if keep else []
    notes = _notes(made.manifest)
    if removed:
        notes.append(f"Removed {len(removed)} older: {', '.join(path.name for path in removed)}")
    say.done(
        f"Backed up {_counts(made.manifest)} to {made.path} in {time.monotonic() - began:.1f} s"
        + (", restored it for a check" if verify else ""),
        notes,
        path=str(made.path),
        verified=verify,
        removed=[str(path) for path in removed],
        **msgspec.to_builtins(made.manifest),
    )


def _counts(found: Manifest) -> str:
    return f"{found.runs} runs, {found.events} events, {found.blobs} blob files ({found.blob_bytes / 2**20:.1f} MB)"


def _notes(found: Manifest) -> list[str]:
    notes = []
    if found.blob_storage == EXTERNAL:
        notes.append("Blobs above 64 KiB are in the storage of AOB_STORAGE_URL, not in the backup; keep its versions")
    if "secret.key" not in found.files:
        notes.append("There is no secret.key in it; keep the AOB_SECRET_KEY of your environment, which signs sessions")
    return notes


class _Say:
    """Progress and results on standard output; in JSON only results. Refusals for people go to standard error."""

    def __init__(self, as_json: bool) -> None:
        self._console = Console("json" if as_json else "text")
        self._refusals = self._console if as_json else Console("text", lambda line: print(line, file=sys.stderr))
        self._as_json = as_json

    def progress(self, line: str) -> None:
        if not self._as_json:
            self._console.say("progress", line)

    def done(self, text: str, notes: list[str], **data: Any) -> None:
        if self._as_json:
            self._console.say("ready", text, notes=notes, **data)
            return
        self._console.say("ready", text)
        for note in notes:
            self._console.say("note", f"  {note}")

    def refuse(self, error: EmbeddedError) -> None:
        self._refusals.refuse(error.message, error.hint, error.code)


def _guarded(say: _Say, place: Path, action: Callable[[], None]) -> int:
    """The exit code; SIGTERM ends like Ctrl-C, so that what was begun is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        action()
    except EmbeddedError as error:
        say.refuse(error)
        return FAILED
    except OSError as error:
        if error.errno in homes.NO_SPACE:
            say.refuse(homes.disk_full(place))
        else:
            say.refuse(EmbeddedError("file_failed", f"{error.strerror}: {error.filename or place}"))
        return FAILED
    except KeyboardInterrupt:
        say.refuse(EmbeddedError("interrupted", "Interrupted; what was begun is removed."))
        return INTERRUPTED
    return DONE
