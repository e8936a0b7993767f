"""Experiments: a share of the new runs of a tag begins with another version, and both are compared.

Which run gets it follows from its id, so nothing is kept for it. An experiment holds while its tag names the version that
it began with; when the tag moves on, later runs begin with what it names then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from runs import db, workflow_patches
from runs.core.ids import time_id
from workflows.core.patches import same
from workflows.models import Experiment
from workflows.services import WorkflowError, adopt, document_of, head_of, locked, resolve

MAX_RUNS = 50_000
"""So many of the newest runs are compared."""

_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@transaction.atomic
def begin(
    workflow: str, tag: str, *, share: int, by: str, version: str | None = None, patch: str | None = None
) -> dict[str, Any]:
    """Gives `share` in a hundred of the new runs a version, or what a waiting patch makes; or changes the share.

    Raises WorkflowError, RunError, PatchRefused, PatchConflict.
    """
    if not 1 <= share <= 99:
        raise WorkflowError("experiment_share", f"{share} is no share.", "/share", "Use 1 to 99, in per cent.")
    if (version is None) == (patch is None):
        raise WorkflowError("experiment_variant", "Either a version or a patch is tried.", "/version")
    row = locked(workflow)
    before = head_of(workflow, tag)
    wanted = resolve(f"{workflow}@{version}") if version is not None else None
    wanted = wanted or workflow_patches.variant(str(patch), workflow, tag, by=by)
    if wanted == before:
        raise WorkflowError("experiment_same", f"{workflow}@{tag} is this version already.", "/version")
    if not same(document_of(before).get("inputs"), document_of(wanted).get("inputs")):
        raise WorkflowError(
            "experiment_inputs",
            "The version takes other inputs, and who starts a run cannot know which it will be.",
            "/version",
            "Try a version with the same inputs.",
        )
    live = row.experiments.filter(tag=tag, ended_at=None).first()
    if live is not None and live.before != before:
        row.experiments.filter(id=live.id).update(ended_at=Now(), ended_by=by, kept=False)
    elif live is not None and live.version != wanted:
        message = f"An experiment with {live.version} is going on."
        raise WorkflowError("experiment_live", message, "/version", "End it first.")
    elif live is not None:
        if live.patch is not None and patch is None:
            # Who names the version instead of its patch gives it to no more runs than who names the patch.
            workflow_patches.variant(str(live.patch), workflow, tag, by=by)
        row.experiments.filter(id=live.id).update(share=share)
        return outcomes(workflow, tag)
    row.experiments.create(tag=tag, before=before, version=wanted, patch=patch, share=share, began_by=by)
    return outcomes(workflow, tag)


def outcomes(workflow: str, tag: str) -> dict[str, Any]:
    """The last experiment of a tag, with what became of the runs of both versions. Raises WorkflowError."""
    found = latest(workflow, tag)
    if found is None:
        raise _unknown(workflow, tag)
    return _told(found)


def end(
    workflow: str, tag: str, *, keep: bool, by: str, user: Any = None, door: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Ends an experiment: the tag gets the version, or what its patch makes of the tag now; or neither.

    Raises WorkflowError, RunError, PatchRefused, PatchConflict.
    """
    with transaction.atomic():
        row = locked(workflow)
        found = row.experiments.filter(tag=tag, ended_at=None).first()
        if found is None:
            raise _unknown(workflow, tag)
        head = head_of(workflow, tag)
        if found.patch is not None and _is_open(str(found.patch)):
            verdict, reason = (
                ("approve", "The experiment was kept.") if keep else ("reject", "The experiment was dropped.")
            )
            workflow_patches.answer(str(found.patch), verdict, by=by, reason=reason, user=user, or_tried=True, door=door)
        elif keep and head != found.version:
            if found.patch is not None:
                workflow_patches.require_applied(str(found.patch))
            if head != found.before:
                raise WorkflowError(
                    "experiment_overtaken",
                    f"{workflow}@{tag} has moved on since, to {head}.",
                    hint="Drop the experiment, and try a version that goes on from there.",
                )
            adopt(row, found.version, tag=tag, user=user, note="Kept after an experiment")
        row.experiments.filter(id=found.id).update(ended_at=Now(), ended_by=by, kept=keep)
    return outcomes(workflow, tag)


def latest(workflow: str, tag: str) -> Experiment | None:
    """The experiment of a tag that goes on, or its last one."""
    return Experiment.objects.select_related("workflow").filter(workflow__name=workflow, tag=tag).first()


def _is_open(patch_id: str) -> bool:
    return workflow_patches.show(patch_id)["status"] in ("pending_review", "shadow")


def _told(found: Experiment) -> dict[str, Any]:
    counted, is_whole = _counted(found)
    nothing = {"runs": 0, "completed": 0, "failed": 0, "median": None, "p95": None}
    told = {
        "workflow": found.workflow.name,
        "tag": found.tag,
        "status": _status(found),
        "share": found.share,
        "patch": str(found.patch) if found.patch else None,
        "began_at": found.began_at.isoformat(),
        "began_by": found.began_by,
        "ended_at": found.ended_at.isoformat() if found.ended_at else None,
        "ended_by": found.ended_by or None,
    }
    versions = [
        {"version": version, "role": role, **counted.get(version, nothing)}
        for role, version in (("before", found.before), ("variant", found.version))
    ]
    return {**{key: part for key, part in told.items() if part is not None}, "versions": versions, "complete": is_whole}


def _status(found: Experiment) -> str:
    """`overtaken` is one that nobody has ended while its tag has moved on."""
    if found.ended_at is not None:
        return "kept" if found.kept else "dropped"
    return "live" if head_of(found.workflow.name, found.tag) == found.before else "overtaken"


def _counted(found: Experiment) -> tuple[dict[str, dict[str, Any]], bool]:
    """Runs since it began by version, and whether all of them were counted; durations in seconds."""
    bounds = {"first": _id_at(found.began_at), "last": _id_at(found.ended_at) if found.ended_at else _LAST_ID}
    with db.transaction() as cursor:
        cursor.execute(db.sql("compare_versions"), {"workflow": found.workflow.name, "limit": MAX_RUNS, **bounds})
        rows = cursor.fetchall()
    counted = {
        version: {
            "runs": runs,
            "completed": completed,
            "failed": failed,
            "median": None if median is None else round(float(median), 6),
            "p95": None if p95 is None else round(float(p95), 6),
        }
        for version, runs, completed, failed, median, p95, _ in rows
    }
    return counted, not rows or rows[0][6] < MAX_RUNS


def _id_at(at: datetime) -> str:
    """No id of a run that began later is smaller."""
    return time_id(db.micros(at) // 1000, bytes(10))


def _unknown(workflow: str, tag: str) -> WorkflowError:
    return WorkflowError(
        "experiment_unknown", f"No experiment goes on at {workflow[:128]}@{tag[:64]}.", hint="Begin one first."
    )
