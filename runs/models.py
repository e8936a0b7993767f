"""The tables of runs. The log is the truth (law 2); run, snapshot, task and dead letter are projections.

The hot path writes them with the statements in `runs/sql`; the models are for pages, admin and migrations.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

PRIORITIES = {"high": 0, "medium": 1, "low": 2}
STATUSES = ("queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "timed_out")


class JsonText(models.Field):
    """A `json` column: kept as the text that was written, so that the bytes of an event never change."""

    def db_type(self, connection: object) -> str:
        return "json"


class Run(models.Model):
    """One execution. `wake_at` is when a coordinator must look at it next; null while it only waits.

    Ids are ordered by time, so the primary key serves every list of the newest runs, and a run that ends as it
    is accepted costs two index entries.
    """

    id = models.UUIDField(primary_key=True)
    workflow = models.CharField(max_length=128)
    version = models.CharField(max_length=71)
    status = models.CharField(max_length=12)
    priority = models.SmallIntegerField(default=1)
    labels = models.JSONField(default=dict)
    parent = models.UUIDField(null=True)
    parent_node = models.TextField(null=True)
    depth = models.SmallIntegerField(default=0)
    forked_from = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True)
    last_seq = models.IntegerField(default=0)
    error = models.JSONField(null=True)

    class Meta:
        db_table = "run"
        indexes = [
            models.Index(fields=["priority", "wake_at"], name="run_wake", condition=models.Q(wake_at__isnull=False)),
            models.Index(fields=["workflow", "id"], name="run_workflow"),
            models.Index(fields=["status", "id"], name="run_status", condition=~models.Q(status="completed")),
            models.Index(fields=["parent"], name="run_parent", condition=models.Q(parent__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.id}"


class RunEvent(models.Model):
    """The log: append-only, gap-free per run."""

    pk = models.CompositePrimaryKey("run_id", "seq")
    run_id = models.UUIDField()
    seq = models.IntegerField()
    type = models.TextField()
    at = models.DateTimeField()
    node = models.TextField(null=True)
    data = JsonText()

    class Meta:
        db_table = "run_event"


class RunSnapshot(models.Model):
    """fold(log up to seq), so that a long log is not folded again; always equal to it."""

    run = models.UUIDField(primary_key=True, db_column="run_id")
    seq = models.IntegerField()
    state = models.BinaryField()

    class Meta:
        db_table = "run_snapshot"


class Inbox(models.Model):
    """Facts that wait to be taken into a run's log."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.UUIDField()
    type = models.TextField()
    node = models.TextField(null=True)
    data = JsonText()

    class Meta:
        db_table = "run_inbox"
        indexes = [models.Index(fields=["run_id", "id"], name="run_inbox_run")]


class Task(models.Model):
    """One attempt of an effect node that is to be executed or being executed; gone once it is recorded."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.UUIDField()
    node = models.TextField()
    attempt = models.IntegerField()
    losses = models.SmallIntegerField(db_default=0)
    type = models.TextField()
    plane = models.TextField()
    priority = models.SmallIntegerField()
    input_seq = models.IntegerField()
    timeout = models.FloatField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    rung_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    lease_token = models.BigIntegerField(null=True)
    leased_at = models.DateTimeField(null=True)
    worker = models.TextField(null=True)

    class Meta:
        db_table = "task"
        constraints = [models.UniqueConstraint(fields=["run_id", "node", "attempt"], name="task_once")]
        indexes = [
            models.Index(
                fields=["plane", "priority", "id"],
                name="task_free",
                condition=models.Q(lease_until__isnull=True),
            ),
            models.Index(fields=["lease_until"], name="task_lease", condition=models.Q(lease_until__isnull=False)),
        ]


class DeadLetter(models.Model):
    """A task that failed for good and failed its run."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.UUIDField()
    seq = models.IntegerField()
    workflow = models.CharField(max_length=128)
    node = models.TextField()
    type = models.TextField()
    attempts = models.IntegerField()
    input_seq = models.IntegerField()
    error = models.JSONField()
    created_at = models.DateTimeField()
    status = models.CharField(max_length=10, default="open")
    replayed_as = models.UUIDField(null=True)
    resolved_at = models.DateTimeField(null=True)
    reason = models.TextField(null=True)

    class Meta:
        db_table = "dead_letter"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["run_id", "seq"], name="dead_letter_once")]
        indexes = [models.Index(fields=["status", "-id"], name="dead_letter_status")]


class Blob(models.Model):
    """Bytes named by their hash: small ones here, larger ones compressed in the blob storage."""

    hash = models.CharField(primary_key=True, max_length=71)
    size = models.BigIntegerField()
    media_type = models.TextField()
    data = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "blob"


class BlobUse(models.Model):
    """Which run's log names which blob; for retention."""

    pk = models.CompositePrimaryKey("run_id", "hash")
    run_id = models.UUIDField()
    hash = models.CharField(max_length=71)

    class Meta:
        db_table = "blob_use"
        indexes = [models.Index(fields=["hash"], name="blob_use_hash")]


class StartKey(models.Model):
    """An `Idempotency-Key` and what it started."""

    key = models.CharField(primary_key=True, max_length=300)
    request_hash = models.CharField(max_length=71)
    run_id = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "start_key"
