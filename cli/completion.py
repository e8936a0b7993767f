"""Shell completion: the shell asks `aob __complete -- WORDS…` for what may stand in place of the last word."""

from __future__ import annotations

from cli.connection import Connection
from cli.exits import DONE, Refused, Unreachable, UsageError
from cli.spec import COMMON, SERVER, STATUSES, Command, group, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SECONDS = 2.0
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:")

SCRIPTS = {
    "bash": """\
_aob() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _aob aob
""",
    "zsh": """\
#compdef aob
_aob() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
compdef _aob aob
""",
    "fish": """\
function __aob_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l current (commandline -ct)
    $program __complete -- $words "$current" 2>/dev/null
end
complete -c aob -a '(__aob_complete)'
""",
}


def script(connection: Connection, options: Any) -> int:
    """`aob completion`."""
    from cli.printing import document

    if options.json:
        document({"shell": options.shell, "script": SCRIPTS[options.shell]})
    else:
        print(SCRIPTS[options.shell], end="")
    return DONE


def version(connection: Connection, options: Any) -> int:
    """`aob version --json`; without options `cli.main` answers before anything is imported."""
    from cli.printing import document
    from cli.texts import VERSION

    if options.json:
        document({"version": VERSION.removeprefix("aob ")})
    else:
        print(VERSION)
    return DONE


def complete(arguments: list[str]) -> int:
    """`aob __complete`: prints one candidate a line, nothing where file names fit; never fails."""
    words = (arguments[1:] if arguments[:1] == ["--"] else arguments) or [""]
    begun = words[-1]
    for name in _candidates(words[:-1], begun):
        if name.startswith(begun):
            print(name)
    return DONE


def _candidates(before: list[str], begun: str) -> list[str]:
    if not before:
        return ["--version", "--help"] if begun.startswith("-") else names()
    found = group(before[0])
    if not found:
        return []
    if len(found[0].path) == 1:
        return _arguments(found[0], before[1:], begun)
    actions = {command.path[1]: command for command in found}
    if len(before) == 1:
        return list(actions)
    return _arguments(actions[before[1]], before[2:], begun) if before[1] in actions else []


def _arguments(command: Command, before: list[str], begun: str) -> list[str]:
    """What may follow inside one command: an option, the value of an option, or the next argument."""
    common = [one for one in COMMON if one[0] == "--json"] if command.path[0] in SERVER else COMMON
    known = dict((*command.arguments, *common))
    positional = [keywords for name, keywords in command.arguments if not name.startswith("-")]
    given = 0
    place = 0
    while place < len(before):
        word = before[place]
        if word in known and word.startswith("-") and known[word].get("action") != "store_true":
            if place == len(before) - 1:
                return _values(known[word], before, begun)
            place += 1
        elif not word.startswith("-"):
            given += 1
        place += 1
    if begun.startswith("-"):
        return ["--help", *(name for name in known if name.startswith("-"))]
    return _values(positional[given], before, begun) if given < len(positional) else []


def _values(keywords: dict[str, Any], before: list[str], begun: str) -> list[str]:
    if "choices" in keywords:
        return list(keywords["choices"])
    metavar = keywords.get("metavar")
    if metavar == "STATUS":
        return list(STATUSES)
    if metavar == "RUN":
        return _from_server(before, "/runs?limit=50", "id")
    if metavar == "RUN|NAME[@TAG]":
        return [*_from_server(before, "/runs?limit=50", "id"), *_from_server(before, "/workflows?limit=500", "name")]
    if metavar in ("TEMPLATE", "TYPE"):
        place, key = {"TEMPLATE": ("/templates", "slug"), "TYPE": ("/node-types", "name")}[metavar]
        return _from_server(before, place, key)
    if metavar == "TICKET":
        return _from_server(before, "/approvals?limit=50&status=open", "ticket")
    if metavar == "DEADLETTER":
        return _from_server(before, "/dead-letters?limit=50&status=open", "id")
    if metavar in ("NAME", "NAME[@TAG]") or (metavar == "FILE|NAME[@TAG]" and not begun.startswith((".", "/"))):
        return _from_server(before, "/workflows?limit=500", "name")
    return []


def _from_server(before: list[str], path: str, key: str) -> list[str]:
    """Names that the server knows; none when it does not answer at once. Only what needs no quoting is offered."""
    options = {name: value for name, value in zip(before, before[1:]) if name in ("--url", "--token")}  # noqa: B905
    try:
        connection = Connection.find(options.get("--url"), options.get("--token"))
        items = connection.get(path, seconds=SECONDS)["items"]
        return [text for item in items if set(text := str(item[key])) <= SAFE]
    except (Refused, Unreachable, UsageError, KeyError, TypeError):
        return []
