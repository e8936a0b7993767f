"""What `aob --version` and `aob --help` print: constants, so that nothing has to be imported for them."""

VERSION = "aob 0.1.0"

COMMANDS = (
    ("up", "start the whole system in this terminal"),
    ("doctor", "examine every dependency and say how to mend what is wrong"),
    ("run", "start, list, show, cancel, pause, resume, signal runs"),
    ("logs", "stream the event log of a run"),
    ("replay", "start a new run in the middle of another"),
    ("verify", "check a run against its log"),
    ("why", "say why a run has not ended"),
    ("workflow", "push, pull, list, validate, diff workflows"),
    ("deadletter", "list, show, replay, discard dead letters"),
    ("blob", "store and fetch blobs"),
    ("node-types", "list the node types"),
    ("completion", "print shell completion for bash, zsh or fish"),
)

HELP = (
    "usage: aob [--version] [--help] COMMAND …\n\n"
    "Durable workflows whose graph may change while it runs.\n\ncommands:\n"
    + "".join(f"  {name:<12} {text}\n" for name, text in COMMANDS)
    + "\nEvery command takes --help and --json. Server and token come from AOB_URL and AOB_TOKEN, or from\n"
    "client.json in AOB_HOME or the nearest .aob directory.\n\n"
    "exit codes: 0 done, 1 failed run or refused, 2 usage, 3 cannot reach the server\n\n"
    "examples:\n"
    "  aob up\n"
    "  aob run start examples/access-log/workflow.json --inputs examples/access-log/inputs.json --follow\n"
    "  aob run list --status failed\n"
)
