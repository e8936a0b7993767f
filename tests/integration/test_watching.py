"""Connections that stay open: who may open one, and that it ends with what it was opened by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.test.client import RequestFactory
from django.utils import timezone

from aob_web.accounts import access
from aob_web.accounts.access import bearer, caller_of
from aob_web.accounts.models import ApiToken
from aob_web.asgi import websockets


@pytest.fixture(autouse=True)
def clean(database: None) -> Iterator[None]:
    access._verdicts.clear()
    yield
    User.objects.all().delete()


def user(name: str = "anna") -> User:
    return User.objects.create_user(name, password="secret-pass-1")


@pytest.mark.parametrize("scopes", [("agent",), ("write",), ("execute",), ()])
@pytest.mark.parametrize("path", ["/ws/inbox/", "/ws/runs/00000000-0000-0000-0000-000000000000/", "/ws/workflows/w/"])
def test_a_token_that_may_not_read_opens_no_websocket(path: str, scopes: tuple[str, ...]) -> None:
    token = ApiToken.issue(user(), "t", scopes)

    async def code() -> Any:
        socket = WebsocketCommunicator(websockets, path, [(b"authorization", f"Bearer {token}".encode())])
        await socket.connect()
        closed = await socket.receive_output()
        await database_sync_to_async(connections.close_all)()
        return closed.get("code")

    assert asyncio.run(code()) == 4403


def test_a_connection_ends_when_its_token_expires_or_is_revoked() -> None:
    anna = user()
    for change in ({"expires_at": timezone.now()}, {"revoked_at": timezone.now()}):
        caller = bearer(f"Bearer {ApiToken.issue(anna, 't', ('read',), timedelta(hours=1))}")
        assert caller is not None and caller.still_valid()
        ApiToken.objects.filter(pk=caller.token).update(**change)
        assert caller.still_valid(), "asked once in a few seconds"
        access._verdicts.clear()
        assert not caller.still_valid()


@pytest.mark.parametrize("change", ["sign-out", "another password", "another user", "expired", "inactive"])
def test_a_connection_ends_with_the_session_that_opened_it(change: str) -> None:
    anna, client, other = user(), Client(), Client()
    client.force_login(anna)
    other.force_login(anna)
    request = RequestFactory().get("/")
    request.session, request.user = client.session, anna  # type: ignore[assignment]
    caller = caller_of(request)
    elsewhere = RequestFactory().get("/")
    elsewhere.session, elsewhere.user = other.session, anna  # type: ignore[assignment]
    assert caller.still_valid() and caller_of(elsewhere).still_valid()
    if change == "sign-out":
        client.logout()
    elif change == "another password":
        anna.set_password("another-pass-2")
        anna.save()
    elif change == "another user":
        session = client.session
        session["_auth_user_id"] = str(user("berta").pk)
        session.save()
    elif change == "expired":
        session = client.session
        session.set_expiry(-1)
        session.save()
    else:
        User.objects.update(is_active=False)
    access._verdicts.clear()
    assert not caller.still_valid()
    assert caller_of(elsewhere).still_valid() is (change not in ("another password", "inactive"))
