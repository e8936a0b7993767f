"""The server commands of `aob`: `up` and `doctor`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from embedded import doctor
from embedded.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="aob")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the whole system in this terminal")
    up.add_argument("--host", default=os.environ.get("AOB_HOST", "127.0.0.1"), help="address to listen on")
    up.add_argument("--quiet", action="store_true", help="print nothing but problems")
    examine = commands.add_parser("doctor", help="examine every dependency and say how to mend what is wrong")
    examine.add_argument("--json", action="store_true", help="one JSON document")
    for command in (up, examine):
        command.add_argument("--home", default=os.environ.get("AOB_HOME", ".aob"), help="data directory (AOB_HOME)")
        command.add_argument("--port", type=int, default=int(os.environ.get("AOB_PORT", "8800")), help="AOB_PORT")
    arguments = parser.parse_args()
    home = Path(arguments.home).resolve()
    if arguments.command == "doctor":
        return doctor.run(home, arguments.port, as_json=arguments.json)

    def tell(line: str) -> None:
        if not arguments.quiet or line.startswith(("✗", "!", " ")):
            print(line, flush=True)

    return Supervisor(home, arguments.port, host=arguments.host, tell=tell).run()


if __name__ == "__main__":
    sys.exit(main())
