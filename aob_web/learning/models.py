"""How far somebody is with the tour."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Tour(models.Model):
    """The tour of one account; there is none as long as it was only offered."""

    class State(models.TextChoices):
        RUNNING = "running"
        SKIPPED = "skipped"
        FINISHED = "finished"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="tour")
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    step = models.PositiveSmallIntegerField(default=1)
    place = models.CharField(max_length=300, blank=True, help_text="The page of its last step.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tour"

    def __str__(self) -> str:
        return f"{self.user}: step {self.step}, {self.state}"
