"""Patches: RFC 6902 on a document, bounded and typed; what a patch touches, its rebase and its inverse (pure).

The `jsonpatch` library does each operation. What it leaves open is closed here: unknown members are dropped so that
the stored patch says only what was meant, its errors become one, and the size is bounded after every operation, since
sixteen `copy` operations can make megabytes of a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jsonpatch
import jsonpointer
import msgspec

from workflows.core.document import Document, DocumentLimits, escape_pointer
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.strictjson import MAX_DEPTH, check, encode

Operation = dict[str, Any]

MAX_OPERATIONS = 1_000
MAX_PATCH_BYTES = 1024 * 1024
MAX_WORK = 8
"""All that one patch inserts and that is measured on its way is at most so many documents."""

_MEMBERS = {
    "add": ("value",),
    "replace": ("value",),
    "test": ("value",),
    "remove": (),
    "move": ("from",),
    "copy": ("from",),
}


class PatchError(AobError):
    """A patch that cannot be applied; the pointer names the operation (`/operations/3/path`)."""


class PatchConflict(PatchError):
    """What the patch touches was changed by others meanwhile; `places` lists the pointers."""

    def __init__(self, places: Sequence[str]) -> None:
        shown = ", ".join(place or "the whole document" for place in places[:5])
        super().__init__(
            "patch_conflict",
            f"Meanwhile others changed what this patch touches: {shown}.",
            "/operations",
            "Look at the newest version and make the patch again.",
        )
        self.places = list(places)


def normalized(operations: Any) -> list[Operation]:
    """The operations with known members only. Raises PatchError where they are none, LimitExceeded."""
    if not isinstance(operations, list):
        raise PatchError("patch_shape", "The operations are no list.", "/operations", "Send a list as in RFC 6902.")
    if len(operations) > MAX_OPERATIONS:
        message = f"The patch has {len(operations)} operations; the limit is {MAX_OPERATIONS}."
        raise LimitExceeded("limit_patch_operations", message, "/operations", "Send several patches.")
    try:
        check(operations)
    except AobError as error:
        raise PatchError(error.code, error.message, f"/operations{error.pointer or ''}", error.hint) from None
    size = len(encode(operations))
    if size > MAX_PATCH_BYTES:
        message = f"The patch has {size} bytes; the limit is {MAX_PATCH_BYTES}."
        raise LimitExceeded("limit_patch_bytes", message, "/operations", "Keep large values in blobs or inputs.")
    return [_normalized(operation, f"/operations/{number}") for number, operation in enumerate(operations)]


def _normalized(operation: Any, place: str) -> Operation:
    if not isinstance(operation, dict):
        raise PatchError("patch_shape", "An operation is a map with `op` and `path`.", place)
    kind = operation.get("op")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        known = ", ".join(_MEMBERS)
        raise PatchError(
            "patch_operation_unknown", f"There is no operation {str(kind)[:40]!r}.", f"{place}/op", f"Use {known}."
        )
    found: Operation = {"op": kind, "path": _pointer_text(operation, "path", place)}
    for member in _MEMBERS[kind]:
        if member not in operation:
            raise PatchError("patch_shape", f"A {kind!r} needs {member!r}.", place)
        found[member] = _pointer_text(operation, member, place) if member == "from" else operation[member]
    return found


def _pointer_text(operation: Operation, member: str, place: str) -> str:
    text = operation.get(member)
    if not isinstance(text, str):
        raise PatchError("patch_shape", f"{member!r} is a JSON Pointer, a text.", f"{place}/{member}")
    try:
        parts = jsonpointer.JsonPointer(text).parts
    except jsonpointer.JsonPointerException as error:
        raise PatchError("patch_pointer", f"{text[:200]!r} is no JSON Pointer: {error}", f"{place}/{member}") from None
    if len(parts) > MAX_DEPTH:
        message = f"The pointer is deeper than {MAX_DEPTH} levels."
        raise LimitExceeded("json_too_deep", message, f"{place}/{member}")
    return text


def apply(document: Any, operations: Sequence[Operation], *, limits: DocumentLimits | None = None) -> Any:
    """The document after these normalized operations; the argument is not changed.

    Raises PatchError, LimitExceeded. The result is JSON, and need not be a valid document.
    """
    return materialize(document, [operations], limits=limits)


def materialize(base: Any, patches: Iterable[Sequence[Operation]], *, limits: DocumentLimits | None = None) -> Any:
    """base + patch₁ + patch₂ …, as `apply` one after another. Raises PatchError, LimitExceeded."""
    bytes_ = encode(base)
    room = _Room(len(bytes_), (limits or DocumentLimits()).max_document_bytes)
    document = msgspec.json.decode(bytes_)
    for operations in patches:
        room.work = 0
        for number, operation in enumerate(operations):
            document = _applied(document, operation, f"/operations/{number}", room)
    return document


class _Room:
    """How large a document has become: an upper bound, made exact only where it matters. `work` is of one patch."""

    def __init__(self, size: int, limit: int) -> None:
        self.limit = max(limit, size)
        self._size = size
        self.work = 0

    def take(self, document: Any, inserted: Any, place: str, *, instead: int = 0) -> None:
        """Raises LimitExceeded when the document would become too large by `inserted`, instead of so many bytes."""
        size = len(encode(inserted))
        self.work += size
        if self._size + size - instead > self.limit:
            self._size = len(encode(document))
            self.work += self._size
        self._size += size - instead
        if self._size > self.limit or self.work > MAX_WORK * self.limit:
            message = f"The patch makes the document larger than {self.limit} bytes."
            raise LimitExceeded("limit_document_bytes", message, place, "Keep large values in blobs or inputs.")


def _applied(document: Any, operation: Operation, place: str, room: _Room) -> Any:
    kind = operation["op"]
    try:
        if kind in ("add", "replace"):
            room.take(document, operation["value"], place, instead=_overwritten(document, operation))
        elif kind == "copy":
            room.take(document, jsonpointer.resolve_pointer(document, operation["from"]), place)
        return jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    except jsonpatch.JsonPatchTestFailed:
        message = f"The document does not have the tested value at {operation['path'][:200]!r}."
        raise PatchError("patch_test_failed", message, place, "Look at the newest version.") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, IndexError) as error:
        # The library raises what Python raises where an operation does not fit the kind of its target.
        where = str(operation.get("from", operation["path"]))
        message = f"The operation {kind!r} at {where[:200]!r} does not fit the document: {str(error)[:200]}"
        raise PatchError(
            "patch_path", message, f"{place}/path", "The place must exist, but for what `add` adds."
        ) from None
    except RecursionError:
        raise LimitExceeded("json_too_deep", f"The JSON is nested deeper than {MAX_DEPTH} levels.", place) from None


def patched(document: Document, operations: Sequence[Operation], *, limits: DocumentLimits | None = None) -> Document:
    """The workflow document after these operations, as `apply`; edges may be added also where there are none yet.

    So that nobody has to know which of two documents that mean the same he patches.
    """
    adds_edges = any(operation["path"].startswith("/edges/") for operation in operations)
    whole = {**document, "edges": {}} if adds_edges and "edges" not in document else document
    after: Document = apply(whole, operations, limits=limits)
    return after


def _overwritten(document: Any, operation: Operation) -> int:
    """The bytes of the value that an operation puts another one in the place of."""
    holder, key = jsonpointer.JsonPointer(operation["path"]).to_last(document)
    if key is None:
        return len(encode(document))
    if isinstance(holder, dict):
        return len(encode(holder[key])) if key in holder else 0
    return len(encode(holder[key])) if operation["op"] == "replace" else 0


def difference(before: Any, after: Any) -> list[Operation]:
    """The operations that make `after` of `before`, member by member of maps; lists and values are replaced whole.

    Own and plain, because the library's differences move values and count list places: two authors' changes would then
    touch more than they mean, and conflict.
    """
    return list(_differences(before, after, ""))


def _differences(before: Any, after: Any, place: str) -> Iterable[Operation]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            inner = f"{place}/{escape_pointer(key)}"
            if key not in after:
                yield {"op": "remove", "path": inner}
            elif key not in before:
                yield {"op": "add", "path": inner, "value": after[key]}
            else:
                yield from _differences(before[key], after[key], inner)
    elif not same(before, after):
        yield {"op": "replace", "path": place, "value": after}


def same(first: Any, second: Any) -> bool:
    """Whether two JSON values are equal as RFC 6902, section 4.6, means it: `true` is not 1, 1.0 is."""
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(same(first[key], second[key]) for key in first)
        )
    if isinstance(first, list):
        return isinstance(second, list) and len(first) == len(second) and all(map(same, first, second))
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def touched(operations: Iterable[Operation], document: Any) -> set[str]:
    """The places of the document that the operations change or copy; what they only test is tested on the newest one.

    For a place in a list it is the list, as an entry's number changes with what others insert.
    """
    return {
        _outside_lists(operation[member], document)
        for operation in operations
        if operation["op"] != "test"
        for member in ("path", "from")
        if member in operation
    }


def _outside_lists(place: str, document: Any) -> str:
    part = document
    end = 0
    for key in jsonpointer.JsonPointer(place).parts:
        if isinstance(part, list):
            return place[:end]
        part = part.get(key) if isinstance(part, dict) else None
        following = place.find("/", end + 1)
        end = len(place) if following < 0 else following
    return place


def rebase(operations: Sequence[Operation], *, base: Document, head: Document) -> Document:
    """The head with the patch that was made for `base`. Raises PatchConflict where both touch the same place."""
    overlap(touched(operations, base), touched(difference(base, head), base))
    return patched(head, operations)


def inverse(operations: Sequence[Operation], *, before: Document, head: Document) -> list[Operation]:
    """The operations that undo a patch on the head, which may have gone on since.

    `before` is the document that it was applied to. Raises PatchConflict where others changed the same places later.
    """
    after = patched(before, operations)
    overlap(touched(difference(before, after), before), touched(difference(after, head), after))
    return difference(after, before)


def overlap(mine: Iterable[str], theirs: Iterable[str]) -> None:
    """Raises PatchConflict when a place of one lies at or within a place of the other."""
    others = set(theirs)
    above = {prefix for place in others for prefix in _prefixes(place)}
    found = sorted({place for place in mine if place in above or others.intersection(_prefixes(place))})
    if found:
        raise PatchConflict(found)


def _prefixes(place: str) -> list[str]:
    """`/a/b` → ``, `/a`, `/a/b`."""
    ends = [number for number, letter in enumerate(place) if letter == "/"]
    return [*(place[:end] for end in ends), place]
