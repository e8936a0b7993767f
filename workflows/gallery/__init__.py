"""The templates gallery: workflows that each teach one idea, work without the internet, and can be used as a beginning.

A template is a folder with `template.json` (title, idea, what to try, inputs to start with, what is expected) and
`workflow.json`. Those of AOB stand beside this module; the examples are templates as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from workflows.core.document import Document
from workflows.core.errors import AobError

HERE = Path(__file__).parent
FOLDERS = (HERE, HERE.parents[1] / "examples")
LEVELS = ("first steps", "everyday", "advanced")
OWN_ADDRESS = "http://127.0.0.1:8800"
"""Stands in templates for the address of the AOB that they run on, whose demo endpoints they call."""


class TemplateError(AobError):
    """A template that is unknown."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to try: what to do, and what is to be seen then."""

    do: str
    see: str


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signal that a run of the template waits for."""

    name: str
    payload: Any


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"steps": "try"}):
    """What `template.json` says. `inputs` may hold `{"$file": name}` for a file beside it.

    `expect` is how a run ends once it got its `signal`, or its ticket this `answer`.
    """

    title: str
    idea: str
    category: str
    level: str
    steps: tuple[Step, ...]
    inputs: dict[str, Any]
    expect: dict[str, Any]
    signal: Signal | None = None
    answer: str | None = None
    slug: str = ""
    folder: str = ""
    node_types: tuple[str, ...] = ()

    def document(self, address: str = OWN_ADDRESS) -> Document:
        """The workflow, calling the AOB at this address."""
        text = (Path(self.folder) / "workflow.json").read_text(encoding="utf-8")
        document: Document = json.loads(text.replace(OWN_ADDRESS, address))
        return document

    def file(self, name: str) -> Path:
        """A file of the template that its inputs name."""
        return Path(self.folder) / Path(name).name


@cache
def templates() -> dict[str, Template]:
    """Every template by slug, the easiest first."""
    found = [_read(file) for folder in FOLDERS for file in sorted(folder.glob("*/template.json"))]
    return {one.slug: one for one in sorted(found, key=lambda one: (LEVELS.index(one.level), one.category, one.title))}


def template(slug: str) -> Template:
    """Raises TemplateError."""
    found = templates().get(slug)
    if found is None:
        raise TemplateError("template_unknown", f"There is no template {slug[:80]!r}.", hint="See `aob template list`.")
    return found


def search(*, words: str = "", category: str = "", level: str = "", node_type: str = "") -> list[Template]:
    """The templates that hold every word and fit every filter that is given."""
    wanted = words.lower().split()
    return [
        one
        for one in templates().values()
        if (not category or one.category == category)
        and (not level or one.level == level)
        and (not node_type or node_type in one.node_types)
        and all(word in _text(one) for word in wanted)
    ]


def _text(one: Template) -> str:
    steps = " ".join(f"{step.do} {step.see}" for step in one.steps)
    return f"{one.slug} {one.title} {one.idea} {one.category} {' '.join(one.node_types)} {steps}".lower()


def _read(file: Path) -> Template:
    found = msgspec.json.decode(file.read_bytes(), type=Template)
    document = json.loads((file.parent / "workflow.json").read_text(encoding="utf-8"))
    types = tuple(dict.fromkeys(_types(document)))
    return msgspec.structs.replace(found, slug=file.parent.name, folder=str(file.parent), node_types=types)


def _types(graph: Any) -> Iterator[str]:
    for node in graph["nodes"].values():
        yield node["type"]
        if isinstance(body := node.get("config", {}).get("body"), dict):
            yield from _types(body)


_NUMBERED = re.compile(r"-\d+$")


def free_name(wanted: str, taken: Any) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` … when it is taken; `taken` tells."""
    if not taken(wanted):
        return wanted
    base = _NUMBERED.sub("", wanted)[:120]
    number = 2
    while taken(f"{base}-{number}"):
        number += 1
    return f"{base}-{number}"
