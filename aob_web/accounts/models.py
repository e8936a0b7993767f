"""What belongs to a user: API tokens (only their SHA-256 is kept, the token itself is shown once), saved filters."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

SCOPES = ("read", "execute", "write", "admin")
"""What a token may do: read runs and workflows; start and steer runs; push workflows; everything."""

RUNNER_SCOPE = "agent"
"""What the token of an agent runner has, and nothing else: work for the agents whose tasks it leases."""

FOR_SUPERUSERS = frozenset({"admin", RUNNER_SCOPE})
"""What only superusers can give to a token of theirs."""

PREFIX = "aob_"


def digest(token: str) -> str:
    """What is stored of a token. A token has 256 random bits, so a plain hash is enough (no dictionary fits)."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiToken(models.Model):
    """A bearer token of a user, with scopes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "api_token"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def issue(
        cls,
        user: models.Model,
        name: str,
        scopes: tuple[str, ...] = SCOPES,
        lifetime: timedelta | None = None,
    ) -> str:
        """Makes a token and gives its text, which cannot be read again."""
        token = PREFIX + secrets.token_urlsafe(32)
        expires_at = timezone.now() + lifetime if lifetime else None
        cls.objects.create(user=user, name=name, digest=digest(token), scopes=list(scopes), expires_at=expires_at)
        return token

    @classmethod
    def find(cls, token: str) -> ApiToken | None:
        """The valid token with this text, or None."""
        found = cls.objects.select_related("user").filter(digest=digest(token), revoked_at=None).first()
        if found is None or not found.user.is_active:
            return None
        if found.expires_at is not None and found.expires_at <= timezone.now():
            return None
        return found

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


class SavedFilter(models.Model):
    """A filter of the runs that a user wants to use again: the query of the list's address, under a name."""

    MOST = 50

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_filters")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=4000)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "saved_filter"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="saved_filter_name")]

    def __str__(self) -> str:
        return self.name
