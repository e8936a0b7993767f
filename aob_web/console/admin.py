"""What Django finds: every list of the console."""

from __future__ import annotations

from aob_web.console import accounts, runs, webhooks, workflows

__all__ = ["accounts", "runs", "webhooks", "workflows"]
