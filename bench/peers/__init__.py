"""The work units on other products: DBOS on Postgres, and a plain Celery chain on Redis, which is not durable.

Each peer is a program of its own, run as `python -m bench.peers.dbos_peer UNIT COUNT` from the repository's root, that
prints one line of JSON. This package imports only the standard library, as both virtualenvs import it.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "bench" / "requirements.txt"
INSTALL_SECONDS = 300

UNITS = ("W1", "W3", "W10", "H3", "FAN10", "FAN1000")


def interpreter(folder: Path = ROOT) -> Path:
    """The Python that runs the DBOS peer: of the virtualenv `folder`/.venv-bench, made when it is not there yet or
    was made from other requirements. Raises CalledProcessError with pip's words on stderr."""
    place = folder / ".venv-bench"
    python = place / "bin" / "python"
    stamp = place / f".made-{sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    if stamp.exists() and python.exists():
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(place)])
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(REQUIREMENTS)])
    stamp.touch()
    return python


def _run(command: list[str]) -> None:
    """What it prints goes to stderr: the peers' stdout is for their one line."""
    subprocess.run(command, stdout=sys.stderr, check=True, timeout=INSTALL_SECONDS)


def length(unit: str) -> int:
    """The number in a unit's name: steps in a row, or parallel ones."""
    return int(unit.lstrip("AFHNW"))
