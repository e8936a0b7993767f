"""The server commands of `aob`: `up` and `doctor`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from embedded.console import Console


def main(argv: list[str] | None = None) -> int:
    """Runs one command; gives the exit code: 0 done, 1 refused or something fails, 2 usage."""
    arguments = _parser().parse_args(argv)
    home = Path(arguments.home).resolve()
    if arguments.command == "doctor":
        from embedded import doctor

        return doctor.run(home, arguments.port, as_json=arguments.json)
    from embedded.supervisor import Supervisor

    mode = "json" if arguments.json else "quiet" if arguments.quiet else "text"
    return Supervisor(home, arguments.port, host=arguments.host, console=Console(mode)).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="aob")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the whole system in this terminal")
    up.add_argument("--host", default=os.environ.get("AOB_HOST", "127.0.0.1"), help="address to listen on")
    modes = up.add_mutually_exclusive_group()
    modes.add_argument("--quiet", action="store_true", help="print problems and what is shown only once")
    modes.add_argument("--json", action="store_true", help="one JSON object per line")
    examine = commands.add_parser("doctor", help="examine every dependency and say how to mend what is wrong")
    examine.add_argument("--json", action="store_true", help="one JSON document")
    for command in (up, examine):
        command.add_argument("--home", default=os.environ.get("AOB_HOME", ".aob"), help="data directory (AOB_HOME)")
        command.add_argument(
            "--port", type=_port, default=os.environ.get("AOB_PORT", "8800"), help="port of the web (AOB_PORT)"
        )
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 1 to 65535 (AOB_PORT)")
    return number


if __name__ == "__main__":
    sys.exit(main())
