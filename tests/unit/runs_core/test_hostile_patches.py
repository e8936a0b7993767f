"""A compromised agent patches its run: each layer alone lets nothing of tests/corpora/hostile_patches.py through (L3)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from runs.core import patching
from runs.core.state import Limits
from tests.corpora import hostile_patches as corpus
from tests.corpora.hostile_patches import BASE, INPUTS, MAX_AGENTS, MAX_NODES, PATCHES, Hostile
from tests.support.doubles import doubles
from tests.support.engine import Engine
from workflows.core import patches
from workflows.core.document import DocumentLimits
from workflows.core.errors import AobError
from workflows.core.grants import Author, Grant, beyond, grant_of_config

HELPER = Author("agent", "helper")
LIMITS = DocumentLimits(max_nodes=MAX_NODES)
AT_DISPATCH = [one for one in PATCHES if one.at_dispatch]


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    with doubles():
        yield


@pytest.fixture
def run() -> Engine:
    engine = Engine(copy.deepcopy(BASE), INPUTS, limits={"max_agents": MAX_AGENTS, "max_nodes": MAX_NODES})
    nodes = engine.state.frames[""].nodes
    assert nodes == {"start": "done", "never": "skipped", "helper": "active", "wait": "active", "busy": "active"}
    return engine


def propose(run: Engine, operations: Any) -> tuple[str, AobError | None]:
    """The stage that refuses a patch of the agent, and how."""
    stage, head = "normalized", copy.deepcopy(BASE)
    try:
        known = patches.normalized(operations)
        stage = "make"
        grant = grant_of_config(head["nodes"]["helper"]["config"])
        made = patching.make(known, base=head, head=head, author=HELPER, grant=grant, limits=LIMITS)
        stage = "admit"
        patching.admit(run.state, head, made)
    except AobError as error:
        assert head == BASE
        return stage, error
    return "none", None


def test_the_corpus_is_large() -> None:
    assert len(PATCHES) >= 150
    assert len({one.name for one in PATCHES}) == len(PATCHES)
    assert Limits().max_agents > MAX_AGENTS


@pytest.mark.parametrize("hostile", PATCHES, ids=lambda one: one.name)
def test_a_hostile_patch_is_not_admitted(hostile: Hostile, run: Engine) -> None:
    before = run.refolded()
    stage, error = propose(run, hostile.operations)
    assert error is not None, "it was admitted"
    refused = patching.refusal(error)
    assert (error.code, stage, refused.layer) == (hostile.code, hostile.stage, "server"), refused.errors()
    assert run.refolded() == before


@pytest.mark.parametrize("hostile", AT_DISPATCH, ids=lambda one: one.name)
def test_what_comes_past_the_second_layer_is_not_dispatched(hostile: Hostile, run: Engine) -> None:
    document = patches.apply(BASE, patches.normalized(hostile.operations))
    by = {"kind": "agent", "name": "helper"}
    pins = {"export": run.state.version, "score@old": run.state.version}
    run.fact("PatchApplied", None, {"version": run.add_version(document), "by": by, "pins": pins})
    failed = {event.node: event.data["error"]["code"] for event in run.log if event.type == "NodeFailed"}
    assert set(failed.values()) == {hostile.at_dispatch}
    sent = [event for event in run.log if event.type in ("TaskScheduled", "ChildStarted")]
    assert failed.keys().isdisjoint(event.node for event in sent)
    assert sum(event.data.get("agents", 0) for event in sent) <= MAX_AGENTS
    assert run.state.status == "failed"


@pytest.mark.parametrize(
    "operations",
    [
        [corpus.add("/nodes/x", corpus.value("{{ nodes.start.n }}")), corpus.add("/edges/e", corpus.edge("start", "x"))],
        [corpus.add("/nodes/x", corpus.NOTIFY), corpus.add("/edges/e", corpus.edge("review", "x", port="approved"))],
        [corpus.add("/nodes/x", corpus.agent(tools=["read_blob", corpus.OWN_TOOL], consent=["http"]))],
        [
            corpus.add("/nodes/__proto__", corpus.value(1)),
            corpus.add("/nodes/constructor", corpus.each(__class__=corpus.value(1))),
        ],
        [corpus.put("/nodes/archive/config/output", "other"), {"op": "remove", "path": "/edges/wait-second", "x": 1}],
    ],
    ids=["pure", "behind the approval", "an agent with less", "names of prototypes", "what is to come"],
)
def test_what_is_granted_is_admitted(operations: Any, run: Engine) -> None:
    assert propose(run, operations) == ("none", None)
    document = patches.apply(BASE, patches.normalized(operations))
    run.fact("PatchApplied", None, {"version": run.add_version(document), "by": {"kind": "agent", "name": "helper"}})
    assert "NodeFailed" not in run.types()


@pytest.mark.parametrize(
    ("granted", "url", "is_granted"),
    [
        ("api.example.com", "https://API.example.com:8443/x", True),
        ("api.example.com:8443", "https://api.example.com:8443/{{ inputs.x }}", True),
        ("api.example.com:443", "https://api.example.com?q={{ inputs.x }}", True),
        ("api.example.com:8443", "https://api.example.com/", False),
        ("api.example.com:80", "https://api.example.com:8080/", False),
        ("[::1]:9000", "http://[::1]:9000/", True),
        ("[::1]", "http://[::2]/", False),
    ],
)
def test_a_host_may_be_granted_with_its_port(granted: str, url: str, is_granted: bool) -> None:
    grant = Grant(node_types=frozenset({"http"}), hosts=frozenset({granted}))
    assert (list(beyond("x", corpus.http(url), grant)) == []) is is_granted
