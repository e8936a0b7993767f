"""Compiled versions by their hash, for processes that advance runs; immutable, so they are kept in memory."""

from __future__ import annotations

from functools import lru_cache

from runs import db
from workflows.core.compile import compile_document
from workflows.core.errors import AobError
from workflows.core.ir import WorkflowIR
from workflows.core.strictjson import decode


@lru_cache(maxsize=256)
def ir_of(version: str) -> WorkflowIR:
    """The IR of a version. Raises AobError `version_unknown`."""
    with db.transaction() as cursor:
        row = cursor.execute("SELECT document FROM version WHERE hash = %s", [version]).fetchone()
    if row is None:
        raise AobError("version_unknown", f"There is no version {version[:80]!r}.")
    return compile_document(decode(row[0], is_canonical=True), version=version)
