"""What must be kept and must not be read from the database alone: sealed with a key made from AOB_SECRET_KEY (law 9)."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from workflows.core.errors import AobError


def seal(value: Any) -> str:
    return _fernet().encrypt(json.dumps(value).encode()).decode()


def unseal(sealed: str) -> Any:
    """What was sealed. Raises AobError `sealed_unreadable` when AOB_SECRET_KEY is another one by now."""
    try:
        return json.loads(_fernet().decrypt(sealed.encode()))
    except InvalidToken:
        raise AobError(
            "sealed_unreadable", "This was sealed with another AOB_SECRET_KEY.", hint="Enter it again in the console."
        ) from None


def _fernet() -> Fernet:
    digest = hashlib.sha256(b"aob.approvals.sealed:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
