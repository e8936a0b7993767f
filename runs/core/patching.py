"""Judges patches of running runs and of workflows: the second layer of validation (pure; laws 3, 4 and 10).

The first layer is the agent's own, before anything is sent; the third is the coordinator's, when it dispatches. None
trusts the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runs.core import paths
from runs.core.frozen import STARTED, check_frozen
from runs.core.state import State
from workflows.core import review
from workflows.core.document import Document, DocumentLimits
from workflows.core.errors import AobError
from workflows.core.grants import (
    EVERYTHING,
    OPEN_PARTS,
    PARTS_FOR_PEOPLE,
    Author,
    Grant,
    Mode,
    check_grant,
    check_guards,
    check_parts,
    strictest,
)
from workflows.core.guards import nodes_of
from workflows.core.hidden import check_reads
from workflows.core.influence import changed, reached
from workflows.core.ir import WorkflowIR
from workflows.core.patches import Operation, rebase
from workflows.core.problems import Problem, from_error
from workflows.core.validate import checked

LAYER = "server"
MAX_NAMED = 20


class PatchRefused(AobError):
    """A patch that is not admitted. `problems` says why, each with its place; `layer` says who refused it."""

    def __init__(self, problems: Sequence[Problem], layer: str = LAYER) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first.code, f"{first.message}{more}", first.pointer, first.hint)
        self.problems = list(problems)
        self.layer = layer

    def errors(self) -> list[dict[str, Any]]:
        """The problems as the public surface tells them."""
        return [{**problem.as_dict(), "layer": self.layer} for problem in self.problems[:MAX_NAMED]]


def problem_of(error: dict[str, Any]) -> Problem:
    """A problem from how `PatchRefused.errors` told it."""
    return Problem(error["pointer"], error["code"], error["message"], error.get("hint"))


class Made(msgspec.Struct, frozen=True):
    """A graph that a patch makes: valid, and within what its author may."""

    document: Document
    ir: WorkflowIR


def make(
    operations: Sequence[Operation],
    *,
    base: Document,
    head: Document,
    author: Author,
    grant: Grant = EVERYTHING,
    limits: DocumentLimits | None = None,
    is_of_run: bool = True,
) -> Made:
    """The head with a patch that was made for `base`, as far as it can be judged without a run.

    A patch of a workflow (`is_of_run` is false) makes its next version: there people may change all but its name, and
    approvals too. In a run nobody does (hazard L3).
    Raises PatchError, PatchConflict, LimitExceeded, PatchRefused.
    """
    if author.is_machine:
        for document in (base, head):
            check_reads(document, operations)
    document = rebase(operations, base=base, head=head)
    ir, problems = checked(document, limits=limits)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or ir is None:
        raise PatchRefused(errors)
    is_next_version = not is_of_run and not author.is_machine
    problems = check_parts(head, document, PARTS_FOR_PEOPLE if is_next_version else OPEN_PARTS)
    if author.is_machine:
        problems += check_grant(head, document, grant)
    if not is_next_version:
        problems += check_guards(head, document, is_machine=author.is_machine)
    if problems:
        raise PatchRefused(problems)
    return Made(document, ir)


def admit(state: State, head: Document, made: Made) -> None:
    """Raises PatchRefused when the run's past or its number of agents does not allow the patch now."""
    problems = check_frozen(state, head, made.document)
    if not problems:
        problems = _agents(state, made.document)
    if problems:
        raise PatchRefused(problems)


def _agents(state: State, document: Document) -> list[Problem]:
    started = {name for name, status in state.frames[""].nodes.items() if status in STARTED}
    coming = [path for path, node in nodes_of(document) if node["type"] == "agent" and path.split("/")[0] not in started]
    if not coming or state.agents + len(coming) <= state.limits.max_agents:
        return []
    return [
        Problem(
            "/nodes",
            "limit_max_agents",
            f"The run would have {state.agents + len(coming)} agents; it may have {state.limits.max_agents}.",
            "Raise limits.max_agents in a new version of the workflow.",
        )
    ]


def mode_of(
    head: Document, author: Author, own: Mode, *, made: Made, is_tainted: bool, state: State | None = None
) -> tuple[Mode, str | None]:
    """What becomes of an admitted patch, and why it is looked at first where that is not the workflow's own wish.

    `state` is that of the run that is patched; a person's patch of a workflow makes a new version, and is that wish.
    """
    mode = strictest(head.get("patches", "auto"), own)
    if mode != "auto" or (state is None and not author.is_machine):
        return mode, None
    because = review.reason(
        head,
        made.document,
        made.ir,
        is_machine=author.is_machine,
        is_tainted=is_tainted,
        begun=frozenset() if state is None else begun(state, made.document),
    )
    return ("review", because) if because else (mode, None)


def asks_again(state: State, head: Document, made: Made) -> dict[str, str]:
    """The tickets (by node path) whose answers so far no longer count: the patch changes what they say yes to."""
    touched = changed(head, made.document)
    return {
        path: activation.ticket.id
        for path, activation in sorted(state.active.items())
        if activation.ticket is not None
        and activation.ticket.answers
        and activation.result is None
        and touched & (reached(made.ir, [paths.graph_key(path)]) - {paths.graph_key(path)})
    }


def begun(state: State, document: Document) -> frozenset[str]:
    """The nodes that have started; of a body whose owner has, all."""
    started = {name for name, status in state.frames[""].nodes.items() if status in STARTED}
    return frozenset(path for path, _ in nodes_of(document) if path.split("/")[0] in started)


def refusal(error: AobError) -> PatchRefused:
    """Any error of `make` or `admit` as a refusal of this layer."""
    return error if isinstance(error, PatchRefused) else PatchRefused([from_error(error, "/operations")])
