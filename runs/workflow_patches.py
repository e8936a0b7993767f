"""The doors of patches of workflows: a chain behind a tag, for the runs that begin later (laws 4, 5 and 10).

They are judged like those of running runs, and tried on recorded runs first. Who applies one holds the workflow, so that
patches of the same time are rebased on each other, or conflict.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from runs import blobs, db, irs, patch_tickets, patches
from runs.core import patching
from runs.core.rehearsal import Report, in_words
from runs.errors import RunError, Unavailable, is_id
from runs.models import RunPatch
from runs.patches import MAX_REASON, Proposal, checked, read_grant, require_other, require_same, told_grant
from runs.rehearsing import HELD_SECONDS, rehearse
from workflows.core.canonical import canonical
from workflows.core.document import Document
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.grants import Author
from workflows.core.patches import PatchConflict, difference, inverse, normalized
from workflows.core.strictjson import decode
from workflows.models import Workflow, WorkflowPatch
from workflows.services import (
    LATEST,
    WorkflowError,
    adopt,
    document_limits,
    document_of,
    head_of,
    locked,
    save_version,
)

MAX_WAITING = 100
"""So many patches of one tag wait for review at a time."""

MAX_PAGE = 200

_IDS = uuid.UUID("5f1d3f0e-9f0c-5d0b-8f57-0d8a4c1c7f11")
"""The namespace of the ids that come of keys."""


def propose(workflow: str, tag: str, proposal: Proposal, *, user: Any = None) -> dict[str, Any]:
    """Judges a patch and applies it, keeps it for review, or only tries it; gives it as `show` does.

    Raises WorkflowError, RunError, PatchRefused (with problems that name their layer), PatchConflict, LimitExceeded.
    """
    return _propose(workflow, tag, proposal, user)


def answer(
    patch_id: str,
    verdict: str,
    *,
    by: str,
    reason: str = "",
    user: Any = None,
    or_tried: bool = False,
    door: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Approves or rejects a patch that waits for review and its ticket, or with `or_tried` one that is only tried.

    With a rejection ends the experiment that tries it. `door` says where the answer came from.

    Raises RunError, PatchRefused, PatchConflict.
    """
    patch = _find(patch_id)
    if verdict == "approve":
        require_other(_author(patch), by)
    at = timezone.now()
    decided = {"decided_by": by, "decision": reason[:MAX_REASON], "decided_at": at, "decided_from": dict(door or {})}
    statuses = ("pending_review", "shadow") if or_tried else ("pending_review",)
    if verdict == "reject":
        with transaction.atomic():
            locked(patch.workflow.name)
            _require_waiting(_find(patch_id), statuses)
            WorkflowPatch.objects.filter(id=patch_id).update(status="rejected", **decided)
            _end_experiment(patch.workflow, patch_id, by=by)
            patch_tickets.close_of(patch_id, "rejected", by=by, reason=decided["decision"], at=at)
        return show(patch_id)
    try:
        _settle(patch, _proposal(patch), user=user, decided=decided, statuses=statuses)
    except AobError as error:
        raise _refusal(error) from None
    return show(patch_id)


def revert(patch_id: str, *, author: Author, reason: str, user: Any = None) -> dict[str, Any]:
    """A new patch that undoes an applied one. Raises RunError, PatchConflict where others went on from it."""
    patch = _find(patch_id)
    _require_applied(patch.status)
    name, tag = patch.workflow.name, patch.tag
    head = head_of(name, tag)
    operations = inverse(_operations(patch), before=document_of(patch.before), head=document_of(head))
    undo = Proposal(operations=operations, reason=reason, author=author, base=head, reverts=patch_id)
    return _propose(name, tag, undo, user)


def promote(patch_id: str, tag: str = LATEST, *, author: Author, reason: str = "", user: Any = None) -> dict[str, Any]:
    """An applied patch of a run, for the later runs of its workflow as well; or a workflow's for another tag.

    It is rebased on what the tag names now. Raises WorkflowError, RunError, PatchRefused, PatchConflict.
    """
    found = show(patch_id) if is_known(patch_id) else patches.show(patch_id)
    _require_applied(found["status"])
    proposal = Proposal(
        operations=found["operations"],
        reason=reason or found["reason"],
        author=author,
        base=found["before"],
        evidence=found.get("evidence"),
        read=found.get("read", ()),
    )
    name = found["workflow"] if "workflow" in found else _workflow_of(found["run"])
    return _propose(name, tag, proposal, user, promoted_from=patch_id)


def squash(workflow: str, tag: str = LATEST, *, author: Author, reason: str = "", user: Any = None) -> dict[str, Any]:
    """Makes one patch of the chain since the last version that was pushed by hand; it makes the same version.

    Raises WorkflowError, RunError, LimitExceeded.
    """
    head_of(workflow, tag)
    chain = _squashable(Workflow.objects.get(name=workflow), tag)
    ends = chain[0].before, chain[-1].version
    report = rehearse(workflow, *ends)
    with transaction.atomic():
        row = locked(workflow)
        chain = _squashable(row, tag)
        if ends != (chain[0].before, chain[-1].version):
            report = rehearse(workflow, chain[0].before, chain[-1].version, seconds=HELD_SECONDS)
        return _squash(row, tag, chain, report, author=author, reason=reason)


def _squashable(row: Workflow, tag: str) -> list[WorkflowPatch]:
    chain = _chain(row, tag, head_of(row.name, tag))
    if len(chain) < 2:
        raise RunError("nothing_to_squash", f"{row.name}@{tag} has no chain of patches that could become one.")
    return chain


def _squash(
    row: Workflow, tag: str, chain: list[WorkflowPatch], report: Report, *, author: Author, reason: str
) -> dict[str, Any]:
    before, head = chain[0].before, chain[-1].version
    operations = normalized(difference(document_of(before), document_of(head)))
    reasons = "; ".join(f"{one.number}. {one.reason}" for one in chain if one.reason)
    patch = WorkflowPatch.objects.create(
        id=uuid.uuid4(),
        workflow=row,
        tag=tag,
        number=_next_number(row, tag),
        operations=canonical(operations).decode(),
        author_kind=author.kind,
        author_name=author.name,
        reason=(reason or f"Squashed: {reasons}")[:MAX_REASON],
        base=before,
        before=before,
        version=head,
        status="applied",
        report=_written(report),
    )
    WorkflowPatch.objects.filter(id__in=[one.id for one in chain]).update(status="squashed")
    return show(str(patch.id))


def listed(workflow: str, *, tag: str | None = None, limit: int = 100, cursor: str | None = None) -> dict[str, Any]:
    """A page of a workflow's patches, the newest first, without their operations and reports. Raises WorkflowError."""
    row = Workflow.objects.filter(name=workflow).first()
    if row is None:
        raise WorkflowError(
            "workflow_unknown", f"There is no workflow {workflow[:128]!r}.", hint="See `aob workflow list`."
        )
    found = row.patches.select_related("workflow").defer("operations", "report")
    if tag is not None:
        found = found.filter(tag=tag)
    if cursor is not None:
        last = _find(cursor)
        found = found.filter(Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, id__lt=last.id))
    size = max(1, min(limit, MAX_PAGE))
    rows = list(found[: size + 1])
    following = str(rows[size - 1].id) if len(rows) > size else None
    return {"items": [_told(one) for one in rows[:size]], "next": following}


def show(patch_id: str) -> dict[str, Any]:
    """One patch with everything that is known of it. Raises RunError `patch_unknown`."""
    patch = _find(patch_id)
    report = decode(patch.report)
    more = {"operations": _operations(patch), "report": report, "words": in_words(msgspec.convert(report, Report))}
    return {**_told(patch), **more}


def documents(patch: dict[str, Any]) -> tuple[Document, Document] | None:
    """The document without a patch (as `show` gives it) and with it, as `patches.documents` gives those of a run."""
    if "version" in patch:
        return document_of(patch["before"]), document_of(patch["version"])
    head = document_of(head_of(patch["workflow"], patch["tag"]))
    try:
        return patches.fitted(patch, base=document_of(patch["base"]), head=head)
    except AobError:
        return None


def is_known(patch_id: str) -> bool:
    """Whether an id is one of a workflow's patch; else it may be one of a run's."""
    return is_id(patch_id) and WorkflowPatch.objects.filter(id=patch_id).exists()


def variant(patch_id: str, workflow: str, tag: str, *, by: str) -> str:
    """The version that a waiting or tried patch makes of what its tag names now, for `by` to try it on runs.

    Where patches are reviewed, trying one on runs that count needs a second person, as approving it does. Raises as
    `answer` does.
    """
    patch = _find(patch_id)
    if (patch.workflow.name, patch.tag) != (workflow, tag):
        message = f"The patch is one of {patch.workflow.name}@{patch.tag}, not of {workflow}@{tag}."
        raise RunError("patch_elsewhere", message, "/patch")
    _require_waiting(patch, ("pending_review", "shadow"))
    head = head_of(workflow, tag)
    if patch.status == "pending_review" or document_of(head).get("patches", "auto") != "auto":
        require_other(_author(patch), by)
    try:
        made = _made(patch.workflow.name, _proposal(patch), head)[1]
    except AobError as error:
        raise _refusal(error) from None
    return made.ir.version


def require_applied(patch_id: str) -> None:
    """Raises RunError where a patch was not applied, or is no longer."""
    _require_applied(_find(patch_id).status)


def _told(patch: WorkflowPatch) -> dict[str, Any]:
    told = {
        "id": str(patch.id),
        "workflow": patch.workflow.name,
        "tag": patch.tag,
        "number": patch.number,
        "status": patch.status,
        "by": msgspec.to_builtins(_author(patch)),
        "reason": patch.reason,
        "base": patch.base,
        "before": patch.before or None,
        "version": patch.version or None,
        "at": patch.created_at.isoformat(),
        "held_because": patch.held_because or None,
        "evidence": patch.evidence or None,
        "read": patch.read or None,
        "grant": patch.grant,
        "reverts": str(patch.reverts) if patch.reverts else None,
        "promoted_from": str(patch.promoted_from) if patch.promoted_from else None,
        "decided_by": patch.decided_by or None,
        "decision": patch.decision if patch.decided_by else None,
        "decided_at": patch.decided_at.isoformat() if patch.decided_at else None,
    }
    return {key: part for key, part in told.items() if part is not None}


def _propose(
    workflow: str, tag: str, proposal: Proposal, user: Any, *, promoted_from: str | None = None
) -> dict[str, Any]:
    key = proposal.key
    patch_id = uuid.uuid4() if key is None else uuid.uuid5(_IDS, f"{workflow}@{tag} {key}")
    if key is not None and is_known(str(patch_id)):
        return _same(str(patch_id), proposal)
    try:
        proposal = checked(proposal)
        head = head_of(workflow, tag)
        patch = WorkflowPatch(
            id=patch_id,
            workflow=Workflow.objects.get(name=workflow),
            tag=tag,
            operations=canonical(proposal.operations).decode(),
            author_kind=proposal.author.kind,
            author_name=proposal.author.name,
            author_run=proposal.author.run,
            reason=proposal.reason,
            evidence=proposal.evidence or "",
            read=list(proposal.read),
            grant=told_grant(proposal.grant),
            base=proposal.base or head,
            reverts=proposal.reverts,
            promoted_from=promoted_from,
        )
        _settle(patch, msgspec.structs.replace(proposal, base=patch.base), user=user)
    except AobError as error:
        if key is not None and is_known(str(patch_id)):
            return _same(str(patch_id), proposal)  # By another request that was quicker: this one met its outcome.
        raise _refusal(error) from None
    return show(str(patch_id)) if key is None else _same(str(patch_id), proposal)


def _settle(
    patch: WorkflowPatch,
    proposal: Proposal,
    *,
    user: Any,
    decided: dict[str, Any] | None = None,
    statuses: tuple[str, ...] = (),
) -> None:
    """Tries the patched version before the workflow is held, or once more then if others changed the tag meanwhile."""
    name, tag = patch.workflow.name, patch.tag
    head = head_of(name, tag)
    document, made, report = _tried(patch, proposal, head)
    with transaction.atomic():
        row = locked(name)
        now = head_of(name, tag)
        if now != head:
            head = now
            document, made, report = _tried(patch, proposal, head, seconds=HELD_SECONDS)
        known = WorkflowPatch.objects.select_related("workflow").filter(id=patch.id).first()
        if decided is not None:
            _require_waiting(known or patch, statuses)
        elif known is not None:
            return  # The same key, by another request that was quicker.
        if proposal.reverts is not None:
            _require_applied(_find(proposal.reverts).status)
        if patch.promoted_from is not None and decided is None:
            _require_applied(_status_now(str(patch.promoted_from)))
        mode, because = ("auto", None)
        if decided is None:
            mode, because = patching.mode_of(
                document, proposal.author, proposal.mode, made=made, is_tainted=proposal.outside
            )
        if mode == "off":
            raise RunError("patches_off", "The workflow takes no patches (`patches` is off).", "/operations")
        changed: dict[str, Any] = {"report": _written(report), **(decided or {})}
        if mode == "auto":
            changed |= {
                "status": "applied",
                "number": _next_number(row, tag),
                "before": head,
                "version": made.ir.version,
            }
            adopt(row, made.ir.version, tag=tag, user=user, note=patch.reason)
            if patch.reverts is not None:
                WorkflowPatch.objects.filter(id=patch.reverts).update(status="reverted")
                # The tag names again what the experiment began with.
                _end_experiment(row, str(patch.reverts), by=patch.author_name)
        else:
            _require_room(row, tag, mode)
            changed |= {"status": "pending_review" if mode == "review" else "shadow", "held_because": because or ""}
        if known is not None and decided is not None:
            WorkflowPatch.objects.filter(id=patch.id).update(**changed)
            by, reason, at = (decided[key] for key in ("decided_by", "decision", "decided_at"))
            patch_tickets.close_of(str(patch.id), "approved", by=by, reason=reason, at=at)
            return
        for field, value in changed.items():
            setattr(patch, field, value)
        if patch.evidence:
            with connection.cursor() as cursor:
                blobs.keep(cursor, [patch.evidence])
        patch.save(force_insert=True)
        if patch.status == "pending_review":
            patch_tickets.open_of(patch, proposal.author)


def _end_experiment(row: Workflow, patch_id: str, *, by: str) -> None:
    """Ends the experiment with a patch that is not wanted; in the caller's transaction."""
    row.experiments.filter(patch=patch_id, ended_at=None).update(ended_at=Now(), ended_by=by, kept=False)


def _tried(
    patch: WorkflowPatch, proposal: Proposal, head: str, *, seconds: float | None = None
) -> tuple[Document, patching.Made, Report]:
    """The head, what the patch makes of it, and what that would have made of recorded runs."""
    document, made = _made(patch.workflow.name, proposal, head, is_promoted=patch.promoted_from is not None)
    return document, made, rehearse(patch.workflow.name, head, made.ir.version, seconds=seconds)


def _made(workflow: str, proposal: Proposal, head: str, *, is_promoted: bool = False) -> tuple[Document, patching.Made]:
    document = document_of(head)
    base = proposal.base or head
    is_own = base == head or is_promoted
    if not is_own and not Workflow.objects.filter(name=workflow, versions__version_id=base).exists():
        hint = f"The tag names {head} now."
        raise RunError("patch_base_unknown", f"{workflow} never had the version {base[:80]!r}.", "/base", hint)
    made = patching.make(
        proposal.operations,
        base=document_of(base),
        head=document,
        author=proposal.author,
        grant=proposal.grant,
        limits=document_limits(),
        is_of_run=False,
    )
    irs.keep(save_version(made.document, name=made.ir.version), made.ir)
    return document, made


def _chain(row: Workflow, tag: str, head: str) -> list[WorkflowPatch]:
    """The patches that lead without a gap to the head, the oldest first; what was pushed by hand ends it."""
    found: list[WorkflowPatch] = []
    for patch in row.patches.filter(tag=tag, status__in=("applied", "reverted")).order_by("-number"):
        if patch.version != head:
            break
        found.append(patch)
        head = patch.before
    return found[::-1]


def _next_number(row: Workflow, tag: str) -> int:
    return (row.patches.filter(tag=tag).aggregate(most=Max("number"))["most"] or 0) + 1


def _require_room(row: Workflow, tag: str, mode: str) -> None:
    if mode == "review" and row.patches.filter(tag=tag, status="pending_review").count() >= MAX_WAITING:
        message = f"{MAX_WAITING} patches of {row.name}@{tag} wait for review already."
        raise LimitExceeded("limit_patches_waiting", message, "/operations", "Answer some of them first.")


def _require_waiting(patch: WorkflowPatch, statuses: tuple[str, ...]) -> None:
    if patch.status not in statuses:
        by = f", by {patch.decided_by}." if patch.decided_by else "."
        raise RunError("patch_decided", f"The patch is {patch.status} already{by}")


def _require_applied(status: str) -> None:
    if status != "applied":
        raise RunError("patch_not_applied", f"The patch is {status}, not applied.")


def _status_now(patch_id: str) -> str:
    """How a patch of a workflow that is held, or of a run, stands until the transaction ends."""
    if is_known(patch_id):
        return _find(patch_id).status
    # The one that `patches.show` means; who reverts it waits for us.
    found = RunPatch.objects.select_for_update().filter(id=patch_id).order_by("run_id").first()
    return "gone" if found is None else found.status


def _same(patch_id: str, proposal: Proposal) -> dict[str, Any]:
    found = show(patch_id)
    require_same(found, proposal)
    return found


def _refusal(error: AobError) -> AobError:
    is_plain = isinstance(error, (RunError, WorkflowError, Unavailable, PatchConflict))
    return error if is_plain else patching.refusal(error)


def _find(patch_id: str) -> WorkflowPatch:
    patch = WorkflowPatch.objects.select_related("workflow").filter(id=patch_id).first() if is_id(patch_id) else None
    if patch is None:
        raise RunError("patch_unknown", f"There is no patch {str(patch_id)[:60]!r}.", hint="See `aob patch list NAME`.")
    return patch


def _proposal(patch: WorkflowPatch) -> Proposal:
    """What a kept patch proposed."""
    return Proposal(
        operations=_operations(patch),
        reason=patch.reason,
        author=_author(patch),
        base=patch.base,
        grant=read_grant(patch.grant),
        reverts=str(patch.reverts) if patch.reverts else None,
    )


def _author(patch: WorkflowPatch) -> Author:
    run = str(patch.author_run) if patch.author_run else None
    # Agents of runs change workflows only where people promote their patches.
    via = "mcp" if patch.author_kind == "agent" and run is None else None
    return Author(patch.author_kind, patch.author_name, run, via)  # type: ignore[arg-type]


def _operations(patch: WorkflowPatch) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = decode(patch.operations, is_canonical=True)
    return operations


def _written(report: Report) -> str:
    return msgspec.json.encode(report).decode()


def _workflow_of(run_id: str) -> str:
    with db.transaction() as cursor:
        row = cursor.execute("SELECT workflow FROM run WHERE id = %s", [run_id]).fetchone()
    return str(row[0]) if row else ""
