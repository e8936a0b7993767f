"""Kinds of authentication of the `http` node. What is secret here never appears in an error."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import httpx

from worker.executors.base import TaskError
from worker.http.client import Client
from workflows.core.canonical import value_hash
from workflows.core.strictjson import decode

MAX_TOKEN_ANSWER = 64 * 1024
MAX_TOKENS = 1_000
_tokens: OrderedDict[str, tuple[str, float]] = OrderedDict()
"""By the hash of everything that a token was given for, the secret above all: who has it may have the token again."""

Authorization = tuple[httpx.Auth | None, dict[str, str], list[tuple[str, str]]]


async def authorize(
    auth: dict[str, Any] | None, http: Client, admit: Callable[[httpx.URL], None] = lambda url: None
) -> Authorization:
    """What a request needs: an httpx authentication, headers, query parameters."""
    if not auth:
        return None, {}, []
    kind = auth["type"]
    if kind == "basic":
        return httpx.BasicAuth(_part(auth, "username"), _part(auth, "password")), {}, []
    if kind == "digest":
        return httpx.DigestAuth(_part(auth, "username"), _part(auth, "password")), {}, []
    if kind == "bearer":
        return None, {"Authorization": f"Bearer {_line(auth, 'token')}"}, []
    if kind == "header":
        return None, {_line(auth, "name"): _line(auth, "value")}, []
    if kind == "query":
        return None, {}, [(_part(auth, "name"), _part(auth, "value"))]
    if kind == "aws":
        return _aws(auth), {}, []
    return None, {"Authorization": f"Bearer {await _client_credentials(auth, http, admit)}"}, []


def _aws(auth: dict[str, Any]) -> httpx.Auth:
    """AWS Signature V4, as S3 and what is like it want it; it signs the whole body."""
    # Only who needs it pays for the import.
    from httpx_auth import AWS4Auth

    more = {"security_token": _line(auth, "session_token")} if auth.get("session_token") else {}
    access, secret, region = (_line(auth, name) for name in ("access_key", "secret_key", "region"))
    if not (access and secret and region):
        raise TaskError("http_auth", "A key or the region of the aws authentication is empty.", transient=False)
    signer: httpx.Auth = AWS4Auth(access, secret, region, _line({"service": "s3", **auth}, "service"), **more)
    return signer


def _part(auth: dict[str, Any], name: str) -> str:
    value = auth.get(name)
    if not isinstance(value, str):
        raise TaskError("http_auth", f"The {auth['type']} authentication needs {name!r}.", transient=False)
    return value


def _line(auth: dict[str, Any], name: str) -> str:
    value = _part(auth, name)
    if any(letter in value for letter in "\r\n\0"):
        raise TaskError("http_auth", f"{name!r} of the authentication holds a line break.", transient=False)
    return value


async def _client_credentials(auth: dict[str, Any], http: Client, admit: Callable[[httpx.URL], None]) -> str:
    """A token by the client credentials grant (RFC 6749, section 4.4), kept until shortly before it expires."""
    url, client, secret = (_part(auth, name) for name in ("token_url", "client_id", "client_secret"))
    key = value_hash({name: value for name, value in auth.items() if value})
    token, expires = _tokens.get(key, ("", 0.0))
    if time.monotonic() < expires:
        return token
    form = {"grant_type": "client_credentials"}
    if auth.get("scope"):
        form["scope"] = auth["scope"]
    request = http.build("POST", url, data=form)
    credentials = httpx.BasicAuth(client, secret)
    async with http.stream(request, auth=credentials, admit=admit) as response:
        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_TOKEN_ANSWER:
                break
        if response.status_code != 200:
            raise TaskError(
                "http_auth",
                f"The token endpoint answered {response.status_code}.",
                transient=response.status_code >= 500 or response.status_code == 429,
            )
    answer = decode(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise TaskError("http_auth", "The token endpoint gave no access_token.", transient=False)
    lifetime = answer.get("expires_in")
    seconds = float(lifetime) if isinstance(lifetime, (int, float)) else 300.0
    _tokens[key] = (answer["access_token"], time.monotonic() + max(seconds - 30, 0))
    _tokens.move_to_end(key)
    while len(_tokens) > MAX_TOKENS:
        _tokens.popitem(last=False)
    return answer["access_token"]
