"""The doors of patches of running runs: propose, review, revert; and how they are read (laws 4 and 10).

A patch is judged and written while the run is held, so that what it may not touch cannot start meanwhile. Its answer is
final: applied, waiting for review, only tried, or refused.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from runs import db, irs, queries
from runs.blobs import fetch
from runs.core import patching
from runs.core.agents import StepRefused
from runs.core.events import Event
from runs.core.simulate import Budget, Forecast, recorded, simulate
from runs.core.state import State
from runs.core.values import Value, Values, get, put
from runs.errors import RunError, Unavailable, is_id, unknown_run
from runs.holding import Held, hold
from runs.irs import ir_of
from runs.store import events_of
from workflows.core import patches
from workflows.core.document import Document
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.grants import EVERYTHING, Author, Grant, Mode
from workflows.core.patches import Operation, PatchConflict
from workflows.services import document_limits, document_of, pins_of, save_version

Guard = Callable[[Held], None]

MAX_REASON = 2_000
MAX_REFUSED = 100
"""So many refused patches a run's log keeps; those after are only answered."""

MAX_PATCHES = 1_000
"""So many patches one run has at most; each is a version of its own."""

MAX_REPORT = 1024 * 1024
MAX_SECONDS, HELD_SECONDS = 1.0, 0.05
"""So long a forecast is made, and so long where that must be while the run is held."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants changed. `base` is the version that it was made against, the newest where it is missing.

    `read` names what the author had seen of the run before, `outside` says that some of it came from outside AOB.
    `mode` is the author's own; the workflow's may be stricter. The same `key` proposes it once.
    """

    operations: list[Operation]
    reason: str
    author: Author
    base: str | None = None
    evidence: str | None = None
    read: Sequence[str] = ()
    outside: bool = False
    grant: Grant = EVERYTHING
    mode: Mode = "auto"
    key: str | None = None
    reverts: str | None = None


def propose(run_id: str, proposal: Proposal, *, guard: Guard | None = None) -> dict[str, Any]:
    """Judges a patch and applies it, keeps it for review, or only tries it; gives it as `show` does.

    `guard` is asked while the run is held, before anything is written, and raises where the author may no longer act.
    Raises RunError, PatchRefused (with problems that name their layer), PatchConflict, LimitExceeded, StepRefused.
    """
    _version(run_id)
    patch_id = _id_of(run_id, proposal.key)
    known = _known(run_id, patch_id, proposal)
    if known is not None:
        return known
    try:
        proposal = checked(proposal)
        _settle(run_id, patch_id, proposal, guard=guard)
    except AobError as error:
        known = _known(run_id, patch_id, proposal)
        if known is not None:
            return known  # The same key, by another request that was quicker: this one met its outcome.
        if isinstance(error, (PatchConflict, RunError, Unavailable, StepRefused)):
            raise
        refused = patching.refusal(error)
        if proposal.author.is_machine:
            _record_refusal(run_id, patch_id, proposal, refused, guard)
        raise refused from None
    return _known(run_id, patch_id, proposal) or show(patch_id, run_id=run_id)


def checked(proposal: Proposal) -> Proposal:
    """The proposal as it is kept. Raises PatchError, LimitExceeded, RunError."""
    if len(proposal.reason) > MAX_REASON:
        raise RunError("reason_too_long", f"A reason has at most {MAX_REASON} characters.", "/reason")
    return msgspec.structs.replace(proposal, operations=patches.normalized(proposal.operations))


def answer(
    patch_id: str,
    verdict: str,
    *,
    by: str,
    reason: str = "",
    run_id: str | None = None,
    door: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Approves or rejects a patch that waits for review, and its ticket with it. `door` says where that came from.

    Raises RunError, PatchRefused, PatchConflict.
    """
    found = show(patch_id, run_id=run_id)
    run_id = found["run"]
    author = Author(**found["by"])
    if verdict == "approve":
        require_other(author, by)
    decided: dict[str, Any] = {"decided_by": by, "decision": reason[:MAX_REASON]}
    if door:
        decided["from"] = dict(door)
    if verdict == "reject":
        with hold(run_id) as held:
            _require_pending(run_id, patch_id, held)
            held.append("PatchRejected", {"patch": patch_id, **decided})
        return show(patch_id, run_id=run_id)
    proposal = Proposal(
        operations=found["operations"], reason=found["reason"], author=author, base=found["base"],
        evidence=found.get("evidence"), read=found.get("read", ()), outside=found.get("outside", False),
        reverts=found.get("reverts"), grant=read_grant(found.get("grant")),
    )  # fmt: skip
    _settle(run_id, patch_id, proposal, decided=decided)
    return show(patch_id, run_id=run_id)


def require_other(author: Author, by: str) -> None:
    """Raises RunError where somebody approves what they or an agent with their token wrote; they may take it back."""
    if author.user == by:
        raise RunError(
            "patch_own", f"{by} wrote the patch, so somebody else approves it.", hint="Reject it to take it back."
        )


def revert(patch_id: str, *, author: Author, reason: str, run_id: str | None = None) -> dict[str, Any]:
    """A new patch that undoes an applied one. Raises RunError, PatchConflict where others went on from it."""
    found = show(patch_id, run_id=run_id)
    if found["status"] != "applied":
        raise RunError("patch_not_applied", f"The patch is {found['status']}, so there is nothing to undo.")
    head = _version(found["run"])
    operations = patches.inverse(found["operations"], before=document_of(found["before"]), head=document_of(head))
    return propose(
        found["run"], Proposal(operations=operations, reason=reason, author=author, base=head, reverts=patch_id)
    )


def listed(run_id: str) -> list[dict[str, Any]]:
    """The patches of a run, the oldest first, without their operations. Raises RunError."""
    _version(run_id)
    with db.transaction() as cursor:
        cursor.execute(db.sql("list_patches"), {"run": run_id})
        rows = cursor.fetchall()
    return [_told(*row, with_values=False) for row in rows]


def show(patch_id: str, *, run_id: str | None = None) -> dict[str, Any]:
    """One patch with everything that is known of it. Raises RunError `patch_unknown`."""
    row = None
    if is_id(patch_id) and (run_id is None or is_id(run_id)):
        with db.transaction() as cursor:
            row = cursor.execute(db.sql("find_patch"), {"patch": patch_id, "run": run_id}).fetchone()
    if row is None:
        raise RunError("patch_unknown", f"There is no patch {str(patch_id)[:60]!r}.", hint="See `aob patch list RUN`.")
    return _told(*row)


def documents(patch: dict[str, Any]) -> tuple[Document, Document] | None:
    """The run's document without a patch (as `show` gives it) and with it; None where nobody can say.

    One that waits is told of the run's newest document, or of its own base where others changed the same since.
    """
    try:
        if "version" in patch:
            return document_of(patch["before"]), document_of(patch["version"])
        head_version = _version(patch["run"])
        head = document_of(head_version)
        return fitted(patch, base=_base_of(patch["run"], patch["base"], head_version, head), head=head)
    except (AobError, KeyError):
        # Refused for what it is: no operations that could be kept, or none that fit.
        return None


def fitted(patch: dict[str, Any], *, base: Document, head: Document) -> tuple[Document, Document]:
    """A patch that is not applied, on the head where it waits and fits there, else on its base. Raises AobError."""
    operations = patches.normalized(patch["operations"])
    if patch["status"] == "pending_review":
        with suppress(AobError):
            return head, patches.rebase(operations, base=base, head=head)
    return base, patches.patched(base, operations)


def _told(
    run_id: str,
    patch_id: str,
    status: str,
    seq: int,
    first_at: Any,
    first: dict[str, Any],
    at: Any,
    last: dict[str, Any],
    first_seq: int,
    *,
    with_values: bool = True,
) -> dict[str, Any]:
    """A patch from the event that brought it and the last one about it."""
    values = Values(fetch)

    def value(key: str) -> Any:
        stored: Value | None = (get(last, key) or get(first, key)) if with_values else None
        return None if stored is None else values.load(stored)

    told = {
        "id": patch_id,
        "run": run_id,
        "status": status,
        "by": first["by"],
        "reason": first["reason"],
        "base": first["base"],
        "mode": first.get("mode"),
        "before": last.get("before"),
        "version": last.get("version"),
        "first_seq": first_seq,
        "seq": seq,
        "at": first_at.isoformat(),
        "operations": value("operations"),
        "report": value("report"),
        "errors": last.get("errors"),
        "held_because": first.get("held_because"),
        "evidence": first.get("evidence"),
        "read": first.get("read"),
        "outside": first.get("outside"),
        "reverts": first.get("reverts"),
        "grant": first.get("grant"),
        "decided_by": last.get("decided_by"),
        "decision": last.get("decision"),
        "decided_at": at.isoformat() if "decided_by" in last else None,
    }
    return {key: part for key, part in told.items() if part is not None}


def _settle(
    run_id: str,
    patch_id: str,
    proposal: Proposal,
    *,
    decided: dict[str, Any] | None = None,
    guard: Guard | None = None,
) -> None:
    """Makes the patched graph and the forecast before the run is held; judges them once it is.

    Where others changed the graph meanwhile, both are made once more then, the forecast only as far as it comes at once.
    """
    outputs = _outputs(run_id)
    head = _version(run_id)
    document, made = _made(run_id, proposal, head)
    forecast = _foreseen(queries.state_of(run_id), patch_id, proposal, head, document, made, outputs)
    with hold(run_id) as held:
        if guard is not None:
            guard(held)
        if held.state.version != head:
            head, forecast = held.state.version, None
            document, made = _made(run_id, proposal, head)
        if decided is not None:
            _require_pending(run_id, patch_id, held)
        elif _row_of(run_id, patch_id, held) is not None:
            return  # The same key, by another request that was quicker.
        else:
            _require_room(held)
        patching.admit(held.state, document, made)
        mode, because = _mode(document, proposal, made, held.state) if decided is None else ("auto", None)
        if mode == "off":
            raise RunError("patches_off", "The workflow takes no patches (`patches` is off).", "/operations")
        data = _applied(patch_id, proposal, head, made, held.state)
        if forecast is None:
            event = held.event("PatchApplied", data)
            forecast = _forecast(held.state, event, outputs, HELD_SECONDS)
        stored = held.values.store(proposal.operations, max_bytes=2 * patches.MAX_PATCH_BYTES, what="The patch")
        put(data, "operations", stored)
        report = msgspec.to_builtins(forecast)
        put(data, "report", held.values.store(report, max_bytes=MAX_REPORT, what="The report"))
        if mode == "auto":
            again = patching.asks_again(held.state, document, made)
            held.append("PatchApplied", {**data, **({"asks_again": again} if again else {}), **(decided or {})})
            return
        waiting = {key: part for key, part in data.items() if key not in ("version", "before", "pins")}
        if because:
            waiting["held_because"] = because
        held.append("PatchProposed", {**waiting, "mode": mode})


def _foreseen(
    state: State,
    patch_id: str,
    proposal: Proposal,
    head: str,
    document: Document,
    made: patching.Made,
    outputs: Mapping[str, Value],
) -> Forecast | None:
    """What the patch would do to the run as it stands; None where it does not fit it as it stands."""
    if state.ended or state.version != head:
        return None
    try:
        patching.admit(state, document, made)
    except patching.PatchRefused:
        return None
    event = Event(state.seq + 1, "PatchApplied", state.now, None, _applied(patch_id, proposal, head, made, state))
    return _forecast(state, event, outputs, MAX_SECONDS)


def _forecast(state: State, event: Event, outputs: Mapping[str, Value], seconds: float) -> Forecast:
    deadline = time.monotonic() + seconds
    return simulate(state, event, ir_of, Values(fetch), outputs, Budget(lambda: time.monotonic() > deadline))


def _made(run_id: str, proposal: Proposal, head: str) -> tuple[Document, patching.Made]:
    """The head and what the patch makes of it, kept as a version."""
    document = document_of(head)
    made = patching.make(
        proposal.operations,
        base=_base_of(run_id, proposal.base, head, document),
        head=document,
        author=proposal.author,
        grant=proposal.grant,
        limits=document_limits(),
    )
    irs.keep(save_version(made.document, name=made.ir.version), made.ir)
    return document, made


def _mode(document: Document, proposal: Proposal, made: patching.Made, state: State) -> tuple[Mode, str | None]:
    return patching.mode_of(document, proposal.author, proposal.mode, made=made, is_tainted=proposal.outside, state=state)


def _applied(patch_id: str, proposal: Proposal, head: str, made: patching.Made, state: State) -> dict[str, Any]:
    """What the event says that applies the patch, without its operations."""
    data: dict[str, Any] = {
        "patch": patch_id,
        "by": msgspec.to_builtins(proposal.author),
        "reason": proposal.reason,
        "base": proposal.base or head,
        "mode": proposal.mode,
    }
    more = {
        "evidence": proposal.evidence,
        "read": list(proposal.read),
        "outside": proposal.outside,
        "reverts": proposal.reverts,
        "grant": told_grant(proposal.grant),
    }
    data |= {key: part for key, part in more.items() if part}
    return data | {"version": made.ir.version, "before": head, **_pins(made, state)}


def _pins(made: patching.Made, state: State) -> dict[str, Any]:
    """The versions of sub-workflows that the run did not know before."""
    pins = {name: version for name, version in pins_of(made.ir).items() if name not in state.pins}
    return {"pins": pins} if pins else {}


def _outputs(run_id: str) -> dict[str, Value]:
    """Recorded outputs of the last completed run of the same workflow, for what this run has not reached."""
    with db.transaction() as cursor:
        row = cursor.execute(db.sql("last_completed"), {"run": run_id}).fetchone()
        return recorded(events_of(cursor, row[0])) if row else {}


def _base_of(run_id: str, base: str | None, head: str, document: Document) -> Document:
    """The document that a patch was made against: the head, or another version that the run has had."""
    if base is None or base == head:
        return document
    with db.transaction() as cursor:
        row = cursor.execute(db.sql("had_version"), {"run": run_id, "version": base}).fetchone()
    if row is None:
        raise RunError(
            "patch_base_unknown",
            f"The run never had the version {base[:80]!r}.",
            "/base",
            f"Its newest version is {head}.",
        )
    return document_of(base)


def told_grant(grant: Grant) -> dict[str, list[str]] | None:
    """A grant as it is kept with its patch, for when somebody approves it; None is everything."""
    if grant == EVERYTHING:
        return None
    told = {key: sorted(part or ()) for key, part in msgspec.structs.asdict(grant).items()}
    return {key: part for key, part in told.items() if part or key != "consent"}


def read_grant(told: dict[str, list[str]] | None) -> Grant:
    """What `told_grant` wrote; of a right that it did not know yet, nothing."""
    return EVERYTHING if told is None else Grant(*(frozenset(told.get(key, ())) for key in Grant.__struct_fields__))


def _record_refusal(
    run_id: str, patch_id: str, proposal: Proposal, refused: patching.PatchRefused, guard: Guard | None
) -> None:
    """A machine's refused patch stands in the log, with why; its operations only where they are a small list."""
    with hold(run_id) as held:
        if guard is not None:
            guard(held)
        if held.state.ended or held.state.refused >= MAX_REFUSED or _row_of(run_id, patch_id, held) is not None:
            return
        data = {
            "patch": patch_id,
            "by": msgspec.to_builtins(proposal.author),
            "reason": proposal.reason[:MAX_REASON],
            "base": proposal.base or held.state.version,
            "errors": refused.errors(),
        }
        try:
            operations = held.values.store(
                patches.normalized(proposal.operations), max_bytes=patches.MAX_PATCH_BYTES, what="The patch"
            )
        except AobError:
            held.append("PatchRefused", data)
        else:
            held.append("PatchRefused", put(data, "operations", operations))


def _require_room(held: Held) -> None:
    row = held.cursor.execute("SELECT count(*) FROM run_patch WHERE run_id = %s", [held.state.run_id]).fetchone()
    if row is not None and row[0] >= MAX_PATCHES:
        raise LimitExceeded(
            "limit_patches",
            f"The run has {row[0]} patches; the limit is {MAX_PATCHES}.",
            hint="Publish a new version of the workflow, and replay the run with it.",
        )


def _require_pending(run_id: str, patch_id: str, held: Held) -> None:
    row = _row_of(run_id, patch_id, held)
    if row is None or row[2] != "pending_review":
        status = row[2] if row else "unknown"
        by = row[7].get("decided_by") if row else None
        message = f"The patch is {status} already" + (f", by {by}." if by else ".")
        raise RunError("patch_decided", message)
    if held.state.ended:
        raise RunError("run_ended", f"The run {run_id} has ended ({held.state.status}).", hint="Replay it instead.")


def _row_of(run_id: str, patch_id: str, held: Held) -> Any:
    """What `find_patch` tells of a patch while its run is held; None where there is none."""
    return held.cursor.execute(db.sql("find_patch"), {"patch": patch_id, "run": run_id}).fetchone()


def _id_of(run_id: str, key: str | None) -> str:
    """A patch's id: of its key, so that it is proposed once, or by chance."""
    return str(uuid.uuid4() if key is None else uuid.uuid5(uuid.UUID(run_id), key))


def _known(run_id: str, patch_id: str, proposal: Proposal) -> dict[str, Any] | None:
    """What the same key proposed before."""
    if proposal.key is None:
        return None
    try:
        found = show(patch_id, run_id=run_id)
    except RunError:
        return None
    require_same(found, proposal)
    if found["status"] == "refused":
        raise patching.PatchRefused([patching.problem_of(error) for error in found["errors"]])
    return found


def require_same(found: dict[str, Any], proposal: Proposal) -> None:
    """Raises RunError when a key that proposed one patch proposes another, or wants something else done with it.

    What was proposed before its mode was kept is told apart by the rest.
    """
    is_same = (
        patches.same(found.get("operations"), patches.normalized(proposal.operations))
        and proposal.base in (None, found["base"])
        and proposal.mode == found.get("mode", proposal.mode)
    )
    if not is_same:
        raise RunError("idempotency_key_reused", "This key proposed another patch before.", hint="Use a new key.")


def _version(run_id: str) -> str:
    """The version in force. Raises RunError when there is no such run."""
    with db.transaction() as cursor:
        row = cursor.execute("SELECT version FROM run WHERE id = %s", [run_id]).fetchone() if is_id(run_id) else None
    if row is None:
        raise unknown_run(run_id)
    return str(row[0])
