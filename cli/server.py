"""`aob up` and `aob doctor` need the installed packages: they go on in a normal Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def execute(connection: Any, options: Any) -> int:
    root = Path(__file__).resolve().parent.parent
    python = root / ".venv" / "bin" / "python"
    command = [str(python) if python.exists() else sys.executable, "-m", "embedded", *sys.argv[1:]]
    os.environ["PYTHONPATH"] = str(root)
    os.execv(command[0], command)
