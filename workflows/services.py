"""The only functions that change workflows: push versions, move tags; and how names are resolved."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet

from workflows.core.canonical import canonical
from workflows.core.compile import compile_document
from workflows.core.document import Document, DocumentLimits, document_hash, ir_hash
from workflows.core.errors import AobError
from workflows.core.ir import WorkflowIR
from workflows.core.problems import DocumentInvalid, Problem
from workflows.core.strictjson import decode
from workflows.core.validate import validate
from workflows.models import Tag, TagMove, Version, Workflow, WorkflowVersion

LATEST = "latest"
"""The tag that every push moves."""

_TAG = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class WorkflowError(AobError):
    """A workflow, version or tag that is unknown or refused."""


@cache
def document_limits() -> DocumentLimits:
    """The bounds of documents, from the environment."""
    defaults = DocumentLimits()
    return DocumentLimits(
        **{
            name: int(os.environ.get(f"AOB_{name.upper()}", getattr(defaults, name)))
            for name in DocumentLimits.__struct_fields__
        }
    )


def problems_of(document: Any) -> list[Problem]:
    """Everything wrong with a document, sub-workflows that do not exist included."""
    problems = validate(document, limits=document_limits())
    if any(problem.severity == "error" for problem in problems):
        return problems
    ir = compile_document(document)
    for name in ir.subworkflows:
        try:
            resolve(name)
        except WorkflowError as error:
            problems.append(Problem("/nodes", error.code, error.message, error.hint, severity="warning"))
    return problems + _unknown_people(ir)


def _unknown_people(ir: WorkflowIR) -> list[Problem]:
    """Assignees whom nobody knows: a warning, because they may come before the run does."""
    named = {
        kind: {name[len(kind) :] for _, name in ir.assignees if name.startswith(kind)} for kind in ("user:", "group:")
    }
    known = (
        {
            *get_user_model()
            .objects.filter(username__in=named["user:"], is_active=True)
            .values_list("username", flat=True),
            *(f"group:{name}" for name in Group.objects.filter(name__in=named["group:"]).values_list("name", flat=True)),
        }
        if ir.assignees
        else set()
    )
    return [
        Problem(
            place,
            "assignee_unknown",
            f"There is no {'group' if name.startswith('group:') else 'active user'} {name.partition(':')[2]!r}.",
            "Until there is, nobody can decide in that name. Users and groups are made at /admin/.",
            severity="warning",
        )
        for place, name in ir.assignees
        if name.removeprefix("user:") not in known
    ]


def require_valid(document: Any) -> None:
    """Raises DocumentInvalid with all problems when one of them is an error."""
    problems = validate(document, limits=document_limits())
    if any(problem.severity == "error" for problem in problems):
        raise DocumentInvalid(problems)


def save_version(document: Document, *, name: str | None = None) -> str:
    """Keeps an immutable version and gives its hash; the document must be valid. `name` is its hash if that is known."""
    name = name or document_hash(document)
    Version.objects.get_or_create(
        hash=name, defaults={"document": canonical(document).decode(), "ir_hash": ir_hash(document)}
    )
    return name


_known: OrderedDict[str, None] = OrderedDict()
"""Versions that this process has validated and saved; versions are never changed or deleted."""

MAX_KNOWN = 10_000


def require_version(document: Any) -> str:
    """The version of a document, which is kept if it is new. Raises DocumentInvalid with all problems."""
    try:
        name = document_hash(document)
    except Exception:
        name = ""
    if name not in _known:
        require_valid(document)
        name = save_version(document)
        _known[name] = None
        while len(_known) > MAX_KNOWN:
            _known.popitem(last=False)
    return name


@transaction.atomic
def push(document: Any, *, user: Any = None, tag: str | None = None, note: str = "") -> WorkflowVersion:
    """Makes the document the newest version of its workflow and moves `latest` (and `tag`) to it.

    Pushing a version that the workflow has already gives that version again. Raises DocumentInvalid.
    """
    require_valid(document)
    name = save_version(document)
    workflow, _ = Workflow.objects.select_for_update().get_or_create(name=document["name"])
    for wanted in dict.fromkeys((LATEST, tag or LATEST)):
        found = adopt(workflow, name, tag=wanted, user=user, note=note)
    return found


def adopt(workflow: Workflow, version: str, *, tag: str, user: Any = None, note: str = "") -> WorkflowVersion:
    """Makes a saved version one of a workflow that the caller holds (`locked`), and moves the tag to it."""
    found = workflow.versions.filter(version_id=version).first()
    if found is None:
        number = (workflow.versions.values_list("number", flat=True).first() or 0) + 1
        found = WorkflowVersion.objects.create(
            workflow=workflow, number=number, version_id=version, note=note, created_by=user
        )
    if tag == LATEST:
        workflow.description = document_of(version).get("description", "")
        workflow.save(update_fields=["description"])
    move_tag(workflow.name, tag, version, user=user)
    return found


def locked(name: str) -> Workflow:
    """A workflow that nobody else changes until the transaction ends. Raises WorkflowError."""
    return _workflow(name, Workflow.objects.select_for_update())


@transaction.atomic
def move_tag(workflow_name: str, tag: str, version: str, *, user: Any = None) -> Tag:
    """Points a tag at a version of the same workflow and records the move. Raises WorkflowError."""
    if not _TAG.fullmatch(tag):
        raise WorkflowError("tag_invalid", f"{tag[:80]!r} cannot be a tag.", "/tag", "Use letters, digits, . _ -")
    # The workflow before its tags, always: whoever changes both takes them in this order.
    workflow = locked(workflow_name)
    if not workflow.versions.filter(version_id=version).exists():
        raise WorkflowError(
            "version_unknown",
            f"{workflow_name} has no version {version[:80]}.",
            hint="Push the document first.",
        )
    found = workflow.tags.filter(name=tag).first()
    before = found.version_id if found else ""
    if before == version and found is not None:
        return found
    TagMove.objects.create(workflow=workflow, name=tag, before=before, after=version, moved_by=user)
    if found is None:
        return Tag.objects.create(workflow=workflow, name=tag, version_id=version)
    found.version_id = version
    found.save()
    return found


def resolve(reference: str) -> str:
    """The version that `name`, `name@tag` or `name@sha256:…` means. Raises WorkflowError."""
    name, _, tag = reference.partition("@")
    workflow = _workflow(name)
    tag = tag or LATEST
    if _HASH.fullmatch(tag):
        if workflow.versions.filter(version_id=tag).exists():
            return tag
    else:
        found = workflow.tags.filter(name=tag).values_list("version_id", flat=True).first()
        if found is not None:
            return str(found)
    tags = ", ".join(workflow.tags.values_list("name", flat=True))
    raise WorkflowError("tag_unknown", f"{name} has no tag {tag[:80]!r}.", hint=f"Its tags: {tags or 'none'}.")


def head_of(name: str, tag: str) -> str:
    """The version that a tag names; other than `resolve` it takes no hash for a tag. Raises WorkflowError."""
    if _HASH.fullmatch(tag):
        raise WorkflowError("tag_unknown", f"{tag} is a version, not a tag.", "/tag", "Name one of the workflow's tags.")
    return resolve(f"{name}@{tag}")


def document_of(version: str) -> Document:
    """The document of a version. Raises WorkflowError."""
    text = Version.objects.filter(hash=version).values_list("document", flat=True).first()
    if text is None:
        raise WorkflowError("version_unknown", f"There is no version {version[:80]!r}.")
    document: Document = decode(text, is_canonical=True)
    return document


def pins_of(ir: WorkflowIR) -> dict[str, str]:
    """The versions that a run's sub-workflows have when it starts; unknown ones are left out."""
    pins = {}
    for reference in ir.subworkflows:
        try:
            pins[reference] = resolve(reference)
        except WorkflowError:
            continue
    return pins


def _workflow(name: str, among: QuerySet[Workflow] | None = None) -> Workflow:
    found = (Workflow.objects.all() if among is None else among).filter(name=name).first()
    if found is None:
        raise WorkflowError(
            "workflow_unknown",
            f"There is no workflow {name[:128]!r}.",
            hint="See `aob workflow list`, or push it.",
        )
    return found
