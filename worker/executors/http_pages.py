"""Pagination of the `http` node: where the items stand, and where the next page is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from jsonpointer import JsonPointerException, resolve_pointer

from worker.executors.base import TaskError
from worker.http.client import origin


@dataclass(frozen=True)
class Page:
    """One page to fetch; `number` counts from 0."""

    query: dict[str, Any]
    url: str
    number: int


def page_items(paginate: dict[str, Any], answer: dict[str, Any]) -> list[Any]:
    """The items of a page. Raises TaskError when there is no list where one should be."""
    pointer = str(paginate.get("items", ""))
    try:
        items = resolve_pointer(answer["body"], pointer)
    except JsonPointerException:
        items = None
    if not isinstance(items, list):
        raise TaskError(
            "http_page_items",
            f"There is no list at {pointer!r} in the page.",
            transient=False,
            pointer="/config/paginate/items",
        )
    return items


def next_page(paginate: dict[str, Any], page: Page, answer: dict[str, Any], count: int) -> Page | None:
    """The page after this one, or None after the last."""
    kind = paginate["type"]
    number = page.number + 1
    if kind == "link":
        return _by_link(page, answer, number)
    if kind == "cursor":
        try:
            cursor = resolve_pointer(answer["body"], str(paginate.get("cursor", "/next")), None)
        except JsonPointerException:
            cursor = None
        if cursor in (None, "", False):
            return None
        return Page({**page.query, str(paginate.get("param", "cursor")): cursor}, page.url, number)
    if count == 0:
        return None
    if kind == "page":
        name = str(paginate.get("param", "page"))
        start = int(page.query.get(name, paginate.get("start", 1)))
        return Page({**page.query, name: start + 1}, page.url, number)
    name = str(paginate.get("param", "offset"))
    if "limit" in paginate and count < int(paginate["limit"]):
        return None
    return Page({**page.query, name: int(page.query.get(name, 0)) + count}, page.url, number)


def _by_link(page: Page, answer: dict[str, Any], number: int) -> Page | None:
    """`Link: <…>; rel="next"` (RFC 8288).

    Raises TaskError for one that leads to another origin: the next page is asked for with the same credentials.
    """
    links = httpx.Response(200, headers={"link": answer["headers"].get("link", "")}).links
    link = links.get("next", {}).get("url")
    if not link:
        return None
    here = httpx.URL(page.url)
    try:
        target = here.join(link)
    except httpx.InvalidURL:
        raise TaskError("http_url", f"The link to the next page, {link[:100]!r}, is no URL.", transient=False) from None
    if origin(target) != origin(here):
        raise TaskError(
            "http_page_origin",
            f"The next page of {origin(here)} is at another origin, {origin(target)[:200]}, and is not fetched.",
            transient=False,
            pointer="/config/paginate",
            hint="Where it is the same service, write the URL with that origin; or fetch its pages by a node of its own.",
        )
    return Page({}, str(target), number)
