"""Who wants mails about tickets, who got which, the links in them; and the webhooks that are told of tickets."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from workflows.core.chat import SHAPES


class MailPreference(models.Model):
    """Whether a user wants mails about tickets; without a row it does."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="mail_preference"
    )
    tickets = models.BooleanField(default=True)

    class Meta:
        db_table = "mail_preference"


class TicketMail(models.Model):
    """A mail that one user got for one message, or that the server refused for good; so nobody gets it again."""

    message = models.BigIntegerField()
    ticket = models.UUIDField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    address = models.TextField()
    sent_at = models.DateTimeField(db_default=Now())
    error = models.TextField(null=True)

    class Meta:
        db_table = "ticket_mail"
        constraints = [models.UniqueConstraint(fields=["message", "user"], name="ticket_mail_once")]
        indexes = [
            models.Index(fields=["ticket"], name="ticket_mail_ticket"),
            models.Index(fields=["user", "sent_at"], name="ticket_mail_user"),
        ]

    def __str__(self) -> str:
        return self.address


class TicketWebhook(models.Model):
    """Where events of tickets are posted. `sealed` holds URL and secret; `audience` is an assignee such as `group:ops`.

    With `decides_as` its receiver may answer tickets in that user's name, by a signed callback.
    """

    name = models.SlugField(max_length=60, unique=True)
    shape = models.CharField(max_length=10, choices=[(one, one) for one in SHAPES], default="webhook")
    sealed = models.TextField(editable=False)
    host = models.TextField(editable=False)
    workflow = models.CharField(max_length=128, blank=True)
    audience = models.CharField(max_length=200, blank=True)
    decides_as = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "ticket_webhook"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class TicketPost(models.Model):
    """One event of a ticket for one webhook, until it was taken. Those of a ticket go out in the order of `seq`."""

    DUE, DONE, VOID, GIVEN_UP = "due", "done", "void", "given_up"

    webhook = models.ForeignKey(TicketWebhook, on_delete=models.CASCADE, related_name="+")
    message = models.BigIntegerField()
    ticket = models.UUIDField()
    seq = models.IntegerField()
    kind = models.CharField(max_length=12)
    created_at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=10, default=DUE, db_default=DUE)
    attempts = models.IntegerField(default=0, db_default=0)
    next_at = models.DateTimeField(db_default=Now())
    error = models.TextField(null=True)

    class Meta:
        db_table = "ticket_post"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["webhook", "message"], name="ticket_post_once")]
        indexes = [
            models.Index(fields=["next_at", "id"], name="ticket_post_due", condition=models.Q(state="due")),
            models.Index(fields=["ticket", "seq"], name="ticket_post_ticket"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ticket}"


class TicketLink(models.Model):
    """A link that decides one ticket as one user, once. Only the SHA-256 of its token is kept.

    One with a `webhook` is for that webhook's callback alone. `stamp` is of the user's password and address when it was
    made: when one of them changes, the link is void.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    ticket = models.UUIDField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    stamp = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())
    webhook = models.ForeignKey(TicketWebhook, on_delete=models.CASCADE, null=True, related_name="+")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "ticket_link"
        indexes = [models.Index(fields=["ticket"], name="ticket_link_ticket")]
