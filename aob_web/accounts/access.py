"""Who asks, and what they may do: sessions for browsers, bearer tokens for programs (hazards S4, S11)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.db.models import Q
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from aob_web.accounts.models import SCOPES, ApiToken
from approvals.people import Person
from approvals.people import person as person_of
from workflows.core.errors import AobError

VERDICT_SECONDS = 4.0
MAX_VERDICTS = 10_000
_verdicts: dict[tuple[Any, int | None, str | None], tuple[bool, float]] = {}

CLIENT_HEADER = "X-AOB-Client"
"""By which the front tells the web whom a request is from; it takes away what a client sends under that name."""

CLI_AGENT = "aob-cli"

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class AccessError(AobError):
    """No credentials (401) or not the right ones (403)."""


@dataclass(frozen=True)
class Caller:
    """An authenticated user with the scopes of this request, by a token or by the session of a browser."""

    user: Any
    scopes: frozenset[str]
    token: int | None = None
    token_name: str = ""
    door: Mapping[str, str] = field(default_factory=dict, compare=False)
    session: str | None = None

    @property
    def name(self) -> str:
        return str(self.user.get_username())

    def still_valid(self) -> bool:
        """False once the user, the token or the session is no longer good; for connections that stay open.

        Asked once for all of a caller's connections in a few seconds.
        """
        key = (self.user.pk, self.token, self.session)
        known, until = _verdicts.get(key, (False, 0.0))
        if time.monotonic() < until:
            return known
        verdict = self._is_valid()
        if len(_verdicts) > MAX_VERDICTS:
            _verdicts.clear()
        _verdicts[key] = (verdict, time.monotonic() + VERDICT_SECONDS)
        return verdict

    def _is_valid(self) -> bool:
        if self.token is not None:
            unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
            if not ApiToken.objects.filter(unexpired, pk=self.token, revoked_at=None).exists():
                return False
        # The user of a session is a lazy object, whose type is not the model.
        user = get_user_model().objects.filter(pk=self.user.pk, is_active=True).first()
        return user is not None and (self.session is None or _is_session_of(user, self.session))


def _is_session_of(user: Any, session: str) -> bool:
    """Whether a session is there and still this user's: signing out ends it, another password changes its hash."""
    kept = import_module(settings.SESSION_ENGINE).SessionStore(session).load()
    if kept.get(SESSION_KEY) != str(user.pk):
        return False
    known = str(kept.get(HASH_SESSION_KEY, ""))
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    return any(constant_time_compare(known, one) for one in hashes)


def bearer(header: str | None) -> Caller | None:
    """The caller of an Authorization header, or None when there is no such header.

    Raises AccessError for any other credentials: there is no fall back to a default identity.
    """
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    found = ApiToken.find(token.strip()) if kind.lower() == "bearer" and token.strip() else None
    if found is None:
        raise AccessError("unauthenticated", "The API token is unknown, expired or revoked.", hint="See /account/.")
    return Caller(found.user, frozenset(found.scopes), found.pk, found.name)


def caller_of(request: HttpRequest) -> Caller:
    """Raises AccessError when nobody is signed in, or a browser's request fails the CSRF check."""
    found = bearer(request.headers.get("Authorization"))
    if found is not None:
        return replace(found, door=door_of(request, token=found.token_name))
    if not request.user.is_authenticated:
        raise AccessError(
            "unauthenticated", "Sign in, or send an API token.", hint="Authorization: Bearer aob_…, see .aob/client.json"
        )
    if request.method not in SAFE_METHODS:
        check_csrf(request)
    scopes = SCOPES if request.user.is_superuser else ("read", "execute", "write")
    return Caller(request.user, frozenset(scopes), door=door_of(request), session=request.session.session_key)


def door_of(request: HttpRequest, *, token: str = "") -> dict[str, str]:
    """Where a request comes from, as an audit says it. That a client is the command line is what it says itself."""
    is_cli = request.headers.get("User-Agent", "") == CLI_AGENT
    found = {"door": "cli" if is_cli else "token" if token else "browser"}
    if address := _address(request):
        found["address"] = address
    if token:
        found["token"] = token
    return found


def _address(request: HttpRequest) -> str:
    """The client's address. Who comes by the front's socket has none here; the front tells it in a header of its own."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    return peer or request.headers.get(CLIENT_HEADER, "")[:64]


def person(caller: Caller) -> Person:
    """The caller as the inbox knows it."""
    scopes = caller.scopes
    return person_of(
        caller.user,
        may_decide=bool({"execute", "admin"} & scopes),
        may_change=bool({"write", "admin"} & scopes),
        door=caller.door,
    )


def require(request: HttpRequest, scope: str) -> Caller:
    """The caller, if it may do what `scope` names. Raises AccessError."""
    caller = caller_of(request)
    allowed(caller, scope)
    return caller


def allowed(caller: Caller, scope: str) -> None:
    """Raises AccessError when the caller may not do what `scope` names."""
    if scope not in caller.scopes and "admin" not in caller.scopes:
        raise AccessError("forbidden", f"This needs the scope {scope!r}.", hint="Use a token that has it.")


def origin_allowed(origin: str | None) -> bool:
    """True for exactly our own origins (hazard S20)."""
    return origin in settings.ALLOWED_ORIGINS


def check_csrf(request: HttpRequest) -> None:
    """Raises AccessError for a request that did not come from a page of ours."""
    middleware = CsrfViewMiddleware(lambda request: None)  # type: ignore[arg-type,return-value]
    middleware.process_request(request)
    if middleware.process_view(request, lambda request: None, (), {}) is not None:  # type: ignore[arg-type]
        raise AccessError("csrf", "The request did not come from our own pages.", hint="Reload the page and try again.")


class Throttle:
    """Slows down guessing of passwords: a few failures per name and minute, in this process."""

    def __init__(self, most: int = 10, seconds: float = 60.0, *, names: int = 10_000) -> None:
        self._most, self._seconds, self._names = most, seconds, names
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def blocked(self, name: str) -> bool:
        now = time.monotonic()
        recent = [moment for moment in self._failures.get(name, ()) if now - moment < self._seconds]
        if recent:
            self._failures[name] = recent
        else:
            self._failures.pop(name, None)
        return len(recent) >= self._most

    def failed(self, name: str) -> None:
        self._failures.setdefault(name, []).append(time.monotonic())
        self._failures.move_to_end(name)
        while len(self._failures) > self._names:
            # Who tries many names must not get the next one for nothing: what is longest ago is forgotten.
            self._failures.popitem(last=False)
