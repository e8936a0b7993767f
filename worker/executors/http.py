"""`http`: one request, or the pages of a list, through the guarded client."""

from __future__ import annotations

import asyncio
import json as json_module
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx

from worker.executors.base import TaskContext, TaskError, is_blob, is_file_name, is_media_type
from worker.executors.http_auth import authorize
from worker.executors.http_pages import Page, next_page, page_items
from worker.http.client import Client, as_task_error, check_headers
from worker.http.guard import host_admitted
from workflows.core.document import escape_pointer
from workflows.core.errors import AobError
from workflows.core.strictjson import decode

TRANSIENT_STATUSES = frozenset({408, 425, 429}) | frozenset(range(500, 600))
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
MAX_RETRY_AFTER = 86_400.0
SNIPPET = 2048
MAX_SIGNED = 64 * 1024 * 1024

_clients: dict[asyncio.AbstractEventLoop, Client] = {}


def client() -> Client:
    """The client of this event loop; made once, because its TLS context takes tens of milliseconds."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = Client()
    return _clients[loop]


async def execute(config: dict[str, Any], context: TaskContext) -> Any:
    """The answer as `{status, headers, body}`; with `paginate` the items of all pages as the body."""
    if "paginate" not in config:
        return await _request(client(), config, context)
    return await _pages(client(), config, context)


async def _pages(http: Client, config: dict[str, Any], context: TaskContext) -> Any:
    paginate = config["paginate"]
    page: Page | None = Page(config.get("query") or {}, config["url"], 0)
    items: list[Any] = []
    answer: dict[str, Any] = {}
    seen: set[str] = set()
    count = 0
    while page is not None and count < int(paginate.get("max_pages", 100)):
        mark = json_module.dumps([page.query, page.url], sort_keys=True)
        if mark in seen:
            break
        seen.add(mark)
        answer = await _request(http, {**config, "query": page.query, "url": page.url}, context)
        found = page_items(paginate, answer)
        items.extend(found)
        count += 1
        page = next_page(paginate, page, answer, len(found))
    return {"status": answer["status"], "headers": answer["headers"], "body": items, "pages": count}


async def _request(http: Client, config: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    method = str(config["method"]).upper()
    headers = {str(name): _header(value) for name, value in (config.get("headers") or {}).items()}
    check_headers(headers)
    query = _query(config.get("query") or {})
    admit = partial(_admit, context.hosts)
    auth, more_headers, more_query = await authorize(config.get("auth"), http, admit)
    headers |= more_headers
    query += more_query
    if method not in SAFE_METHODS and not any(name.lower() == "idempotency-key" for name in headers):
        headers["Idempotency-Key"] = context.idempotency_key
    body = await _body(config, context, headers)
    url = _url(config["url"])
    if query:
        url = url.copy_merge_params(httpx.QueryParams(tuple(query)))
    request = http.build(method, url, headers=headers, **body)
    redirects = config.get("follow_redirects", True)
    async with http.stream(request, follow_redirects=redirects, auth=auth, admit=admit) as response:
        try:
            if not _is_ok(response.status_code, config.get("ok_status")):
                raise await _status_error(response)
            return {
                "status": response.status_code,
                "headers": _headers(response),
                "body": await _read(response, config.get("response", "auto"), context),
            }
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise as_task_error(error, str(request.url.host)) from None


def _admit(hosts: Sequence[str] | None, url: httpx.URL) -> None:
    """Raises TaskError where a node that an agent brought would leave the hosts granted to it, by whatever hop."""
    if hosts is not None and not host_admitted(url, hosts):
        known = ", ".join(hosts) or "none"
        message = f"The host {url.host!r} is not granted to the agent that brought this node."
        raise TaskError("capability_missing", message, transient=False, hint=f"Granted: {known}.")


def _url(text: Any) -> httpx.URL:
    """Raises TaskError `http_url` for what is no absolute URL."""
    try:
        url = httpx.URL(text) if isinstance(text, str) else None
    except httpx.InvalidURL:
        url = None
    if url is None or not url.host:
        raise TaskError("http_url", f"{str(text)[:100]!r} is not a URL.", transient=False)
    return url


def _header(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value)


def _query(query: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = []
    for name, value in query.items():
        for part in value if isinstance(value, list) else [value]:
            if part is not None:
                pairs.append((str(name), part if isinstance(part, str) else json_module.dumps(part)))
    return pairs


async def _body(config: dict[str, Any], context: TaskContext, headers: dict[str, str]) -> dict[str, Any]:
    """What httpx needs for the body; blobs are streamed."""
    if "json" in config:
        return {"json": config["json"]}
    if "form" in config:
        form = config["form"] or {}
        if not any(is_blob(value) for value in form.values()):
            return {"data": {name: _header(value) for name, value in form.items()}}
        files, data = {}, {}
        for name, value in form.items():
            if is_blob(value):
                place = f"/form/{escape_pointer(name)}"
                file_name, media_type = _file_name(value, place) or name, _media_type(value, place)
                content = b"".join([chunk async for chunk in context.blobs.open(value)])
                files[name] = (file_name, content, media_type)
            else:
                data[name] = _header(value)
        return {"data": data, "files": files}
    body = config.get("body")
    if body is None:
        return {}
    if not is_blob(body):
        return {"content": _header(body).encode()}
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = _media_type(body, "/body") or "application/octet-stream"
    # Its first chunk comes when the blob is known to be whole; a missing one is no failure of the connection.
    chunks = context.blobs.open(body)
    if (config.get("auth") or {}).get("type") == "aws":
        return {"content": await _whole(chunks)}
    return {"content": _rest(await anext(chunks, b""), chunks)}


def _file_name(reference: dict[str, Any], place: str) -> str | None:
    """Raises TaskError for what no header can hold."""
    name = reference.get("name")
    if name is None or is_file_name(name):
        return name
    message = f"{str(name)[:60]!r} is no name for a file."
    raise TaskError("http_file", message, transient=False, pointer=f"{place}/name")


def _media_type(reference: dict[str, Any], place: str) -> str | None:
    """Raises TaskError for what no header can hold."""
    kind = reference.get("media_type") or None
    if kind is None or is_media_type(kind):
        return kind
    message = f"{str(kind)[:60]!r} is no media type of a file."
    raise TaskError("http_file", message, transient=False, pointer=f"{place}/media_type")


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    """A body that is to be signed, for which all of it must be known."""
    content = b""
    async for chunk in chunks:
        content += chunk
        if len(content) > MAX_SIGNED:
            message = f"A body that is signed may have {MAX_SIGNED // 2**20} MiB."
            raise TaskError("http_body_too_large", message, transient=False, pointer="/body")
    return content


def _is_ok(status: int, wanted: list[Any] | None) -> bool:
    if not wanted:
        return 200 <= status < 400
    for entry in wanted:
        low, _, high = str(entry).partition("-")
        if low.isdigit() and int(low) <= status <= int(high or low):
            return True
    return False


async def _status_error(response: httpx.Response) -> TaskError:
    snippet = b""
    # A status stands for itself, also where what is said with it cannot be read.
    with suppress(httpx.DecodingError):
        async for chunk in response.aiter_bytes(SNIPPET):
            snippet += chunk
            if len(snippet) >= SNIPPET:
                break
    status = response.status_code
    return TaskError(
        "http_status",
        f"{response.request.url.host} answered {status} {response.reason_phrase}".strip() + ".",
        transient=status in TRANSIENT_STATUSES,
        retry_after=retry_after(response.headers.get("retry-after")),
        details={"status": status, "body": _printable(snippet[:SNIPPET])},
    )


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, section 10.2.3), at most a day; None for garbage."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _headers(response: httpx.Response) -> dict[str, str]:
    return {
        name.lower(): _printable(value.encode("latin-1", "replace"))
        for name, value in response.headers.items()
        if name.lower() != "set-cookie"
    }


def _printable(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\x00", "�")


async def _read(response: httpx.Response, wanted: str, context: TaskContext) -> Any:
    """The body: JSON, text, or a blob reference for anything else and for what is large."""
    media_type = response.headers.get("content-type", "application/octet-stream")
    kind = media_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    is_text = kind.startswith("text/") or kind in ("application/xml", "application/javascript")
    chunks = response.aiter_bytes(64 * 1024)
    head = b""
    if wanted != "blob" and (wanted != "auto" or is_json or is_text):
        async for chunk in chunks:
            head += chunk
            if len(head) > context.max_value_bytes:
                break
        else:
            text = _as_value(head, wanted, is_json, response)
            if text is not None:
                return text[0]
    return await context.blobs.put(_rest(head, chunks), media_type=media_type, max_bytes=context.max_blob_bytes)


def _as_value(data: bytes, wanted: str, is_json: bool, response: httpx.Response) -> tuple[Any] | None:
    if wanted == "json" or (wanted == "auto" and is_json):
        if not data.strip():
            return (None,)
        try:
            return (decode(data, max_bytes=len(data)),)
        except AobError as error:
            raise TaskError(
                "http_body_not_json",
                f"The body of {response.request.url.host} says that it is JSON but is not: {error.message}",
                transient=False,
                hint='Set response to "text" or "blob".',
            ) from None
    try:
        text = data.decode(response.charset_encoding or "utf-8")
        text.encode("utf-8")
    except (UnicodeError, LookupError):
        return None
    return None if "\x00" in text else (text,)


async def _rest(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in chunks:
        yield chunk
