"""What every node type tells about itself is true: its examples are valid and give what they say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.engine import Engine
from worker.functions.registry import find, load
from workflows.core.preview import preview
from workflows.core.schemas import compile_schema
from workflows.core.validate import validate
from workflows.nodes.reading import rows
from workflows.nodes.registry import Example, NodeType, node_types

EXAMPLES = [
    pytest.param(node_type, example, id=f"{node_type.name}: {example.title}")
    for node_type in node_types().values()
    for example in node_type.examples
]


def document(node_type: NodeType, example: Example) -> dict[str, Any]:
    """The example behind nodes that give what it sees; `took_its_port` runs when it leaves by the port that it names."""
    nodes = {name: {"type": "transform", "config": {"output": value}} for name, value in example.nodes.items()}
    nodes["each"] = {"type": node_type.name, "config": example.config}
    edges = {f"{name}-each": {"from": name, "to": "each"} for name in example.nodes}
    if example.port != "error" or node_type.name == "fail":
        nodes["took_its_port"] = {"type": "transform", "config": {"output": True}}
        edges["port"] = {"from": "each", "to": "took_its_port", "port": example.port}
    return {"name": "w", "nodes": nodes, "edges": edges}


@pytest.mark.parametrize("node_type", node_types().values(), ids=lambda one: one.name)
def test_every_type_has_examples_and_explains_its_errors(node_type: NodeType) -> None:
    assert node_type.examples
    codes = [note.code for note in node_type.all_errors()]
    assert len(codes) == len(set(codes)) and all(note.meaning and note.hint for note in node_type.all_errors())
    assert {row.path for row in rows(node_type) if row.depth == 0} == set(node_type.config_schema["properties"])


@pytest.mark.parametrize(("node_type", "example"), EXAMPLES)
def test_an_example_is_a_valid_config(node_type: NodeType, example: Example) -> None:
    assert validate(document(node_type, example)) == []
    if node_type.kind != "pure":
        assert compile_schema(node_type.output_schema).problems(example.result, pointer="") == [] or example.port != "out"


@pytest.mark.parametrize(
    ("node_type", "example"),
    [one for one in EXAMPLES if one.values[0].kind in ("pure", "structure") and one.values[0].name != "subworkflow"],  # type: ignore[union-attr]
)
def test_an_example_gives_what_it_says(node_type: NodeType, example: Example) -> None:
    engine = Engine(document(node_type, example), example.inputs)
    if node_type.name == "fail":
        assert [event.data["error"] for event in engine.log if event.type == "NodeFailed"] == [example.result]
        return
    output = engine.state.frames[""].outputs["each"]
    assert engine.values.load(output) == example.result
    assert engine.state.frames[""].nodes["took_its_port"] == "done"


@pytest.mark.parametrize("example", node_types()["function"].examples, ids=lambda one: one.title)
def test_a_function_gives_what_its_example_says(example: Example) -> None:
    scope = {"inputs": example.inputs, "nodes": example.nodes}
    arguments = preview("template", example.config["args"], scope)
    name = example.config["name"]
    assert load(name, find(name))(**arguments) == example.result


def test_inner_keys_of_a_config_stand_behind_their_outer_one() -> None:
    paths = [row.path for row in rows(node_types()["http"])]
    assert paths[paths.index("auth") + 1] == "auth.type"
    assert "cases[].when" in [row.path for row in rows(node_types()["switch"])]
