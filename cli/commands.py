"""Finds the command and reads its arguments; says what is wrong with them."""

from __future__ import annotations

import sys

from cli.exits import DONE, USAGE, UsageError, guarded
from cli.spec import COMMON, SERVER, Command, group, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any


def run(arguments: list[str]) -> int:
    """Executes a command; gives the exit code."""
    if arguments[0] == "__complete":
        from cli.completion import complete

        return complete(arguments[1:])
    arguments = _common_last(arguments)
    if arguments and arguments[0] in SERVER:
        from cli.server import execute

        return execute(arguments)
    try:
        command, rest = _find(arguments)
        if command is None:
            return DONE
        options = _parse(command, rest)
    except UsageError as error:
        print(f"aob: {error}", file=sys.stderr)
        return USAGE

    def command_itself() -> int:
        from cli.connection import Connection

        return handler(command.handler)(Connection.find(options.url, options.token), options)

    return guarded(command_itself, as_json=options.json)


def handler(name: str) -> Callable[[Any, Any], int]:
    """The function of a command; only its module is imported."""
    module, _, function = name.partition(":")
    found: Callable[[Any, Any], int] = getattr(__import__(f"cli.{module}", fromlist=[function]), function)
    return found


def _common_last(arguments: list[str]) -> list[str]:
    """`aob --json run list` means `aob run list --json`."""
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        place += 2 if arguments[place] in ("--url", "--token") else 1
    return [*arguments[place:], *arguments[:place]]


def _find(arguments: list[str]) -> tuple[Command | None, list[str]]:
    """The command and its arguments; no command when the help of a group has been printed."""
    if not arguments or arguments[0].startswith("-"):
        raise UsageError("which command? See `aob --help`.")
    first = arguments[0]
    found = group(first)
    if not found:
        raise UsageError(f"there is no command {first!r}.{_nearest(first, names(), 'aob ') or ' See `aob --help`.'}")
    if len(found[0].path) == 1:
        return found[0], arguments[1:]
    actions = {command.path[1]: command for command in found}
    second = arguments[1] if len(arguments) > 1 else ""
    if second in actions:
        return actions[second], arguments[2:]
    if second in ("--help", "-h", "help"):
        print(f"usage: aob {first} ACTION …\n\nactions:")
        for command in found:
            print(f"  {command.path[1]:<13} {command.help}")
        print(f"\n`aob {first} ACTION --help` says more.\n\nexample: {found[0].example}")
        return None, []
    hint = f"Its actions: {', '.join(actions)}."
    if not second or second.startswith("-"):
        raise UsageError(f"`aob {first}` needs an action. {hint}")
    raise UsageError(f"`aob {first}` has no action {second!r}.{_nearest(second, list(actions), f'aob {first} ')} {hint}")


def _nearest(word: str, known: list[str], before: str = "") -> str:
    import difflib

    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean `{before}{close[0]}`?" if close else ""


def parser(command: Command) -> argparse.ArgumentParser:
    """The parser of one command."""
    import argparse

    made = argparse.ArgumentParser(
        prog=f"aob {' '.join(command.path)}",
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        epilog=f"example: {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, keywords in (*command.arguments, *COMMON):
        made.add_argument(name, **keywords)
    return made


def _parse(command: Command, arguments: list[str]) -> Any:
    made = parser(command)
    options, unknown = made.parse_known_args(arguments)
    if unknown:
        known = [name for name, _ in (*command.arguments, *COMMON) if name.startswith("-")]
        hint = _nearest(unknown[0].partition("=")[0], known) if unknown[0].startswith("-") else ""
        raise UsageError(f"`{made.prog}` cannot use {unknown[0]!r}.{hint} See `{made.prog} --help`.")
    for name, keywords in command.arguments:
        if not name.startswith("-") and getattr(options, name) == "":
            raise UsageError(f"`{made.prog}`: {keywords.get('metavar', name)} is empty. See `{made.prog} --help`.")
    options.action = command.path[-1]
    return options
