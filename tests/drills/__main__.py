"""`python -m tests.drills`: every single drill, and a table of how long the recovery from each fault took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.installation import ROOT


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "recoveries.jsonl"
        command = [sys.executable, "-m", "pytest", "-n0", "tests/drills"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "AOB_DRILLS_REPORT": str(report)})
        rows = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    print("\n| fault | what | back after, s |\n| --- | --- | --- |")
    for row in sorted(rows, key=lambda row: (int(row["fault"][1:]), row["what"])):
        print(f"| {row['fault']} | {row['what']} | {row['seconds']:.1f} |")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
