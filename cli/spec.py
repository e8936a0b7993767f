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
PATCH: Argument = ("patch", {"metavar": "PATCH"})
TARGET: Argument = ("target", {"metavar": "RUN|NAME[@TAG]", "help": "a run, or a workflow (its tag latest by default)"})
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
        ("--since", {"metavar": "TIME", "help": "started since: 2h for so long ago, 2030-01-31, 2030-01-31T09:00Z"}),
        ("--until", {"metavar": "TIME", "help": "started before"}),
        ("--input-text", {"metavar": "TEXT", "help": "text that stands in the inputs"}),
        (
            "--where",
            {
                "metavar": "CEL",
                "help": "a CEL expression over inputs, output, error, status, duration (seconds) and workflow",
            },
        ),
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
    Command(
        "patch propose", "change the graph of a running run, or a workflow for later runs", "patches:propose",
        "aob patch propose RUN patch.json --reason 'the rows need a check'",
        TARGET, ("file", {"metavar": "FILE|JSON|-", "help": "operations as in RFC 6902"}),
        ("--reason", {"metavar": "TEXT"}),
        ("--base", {"metavar": "VERSION", "help": "the version that it was made against; the newest by default"}),
        ("--mode", {"choices": ("auto", "review", "shadow"), "help": "let it be reviewed first, or only tried"}),
    ),
    Command(
        "patch list", "list the patches of a run, or of a workflow", "patches:listing", "aob patch list RUN", TARGET,
    ),
    Command("patch show", "show a patch and what it would do", "patches:show", "aob patch show PATCH", PATCH),
    Command(
        "patch approve", "apply a patch that waits for review", "patches:decide",
        "aob patch approve PATCH --reason 'looked at it'", PATCH, ("--reason", {"metavar": "TEXT"}),
    ),
    Command(
        "patch reject", "turn down a patch that waits for review", "patches:decide",
        "aob patch reject PATCH --reason 'too much'", PATCH, ("--reason", {"metavar": "TEXT"}),
    ),
    Command(
        "patch revert", "undo a patch by another one", "patches:revert", "aob patch revert PATCH", PATCH,
        ("--reason", {"metavar": "TEXT"}),
    ),
    Command(
        "patch promote", "apply a run's patch to the later runs of its workflow, too", "patches:promote",
        "aob patch promote PATCH --tag stable", PATCH,
        ("--tag", {"metavar": "TAG", "help": "latest by default"}), ("--reason", {"metavar": "TEXT"}),
    ),
    Command(
        "patch squash", "make one patch of those since the last pushed version", "patches:squash",
        "aob patch squash score@stable", ("name", {"metavar": "NAME[@TAG]"}), ("--reason", {"metavar": "TEXT"}),
    ),
    Command("agents status", "say whether agents may work", "agents:status", "aob agents status"),
    Command(
        "agents stop", "stop all agents; their runs wait", "agents:switch", "aob agents stop --reason 'looking into it'",
        ("--reason", {"metavar": "TEXT"}),
    ),
    Command("agents start", "let agents go on", "agents:switch", "aob agents start"),
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
        "workflow experiment", "try a version on a share of the new runs of a tag, and compare", "experiments:experiment",
        "aob workflow experiment score@stable --version 4 --share 20",
        ("name", {"metavar": "NAME[@TAG]"}),
        ("--version", {"metavar": "VERSION", "help": "a number, a hash (sha256:…) or another tag"}),
        ("--patch", {"metavar": "PATCH", "help": "a patch that waits for review, or is only tried"}),
        ("--share", {"type": int, "metavar": "PERCENT", "help": "so many of a hundred new runs get it, 1 to 99"}),
        ("--outcomes", {"action": "store_true", "help": "compare what became of the runs of both versions"}),
        ("--end", {"choices": ("keep", "drop"), "help": "move the tag to the version, or let it be"}),
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
        "approvals list", "list open tickets, those that are due first at the top", "approvals:listing",
        "aob approvals list --mine",
        ("--mine", {"action": "store_true", "help": "only those that wait for you"}),
        ("--groups", {"action": "store_true", "help": "only those that wait for a group of yours"}),
        ("--all", {"action": "store_true", "help": "also those that are closed, the newest first"}),
        ("--run", {"metavar": "RUN", "help": "only those of this run"}),
        ("--workflow", {"metavar": "NAME", "help": "only those of this workflow's runs"}),
        *PAGE,
    ),
    Command(
        "approvals show", "show a ticket: what it asks, whom, and the answers so far", "approvals:show",
        "aob approvals show TICKET", ("ticket", {"metavar": "TICKET"}),
    ),
    Command(
        "approvals history", "tell everything that happened to a ticket, in order", "approvals:history",
        "aob approvals history TICKET", ("ticket", {"metavar": "TICKET"}),
    ),
    Command(
        "approvals delegate", "hand your part in a ticket to another user", "approvals:delegate",
        "aob approvals delegate TICKET berta --reason 'on holiday'",
        ("ticket", {"metavar": "TICKET"}), ("to", {"metavar": "USER"}),
        ("--reason", {"metavar": "TEXT", "help": "kept in the log"}),
    ),
    Command(
        "approvals claim", "say that you look at a ticket; others may still decide it", "approvals:claim",
        "aob approvals claim TICKET", ("ticket", {"metavar": "TICKET"}),
    ),
    Command(
        "approvals release", "take your claim of a ticket back", "approvals:release",
        "aob approvals release TICKET", ("ticket", {"metavar": "TICKET"}),
    ),
    Command(
        "approvals comment", "write into the thread of an open ticket", "approvals:comment",
        "aob approvals comment TICKET 'Is this the right customer?'",
        ("ticket", {"metavar": "TICKET"}), ("text", {"metavar": "TEXT", "help": "Markdown"}),
    ),
    Command(
        "approvals audit", "export who decided what, when, from where and why", "approvals:audit",
        "aob approvals audit --since 30d --format csv --output approvals.csv",
        ("--format", {"choices": ("csv", "jsonl"), "help": "csv, or JSON lines (the default, and with --json)"}),
        ("--since", {"metavar": "TIME", "help": "closed since then: an instant, or a duration before now"}),
        ("--until", {"metavar": "TIME", "help": "closed before then"}), OUTPUT,
    ),
    Command(
        "approve", "approve or reject a ticket", "approvals:decide",
        "aob approve TICKET approve --reason 'checked' --set amount=12",
        ("ticket", {"metavar": "TICKET"}),
        ("answer", {"choices": ("approve", "reject")}),
        ("--reason", {"metavar": "TEXT", "help": "kept with the answer"}),
        (
            "--set",
            {"action": "append", "default": [], "dest": "fields", "metavar": "NAME=VALUE", "help": "a field of its form"},
        ),
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
    Command(
        "template list", "list the templates of the gallery", "templates:listing", "aob template list retry",
        ("words", {"nargs": "*", "metavar": "WORD", "help": "only those with all of these words"}),
    ),
    Command(
        "template show", "say what a template teaches and what to try", "templates:show",
        "aob template show retry-with-backoff", ("template", {"metavar": "TEMPLATE"}),
    ),
    Command(
        "template use", "begin a draft with a template", "templates:use",
        "aob template use retry-with-backoff --name price-watch",
        ("template", {"metavar": "TEMPLATE"}),
        ("--name", {"metavar": "NAME", "help": "the workflow's name; a free one like the template's by default"}),
    ),
    Command(
        "template run", "run a template with the inputs that come along with it", "templates:run",
        "aob template run retry-with-backoff --follow", ("template", {"metavar": "TEMPLATE"}), FOLLOW,
    ),
    Command(
        "node-types", "list the node types, or show one of them", "workflows:node_types", "aob node-types http",
        ("type", {"nargs": "?", "metavar": "TYPE", "help": "only this one, with its config, examples and errors"}),
    ),
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
