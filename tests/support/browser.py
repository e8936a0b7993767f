"""What tests in the browser share."""

from __future__ import annotations

import shutil
import uuid
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Page, expect

from tests.support.installation import Installation


def chromium() -> str | None:
    """The program, where there is one."""
    # The shell has no windows, so it needs half the processor time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


_sessions: dict[tuple[str, str, str], list[Any]] = {}
"""The cookies of who has signed in; that takes a password's hash and two pages each time."""


def signed_in(browser: Browser, aob: Installation, *, user: tuple[str, str] | None = None, **context: Any) -> Page:
    """The first page of the administrator, or of another user, who has signed in; in a browser context of its own.

    Contexts of one user may be of one session.
    """
    name, password = user or ("admin", aob.password or "")
    opened = browser.new_context(base_url=aob.url, **{"viewport": {"width": 1440, "height": 900}, **context})
    opened.grant_permissions(["clipboard-read", "clipboard-write"], origin=aob.url)
    opened.add_cookies(_sessions.get((aob.url, name, password), []))
    page = opened.new_page()
    page.goto("/")
    signs_out = page.locator("form[action='/sign-out/']").first
    if not signs_out.count():
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
    expect(signs_out).to_be_attached()
    _sessions[aob.url, name, password] = opened.cookies()
    return page


class Colleague(NamedTuple):
    """Somebody beside the administrator, as an account and as a program."""

    name: str
    password: str
    token: str


def new_colleague(browser: Browser, aob: Installation, *scopes: str) -> Colleague:
    name, password = new_account(browser, aob)
    page = signed_in(browser, aob, user=(name, password))
    page.goto("/account/")
    page.get_by_label("Name").fill("for a test")
    for box in page.locator("input[name=scope]").all():
        box.set_checked(box.get_attribute("value") in scopes)
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".notice code").inner_text()
    page.context.close()
    return Colleague(name, password, token)


def new_account(browser: Browser, aob: Installation, *, staff: bool = False) -> tuple[str, str]:
    """Name and password of an account that the administrator makes in the console."""
    name, password = f"user-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    page = signed_in(browser, aob)
    page.goto("/admin/auth/user/add/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password:", exact=True).fill(password)
    page.get_by_label("Password confirmation").fill(password)
    page.get_by_role("button", name="Save and continue editing").click()
    if staff:
        page.get_by_label("Staff status").check()
        page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    page.context.close()
    return name, password
