"""Judges patches of running runs and of workflows: the second layer of validation (pure; laws 3, 4 and 10).

The first layer is the agent's own, before anything is sent; the third is the coordinator's, when it dispatches. None
trusts the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runs.core.frozen import STARTED, check_frozen
from runs.core.state import State
from workflows.core.document import Document, DocumentLimits
from workflows.core.errors import AobError
from workflows.core.grants import (
    EVERYTHING,
    OPEN_PARTS,
    Author,
    Grant,
    Mode,
    check_grant,
    check_parts,
    strictest,
    unguarded_effects,
)
from workflows.core.guards import nodes_of
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
    open_parts: frozenset[str] = OPEN_PARTS,
) -> Made:
    """The head with a patch that was made for `base`, as far as it can be judged without a run.

    Machines change OPEN_PARTS only, whatever is open to people.
    Raises PatchError, PatchConflict, LimitExceeded, PatchRefused.
    """
    document = rebase(operations, base=base, head=head)
    ir, problems = checked(document, limits=limits)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors or ir is None:
        raise PatchRefused(errors)
    problems = check_parts(head, document, OPEN_PARTS if author.is_machine else open_parts)
    if author.is_machine:
        problems += check_grant(head, document, grant)
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


def mode_of(head: Document, author: Author, own: Mode, *, made: Made, is_tainted: bool) -> tuple[Mode, str | None]:
    """What becomes of an admitted patch, and why it is looked at first where that is not the workflow's own wish.

    A machine that has read what came from outside does not act outside on its own account (hazard L2).
    """
    mode = strictest(head.get("patches", "auto"), own)
    if mode == "auto" and author.is_machine and is_tainted:
        effects = unguarded_effects(head, made.document)
        if effects:
            names = ", ".join(effects[:5])
            return "review", f"It brings effects before which no approval stands ({names}), after reading outside data."
    return mode, None


def refusal(error: AobError) -> PatchRefused:
    """Any error of `make` or `admit` as a refusal of this layer."""
    return error if isinstance(error, PatchRefused) else PatchRefused([from_error(error, "/operations")])
