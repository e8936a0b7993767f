"""The third layer of validation: what the coordinator never dispatches, whatever was admitted before (pure; law 8).

It looks at the log and at what people wrote into the graph, and trusts no check that came earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.core import paths
from runs.core.fold import Graphs
from runs.core.state import State
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.grants import EVERYTHING, NOTHING, Grant, beyond, grant_of_config
from workflows.core.ir import NodeIR, WorkflowIR


def check_size(state: State, irs: Graphs) -> None:
    """Raises LimitExceeded when patches made the graph larger than the run may have it."""
    if not state.base:
        return
    count = sum(len(graph.nodes) for graph in irs(state.version).graphs.values())
    if count > state.limits.max_nodes:
        raise LimitExceeded(
            "limit_nodes", f"The graph has {count} nodes; this run may have {state.limits.max_nodes} (AOB_MAX_NODES)."
        )


def check_agents(state: State) -> None:
    """Raises LimitExceeded when the run has as many agents as it may have, those of its child runs counted."""
    if state.agents >= state.limits.max_agents:
        raise LimitExceeded(
            "limit_max_agents",
            f"This run may have {state.limits.max_agents} agents, those of its child runs counted.",
            hint="Raise limits.max_agents in the document.",
        )


def agents_for(state: State, child: WorkflowIR) -> int:
    """How many of the agents that are left a child run is promised: what it can start, or all if that is unknown."""
    left = max(state.limits.max_agents - state.agents, 0)
    own = child.max_agents if child.agents is None or child.subworkflows else child.agents
    return min(left, own)


def check_grant(state: State, irs: Graphs, path: str, node: NodeIR, config: Mapping[str, Any]) -> Grant:
    """The grant that a node stands under. Raises AobError when an agent brought it and its grant does not cover it."""
    key = paths.graph_key(path)
    agent = state.granted.get(key)
    if agent is None:
        return EVERYTHING
    grant = grant_of_agent(state, irs, agent)
    for problem in beyond(key, {"type": node.type, "config": config}, grant):
        message = f"{problem.message} It was brought by the agent {agent!r}."
        raise AobError(problem.code, message, problem.pointer, problem.hint)
    return grant


def grant_of_agent(state: State, irs: Graphs, agent: str) -> Grant:
    """What the patches of an agent may bring: what people wrote into its node; nothing where an agent brought it."""
    key = paths.graph_key(agent)
    frame, name = paths.split(key)
    graph = irs(state.version).graphs.get(frame)
    node = graph.nodes.get(name) if graph is not None else None
    if node is None or node.type != "agent" or key in state.granted:
        return NOTHING
    return grant_of_config(node.config.literal)
