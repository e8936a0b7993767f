"""The `aob` client. Standard library only, and little of it before it is needed: it must start at once."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Runs one command; gives the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["--version"], ["version"]):
        from cli.texts import VERSION

        print(VERSION)
        return 0
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        from cli.texts import HELP

        print(HELP, end="")
        return 0
    if arguments[:2] == ["run", "status"]:
        from cli.status import quick

        code = quick(arguments[2:])
        if code is not None:
            return code
    from cli.commands import run

    return run(arguments)
