"""The server commands of `aob`: `up`, `doctor`, `backup` and `restore`."""

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
    if arguments.command == "backup":
        from embedded import backup_commands

        directory = Path(arguments.to).resolve() if arguments.to else home / "backups"
        return backup_commands.backup(
            home, directory, keep=arguments.keep, every=arguments.every, verify=arguments.verify, as_json=arguments.json
        )
    if arguments.command == "restore":
        from embedded import backup_commands

        return backup_commands.restore(
            Path(arguments.backup).resolve(), home, verify=arguments.verify, as_json=arguments.json
        )
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
    keep = commands.add_parser(
        "backup",
        help="back up database and blobs while the system runs",
        epilog="example: aob backup --to /var/backups/aob --every 6h --keep 28",
    )
    keep.add_argument("--to", metavar="DIR", help="where backups are kept (AOB_HOME/backups)")
    keep.add_argument("--keep", type=_positive, metavar="N", help="remove all but the newest N backups there")
    keep.add_argument("--every", type=_duration, metavar="DURATION", help="go on, with a backup every 6h, 1d, …")
    keep.add_argument("--verify", action="store_true", help="restore it into a temporary directory (TMPDIR) and check it")
    keep.add_argument("--json", action="store_true", help="one JSON object per backup")
    restore = commands.add_parser(
        "restore",
        help="restore a backup into an empty data directory",
        epilog="example: aob restore .aob/backups/20300101T000000.000Z --home restored",
    )
    restore.add_argument("backup", metavar="BACKUP", help="a directory that `aob backup` made")
    restore.add_argument(
        "--verify", action="store_true", help="only check it: restore into a temporary directory (TMPDIR), remove that"
    )
    restore.add_argument("--json", action="store_true", help="one JSON document")
    for command in (up, examine, keep, restore):
        command.add_argument("--home", default=os.environ.get("AOB_HOME", ".aob"), help="data directory (AOB_HOME)")
    for command in (up, examine):
        command.add_argument(
            "--port", type=_port, default=os.environ.get("AOB_PORT", "8800"), help="port of the web (AOB_PORT)"
        )
    return parser


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 1 to 65535 (AOB_PORT)")
    return number


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _duration(text: str) -> float:
    from workflows.core.durations import parse_duration
    from workflows.core.errors import AobError

    try:
        seconds = parse_duration(text)
    except AobError as error:
        raise argparse.ArgumentTypeError(f"{error.message} {error.hint}") from None
    if not seconds:
        raise argparse.ArgumentTypeError("a backup every 0 seconds would never end")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
