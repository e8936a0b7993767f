"""What a worker holds: one attempt of an effect node under a fencing token."""

from __future__ import annotations

from typing import Any

import msgspec

from runs.core.events import Fact


class Leased(msgspec.Struct):
    """A task that this process holds under `token`; without one it is only known, not held."""

    id: int
    run_id: str
    node: str
    attempt: int
    type: str
    plane: str
    priority: int
    input_seq: int
    timeout: float | None
    token: int | None
    data: dict[str, Any] = {}
    """Of the event that holds its config (`input` or `input_ref`); empty when it is only known."""


class Finished(msgspec.Struct):
    """The result of a leased task, to be recorded under the lease's token."""

    task: Leased
    fact: Fact
    values: dict[str, bytes]


class Adoption(msgspec.Struct):
    """How many new tasks the caller wants to execute itself."""

    worker: str
    plane: str
    slots: int
