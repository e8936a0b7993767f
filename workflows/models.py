"""Workflows, their immutable versions, and the tags that name them."""

from __future__ import annotations

from django.conf import settings
from django.db import models


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
