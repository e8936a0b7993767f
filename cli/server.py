"""`aob up`, `doctor`, `backup` and `restore` need the installed packages: they go on in a normal Python."""

from __future__ import annotations

import os
import sys


def execute(arguments: list[str]) -> int:
    """Becomes `python -P -m embedded …` (no module from the current directory); returns only when that cannot start."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    own = os.path.join(root, ".venv", "bin", "python")
    python = own if os.access(own, os.X_OK) else sys.executable
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{before}" if before else root
    sys.stdout.flush()
    try:
        os.execv(python, [python, "-P", "-m", "embedded", *arguments])
    except OSError as error:
        print(f"aob: {python} cannot be started: {error.strerror}.", file=sys.stderr)
        return 1
