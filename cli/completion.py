"""Shell completion: the shell asks `aob __complete WORDS…` for what may follow."""

from __future__ import annotations

import argparse
from typing import Any

from cli.commands import parser
from cli.connection import Connection, Refused, Unreachable
from cli.exits import DONE

SCRIPTS = {
    "bash": (
        '_aob() { mapfile -t COMPREPLY < <(aob __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); }\n'
        "complete -o default -F _aob aob\n"
    ),
    "zsh": (
        '#compdef aob\n_aob() { compadd -- ${(f)"$(aob __complete -- ${words[2,CURRENT]} 2>/dev/null)"} }\n'
        "compdef _aob aob\n"
    ),
    "fish": "complete -c aob -a '(aob __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'\n",
}


def script(connection: Connection, options: Any) -> int:
    print(SCRIPTS[options.shell], end="")
    return DONE


def complete(connection: Connection, options: Any) -> int:
    """Prints what may stand in place of the last word."""
    words = options.words or [""]
    current = parser(None)
    for word in words[:-1]:
        choices = _choices(current)
        if word in choices:
            current = choices[word]
    begun = words[-1]
    known = list(_choices(current)) or [*_options(current), *_names(connection, current)]
    for name in known:
        if name.startswith(begun):
            print(name)
    return DONE


def _choices(current: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in current._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(current: argparse.ArgumentParser) -> list[str]:
    return [name for action in current._actions for name in action.option_strings if name.startswith("--")]


def _names(connection: Connection, current: argparse.ArgumentParser) -> list[str]:
    """Run ids or workflow names from the server, where the command takes them."""
    wanted = {action.metavar for action in current._actions if not action.option_strings}
    try:
        if "RUN" in wanted:
            return [run["id"] for run in connection.get("/api/v1/runs?limit=20")["items"]]
        if wanted & {"NAME", "NAME[@TAG]", "FILE|NAME[@TAG]"}:
            return [one["name"] for one in connection.get("/api/v1/workflows?limit=200")["items"]]
    except (Refused, Unreachable):
        pass
    return []
