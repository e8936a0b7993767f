"""Who asks: a name, the groups that it has in this installation, and whether it may decide at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model

from runs.models import Ticket


@dataclass(frozen=True)
class Person:
    """Somebody who looks at tickets, or decides them with `may_decide` (the scope `execute`).

    Patches are decided by those who may change graphs as well: `may_change` (the scope `write`).
    `door` says where they come from, for the audit: `door` (browser, token, cli …), `address`, `token` (its name).
    """

    name: str
    groups: frozenset[str]
    may_decide: bool
    may_change: bool = False
    door: Mapping[str, str] = field(default_factory=dict, compare=False)

    def audiences(self) -> list[str]:
        """The assignees that mean this person."""
        return [Ticket.ANYONE, f"user:{self.name}", *self.group_audiences()]

    def group_audiences(self) -> list[str]:
        """Those of them that are groups."""
        return [f"group:{name}" for name in sorted(self.groups)]


def person(user: Any, *, may_decide: bool, may_change: bool = False, door: Mapping[str, str] | None = None) -> Person:
    """A user of this installation. Groups are read anew each time: who leaves one, loses its rights at once."""
    groups = frozenset(user.groups.values_list("name", flat=True))
    return Person(str(user.get_username()), groups, may_decide, may_change, door or {})


def known(name: str) -> Person | None:
    """An active user by name."""
    user = get_user_model().objects.filter(username=name, is_active=True).first() if "\0" not in name else None
    return None if user is None else person(user, may_decide=True)
