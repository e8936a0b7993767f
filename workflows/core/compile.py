"""Document → IR: adjacency, join counts, compiled expressions, retry schedules (pure; law 3).

`build` finds every problem on its way; `compile_document` raises when one of them is an error.
Expressions are compiled, never run, and nothing outside the document is looked at (hazard S3).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from workflows.core import graph
from workflows.core.canonical import content_hash
from workflows.core.document import Document, DocumentLimits, document_hash, escape_pointer
from workflows.core.durations import parse_duration, parse_instant
from workflows.core.errors import AobError
from workflows.core.expressions import Expression, compile_expression
from workflows.core.ir import CompiledConfig, EdgeIR, GraphIR, NodeIR, RetryIR, WorkflowIR
from workflows.core.people import assignees, chain, check_quorum, reminder_seconds
from workflows.core.problems import DocumentInvalid, Problem, from_error, nearest
from workflows.core.schemas import check_schema, compile_schema
from workflows.core.strictjson import encode_ordered
from workflows.core.templates import Template, TemplateErrors, compile_template
from workflows.nodes.registry import NodeType, node_types

BASE_ROOTS = frozenset({"inputs", "nodes", "run"})
MAP_ROOTS = frozenset({"item", "index"})
LOOP_ROOTS = frozenset({"iteration", "last"})
RETRY_ROOTS = frozenset({"error", "attempt"})

# Svix' published schedule for webhooks: immediate, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
WEBHOOK_SCHEDULE = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
STANDARD_ATTEMPTS = 4
DEFAULT_MAX_AGENTS = 5


class Scope(msgspec.Struct, frozen=True):
    """What a graph's expressions may use: the names of the roots, and in parts the nodes that come before."""

    roots: frozenset[str]
    outer: tuple[AbstractSet[str], ...]
    taken_ids: frozenset[str]
    depth: int

    def knows(self, node: str) -> bool:
        return any(node in part for part in self.outer)


class _Wiring(msgspec.Struct, frozen=True):
    """The edges of one graph by their ends."""

    into: dict[str, list[EdgeIR]]
    out_of: dict[str, list[EdgeIR]]

    @classmethod
    def of(cls, edges: list[EdgeIR]) -> _Wiring:
        wiring = cls({}, {})
        for edge in edges:
            wiring.into.setdefault(edge.target, []).append(edge)
            wiring.out_of.setdefault(edge.source, []).append(edge)
        return wiring


class _Build(msgspec.Struct):
    """One compilation: what was found and made so far."""

    limits: DocumentLimits
    problems: list[Problem] = []
    graphs: dict[str, GraphIR] = {}
    subworkflows: set[str] = set()
    signals: set[str] | None = set()
    has_approvals: bool = False
    assignees: list[tuple[str, str]] = []
    nodes: int = 0

    def problem(self, pointer: str, code: str, message: str, hint: str | None = None, **more: Any) -> None:
        self.problems.append(Problem(pointer, code, message, hint, **more))

    def error(self, error: AobError, pointer: str) -> None:
        self.problems.append(from_error(error, pointer))


def compile_document(document: Document, *, version: str | None = None) -> WorkflowIR:
    """The IR of a document that has the right shape (see `validate`).

    Raises DocumentInvalid with every problem when it cannot be executed.
    """
    ir, problems = build(document, version=version)
    if any(problem.severity == "error" for problem in problems):
        raise DocumentInvalid(problems)
    return ir


def build(
    document: Document, *, version: str | None = None, limits: DocumentLimits | None = None
) -> tuple[WorkflowIR, list[Problem]]:
    """The IR and every problem found; the IR is of use only when none of them is an error."""
    work = _Build(limits or DocumentLimits())
    scope = Scope(roots=BASE_ROOTS, outer=(), taken_ids=frozenset(), depth=0)
    schema = document.get("inputs")
    work.problems.extend(from_error(error, "/inputs") for error in check_schema(schema, pointer="/inputs") if schema)
    _graph(work, document, "", "", scope)
    limits_config = document.get("limits", {})
    ir = WorkflowIR(
        name=document["name"],
        version=version or document_hash(document),
        graphs=work.graphs,
        inputs=compile_schema(schema) if schema and not work.problems else None,
        inputs_schema=schema,
        timeout=_duration(work, limits_config.get("timeout"), "/limits/timeout"),
        max_items=limits_config.get("max_items"),
        max_agents=limits_config.get("max_agents", DEFAULT_MAX_AGENTS),
        agent_limits=limits_config.get("agents", {}),
        agents=_agents(work.graphs),
        subworkflows=tuple(sorted(work.subworkflows)),
        signals=None if work.signals is None else tuple(sorted(work.signals)),
        has_approvals=work.has_approvals,
        assignees=tuple(work.assignees),
    )
    return ir, work.problems


def _agents(graphs: Mapping[str, GraphIR]) -> int | None:
    keys = [key for key, one in graphs.items() for node in one.nodes.values() if node_types()[node.type].kind == "agent"]
    return None if any(keys) else len(keys)


def _graph(work: _Build, source: Mapping[str, Any], pointer: str, key: str, scope: Scope) -> None:
    nodes: dict[str, Any] = source["nodes"]
    edges: dict[str, Any] = source.get("edges", {})
    work.problems.extend(graph.check_edges(nodes, edges, pointer))
    successors, predecessors = graph.adjacency(nodes, edges.values())
    order = graph.topological_order(successors, predecessors)
    if len(order) < len(nodes):
        work.problems.extend(graph.check_cycles(successors, order, pointer))
        if all(predecessors.values()):
            work.problem(
                f"{pointer}/nodes",
                "no_entry",
                "No node can start: every node has an incoming edge.",
                "Break the cycle.",
            )
    before = graph.ancestors(order, predecessors)
    for name in nodes:
        if name in scope.taken_ids:
            work.problem(
                f"{pointer}/nodes/{escape_pointer(name)}",
                "id_shadows",
                f"Node id {name!r} is used by an outer graph already.",
                "Give the node in the body another id.",
            )
    wiring = _Wiring.of(_edges(work, edges, nodes, pointer, scope, before))
    taken = scope.taken_ids | nodes.keys()
    compiled = {}
    for name in sorted(nodes):
        upstream = before[name] if len(order) == len(nodes) else nodes.keys()
        inner = Scope(scope.roots, (*scope.outer, upstream), taken, scope.depth)
        node = _node(work, name, nodes[name], f"{pointer}/nodes/{escape_pointer(name)}", key, inner, wiring, nodes)
        if node is not None:
            compiled[name] = node
    everywhere = Scope(scope.roots, (*scope.outer, nodes.keys()), taken, scope.depth)
    output = _template(work, source["output"], f"{pointer}/output", everywhere, nodes) if "output" in source else None
    work.graphs[key] = GraphIR(
        nodes=compiled,
        entries=tuple(name for name in sorted(nodes) if not predecessors[name]),
        ends=tuple(name for name in sorted(nodes) if not successors[name]),
        output=output,
    )


def _edges(
    work: _Build,
    edges: Mapping[str, Any],
    nodes: Mapping[str, Any],
    pointer: str,
    scope: Scope,
    before: Mapping[str, AbstractSet[str]],
) -> list[EdgeIR]:
    wiring = []
    for name in sorted(edges):
        edge = edges[name]
        source = edge["from"]
        if source not in nodes or edge["to"] not in nodes:
            continue
        place = f"{pointer}/edges/{escape_pointer(name)}"
        when = None
        if "when" in edge:
            inner = Scope(
                scope.roots | {"output"},
                (*scope.outer, before[source], {source}),
                scope.taken_ids,
                scope.depth,
            )
            when = _expression(work, edge["when"], f"{place}/when", inner, nodes)
        port = edge.get("port", "out")
        _check_port(work, nodes[source], source, port, f"{place}/port" if "port" in edge else place)
        wiring.append(EdgeIR(id=name, source=source, target=edge["to"], port=port, when=when))
    return wiring


def ports_of(node: Mapping[str, Any], node_type: NodeType) -> tuple[str, ...]:
    """The ports that edges may leave this node by."""
    cases = tuple(
        case["name"]
        for case in node.get("config", {}).get("cases", ())
        if node_type.parts.get("cases") == "cases" and isinstance(case, dict) and isinstance(case.get("name"), str)
    )
    return (*node_type.ports, *cases, "error")


def _check_port(work: _Build, node: Mapping[str, Any], source: str, port: str, place: str) -> None:
    node_type = node_types().get(node["type"])
    if node_type is None:
        return
    known = ports_of(node, node_type)
    if port not in known:
        work.problem(
            place,
            "unknown_port",
            f"Node {source!r} ({node_type.name}) has no port {port!r}.",
            nearest(port, known) or f"Its ports are {', '.join(known)}.",
        )
    if node_type.name == "approval" and port == "timed_out" and node.get("config", {}).get("on_timeout") != port:
        work.problem(
            place,
            "approval_never_timed_out",
            f"Node {source!r} never leaves by `timed_out`: when nobody decides in time, it does what `on_timeout` says.",
            "Set on_timeout to timed_out, or remove the edge.",
            severity="warning",
        )


def _node(
    work: _Build,
    name: str,
    node: Mapping[str, Any],
    place: str,
    key: str,
    scope: Scope,
    wiring: _Wiring,
    siblings: Mapping[str, Any],
) -> NodeIR | None:
    work.nodes += 1
    node_type = node_types().get(node["type"])
    if node_type is None:
        work.problem(
            f"{place}/type",
            "unknown_node_type",
            f"There is no node type {node['type']!r}.",
            nearest(node["type"], node_types()) or f"Known types: {', '.join(node_types())}.",
        )
        return None
    config: dict[str, Any] = node.get("config", {})
    faults = compile_schema(node_type.config_schema).problems(config, pointer=f"{place}/config")
    work.problems.extend(from_error(fault, f"{place}/config") for fault in faults)
    node_key = f"{key}/{name}" if key else name
    if node_type.kind == "structure" and isinstance(config.get("body"), dict):
        _body(work, config["body"], f"{place}/config/body", node_key, scope, node_type)
    compiled = _config(work, node_type, config, f"{place}/config", scope, siblings)
    _check_by_type(work, node_type, config, compiled, place)
    incoming = tuple(wiring.into.get(name, ()))
    outgoing = tuple(wiring.out_of.get(name, ()))
    need, wait_all = _join(work, node, incoming, place)
    on_failure = node.get("on_failure", "fail_run")
    continue_with = None
    review_by: list[str] = []
    if on_failure == "review" or (isinstance(on_failure, dict) and "review" in on_failure):
        review_by = _reviewers(work, name, node_type, on_failure, f"{place}/on_failure")
        on_failure = "review"
    elif isinstance(on_failure, dict):
        failing = Scope(scope.roots | {"error"}, scope.outer, scope.taken_ids, scope.depth)
        continue_with = _template(work, on_failure["continue"], f"{place}/on_failure/continue", failing, siblings)
    if any(edge.port == "error" for edge in outgoing):
        if "on_failure" in node:
            work.problem(
                f"{place}/on_failure",
                "on_failure_unused",
                f"Node {name!r} has an `error` edge, so `on_failure` never applies.",
                "Remove one of the two.",
                severity="warning",
            )
        on_failure = "error"
    if "cache" in node and node["cache"]["policy"] != "off":
        work.problem(
            f"{place}/cache",
            "cache_inactive",
            "Results are not cached yet; `cache` has no effect.",
            severity="warning",
        )
    return NodeIR(
        id=name,
        type=node_type.name,
        pointer=place,
        config=compiled,
        incoming=incoming,
        outgoing=outgoing,
        need=need,
        wait_all=wait_all,
        retry=_retry(work, node.get("retry", {}), node_type, f"{place}/retry", scope, siblings),
        timeout=_duration(work, node["timeout"], f"{place}/timeout") if "timeout" in node else node_type.timeout,
        on_failure="continue" if isinstance(on_failure, dict) else on_failure,
        continue_with=continue_with,
        payload_schema=compile_schema(config["schema"])
        if node_type.name == "signal" and "schema" in config and not check_schema(config["schema"])
        else None,
        digest=content_hash(encode_ordered(node)),
        review_by=tuple(review_by),
    )


def _reviewers(work: _Build, name: str, node_type: NodeType, on_failure: Any, place: str) -> list[str]:
    """Who is asked when a node has failed. A body's tasks have run under their numbers, so it is not run again."""
    work.has_approvals = True
    if node_type.kind == "structure":
        work.problem(
            place,
            "review_of_body",
            f"Node {name!r} has a body, and is not run again as a whole.",
            "Set on_failure to review on the nodes inside.",
        )
    if on_failure == "review":
        return []
    try:
        people = assignees(on_failure["review"], f"{place}/review")
    except AobError as error:
        work.error(error, f"{place}/review")
        return []
    work.assignees += [(f"{place}/review", one) for one in people]
    return people


def _body(work: _Build, body: Mapping[str, Any], place: str, key: str, scope: Scope, node_type: NodeType) -> None:
    from workflows.core.validate import body_problems

    if scope.depth + 1 > work.limits.max_body_depth:
        work.problem(
            place,
            "limit_body_depth",
            f"Bodies are nested deeper than {work.limits.max_body_depth}.",
            "Move the inner part to a sub-workflow (limit: AOB_MAX_BODY_DEPTH).",
        )
        return
    faults = body_problems(body, place)
    work.problems.extend(faults)
    if faults:
        return
    roots = MAP_ROOTS if node_type.name == "map" else LOOP_ROOTS
    _graph(work, body, place, key, Scope(scope.roots | roots, scope.outer, scope.taken_ids, scope.depth + 1))


def _config(
    work: _Build,
    node_type: NodeType,
    config: Mapping[str, Any],
    place: str,
    scope: Scope,
    siblings: Mapping[str, Any],
) -> CompiledConfig:
    literal: dict[str, Any] = {}
    parts: dict[str, Expression | Template] = {}
    cases: list[tuple[str, Expression]] = []
    if node_type.name == "loop":
        scope = Scope(scope.roots | LOOP_ROOTS, scope.outer, scope.taken_ids, scope.depth)
    for key in sorted(config):
        value = config[key]
        kind = node_type.parts.get(key, "template")
        pointer = f"{place}/{escape_pointer(key)}"
        if kind == "literal":
            literal[key] = value
        elif kind == "cases":
            for number, case in enumerate(value if isinstance(value, list) else ()):
                if isinstance(case, dict) and isinstance(case.get("when"), str):
                    when = _expression(work, case["when"], f"{pointer}/{number}/when", scope, siblings)
                    if when is not None:
                        cases.append((str(case.get("name")), when))
        else:
            part: Expression | Template | None
            if kind == "expression" and isinstance(value, str):
                part = _expression(work, value, pointer, scope, siblings)
            else:
                part = _template(work, value, pointer, scope, siblings)
            if part is not None:
                parts[key] = part
    return CompiledConfig(literal=literal, parts=parts, cases=tuple(cases))


def _check_by_type(
    work: _Build, node_type: NodeType, config: Mapping[str, Any], compiled: CompiledConfig, place: str
) -> None:
    """What a JSON Schema cannot say about single types: constants that would fail when the node runs."""
    place = f"{place}/config"
    for fault in node_type.check(config, place) if node_type.check else ():
        work.error(fault, place)
    for key in ("for", "timeout") if node_type.kind == "wait" else ():
        if key in config and _constant(compiled, key):
            _duration(work, config[key], f"{place}/{key}")
    if node_type.name == "delay" and "until" in config and _constant(compiled, "until"):
        try:
            parse_instant(config["until"])
        except AobError as error:
            work.error(error, f"{place}/until")
    if node_type.name == "signal":
        if "schema" in config:
            for fault in check_schema(config["schema"], pointer=f"{place}/schema"):
                work.error(fault, f"{place}/schema")
        if not _constant(compiled, "name"):
            work.signals = None
        elif work.signals is not None:
            work.signals.add(str(config.get("name")))
    if node_type.name == "approval":
        _check_approval(work, config, compiled, place)
    if node_type.name == "subworkflow" and isinstance(config.get("workflow"), str):
        work.subworkflows.add(config["workflow"])
    if node_type.name == "switch":
        names = [case.get("name") for case in config.get("cases", ()) if isinstance(case, dict)]
        for number, name in enumerate(names):
            if name in names[:number]:
                work.problem(
                    f"{place}/cases/{number}/name",
                    "case_doubled",
                    f"There are two cases {name!r}.",
                    "Rename one.",
                )


def _check_approval(work: _Build, config: Mapping[str, Any], compiled: CompiledConfig, place: str) -> None:
    work.has_approvals = True
    for fault in check_schema(config.get("form", {}), pointer=f"{place}/form"):
        work.error(fault, f"{place}/form")
    if isinstance(config.get("form"), dict) and config["form"].get("type", "object") != "object":
        work.problem(f"{place}/form/type", "approval_form_invalid", "A form gives an object.", "Write type: object.")
    quorum = config.get("quorum")
    for key in ("assignees", "escalate_to", "veto"):
        if key not in config or not _constant(compiled, key) or (key == "veto" and config[key] == "anyone"):
            continue
        try:
            steps = chain(config[key], f"{place}/{key}") if key == "escalate_to" else None
            named = steps or [assignees(config[key], f"{place}/{key}")]
        except AobError as error:
            work.error(error, f"{place}/{key}")
            continue
        is_chain = isinstance(config[key], list) and any(isinstance(one, list) for one in config[key])
        for number, people in enumerate(named):
            at = f"{place}/{key}/{number}" if is_chain else f"{place}/{key}"
            work.assignees += [(at, one) for one in people]
            if key != "veto" and isinstance(quorum, dict) and isinstance(quorum.get("n"), int):
                try:
                    check_quorum(quorum["n"], people, (), f"{place}/quorum/n")
                except AobError as error:
                    work.error(error, f"{place}/quorum/n")
    if "remind_every" in config and _constant(compiled, "remind_every"):
        try:
            reminder_seconds(config["remind_every"], f"{place}/remind_every")
        except AobError as error:
            work.error(error, f"{place}/remind_every")
    if config.get("bulk") is True and isinstance(config.get("form"), dict) and config["form"].get("required"):
        work.problem(
            f"{place}/bulk",
            "approval_bulk_form",
            "Many tickets are decided at once only where the form needs nothing.",
            "Remove `bulk`, or what the form requires.",
        )
    escalates = config.get("on_timeout") == "escalate"
    if "timeout" not in config and "on_timeout" in config:
        work.problem(
            f"{place}/on_timeout",
            "approval_without_timeout",
            "Without `timeout` the ticket waits for ever, so `on_timeout` never applies.",
            "Give a timeout.",
            severity="warning",
        )
    if escalates and "escalate_to" not in config:
        work.problem(
            f"{place}/on_timeout",
            "approval_escalates_to_nobody",
            "Without `escalate_to` there is nobody to escalate to, so the ticket is rejected when its time is up.",
            "Say in `escalate_to` who decides then.",
            severity="warning",
        )
    if "escalate_to" in config and not escalates:
        work.problem(
            f"{place}/escalate_to",
            "approval_never_escalated",
            "`escalate_to` is of use only with on_timeout `escalate`.",
            "Set on_timeout to escalate, or remove it.",
            severity="warning",
        )


def _constant(compiled: CompiledConfig, key: str) -> bool:
    part = compiled.parts.get(key)
    return isinstance(part, Template) and part.constant


def _join(work: _Build, node: Mapping[str, Any], incoming: tuple[EdgeIR, ...], place: str) -> tuple[int, bool]:
    join = node.get("join", "all")
    if join == "all":
        return 1, True
    if join == "any":
        return 1, False
    if join["n"] > max(len(incoming), 1):
        work.problem(
            f"{place}/join/n",
            "join_unreachable",
            f"The node waits for {join['n']} taken edges but has {len(incoming)}.",
            "Lower `n` or add edges.",
        )
    return int(join["n"]), False


def _retry(
    work: _Build,
    retry: Mapping[str, Any],
    node_type: NodeType,
    place: str,
    scope: Scope,
    siblings: Mapping[str, Any],
) -> RetryIR:
    on: str | Expression = retry.get("on", "transient")
    if on not in ("transient", "any"):
        inner = Scope(scope.roots | RETRY_ROOTS, scope.outer, scope.taken_ids, scope.depth)
        on = _expression(work, str(on), f"{place}/on", inner, siblings) or "transient"
    policy = retry.get("policy", "custom" if "schedule" in retry else ("standard" if retry else node_type.retry))
    if policy == "none":
        return RetryIR(max_attempts=1, on=on)
    if policy == "webhook":
        return RetryIR(
            max_attempts=int(retry.get("max_attempts", len(WEBHOOK_SCHEDULE) + 1)),
            on=on,
            schedule=WEBHOOK_SCHEDULE,
            jitter=False,
        )
    schedule = tuple(
        _duration(work, text, f"{place}/schedule/{number}") or 0.0
        for number, text in enumerate(retry.get("schedule", ()))
    )
    return RetryIR(
        max_attempts=int(retry.get("max_attempts", len(schedule) + 1 if schedule else STANDARD_ATTEMPTS)),
        on=on,
        base=_duration(work, retry.get("base", "1s"), f"{place}/base") or 0.0,
        factor=float(retry.get("factor", 2.0)),
        cap=_duration(work, retry.get("cap", "5m"), f"{place}/cap") or 0.0,
        jitter=bool(retry.get("jitter", not schedule)),
        schedule=schedule,
    )


def compile_retry(retry: Mapping[str, Any]) -> RetryIR:
    """A retry policy on its own, as an operator sets it for a running run. Raises DocumentInvalid."""
    work = _Build(DocumentLimits())
    effect = next(node_type for node_type in node_types().values() if node_type.is_task)
    scope = Scope(BASE_ROOTS, (), frozenset(), 0)
    compiled = _retry(work, retry, effect, "/retry", scope, {})
    if work.problems:
        raise DocumentInvalid(work.problems)
    return compiled


def _duration(work: _Build, text: Any, pointer: str) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except AobError as error:
        work.error(error, pointer)
        return None


def _expression(work: _Build, source: str, pointer: str, scope: Scope, siblings: Mapping[str, Any]) -> Expression | None:
    text = source.strip()
    if text.startswith("{{") and text.endswith("}}"):
        text = text[2:-2].strip()
    try:
        expression = compile_expression(text, pointer=pointer, allowed=scope.roots)
    except AobError as error:
        work.error(error, pointer)
        return None
    _check_references(work, expression, pointer, scope, siblings)
    return expression


def _template(work: _Build, value: Any, pointer: str, scope: Scope, siblings: Mapping[str, Any]) -> Template | None:
    try:
        template = compile_template(value, pointer=pointer, allowed=scope.roots)
    except TemplateErrors as errors:
        for error in errors.errors:
            work.error(error, pointer)
        return None
    for expression in template.expressions:
        _check_references(work, expression, expression.pointer, scope, siblings)
    return template


def _check_references(
    work: _Build, expression: Expression, pointer: str, scope: Scope, siblings: Mapping[str, Any]
) -> None:
    for name in sorted(expression.node_refs or ()):
        if scope.knows(name):
            continue
        if name in siblings or name in scope.taken_ids:
            work.problem(
                pointer,
                "node_not_upstream",
                f"The expression uses nodes.{name}, which cannot have run at this place.",
                f"Draw an edge so that {name!r} comes before it.",
            )
        else:
            work.problem(
                pointer,
                "unknown_node",
                f"The expression uses nodes.{name}, but there is no node {name!r}.",
                nearest(name, known := sorted(set[str]().union(*scope.outer)))
                or "Nodes that come before: " + (", ".join(known[:20]) or "none"),
            )
