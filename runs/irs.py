"""Compiled versions by their hash, for processes that advance runs; immutable, so they are kept in memory.

While a deployment goes on, old processes meet versions that only newer ones can compile (hazard F33). They leave them.
"""

from __future__ import annotations

from functools import lru_cache

from runs import db
from workflows.core.compile import compile_document
from workflows.core.errors import AobError
from workflows.core.ir import WorkflowIR
from workflows.core.problems import DocumentInvalid
from workflows.core.strictjson import decode

_strange: dict[str, NotUnderstood] = {}
_made: dict[str, WorkflowIR] = {}


class NotUnderstood(Exception):
    """A stored version that this process cannot compile, as it lacks a node type; no decision about any run."""

    code = "version_not_understood"


def keep(version: str, ir: WorkflowIR) -> None:
    """Spares this process the compilation of a version that it has just made and saved."""
    _made[version] = ir
    ir_of(version)
    _made.pop(version, None)


@lru_cache(maxsize=256)
def ir_of(version: str) -> WorkflowIR:
    """The IR of a version. Raises AobError `version_unknown`, NotUnderstood."""
    if version in _made:
        return _made[version]
    if version in _strange:
        raise _strange[version]
    with db.transaction() as cursor:
        row = cursor.execute("SELECT document FROM version WHERE hash = %s", [version]).fetchone()
    if row is None:
        raise AobError("version_unknown", f"There is no version {version[:80]!r}.")
    try:
        return compile_document(decode(row[0], is_canonical=True), version=version)
    except DocumentInvalid as error:
        # It was valid where it was made, and what this process knows does not change while it lives.
        _strange[version] = NotUnderstood(f"Version {version} was made by another AOB: {error.message}")
        raise _strange[version] from None
