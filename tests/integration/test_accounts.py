"""Signing in and making tokens: guesses are counted however a name is spelled, and rights are not made from nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from aob_web.accounts.access import Throttle
from aob_web.accounts.models import ApiToken
from aob_web.ui.pages import account as pages

PASSWORD = "secret-pass-1"


@pytest.fixture(autouse=True)
def clean(database: None, settings: Any) -> Iterator[None]:
    settings.ALLOWED_HOSTS = ["testserver"]
    # What is counted here are guesses; how long a hash takes is Django's.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    for throttle in (pages._throttle, pages._addresses):
        throttle._failures.clear()
    yield
    User.objects.all().delete()


def sign_in(name: str, password: str, address: str = "192.0.2.1") -> bool:
    client = Client(REMOTE_ADDR=address)
    answer = client.post("/sign-in/", {"username": name, "password": password})
    assert answer.status_code in (200, 302)
    return "_auth_user_id" in client.session


@pytest.mark.parametrize("name", ["admin", "admin ", " admin", "\tadmin\n", "ａdmin", "aｄｍｉｎ", "\u2003admin"])
def test_an_account_is_blocked_in_every_spelling_of_its_name(name: str) -> None:
    User.objects.create_user("admin", password=PASSWORD)
    assert sign_in(name, PASSWORD)
    for number in range(10):
        assert not sign_in(("admin", " admin", "ａdmin")[number % 3], "wrong")
    assert not sign_in(name, PASSWORD)


def test_another_account_of_the_same_address_and_another_case_are_not_blocked() -> None:
    for name in ("admin", "Admin", "anna"):
        User.objects.create_user(name, password=PASSWORD)
    for _ in range(10):
        sign_in("admin", "wrong")
    assert sign_in("Admin", PASSWORD) and sign_in("anna", PASSWORD)


def test_an_address_that_tries_many_names_is_blocked_and_nobody_else() -> None:
    User.objects.create_user("anna", password=PASSWORD)
    for number in range(50):
        sign_in(f"name-{number}", "wrong")
    assert not sign_in("anna", PASSWORD)
    assert sign_in("anna", PASSWORD, address="192.0.2.2")


def test_a_full_table_forgets_the_oldest_and_goes_on_counting() -> None:
    throttle = Throttle(most=2, names=3)
    for name in ("a", "b", "c", "d", "a", "d"):
        throttle.failed(name)
    assert throttle.blocked("d") and not throttle.blocked("a") and not throttle.blocked("b")
    assert len(throttle._failures) <= 3


@pytest.mark.parametrize(
    ("is_superuser", "asked", "given"),
    [
        (False, ["agent"], None),
        (False, ["read", "agent", "admin"], ["read"]),
        (True, ["agent"], ["agent"]),
        (True, ["read", "admin"], ["read", "admin"]),
    ],
)
def test_only_superusers_make_tokens_for_runners_and_administrators(
    is_superuser: bool, asked: list[str], given: list[str] | None
) -> None:
    user = User.objects.create_user("anna", password=PASSWORD, is_superuser=is_superuser)
    client = Client()
    client.force_login(user)
    page = client.post("/account/", {"name": "mine", "scope": asked})
    assert [token.scopes for token in ApiToken.objects.filter(user=user)] == ([given] if given else [])
    assert (b'value="agent"' in page.content) is is_superuser
