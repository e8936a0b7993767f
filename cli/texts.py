"""What `aob --version` and `aob --help` print: constants, so that nothing has to be imported for them."""

from __future__ import annotations

VERSION = "aob 0.1.0"

HELP = """\
usage: aob COMMAND …

Durable workflows whose graph may change while it runs.

commands:
  up           start the whole system in this terminal
  doctor       examine every dependency and say how to mend what is wrong
  backup       back up database and blobs while the system runs
  restore      restore a backup into an empty data directory
  run          start, batch, list, show, status, cancel, pause, resume, signal, retry-policy
  logs         stream
  replay       start a new run in the middle of another
  patch        propose, list, show, approve, reject, revert, promote, squash
  agents       status, stop, start
  verify       check a run against its log
  why          say why a run has not ended
  workflow     push, pull, list, versions, tag, experiment, validate, diff
  approvals    list, show, history, delegate, claim, release, comment, audit
  approve      approve or reject a ticket
  deadletter   list, show, replay, discard
  blob         put, get
  template     list, show, use, run
  node-types   list the node types, or show one of them
  completion   print shell completion for bash, zsh or fish
  version      print the version

Every command takes --help (with an example), --json, --url and --token. Server and token come from AOB_URL
and AOB_TOKEN, or from client.json in AOB_HOME or in the nearest .aob directory.

exit codes: 0 done, 1 failed run or refused, 2 usage, 3 cannot reach the server, 130 interrupted

examples:
  aob up
  aob run start examples/access-log/workflow.json --inputs examples/access-log/inputs.json --follow
  aob run list --status failed
"""
