"""Drafts: what is drawn before it is published. Saved at every stage; unseen work is never overwritten."""

from __future__ import annotations

import re
from typing import Any

from django.db import IntegrityError, transaction

from workflows.core.canonical import canonical
from workflows.core.document import NAME_PATTERN, Document
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.strictjson import decode
from workflows.models import Draft, Workflow
from workflows.services import document_limits, document_of

MAX_PINS = 2 * 1024 * 1024
_NAME = re.compile(NAME_PATTERN)


class DraftError(AobError):
    """A draft that is unknown or cannot be saved."""


class DraftStale(DraftError):
    """Somebody saved meanwhile. `draft` is what there is now."""

    def __init__(self, draft: dict[str, Any]) -> None:
        by = draft["updated_by"] or "Somebody"
        super().__init__(
            "draft_stale",
            f"{by} saved revision {draft['revision']} meanwhile.",
            hint="Merge it with yours and save again.",
        )
        self.draft = draft


def draft_of(name: str) -> dict[str, Any]:
    """The draft of a workflow; the newest version where nobody has begun one. Raises DraftError `workflow_unknown`."""
    found = Draft.objects.select_related("updated_by").filter(name=name).first()
    if found is not None:
        return _view(found)
    workflow = Workflow.objects.filter(name=name).first()
    newest = workflow.versions.first() if workflow is not None else None
    if newest is None:
        raise DraftError(
            "workflow_unknown", f"There is no workflow {name[:128]!r}.", hint="Begin it on the workflows page."
        )
    return {
        "document": document_of(newest.version_id),
        "pins": {},
        "revision": 0,
        "base": newest.version_id,
        "updated_by": None,
        "updated_at": None,
    }


@transaction.atomic
def save_draft(name: str, document: Any, *, revision: int, pins: Any = None, user: Any = None) -> dict[str, Any]:
    """Keeps a draft that follows `revision`. Raises DraftStale when there is a newer one, DraftError, LimitExceeded."""
    _check(name, document, pins)
    found = Draft.objects.select_for_update().filter(name=name).first()
    if (found.revision if found is not None else 0) != revision:
        raise DraftStale(draft_of(name))
    text, pinned = canonical(document).decode(), canonical(pins or {}).decode()
    if found is None:
        base = draft_of(name)["base"]
        try:
            with transaction.atomic():
                return _view(Draft.objects.create(name=name, document=text, pins=pinned, base=base, updated_by=user))
        except IntegrityError:
            raise DraftStale(draft_of(name)) from None
    found.document, found.pins, found.updated_by, found.revision = text, pinned, user, revision + 1
    found.save()
    return _view(found)


@transaction.atomic
def begin_draft(document: Document, *, user: Any = None) -> str:
    """Begins a workflow that is not published yet; gives its name. Raises DraftError when the name is taken or bad."""
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DraftError(
            "name_invalid", "A name has letters, digits, . _ and -, a letter or digit first, at most 128.", "/name"
        )
    _check(name, document, None)
    if Draft.objects.filter(name=name).exists() or Workflow.objects.filter(name=name).exists():
        raise DraftError("name_taken", f"There is a workflow {name!r} already.", "/name", "Take another name.")
    Draft.objects.create(name=name, document=canonical(document).decode(), updated_by=user)
    return name


def _check(name: str, document: Any, pins: Any) -> None:
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), dict):
        raise DraftError("draft_invalid", "A draft is an object with `name` and `nodes`.", "/document")
    if document.get("name") != name:
        raise DraftError("draft_invalid", f"The name in the document is not {name!r}.", "/document/name")
    limit = document_limits().max_document_bytes
    size = len(canonical(document))
    if size > limit:
        raise LimitExceeded(
            "limit_document_bytes", f"The draft has {size} bytes; the limit is {limit}.", hint="Use sub-workflows."
        )
    if pins is not None and (not isinstance(pins, dict) or len(canonical(pins)) > MAX_PINS):
        raise DraftError("pins_invalid", f"Pinned outputs are an object of at most {MAX_PINS} bytes.", "/pins")


def _view(found: Draft) -> dict[str, Any]:
    return {
        "document": decode(found.document, is_canonical=True),
        "pins": decode(found.pins, is_canonical=True),
        "revision": found.revision,
        "base": found.base or None,
        "updated_by": found.updated_by.get_username() if found.updated_by else None,
        "updated_at": found.updated_at.isoformat(),
    }
