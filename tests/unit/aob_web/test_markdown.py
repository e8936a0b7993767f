"""Markdown of strangers: it is read, and does nothing."""

from __future__ import annotations

import re
import time

import pytest

from aob_web.ui.markdown import MAX_TEXT, as_html


def test_what_people_write_is_shown() -> None:
    made = as_html("# A\n\n**b** `c` [d](https://example.com/?a=1&b=2)\n\n- e\n\n| f | g |\n|---|---|\n| 1 | 2 |")
    for part in ("<h1>A</h1>", "<strong>b</strong>", "<code>c</code>", "<li>e</li>", "<td>1</td>", 'rel="noopener'):
        assert part in made
    assert 'href="https://example.com/?a=1&amp;b=2"' in made


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[x](javascript:alert(1)) [x](JaVaScript:alert(1)) [x](&#106;avascript:alert(1)) [x](java\tscript:alert(1))",
        "[x](data:text/html,<script>) [x](vbscript:x) [x](file:///etc/passwd) [x](//canary.example/)",
        "![x](https://canary.example/x.png) <javascript:alert(1)> <svg/onload=alert(1)>",
        '[x](https://e.example "onmouseover=alert(1)") [x]: javascript:alert(1)',
        "[x]\n\n[x]: javascript:alert(1)",
    ],
)
def test_nothing_in_it_acts(text: str) -> None:
    made = as_html(text)
    tags = set(re.findall(r"<(/?[a-z0-9]+)", made))
    assert tags <= {"p", "/p", "a", "/a"}, made
    for attributes in re.findall(r"<a ([^>]*)>", made):
        assert re.match(r'href="https://', attributes), made
        assert not re.search(r'" on\w+=', attributes), made


@pytest.mark.parametrize("text", ["[", "![", "*a_ ", "> ", "a|b\n-|-\n", "[a]("])
def test_the_worst_text_is_read_in_bounded_time(text: str) -> None:
    began = time.monotonic()
    as_html(text * (1_000_000 // len(text)))
    assert time.monotonic() - began < 10
    assert len(as_html("a" * (MAX_TEXT + 10))) < MAX_TEXT + 10
