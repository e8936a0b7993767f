"""The tables of runs. The log is the truth (law 2); run, snapshot, task, dead letter and ticket are projections.

The hot path writes them with the statements in `runs/sql`; the models are for pages, admin and migrations.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Value
from django.db.models.functions import Cast, Coalesce, Now

PRIORITIES = {"high": 0, "medium": 1, "low": 2}
STATUSES = ("queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "timed_out")
TRY_LABEL = "aob.try"
"""On runs by which the editor tries a node: the label's value. They are no runs of their workflow to those who count."""


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


class RunPatch(models.Model):
    """A patch of a run and how it stands; what it says stands in the events `first_seq` and `last_seq`."""

    pk = models.CompositePrimaryKey("run_id", "id")
    run_id = models.UUIDField()
    id = models.UUIDField(db_index=True)
    status = models.CharField(max_length=16)
    first_seq = models.IntegerField()
    last_seq = models.IntegerField()

    class Meta:
        db_table = "run_patch"
        indexes = [
            models.Index(
                fields=["status", "run_id"], name="run_patch_pending", condition=models.Q(status="pending_review")
            ),
        ]


class AgentSpend(models.Model):
    """What agents used or reserved on a day (UTC): of one workflow, or of all where the name is empty."""

    pk = models.CompositePrimaryKey("day", "workflow")
    day = models.DateField()
    workflow = models.CharField(max_length=128)
    tokens = models.BigIntegerField()
    cost = models.BigIntegerField(help_text="Millionths of a US dollar.")

    class Meta:
        db_table = "agent_spend"


class AgentUse(models.Model):
    """What agents used or reserved of a budget: of an agent's node with all that its patches brought, or, where the node
    is empty, of a run with the runs that it started. Written with the events of the steps (`runs/budgets.py`)."""

    pk = models.CompositePrimaryKey("run_id", "node")
    run_id = models.UUIDField()
    node = models.TextField()
    tokens = models.BigIntegerField()
    cost = models.BigIntegerField(help_text="Millionths of a US dollar.")
    steps = models.BigIntegerField()
    micros = models.BigIntegerField(help_text="How long the steps took, in microseconds.")

    class Meta:
        db_table = "agent_use"


class AgentSwitch(models.Model):
    """That the operator has stopped all agents; no row while they work."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    by = models.TextField()
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "agent_switch"


class Ticket(models.Model):
    """A question to people that a run asked, as its log says; written with the events that open, change and decide it.

    A patch that waits for review is one, of kind `patch` and with the patch's id; that of a workflow has no run and no
    seq, and stands as its patch does. `seq` is the event that opened a ticket, with all that it asks. `assignees` holds
    ANYONE where everybody may decide; `answered` are those who have, `away` who handed their part to others, `not_by` who
    may not, nor may those of `nor_by`. `claimed_by` looks at it, which keeps nobody else from deciding. `bulk` says that
    it may be decided together with others. Lists walk `ticket_open`, `ticket_closed` or `ticket_newest`.
    """

    ANYONE = "*"

    id = models.UUIDField(primary_key=True)
    run_id = models.UUIDField(null=True)
    seq = models.IntegerField(null=True)
    node = models.TextField(null=True)
    kind = models.CharField(max_length=12)
    workflow = models.CharField(max_length=128)
    title = models.TextField()
    assignees = ArrayField(models.TextField())
    answered = ArrayField(models.TextField(), default=list)
    away = ArrayField(models.TextField(), default=list, db_default=[])
    claimed_by = models.TextField(null=True)
    bulk = models.BooleanField(default=False, db_default=False)
    not_by = models.TextField(null=True)
    nor_by = ArrayField(models.TextField(), default=list, db_default=[])
    status = models.CharField(max_length=10, default="open")
    priority = models.SmallIntegerField()
    due_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.TextField(null=True)
    reason = models.TextField(null=True)

    class Meta:
        db_table = "ticket"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(
                Coalesce("due_at", Cast(Value("infinity"), models.DateTimeField())), "id",
                name="ticket_open", condition=models.Q(status="open"),
            ),
            models.Index(fields=["-decided_at", "-id"], name="ticket_closed", condition=~models.Q(status="open")),
            models.Index(fields=["-created_at", "-id"], name="ticket_newest"),
            models.Index(fields=["run_id"], name="ticket_run"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.title


class TicketMessage(models.Model):
    """That people are to be told of what happened to a ticket: one row for each event of which they are.

    Written with the event, so that it is told of exactly what was committed. `next_at` is when it is tried (again).
    """

    DUE, DONE, VOID, GIVEN_UP = "due", "done", "void", "given_up"

    run_id = models.UUIDField()
    ticket = models.UUIDField()
    seq = models.IntegerField()
    kind = models.CharField(max_length=12)
    created_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=10, default=DUE, db_default=DUE)
    attempts = models.IntegerField(default=0, db_default=0)
    next_at = models.DateTimeField(db_default=Now())
    error = models.TextField(null=True)
    arranged = models.BooleanField(
        default=False, db_default=False, help_text="Whether its posts to webhooks have been written."
    )

    class Meta:
        db_table = "ticket_message"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["ticket", "seq"], name="ticket_message_once")]
        indexes = [
            models.Index(fields=["next_at", "id"], name="ticket_message_due", condition=models.Q(state="due")),
            models.Index(fields=["run_id"], name="ticket_message_run"),
            models.Index(fields=["id"], name="ticket_message_fresh", condition=models.Q(arranged=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ticket}"


class Blob(models.Model):
    """Bytes named by their hash: small ones here, larger ones compressed in the blob storage.

    `created_at` is when they were last stored, give or take half a day: nothing younger than a day is collected.
    """

    hash = models.CharField(primary_key=True, max_length=71)
    size = models.BigIntegerField()
    media_type = models.TextField()
    data = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "blob"


class BlobUse(models.Model):
    """Which run's log names which blob, for retention; `readable` says whether the run may read it (`runs.blob_uses`)."""

    pk = models.CompositePrimaryKey("run_id", "hash")
    run_id = models.UUIDField()
    hash = models.CharField(max_length=71)
    readable = models.BooleanField(default=True, db_default=True)

    class Meta:
        db_table = "blob_use"
        indexes = [models.Index(fields=["hash"], name="blob_use_hash")]


class BlobPart(models.Model):
    """Which stored value names which blob: what it names is kept as long as the value. No right to read comes of it."""

    pk = models.CompositePrimaryKey("hash", "part")
    hash = models.CharField(max_length=71)
    part = models.CharField(max_length=71)

    class Meta:
        db_table = "blob_part"
        indexes = [models.Index(fields=["part"], name="blob_part_part")]


class StartKey(models.Model):
    """An `Idempotency-Key` and what it started."""

    key = models.CharField(primary_key=True, max_length=300)
    request_hash = models.CharField(max_length=71)
    run_id = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "start_key"
