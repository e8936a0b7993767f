"""What the console lists under a name of its own."""

from __future__ import annotations

from runs.models import Run


class Timer(Run):
    """A run that is to be looked at at a time: a delay, a retry or a time-out is due, or facts wait for it."""

    class Meta:
        proxy = True
        verbose_name = "timer"
        ordering = ["priority", "wake_at"]
