"""The `aob` client. Standard library only, and little of it before it is needed: it must start at once."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Runs one command; gives the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    first = arguments[0] if arguments else "--help"
    if first in ("--version", "-V") or arguments == ["version"]:
        from cli.texts import VERSION

        print(VERSION)
        return 0
    if first in ("--help", "-h", "help"):
        from cli.texts import HELP

        print(HELP, end="")
        return 0
    try:
        return _client(arguments)
    except KeyboardInterrupt:  # while modules are imported; later `cli.exits.guarded` says more
        return 130


def _client(arguments: list[str]) -> int:
    if arguments[:2] == ["run", "status"]:
        from cli.status import quick

        code = quick(arguments[2:])
        if code is not None:
            return code
    from cli.commands import run

    return run(arguments)
