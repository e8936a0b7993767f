from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.browser import Colleague, chromium, new_colleague, signed_in
from tests.support.installation import Installation
from tests.support.servers import SmtpServer

expect.set_options(timeout=15_000)

REFUSALS = re.compile("status of (409|422)")
"""Answers that a page expects and tells in its own words; Chromium writes them to the console as well."""


@pytest.fixture(scope="session")
def smtp() -> Iterator[SmtpServer]:
    """The mail server of the one installation."""
    with SmtpServer() as server:
        yield server


@pytest.fixture(scope="session")
def aob(tmp_path_factory: pytest.TempPathFactory, smtp: SmtpServer) -> Iterator[Installation]:
    """One running AOB for all tests that do no harm to it."""
    with Installation(Path(tmp_path_factory.mktemp("aob")) / "home", AOB_EMAIL_URL=smtp.url) as installation:
        yield installation


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for a module: as long as it lives its event loop runs here, where other modules may need one of their own."""
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])


@pytest.fixture(scope="module")
def colleague(browser: Browser, aob: Installation) -> Colleague:
    """Who may do all that the administrator may with runs and workflows, but is somebody else."""
    return new_colleague(browser, aob, "read", "execute", "write")


@pytest.fixture
def page(browser: Browser, aob: Installation) -> Iterator[Page]:
    """A signed-in page that allows no console error and no foreign request."""
    page = signed_in(browser, aob)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if _is_fault(message) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(aob.url) else None)
    yield page
    page.context.close()
    assert complaints == []


def _is_fault(message: Any) -> bool:
    return message.type == "error" and not REFUSALS.search(message.text)
