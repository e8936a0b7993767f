"""The workflows of the work units."""

from __future__ import annotations

from typing import Any

PAYLOAD = {"count": 1, "text": "x" * 170}
"""200 bytes of JSON."""

INPUTS = {
    "type": "object",
    "properties": {"count": {"type": "integer"}, "text": {"type": "string"}},
    "required": ["count", "text"],
}


def chain(length: int) -> dict[str, Any]:
    """W1, W3, W10: pure nodes in a row, each handing the payload on and counting."""
    nodes: dict[str, Any] = {}
    for number in range(length):
        source = f"nodes.n{number - 1}" if number else "inputs"
        output = {"count": f"{{{{ {source}.count + 1 }}}}", "text": f"{{{{ {source}.text }}}}"}
        nodes[f"n{number}"] = {"type": "transform", "config": {"output": output}}
    edges = {f"e{number}": {"from": f"n{number - 1}", "to": f"n{number}"} for number in range(1, length)}
    return {
        "name": f"w{length}",
        "inputs": INPUTS,
        "nodes": nodes,
        "edges": edges,
        "output": f"{{{{ nodes.n{length - 1} }}}}",
    }


def calls(length: int, url: str) -> dict[str, Any]:
    """H3: HTTP calls in a row, each committed before the next."""
    nodes = {
        f"n{number}": {"type": "http", "config": {"method": "POST", "url": f"{url}/effect", "json": {"n": number}}}
        for number in range(length)
    }
    edges = {f"e{number}": {"from": f"n{number - 1}", "to": f"n{number}"} for number in range(1, length)}
    return {"name": f"h{length}", "nodes": nodes, "edges": edges, "output": f"{{{{ nodes.n{length - 1}.body }}}}"}


def fan(items: int) -> dict[str, Any]:
    """FAN10, FAN1000: a node, a map over its list, a join."""
    body = {"nodes": {"double": {"type": "transform", "config": {"output": "{{ item * 2 }}"}}}}
    return {
        "name": f"fan{items}",
        "nodes": {
            "list": {"type": "transform", "config": {"output": f"{{{{ range({items}) }}}}"}},
            "each": {"type": "map", "config": {"items": "nodes.list", "body": body, "max_concurrency": 50}},
            "join": {"type": "transform", "config": {"output": "{{ size(nodes.each) }}"}},
        },
        "edges": {"a": {"from": "list", "to": "each"}, "b": {"from": "each", "to": "join"}},
        "output": "{{ nodes.join }}",
    }
