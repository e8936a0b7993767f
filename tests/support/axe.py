"""axe-core over a page in the browser: what people with screen readers or weak eyes would stumble over."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")
OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def grave_faults(page: Page, *, but: tuple[str, ...] = ()) -> list[str]:
    """Serious and critical violations in words, each with its places; rules in `but` are left out."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[(node['target'], node['html'][:120]) for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in GRAVE and one["id"] not in but
    ]
