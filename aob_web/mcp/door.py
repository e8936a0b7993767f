"""`/mcp`: the way in for MCP clients (streamable HTTP), by API tokens alone (hazards S4, S11, S20, L9).

Who asks is known before anything is read or imported. The server keeps no sessions: each request stands for itself, so
any number of web processes may answer, and a restart interrupts nobody. The SDK of the protocol costs 0.4 s and 22 MB;
it is imported when the first client comes.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import replace
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from aob_web.accounts.access import CLIENT_HEADER, AccessError, Caller, bearer, origin_allowed
from aob_web.accounts.models import SCOPES
from aob_web.api import problems
from aob_web.front.starts import MAX_DRAINED, Receive, Scope, Send, drain, refuse
from aob_web.mcp import PATH
from workflows.core.errors import LimitExceeded
from workflows.core.strictjson import decode


class _Gone(Exception):
    """The client went away before its request was complete."""


async def door(scope: Scope, receive: Receive, send: Send) -> None:
    """One request. Refusals before the protocol begins are problem details, as those of the API."""
    async with ThreadSensitiveContext():
        try:
            caller = await _caller(scope)
            if scope["method"] != "POST":
                # No stream of the server's own: nothing is sent but answers.
                await refuse(send, problems.plain_details(405, "method_not_allowed", "Send a POST."), (b"allow", b"POST"))
                return
            body = await _body(receive)
            await asyncio.to_thread(decode, body, max_bytes=len(body))
        except _Gone:
            return
        except Exception as error:
            await refuse(send, problems.details_of(error, f"{scope['method']} {PATH}"))
            return
        server = await asyncio.to_thread(importlib.import_module, "aob_web.mcp.server")
        await server.serve(caller, scope, _given_back(body, receive), send)


async def _caller(scope: Scope) -> Caller:
    """Raises AccessError, also for a host name that is not ours: no page shall reach us by its own (DNS rebinding)."""
    host = _header(scope, b"host") or ""
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        raise AccessError("host", f"This is not {host[:100]!r}.", hint="Add the name to AOB_ALLOWED_HOSTS.")
    origin = _header(scope, b"origin")
    if origin is not None and not origin_allowed(origin):
        raise AccessError("origin", "This origin may not speak MCP with AOB.", hint="See AOB_PUBLIC_URL.")
    caller: Caller | None = await database_sync_to_async(bearer)(_header(scope, b"authorization"))
    if caller is None:
        raise AccessError("unauthenticated", "Send an API token.", hint="Authorization: Bearer aob_…, see /account/.")
    if caller.scopes.isdisjoint(SCOPES):
        raise AccessError("forbidden", f"This needs one of the scopes {', '.join(SCOPES)}.", hint="Use another token.")
    return replace(caller, door=_door(scope, caller))


def _door(scope: Scope, caller: Caller) -> dict[str, str]:
    """Where a call comes from, as an audit says it (see `access.door_of`)."""
    peer = str((scope.get("client") or ("",))[0] or "")
    address = peer or (_header(scope, CLIENT_HEADER.lower().encode()) or "")[:64]
    found = {"door": "mcp", "address": address, "token": caller.token_name}
    return {name: part for name, part in found.items() if part}


def _header(scope: Scope, name: bytes) -> str | None:
    """A header that is there twice fits nothing."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(values) if values else None


async def _body(receive: Receive) -> bytes:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if not message.get("more_body"):
            return b"".join(parts)
    await drain(receive, MAX_DRAINED)
    raise LimitExceeded(
        "request_too_large",
        f"The request has more than {limit} bytes.",
        hint="Send large data as a blob, or raise AOB_MAX_REQUEST_BYTES.",
    )


def _given_back(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read once more, and then whatever comes."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return again
