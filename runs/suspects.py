"""Runs that end the processes that advance them (hazard F22): what a process is at stands where its death leaves it.

A page of a file in AOB_HOME/run holds the run being advanced, under a lock that the kernel frees with the process. Who
starts later finds the page and counts a death against that run. A run that is advanced again loses its deaths.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

MAX_DEATHS = 3
"""So many processes one after another may end while they advance a run, before it fails."""

MAX_KNOWN = 1_000
_PAGE = 64
_NOBODY = bytes(_PAGE)


class Suspects:
    """What one process is at, and what others were at when they ended."""

    def __init__(self, home: Path) -> None:
        self._pages = home / "run" / "advancing"
        self._deaths = home / "run" / "deaths"
        for folder in (self._pages, self._deaths):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for page in self._pages.iterdir():
            self._take_over(page)
        self._known = {file.name for file in self._deaths.iterdir()}
        self._file = _locked(self._pages / str(os.getpid()))
        assert self._file is not None, "nobody else has our number"
        try:
            # A page without room on the disk would end us at the first write.
            os.posix_fallocate(self._file.fileno(), 0, _PAGE)
            self._page = mmap.mmap(self._file.fileno(), _PAGE)
        except OSError:
            self._page = mmap.mmap(-1, _PAGE)
        self._page[:] = _NOBODY

    @contextmanager
    def advancing(self, run_id: str) -> Iterator[None]:
        """While this lasts, the end of the process is told of this run. What it raises is no such end."""
        self._page[:] = run_id.encode().ljust(_PAGE, b"\0")
        try:
            yield
        finally:
            self._page[:] = _NOBODY
        if run_id in self._known:
            self.forget(run_id)

    def forget(self, run_id: str) -> None:
        self._known.discard(run_id)
        (self._deaths / run_id).unlink(missing_ok=True)

    def guilty(self) -> list[str]:
        """The runs that shall not be advanced any more."""
        return sorted(run_id for run_id in self._known if self._count(run_id) >= MAX_DEATHS)

    def close(self) -> None:
        """At an orderly end there is nothing to tell."""
        assert self._file is not None
        self._page.close()
        (self._pages / str(os.getpid())).unlink(missing_ok=True)
        self._file.close()

    def _count(self, run_id: str) -> int:
        try:
            return (self._deaths / run_id).stat().st_size
        except FileNotFoundError:
            return 0  # another coordinator went on with it

    def _take_over(self, page: Path) -> None:
        file = _locked(page)
        if file is None:
            return  # its process lives
        with file:
            run_id = file.read(_PAGE).rstrip(b"\0").decode("ascii", "replace")
            if run_id and "/" not in run_id and len(list(self._deaths.iterdir())) < MAX_KNOWN:
                with (self._deaths / run_id).open("ab") as deaths:
                    deaths.write(b"x")
            page.unlink(missing_ok=True)


def _locked(path: Path) -> IO[bytes] | None:
    """The file with its lock held; None when another process holds it."""
    file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
