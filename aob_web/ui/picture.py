"""A workflow's graph as shapes for an SVG: placed by the document's layout, in columns where it has none (pure).

The same sizes as on the editor's canvas, so that a picture looks like what one sees there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from workflows.core.document import Document
from workflows.nodes.registry import node_types

WIDTH, HEIGHT = 224, 64
BODY_TOP, BODY_MARGIN = 72, 24
GAP_X, GAP_Y = 72, 48
EDGE = 24
LETTERS = 21
MANY_LETTERS = 26


class Box(msgspec.Struct, frozen=True):
    """A node; `is_body` when what it repeats is drawn inside of it."""

    x: int
    y: int
    width: int
    height: int
    name: str
    title: str
    type: str
    kind: str
    icon: str
    is_body: bool


class Line(msgspec.Struct, frozen=True):
    """An edge, with the port or the condition that it is taken by."""

    path: str
    label: str
    label_x: int
    label_y: int
    is_error: bool


class Picture(msgspec.Struct, frozen=True):
    """What stands in the SVG; `text` says the same to those who do not see it."""

    left: int
    top: int
    width: int
    height: int
    boxes: list[Box]
    lines: list[Line]
    text: str


def picture(document: Document) -> Picture:
    """The picture of a document that is valid."""
    boxes: dict[str, Box] = {}
    lines: list[Line] = []
    _draw(document, "", 0, 0, document.get("layout", {}), boxes, lines)
    shown = list(boxes.values())
    left, top = min(box.x for box in shown) - EDGE, min(box.y for box in shown) - EDGE
    right = max(box.x + box.width for box in shown) + EDGE
    bottom = max(box.y + box.height for box in shown) + EDGE
    return Picture(left, top, right - left, bottom - top, shown, lines, "; ".join(_told(document)) + ".")


def _draw(
    graph: Any, prefix: str, left: int, top: int, layout: Any, boxes: dict[str, Box], lines: list[Line]
) -> tuple[int, int]:
    """Draws a graph with its bodies; gives how far it reaches to the right and down, seen from its corner."""
    rough = _columns(graph)
    reach_x = reach_y = 0
    for name, node in graph["nodes"].items():
        path = prefix + name
        place = layout.get(path) or rough[name]
        x, y = left + int(place["x"]), top + int(place["y"])
        body = node.get("config", {}).get("body")
        width, height = WIDTH, HEIGHT
        if isinstance(body, dict):
            is_placed = any(f"{path}/{inner}" in layout for inner in body["nodes"])
            origin = (x, y) if is_placed else (x + BODY_MARGIN, y + BODY_TOP)
            boxes[path] = _box(path, name, node, x, y, 0, 0, True)
            inner_x, inner_y = _draw(body, f"{path}/", *origin, layout, boxes, lines)
            width = max(WIDTH, inner_x + (0 if is_placed else BODY_MARGIN) + BODY_MARGIN)
            height = inner_y + (0 if is_placed else BODY_TOP) + BODY_MARGIN
        boxes[path] = _box(path, name, node, x, y, width, height, isinstance(body, dict))
        reach_x, reach_y = max(reach_x, x + width - left), max(reach_y, y + height - top)
    for edge in graph.get("edges", {}).values():
        lines.append(_line(boxes[prefix + edge["from"]], boxes[prefix + edge["to"]], edge))
    return reach_x, reach_y


def _box(path: str, name: str, node: Any, x: int, y: int, width: int, height: int, is_body: bool) -> Box:
    known = node_types().get(node["type"])
    return Box(
        x=x,
        y=y,
        width=width,
        height=height,
        name=path,
        title=_cut(node.get("title") or name, LETTERS),
        type=_cut(known.title if known else node["type"], MANY_LETTERS),
        kind=known.kind if known else "unknown",
        icon=known.icon if known else "box",
        is_body=is_body,
    )


def _line(source: Box, target: Box, edge: Any) -> Line:
    x1, y1 = source.x + source.width, source.y + min(source.height, HEIGHT) // 2
    x2, y2 = target.x, target.y + min(target.height, HEIGHT) // 2
    bend = max(40, (x2 - x1) // 2)
    port = edge.get("port", "out")
    label = edge.get("when", "" if port == "out" else port)
    return Line(
        path=f"M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}",
        label=_cut(label, 12),
        label_x=(x1 + x2) // 2,
        label_y=(y1 + y2) // 2 - 7,
        is_error=port == "error",
    )


def _columns(graph: Any) -> dict[str, dict[str, int]]:
    """Places by the distance from the entries."""
    before: dict[str, list[str]] = {name: [] for name in graph["nodes"]}
    for edge in graph.get("edges", {}).values():
        before[edge["to"]].append(edge["from"])
    depth: dict[str, int] = {}

    def depth_of(name: str) -> int:
        if name not in depth:
            depth[name] = 0
            depth[name] = max((depth_of(one) + 1 for one in before[name]), default=0)
        return depth[name]

    places: dict[str, dict[str, int]] = {}
    right: dict[int, int] = {}
    down: dict[int, int] = {}
    for name in sorted(graph["nodes"], key=depth_of):
        column = depth_of(name)
        x = right.get(column - 1, 0)
        width, height = _size(graph["nodes"][name])
        places[name] = {"x": x, "y": down.get(column, 0)}
        down[column] = down.get(column, 0) + height + GAP_Y
        right[column] = max(right.get(column, 0), x + width + GAP_X)
    return places


def _size(node: Any) -> tuple[int, int]:
    body = node.get("config", {}).get("body")
    if not isinstance(body, dict):
        return WIDTH, HEIGHT
    places = _columns(body)
    sizes = {name: _size(inner) for name, inner in body["nodes"].items()}
    width = max(place["x"] + sizes[name][0] for name, place in places.items())
    height = max(place["y"] + sizes[name][1] for name, place in places.items())
    return width + 2 * BODY_MARGIN, height + BODY_TOP + BODY_MARGIN


def _told(graph: Any) -> Iterator[str]:
    """The graph in words."""
    named = {name: node.get("title") or name for name, node in graph["nodes"].items()}
    after: dict[str, list[str]] = {}
    for edge in graph.get("edges", {}).values():
        port = edge.get("port", "out")
        way = f" by {port}" if port != "out" else ""
        after.setdefault(edge["from"], []).append(f"{named[edge['to']]}{way}")
    for name, node in graph["nodes"].items():
        words = f"{named[name]} ({node['type']})"
        if isinstance(body := node.get("config", {}).get("body"), dict):
            words += f" repeats [{'; '.join(_told(body))}]"
        if name in after:
            words += f" leads to {' and '.join(after[name])}"
        yield words


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
