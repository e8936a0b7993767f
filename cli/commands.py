"""Arguments of every command, built only as far as they are needed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cli.connection import Connection
from cli.exits import USAGE, guarded
from cli.texts import COMMANDS


def run(arguments: list[str]) -> int:
    """Parses and executes a command."""
    names = [name for name, _ in COMMANDS] + ["__complete"]
    if arguments[0] not in names and not arguments[0].startswith("-"):
        import difflib

        close = difflib.get_close_matches(arguments[0], names, n=1)
        hint = f" Did you mean `aob {close[0]}`?" if close else " See `aob --help`."
        print(f"aob: there is no command {arguments[0]!r}.{hint}", file=sys.stderr)
        return USAGE
    options = parser(arguments[0]).parse_args(arguments)

    def execute() -> int:
        connection = Connection.find(options.url, options.token)
        return int(handler(options.handler)(connection, options))

    return guarded(execute, as_json=options.json)


def handler(name: str) -> Any:
    """The function of a command, from the module of its group."""
    from importlib import import_module

    module, _, function = name.partition(":")
    return getattr(import_module(f"cli.{module}"), function)


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the wanted command's options are built, unless it is None."""
    root = argparse.ArgumentParser(prog="aob", add_help=True)
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS:
        if wanted in (None, name):
            _BUILD.get(name, _server)(commands.add_parser(name, help=text, description=text.capitalize() + "."))
    if wanted == "__complete":
        complete = commands.add_parser("__complete")
        complete.add_argument("words", nargs="*")
        _finish(complete, "completion:complete")
    return root


def _finish(command: argparse.ArgumentParser, function: str, example: str = "") -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="one JSON document, or JSON lines for streams")
    command.add_argument("--url", help="the server (AOB_URL)")
    command.add_argument("--token", help="the API token (better: AOB_TOKEN)")
    command.set_defaults(handler=function)
    if example:
        command.epilog = f"example: {example}"
    return command


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("rest", nargs=argparse.REMAINDER)
    _finish(command, "server:execute")


def _run(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", help="start a run")
    start.add_argument("workflow", metavar="FILE|NAME[@TAG]")
    start.add_argument("--inputs", metavar="FILE|JSON|-", help="a JSON file, JSON text, or - for standard input")
    start.add_argument("--input", action="append", default=[], metavar="NAME=VALUE", help="one input; @FILE uploads")
    start.add_argument("--follow", action="store_true", help="print the timeline until the run ends")
    start.add_argument("--priority", choices=["high", "medium", "low"], default="medium")
    start.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    start.add_argument("--idempotency-key", metavar="KEY", help="the same key starts only one run")
    _finish(start, "runs:start", "aob run start flow.json --inputs '{\"n\": 1}' --follow")
    batch = actions.add_parser("batch", help="start many runs from JSON lines")
    batch.add_argument("file", metavar="FILE")
    _finish(batch, "runs:batch", 'echo \'{"workflow": "score"}\' | aob run batch -')
    listing = actions.add_parser("list", help="list runs, the newest first")
    listing.add_argument("--status", help="one or several, separated by commas")
    listing.add_argument("--workflow")
    listing.add_argument("--label", metavar="NAME:VALUE")
    _page(listing)
    _finish(listing, "runs:listing", "aob run list --status failed,timed_out")
    for name, text in (("status", "print the state of a run"), ("show", "a run with its timeline")):
        one = actions.add_parser(name, help=text)
        one.add_argument("run", metavar="RUN")
        _finish(one, f"runs:{name}", f"aob run {name} RUN")
    for name in ("cancel", "pause", "resume"):
        one = actions.add_parser(name, help=f"{name} a run")
        one.add_argument("run", metavar="RUN")
        if name == "cancel":
            one.add_argument("--reason")
        _finish(one, "runs:steer", f"aob run {name} RUN")
    signal = actions.add_parser("signal", help="send a signal to a run")
    signal.add_argument("run", metavar="RUN")
    signal.add_argument("name", metavar="NAME")
    signal.add_argument("--payload", default="null", metavar="FILE|JSON|-")
    _finish(signal, "runs:signal", "aob run signal RUN paid --payload '{\"amount\": 7}'")
    policy = actions.add_parser("retry-policy", help="override a node's retry policy in a running run")
    policy.add_argument("run", metavar="RUN")
    policy.add_argument("node", metavar="NODE")
    policy.add_argument("retry", metavar="FILE|JSON")
    _finish(policy, "runs:retry_policy", "aob run retry-policy RUN fetch '{\"max_attempts\": 10}'")


def _page(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=int, default=20)
    command.add_argument("--cursor", help="go on where a list ended")


def _logs(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    stream = actions.add_parser("stream", help="print events as they are committed")
    stream.add_argument("run", metavar="RUN")
    stream.add_argument("--node", help="only this node and what is inside it")
    stream.add_argument("--filter", choices=["errors"], help="only errors")
    stream.add_argument("--after", type=int, default=0, metavar="SEQ")
    _finish(stream, "logs:stream", "aob logs stream RUN --node each --filter errors")


def _replay(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN")
    command.add_argument("--from", dest="start", required=True, metavar="NODE", help="for instance each[3]/parse")
    command.add_argument("--inputs", metavar="FILE|JSON|-")
    command.add_argument("--version", metavar="TAG", help="another version of the workflow")
    command.add_argument("--follow", action="store_true")
    _finish(command, "runs:replay", "aob replay RUN --from 'each[3]/parse' --follow")


def _verify(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN")
    _finish(command, "runs:verify", "aob verify RUN")


def _why(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN")
    _finish(command, "runs:why", "aob why RUN")


def _workflow(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    push = actions.add_parser("push", help="make a file the newest version")
    push.add_argument("file", metavar="FILE")
    push.add_argument("--tag")
    push.add_argument("--note", default="")
    _finish(push, "workflows:push", "aob workflow push flow.json --tag stable")
    pull = actions.add_parser("pull", help="print the document of a version")
    pull.add_argument("name", metavar="NAME[@TAG]")
    pull.add_argument("--output", metavar="FILE")
    _finish(pull, "workflows:pull", "aob workflow pull score@stable --output flow.json")
    listing = actions.add_parser("list", help="list workflows")
    _finish(listing, "workflows:listing")
    versions = actions.add_parser("versions", help="list the versions of a workflow")
    versions.add_argument("name", metavar="NAME")
    _finish(versions, "workflows:versions")
    tag = actions.add_parser("tag", help="move a tag to a version")
    tag.add_argument("name", metavar="NAME")
    tag.add_argument("tag", metavar="TAG")
    tag.add_argument("version", metavar="VERSION")
    _finish(tag, "workflows:tag", "aob workflow tag score stable sha256:…")
    validate = actions.add_parser("validate", help="say everything that is wrong with a file")
    validate.add_argument("file", metavar="FILE")
    _finish(validate, "workflows:validate", "aob workflow validate flow.json")
    diff = actions.add_parser("diff", help="compare two versions or files")
    diff.add_argument("old", metavar="FILE|NAME[@TAG]")
    diff.add_argument("new", metavar="FILE|NAME[@TAG]")
    _finish(diff, "workflows:diff", "aob workflow diff score@stable flow.json")


def _deadletter(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list dead letters")
    listing.add_argument("--status", choices=["open", "replayed", "discarded", "all"], default="open")
    _page(listing)
    _finish(listing, "deadletters:listing")
    for name in ("show", "replay", "discard"):
        one = actions.add_parser(name, help=f"{name} a dead letter")
        one.add_argument("number", type=int, metavar="NUMBER")
        if name == "discard":
            one.add_argument("--reason")
        _finish(one, f"deadletters:{name}", f"aob deadletter {name} 7")


def _blob(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    put = actions.add_parser("put", help="store a file")
    put.add_argument("file", metavar="FILE")
    _finish(put, "blobs:put", "aob blob put access.log")
    get = actions.add_parser("get", help="fetch a blob")
    get.add_argument("name", metavar="sha256:…")
    get.add_argument("--output", metavar="FILE", help="standard output by default")
    _finish(get, "blobs:get", "aob blob get sha256:… --output report.txt")


def _node_types(command: argparse.ArgumentParser) -> None:
    _finish(command, "workflows:node_types")


def _completion(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=["bash", "zsh", "fish"])
    _finish(command, "completion:script", 'eval "$(aob completion bash)"')


_BUILD = {
    "run": _run,
    "logs": _logs,
    "replay": _replay,
    "verify": _verify,
    "why": _why,
    "workflow": _workflow,
    "deadletter": _deadletter,
    "blob": _blob,
    "node-types": _node_types,
    "completion": _completion,
}
