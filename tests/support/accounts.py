"""Accounts and tokens of a whole installation, made as people make them."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.support.installation import Installation


def token_of(aob: Installation, *scopes: str) -> str:
    """A new token of the administrator with these scopes, made on the account's page."""
    with httpx.Client(base_url=aob.url, follow_redirects=True, headers={"Origin": aob.url}) as browser:

        def send(path: str, **fields: Any) -> str:
            browser.get(path)
            secret = next(value for name, value in browser.cookies.items() if "csrf" in name)
            return browser.post(path, data={**fields, "csrfmiddlewaretoken": secret}).text

        send("/sign-in/", username="admin", password=aob.password)
        found = re.search(r"aob_[\w-]{30,}", send("/account/", name="for a test", scope=list(scopes)))
    assert found is not None
    return found[0]
