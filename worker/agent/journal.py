"""What an agent's loop and the control plane say to each other: its task, its recorded steps, and what only it can do.

The loop runs in a process without a database. Every step is begun in the journal before anything leaves the process
(law 7) and ended when its outcome is known; a resumed agent gets the outcomes back and pays for nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from workflows.core.errors import AobError


class Refused(AobError):
    """The control plane refused: code (`budget_exhausted`, `agent_stopped`, `capability`, …), message, pointer, hint.

    `errors` lists what is wrong with a patch, each `{pointer, code, message, layer}`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        pointer: str | None = None,
        hint: str | None = None,
        errors: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(code, message, pointer, hint)
        self.errors = list(errors)


class Step(msgspec.Struct):
    """One model call or tool call; numbers count from 1 over all attempts of the node.

    `what` of a model call: `{model, request, reserved: {tokens, cost}}`, the request being the JSON of the messages and
    settings; of a tool call: `{call, tool, args, key}`, `args` being as the model wrote them where they are no JSON.
    `refused` in either lists the tool calls before it that were not let begin, each `{call, error}`.
    `outcome` is None until the step has ended. Of a model call: `{answer, usage: {input_tokens, output_tokens}, cost,
    model}` or `{error, usage, cost, model}`; of a tool call: `{result}` or `{error}`. `outside` in it says that text
    from outside AOB came in. A cost is in US dollars, None where the price is unknown.
    """

    number: int
    kind: Literal["model", "tool"]
    what: dict[str, Any]
    outcome: dict[str, Any] | None = None


class AgentTask(msgspec.Struct):
    """One attempt of an agent node. `budget` is what is left of it: tokens, cost, seconds, steps."""

    run: str
    node: str
    attempt: int
    config: dict[str, Any]
    grant: dict[str, Any]
    """What `workflows.nodes.agent.grant_of` gives, narrowed by what the workflow's owner may do."""

    budget: dict[str, Any]
    computed: dict[str, list[tuple[int, int]] | None] = {}
    """Where in `prompt` and `system` values stand that expressions gave, from where to where; None is all of the text."""

    inputs_read: list[str] = []
    """Names of what the prompt was made of: inputs and nodes."""


class Journal(Protocol):
    """The durable record of one agent node's steps.

    A step begins with `begin`, which is committed before anything leaves the process, and ends with `end`. After a
    crash `past` gives what was recorded. The last step of the past may have begun without having ended: it is made
    once more, and begun once more under the same number, so that a stopped agent or a spent budget is refused there.
    Both are idempotent by number. A `begin` that is refused leaves no step: the next one takes its number.
    """

    @property
    def past(self) -> Sequence[Step]:
        """Steps recorded by earlier attempts, in order."""
        ...

    async def begin(self, step: Step) -> None:
        """Raises Refused. `step.number` is len(past)+1, +2, …, or that of an unended step of the past."""
        ...

    async def end(self, step: Step) -> None:
        """Raises Refused."""
        ...

    async def text(self, number: int, delta: str) -> None:
        """Live text of a step; not durable, may be dropped."""
        ...


class Tools(Protocol):
    """What only the control plane can do for the agent; it checks every right itself. All raise Refused."""

    async def patch_workflow(self, key: str, operations: list[dict[str, Any]], reason: str) -> dict[str, Any]:
        """`{"status": "applied" | "pending_review" | "shadow", "version", …}`."""
        ...

    async def document(self) -> dict[str, Any]:
        """The run's materialized document now."""
        ...

    async def start_workflow(self, key: str, workflow: str, inputs: Any, consent: str | None) -> Any:
        """The output of a run of another workflow, waited for. `consent` is the key of the step that allowed it."""
        ...

    async def read_blob(self, hash: str) -> bytes: ...

    async def ask_human(self, key: str, question: str, form: dict[str, Any] | None) -> Any: ...

    async def ask_consent(self, key: str, tool: str, args: Any) -> dict[str, Any]:
        """What people said to a call, `{"answer": "approve" | "reject", "by", "reason", …}`; it is waited for."""
        ...
