"""Every command as data: the parser, the help of a group and shell completion are made from it.

An argument is a name or option and the keywords of `argparse`'s add_argument. Its metavar also tells shell
completion what may stand there.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Argument = tuple[str, dict[str, Any]]

STATUSES = ("queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "timed_out")

RUN: Argument = ("run", {"metavar": "RUN"})
FOLLOW: Argument = ("--follow", {"action": "store_true", "help": "print the timeline until the run ends"})
INPUTS: Argument = (
    "--inputs",
    {"metavar": "FILE|JSON|-", "help": 'the inputs; {"$file": "path"} in them stands for a file to upload'},
)
INPUT: Argument = (
    "--input",
    {"action": "append", "default": [], "metavar": "NAME=VALUE", "help": "one input: JSON, text, or @FILE to upload"},
)
OUTPUT: Argument = ("--output", {"metavar": "FILE", "help": "write there instead of standard output"})
PAGE: tuple[Argument, ...] = (
    ("--limit", {"type": int, "default": 20, "metavar": "N", "help": "how many (20)"}),
    ("--cursor", {"metavar": "CURSOR", "help": "go on where a list ended"}),
)
COMMON: tuple[Argument, ...] = (
    ("--json", {"action": "store_true", "help": "one JSON document, or JSON lines for streams"}),
    ("--url", {"metavar": "URL", "help": "the server (better: AOB_URL)"}),
    ("--token", {"metavar": "TOKEN", "help": "the API token; others on this machine can see it (better: AOB_TOKEN)"}),
)
HOME: Argument = ("--home", {"metavar": "DIR"})


class Command:
    """One command: its words, what it does, `module:function`, an example, its arguments without COMMON."""

    __slots__ = ("path", "help", "handler", "example", "arguments")

    def __init__(self, path: str, help: str, handler: str, example: str, *arguments: Argument) -> None:
        self.path = tuple(path.split(" "))
        self.help = help
        self.handler = handler
        self.example = example
        self.arguments = arguments


COMMANDS = (
    Command("up", "start the whole system in this terminal", "server:execute", "aob up"),
    Command("doctor", "examine every dependency and say how to mend what is wrong", "server:execute", "aob doctor"),
    Command(
        "backup", "back up database and blobs while the system runs", "server:execute",
        "aob backup --to /var/backups/aob --every 6h --keep 28", HOME,
        ("--to", {"metavar": "DIR"}), ("--keep", {"metavar": "N"}), ("--every", {"metavar": "DURATION"}),
        ("--verify", {"action": "store_true"}),
    ),
    Command(
        "restore", "restore a backup into an empty data directory", "server:execute",
        "aob restore .aob/backups/20300101T000000.000Z --home restored", HOME,
        ("backup", {"metavar": "BACKUP"}), ("--verify", {"action": "store_true"}),
    ),
    Command(
        "run start", "start a run of a file, a workflow or a tag", "starting:start",
        "aob run start flow.json --inputs '{\"n\": 1}' --follow",
        ("workflow", {"metavar": "FILE|NAME[@TAG]"}),
        INPUTS, INPUT, FOLLOW,
        ("--priority", {"choices": ("high", "medium", "low"), "help": "medium by default"}),
        ("--label", {"action": "append", "default": [], "metavar": "NAME=VALUE", "help": "to find the run by"}),
        ("--idempotency-key", {"metavar": "KEY", "help": "the same key starts only one run"}),
    ),
    Command(
        "run batch", "start many runs, one for each line of JSON", "batch:batch", "aob run batch runs.jsonl",
        ("file", {"metavar": "FILE|-", "help": 'lines like {"workflow": "score", "inputs": {"n": 1}}'}),
    ),
    Command(
        "run list", "list runs, the newest first", "runs:listing", "aob run list --status failed,timed_out",
        ("--status", {"metavar": "STATUS", "help": f"one or several, separated by commas: {', '.join(STATUSES)}"}),
        ("--workflow", {"metavar": "NAME"}),
        ("--label", {"metavar": "NAME:VALUE"}),
        *PAGE,
    ),
    Command("run show", "show a run and its activations", "runs:show", "aob run show RUN", RUN),
    Command(
        "run status", "print the status; exit code 1 when the run ended badly", "runs:status",
        "aob run status RUN --json", RUN,
    ),
    Command(
        "run cancel", "cancel a run", "runs:steer", "aob run cancel RUN --reason 'wrong file'", RUN,
        ("--reason", {"metavar": "TEXT"}),
    ),
    Command("run pause", "pause a run: nothing new is started in it", "runs:steer", "aob run pause RUN", RUN),
    Command("run resume", "resume a paused run", "runs:steer", "aob run resume RUN", RUN),
    Command(
        "run signal", "send a signal to a run", "runs:signal", "aob run signal RUN paid --payload '{\"amount\": 7}'",
        RUN,
        ("name", {"metavar": "SIGNAL"}),
        ("--payload", {"metavar": "FILE|JSON|-", "help": "null by default"}),
    ),
    Command(
        "run retry-policy", "override a node's retry policy in a running run", "runs:retry_policy",
        "aob run retry-policy RUN fetch '{\"max_attempts\": 10}'",
        RUN, ("node", {"metavar": "NODE"}), ("retry", {"metavar": "FILE|JSON|-"}),
    ),
    Command(
        "logs stream", "print the events of a run as they are committed", "logs:stream",
        "aob logs stream RUN --node each --filter errors",
        RUN,
        ("--node", {"metavar": "NODE", "help": "only this node and what is inside it"}),
        ("--filter", {"choices": ("errors",), "help": "only errors"}),
        ("--after", {"type": int, "default": 0, "metavar": "SEQ", "help": "only what follows this seq"}),
    ),
    Command(
        "replay", "start a new run in the middle of another", "starting:replay",
        "aob replay RUN --from 'each[3]/parse' --follow",
        RUN,
        ("--from", {"dest": "start", "required": True, "metavar": "NODE", "help": "the first node to execute again"}),
        INPUTS, INPUT,
        ("--version", {"metavar": "TAG", "help": "another version of the workflow"}),
        FOLLOW,
    ),
    Command("verify", "check a run against its log", "explaining:verify", "aob verify RUN", RUN),
    Command("why", "say why a run has not ended", "explaining:why", "aob why RUN", RUN),
    Command(
        "workflow push", "make a file the newest version", "workflows:push", "aob workflow push flow.json --tag stable",
        ("file", {"metavar": "FILE|-"}),
        ("--tag", {"metavar": "TAG", "help": "move this tag to it, too"}),
        ("--note", {"metavar": "TEXT", "help": "what is new in it"}),
    ),
    Command(
        "workflow pull", "print the document of a version", "workflows:pull",
        "aob workflow pull score@stable --output flow.json", ("name", {"metavar": "NAME[@TAG]"}), OUTPUT,
    ),
    Command("workflow list", "list the workflows", "workflows:listing", "aob workflow list"),
    Command(
        "workflow versions", "list the versions of a workflow", "workflows:versions", "aob workflow versions score",
        ("name", {"metavar": "NAME"}),
    ),
    Command(
        "workflow tag", "move a tag to a version", "workflows:tag", "aob workflow tag score stable 3",
        ("name", {"metavar": "NAME"}), ("tag", {"metavar": "TAG"}),
        ("version", {"metavar": "VERSION", "help": "a number, a hash (sha256:…) or another tag"}),
    ),
    Command(
        "workflow validate", "say everything that is wrong with a file", "workflows:validate",
        "aob workflow validate flow.json", ("file", {"metavar": "FILE|-"}),
    ),
    Command(
        "workflow diff", "compare two versions or files", "workflows:diff", "aob workflow diff score@stable flow.json",
        ("old", {"metavar": "FILE|NAME[@TAG]"}), ("new", {"metavar": "FILE|NAME[@TAG]"}),
    ),
    Command(
        "deadletter list", "list dead letters, the newest first", "deadletters:listing", "aob deadletter list",
        ("--status", {"choices": ("open", "replayed", "discarded", "all"), "default": "open", "help": "open by default"}),
        *PAGE,
    ),
    Command(
        "deadletter show", "show a dead letter with its input", "deadletters:show", "aob deadletter show 7",
        ("letter", {"metavar": "DEADLETTER"}),
    ),
    Command(
        "deadletter replay", "replay the run from the node that failed", "deadletters:replay",
        "aob deadletter replay 7", ("letter", {"metavar": "DEADLETTER"}),
    ),
    Command(
        "deadletter discard", "mark a dead letter as dealt with", "deadletters:discard",
        "aob deadletter discard 7 --reason 'the order was cancelled'",
        ("letter", {"metavar": "DEADLETTER"}), ("--reason", {"metavar": "TEXT"}),
    ),
    Command(
        "blob put", "store a file and print its name", "blobs:put", "aob blob put access.log",
        ("file", {"metavar": "FILE"}),
        ("--media-type", {"metavar": "TYPE", "help": "by the file's ending by default"}),
    ),
    Command(
        "blob get", "fetch a blob", "blobs:get", "aob blob get sha256:… --output report.txt",
        ("name", {"metavar": "BLOB"}), OUTPUT,
    ),
    Command("node-types", "list the node types", "workflows:node_types", "aob node-types"),
    Command(
        "completion", "print shell completion for bash, zsh or fish", "completion:script",
        'eval "$(aob completion bash)"', ("shell", {"choices": ("bash", "zsh", "fish")}),
    ),
    Command("version", "print the version", "completion:version", "aob version"),
)  # fmt: skip


SERVER = frozenset(command.path[0] for command in COMMANDS if command.handler == "server:execute")
"""Commands that `embedded` carries out, with parsers of its own; what stands here of them is for help and completion."""


def names() -> list[str]:
    """The first words, in the order of the help."""
    return list(dict.fromkeys(command.path[0] for command in COMMANDS))


def group(name: str) -> list[Command]:
    """The commands that begin with a word."""
    return [command for command in COMMANDS if command.path[0] == name]
