"""Workflows, their immutable versions, the tags that name them, and the patches behind tags."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Version(models.Model):
    """A document, named by the hash of its canonical bytes; never changed."""

    hash = models.CharField(primary_key=True, max_length=71)
    document = models.TextField(help_text="Canonical JSON.")
    ir_hash = models.CharField(max_length=71)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "version"

    def __str__(self) -> str:
        return self.hash[:19]


class Workflow(models.Model):
    """The named thing."""

    name = models.CharField(max_length=128, unique=True)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "workflow"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class WorkflowVersion(models.Model):
    """One version of a workflow, numbered in the order in which they were pushed."""

    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        db_table = "workflow_version"
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "number"], name="workflow_version_number"),
            models.UniqueConstraint(fields=["workflow", "version"], name="workflow_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} #{self.number}"


class Tag(models.Model):
    """A movable name for a version."""

    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="tags")
    name = models.CharField(max_length=64)
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    moved_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tag"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workflow", "name"], name="tag_name")]

    def __str__(self) -> str:
        return f"{self.workflow}@{self.name}"


class TagMove(models.Model):
    """The record that a tag was moved (law 5)."""

    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="tag_moves")
    name = models.CharField(max_length=64)
    before = models.CharField(max_length=71, blank=True)
    after = models.CharField(max_length=71)
    moved_at = models.DateTimeField(auto_now_add=True)
    moved_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        db_table = "tag_move"
        ordering = ["-id"]


class WorkflowPatch(models.Model):
    """A patch of a workflow, for the runs that begin later; only how it stands changes.

    The applied ones are a chain behind the tag: each makes `version` of `before`. `number` is a patch's place in it.
    """

    id = models.UUIDField(primary_key=True)
    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="patches")
    tag = models.CharField(max_length=64)
    number = models.PositiveIntegerField(null=True)
    operations = models.TextField(help_text="Canonical JSON (RFC 6902).")
    author_kind = models.CharField(max_length=16)
    author_name = models.TextField()
    author_run = models.UUIDField(null=True)
    reason = models.TextField(blank=True)
    evidence = models.CharField(max_length=71, blank=True)
    read = models.JSONField(default=list)
    grant = models.JSONField(null=True, help_text="What its author may add; everything where it is null.")
    base = models.CharField(max_length=71, help_text="The version that it was made against.")
    before = models.CharField(max_length=71, blank=True)
    version = models.CharField(max_length=71, blank=True)
    status = models.CharField(max_length=16)
    held_because = models.TextField(blank=True)
    reverts = models.UUIDField(null=True)
    promoted_from = models.UUIDField(null=True)
    report = models.TextField(help_text="JSON: what it would have made of recorded runs.")
    created_at = models.DateTimeField(db_default=Now())
    decided_by = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)
    decision = models.TextField(blank=True)
    decided_from = models.JSONField(null=True, help_text="The door that the decision came by; null in older ones.")

    class Meta:
        db_table = "workflow_patch"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "tag", "number"], name="workflow_patch_number"),
        ]
        indexes = [
            models.Index(fields=["workflow", "-created_at", "-id"], name="workflow_patch_newest"),
            models.Index(fields=["evidence"], name="workflow_patch_evidence", condition=~models.Q(evidence="")),
        ]

    def __str__(self) -> str:
        return f"{self.workflow}@{self.tag}: {self.reason[:60]}"


class Experiment(models.Model):
    """A share of the new runs of a tag begins with another version, as long as the tag names `before`.

    `patch` is the waiting patch that makes that version, where it is one.
    """

    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="experiments")
    tag = models.CharField(max_length=64)
    before = models.CharField(max_length=71)
    version = models.CharField(max_length=71)
    patch = models.UUIDField(null=True)
    share = models.PositiveSmallIntegerField(help_text="Per cent.")
    began_at = models.DateTimeField(db_default=Now())
    began_by = models.TextField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.TextField(blank=True)
    kept = models.BooleanField(null=True)

    class Meta:
        db_table = "experiment"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "tag"], name="experiment_live", condition=models.Q(ended_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow}@{self.tag}: {self.share} %"


class Draft(models.Model):
    """What is being drawn: one document for each workflow, shared by those who draw it, published when it is right.

    `revision` counts its savings, so that nobody overwrites what he has not seen. `pins` are outputs that tries use
    instead of running a node; they are data and no part of the document.
    """

    name = models.CharField(max_length=128, unique=True)
    document = models.TextField(help_text="Canonical JSON; may be incomplete.")
    pins = models.TextField(default="{}", help_text="JSON: outputs by node path.")
    revision = models.PositiveIntegerField(default=1)
    base = models.CharField(max_length=71, blank=True, help_text="The version that it began with.")
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        db_table = "draft"
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name} (draft {self.revision})"
