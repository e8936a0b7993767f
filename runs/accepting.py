"""Starts, one or many in one transaction: accepted, run ahead as far as no effect stands in the way, committed.

What is told "accepted" is durable by then (law 1). Nothing is computed while the transaction is open.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import psycopg

from runs import db
from runs.admission import backlog
from runs.bells import bells
from runs.blobs import StorageUnavailable
from runs.coordinator import EVENTS_PER_BATCH, EVENTS_PER_TURN
from runs.core.advance import advance
from runs.core.ids import is_among, time_id
from runs.errors import RunError, Unavailable
from runs.irs import NotUnderstood, ir_of
from runs.leases import Leased
from runs.models import PRIORITIES
from runs.starting import checked_inputs, new_run
from runs.store import Birth, Change
from runs.turns import GROUP_SECONDS, TURN_SECONDS, within
from runs.writing import write
from workflows.core.canonical import content_hash
from workflows.core.errors import AobError, LimitExceeded
from workflows.core.ir import WorkflowIR
from workflows.core.strictjson import check, encode, encode_ordered
from workflows.services import LATEST, require_version, resolve

Guard = Callable[[psycopg.Cursor[Any]], None]

MAX_KEY = 300
MAX_LABELS = 20
MAX_LABEL = 200
MAX_HEAVY = 200
HEAVY_SECONDS = 60.0
"""So long nothing of a version runs ahead after a run of it that took long."""

_log = logging.getLogger(__name__)


class StartRequest(msgspec.Struct, frozen=True):
    """One start. `workflow` is a document, `name` or `name@tag`; `key` an Idempotency-Key, `by` who starts it."""

    workflow: Any
    inputs: Any
    priority: str = "medium"
    labels: Mapping[str, str] = {}
    key: str | None = None
    by: str | None = None
    max_agents: int | None = None
    """Fewer agents than the workflow allows; 0 for what an agent starts itself."""
    inputs_of: str | None = None
    """The run that gives the inputs, where no person does."""
    before: Sequence[str] = ()
    """Who started the runs that the one which starts this was forked from."""
    former_key: str | None = None
    """How older processes kept the key; it counts for the very same request."""

    def fingerprint(self) -> str:
        """What makes two requests the same one."""
        return content_hash(encode_ordered([self.workflow, self.inputs, self.priority, dict(self.labels)]))


class Started(msgspec.Struct):
    """A run that was accepted; `change` is what it did so far, None when its key had started it before."""

    id: str
    change: Change | None

    @property
    def created(self) -> bool:
        return self.change is not None


class _Meant(NamedTuple):
    """What a name means now: a version, and in an experiment another one for a share of the runs, in per cent."""

    version: str
    variant: str | None = None
    share: int = 0

    def of(self, run_id: str) -> str:
        return self.variant if self.variant is not None and is_among(run_id, self.share) else self.version


class _Chance:
    """Random bytes from the system, taken by the page: one call to the kernel a run would cost more than its row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._page, self._place = b"", 0

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._place + count > len(self._page):
                self._page, self._place = os.urandom(4096), 0
            self._place += count
            return self._page[self._place - count : self._place]


_chance = _Chance()


class _Heavy:
    """Versions of which a run took long to run ahead: the next ones are left to coordinators, as one decision cannot be
    interrupted and other starts would wait for it."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, version: str) -> None:
        while len(self._until) >= MAX_HEAVY:
            self._until.pop(next(iter(self._until)), None)
        self._until[version] = time.monotonic() + HEAVY_SECONDS

    def has(self, version: str) -> bool:
        return bool(self._until) and self._until.get(version, 0.0) > time.monotonic()


_heavy = _Heavy()


def new_id() -> str:
    """The id of a new run."""
    return time_id(time.time_ns() // 1_000_000, _chance.take(10))


def start(request: StartRequest, *, guard: Guard | None = None) -> Started:
    """Starts one run. Raises AobError."""
    outcome = start_many([request], guard=guard)[0]
    if isinstance(outcome, AobError):
        raise outcome
    return outcome


def start_many(
    requests: Sequence[StartRequest], *, run_ahead: bool = True, guard: Guard | None = None
) -> list[Started | AobError]:
    """Starts many runs in one transaction; what is wrong with one leaves the others alone.

    Their pure parts run ahead and are committed with them, unless `run_ahead` is off: then coordinators
    take them up, and many more are accepted in the same time. `guard` is asked in that transaction, and raises where
    they may not start any more. Raises Overloaded, and then accepts none.
    """
    if not requests:
        return []
    backlog.admit()
    outcomes: list[Started | AobError | None] = [None] * len(requests)
    now, versions = _look_up(requests)
    changes: dict[int, Change] = {}
    left = EVENTS_PER_BATCH if run_ahead else 0
    in_time = within(GROUP_SECONDS)
    for place, request in enumerate(requests):
        most = min(EVENTS_PER_TURN, left) if in_time() else 0
        try:
            change = _prepare(request, versions, now, max_events=most)
        except AobError as error:
            outcomes[place] = error
            continue
        left -= len(change.events) - 1
        changes[place] = change
    tasks: list[Leased] = []
    more = _commit(changes, requests, outcomes, tasks, now, guard)
    bells.ring(tasks=tasks, ready=more)
    return [outcome for outcome in outcomes if outcome is not None]


def _look_up(requests: Sequence[StartRequest]) -> tuple[int, dict[str, _Meant]]:
    """The database's time, and the versions that the requests' names mean, in one statement."""
    wanted = {request.workflow for request in requests if isinstance(request.workflow, str)}
    parts = [name.partition("@") for name in wanted if "\0" not in name]
    with db.statement() as cursor:
        cursor.execute(
            db.sql("resolve_names"),
            {"name": [name for name, _, _ in parts], "tag": [tag or LATEST for _, _, tag in parts]},
        )
        rows = cursor.fetchall()
    found = {(name, tag): _Meant(version, *variant) for _, name, tag, version, *variant in rows if version is not None}
    versions = {f"{name}{at}{tag}": found.get((name, tag or LATEST)) for name, at, tag in parts}
    return rows[0][0], {name: meant for name, meant in versions.items() if meant is not None}


def _prepare(request: StartRequest, versions: Mapping[str, _Meant], now: int, *, max_events: int) -> Change:
    """The new run in memory, its pure part run ahead as far as `max_events` go. Raises AobError."""
    if request.priority not in PRIORITIES:
        raise RunError(
            "priority_unknown", f"{request.priority!r} is no priority.", "/priority", "Use high, medium or low."
        )
    if request.key is not None and not 0 < len(request.key) <= MAX_KEY:
        raise RunError("idempotency_key_invalid", f"An Idempotency-Key has 1 to {MAX_KEY} characters.")
    _check_labels(request.labels)
    try:
        check(request.inputs)
    except AobError as error:
        raise RunError(error.code, error.message, f"/inputs{error.pointer or ''}", error.hint) from None
    name = new_id()
    if isinstance(request.workflow, str):
        meant = versions.get(request.workflow)
        version = meant.of(name) if meant is not None else resolve(request.workflow)
    elif isinstance(request.workflow, dict):
        version = require_version(request.workflow)
    else:
        raise RunError("workflow_missing", "`workflow` is neither a document nor a name.", "/workflow")
    try:
        ir = ir_of(version)
    except NotUnderstood as error:
        raise Unavailable(error.code, f"{error}.", hint="A newer process can start it; try again.") from None
    inputs = checked_inputs(ir, {} if request.inputs is None else request.inputs)
    birth = Birth(encode(dict(request.labels)) if request.labels else b"{}", inputs_of=request.inputs_of)
    return _run_ahead(
        name,
        ir,
        inputs,
        now,
        PRIORITIES[request.priority],
        birth,
        agents=request.max_agents,
        by=request.by,
        before=request.before,
        max_events=0 if _heavy.has(version) else max_events,
    )


def _run_ahead(
    name: str,
    ir: WorkflowIR,
    inputs: Any,
    now: int,
    priority: int,
    birth: Birth,
    *,
    agents: int | None,
    by: str | None,
    before: Sequence[str],
    max_events: int,
) -> Change:
    fresh = partial(
        new_run, name, ir, inputs, now=now, priority=priority, agents=agents, birth=birth, by=by, before=before
    )
    change, values = fresh()
    if max_events > 0:
        began, in_time = time.monotonic(), within(TURN_SECONDS)
        try:
            advance(change.held.state, ir_of, values, change.events, at=now, max_events=max_events, go_on=in_time)
        except Exception:
            # A defect of ours, or a database that went away: the run is accepted as it is, and the coordinator,
            # which knows what to do with such runs, takes it up.
            _log.exception("Run %s cannot run ahead", name)
            change, values = fresh()
        if time.monotonic() - began > TURN_SECONDS:
            _heavy.add(ir.version)
    change.values = values.new
    return change


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise LimitExceeded("limit_labels", f"A run has at most {MAX_LABELS} labels.", "/labels")
    for name, value in labels.items():
        if not isinstance(value, str) or len(value) > MAX_LABEL or len(name) > MAX_LABEL:
            raise RunError(
                "label_invalid",
                f"The label {name[:50]!r} is not a text of at most {MAX_LABEL} characters.",
                "/labels",
            )


def _commit(
    changes: Mapping[int, Change],
    requests: Sequence[StartRequest],
    outcomes: list[Started | AobError | None],
    tasks: list[Leased],
    now: int,
    guard: Guard | None,
) -> bool:
    """Writes new runs in one transaction; gives whether a coordinator has something to do.

    What Postgres or the blob storage refuses is split until the one run that it is about is found (hazards F22, F11).
    """
    if not changes:
        return False
    try:
        with db.transaction(pipelined=len(changes) <= db.PIPELINED_RUNS) as cursor:
            if guard is not None:
                guard(cursor)
            known = _remember(cursor, changes, requests)
            fresh = {place: change for place, change in changes.items() if place not in known}
            new_tasks, more = write(cursor, list(fresh.values()), now=now)
        tasks.extend(new_tasks.read())
    except (psycopg.DataError, psycopg.IntegrityError, StorageUnavailable) as error:
        places = list(changes)
        if len(places) == 1 and isinstance(error, StorageUnavailable):
            _log.warning("A start was not accepted: %s", error)
            outcomes[places[0]] = Unavailable(error.code, "The blob storage does not take the run's inputs.")
            return False
        if len(places) == 1:
            reason = str(error).splitlines()[0][:500]
            outcomes[places[0]] = RunError("engine_data_refused", f"The run's data cannot be stored: {reason}")
            return False
        middle = len(places) // 2
        halves = [{place: changes[place] for place in half} for half in (places[:middle], places[middle:])]
        first, second = (_commit(half, requests, outcomes, tasks, now, guard) for half in halves)
        return first or second
    for place, outcome in known.items():
        outcomes[place] = outcome
    for place, change in fresh.items():
        outcomes[place] = Started(change.row.id, change)
    return more


def _remember(
    cursor: psycopg.Cursor[Any], changes: Mapping[int, Change], requests: Sequence[StartRequest]
) -> dict[int, Started | AobError]:
    """Keeps the Idempotency-Keys with their runs; gives what was started, or refused, by keys known already."""
    places: dict[str, list[int]] = {}
    for place in changes:
        key = requests[place].key
        if key is not None:
            places.setdefault(key, []).append(place)
    if not places:
        return {}
    prints = {place: requests[place].fingerprint() for several in places.values() for place in several}
    former = _by_former_keys(cursor, requests, prints)
    places = {key: left for key, several in places.items() if (left := [one for one in several if one not in former])}
    return former | _by_keys(cursor, changes, places, prints)


def _by_former_keys(
    cursor: psycopg.Cursor[Any], requests: Sequence[StartRequest], prints: Mapping[int, str]
) -> dict[int, Started | AobError]:
    """What was started by keys as they were kept before; nobody keeps them so any more."""
    former = {place: key for place in prints if (key := requests[place].former_key) is not None}
    if not former:
        return {}
    cursor.execute("SELECT key, request_hash, run_id::text FROM start_key WHERE key = ANY(%s)", [[*former.values()]])
    known = {key: (request_hash, run) for key, request_hash, run in cursor}
    return {
        place: Started(known[key][1], None) for place, key in former.items() if known.get(key, ("",))[0] == prints[place]
    }


def _by_keys(
    cursor: psycopg.Cursor[Any],
    changes: Mapping[int, Change],
    places: Mapping[str, Sequence[int]],
    prints: Mapping[int, str],
) -> dict[int, Started | AobError]:
    """Keeps the keys that are new; gives what the others started, in the places where they are asked for."""
    if not places:
        return {}
    # In one order always, so that two batches with the same keys wait for each other instead of deadlocking.
    keys = sorted(places)
    outcomes: dict[int, Started | AobError] = {}
    while keys:
        firsts = [places[key][0] for key in keys]
        cursor.execute(
            "INSERT INTO start_key (key, request_hash, run_id) SELECT * FROM unnest(%s::text[], %s::text[], %s::uuid[])"
            " ON CONFLICT DO NOTHING RETURNING key",
            [keys, [prints[place] for place in firsts], [changes[place].row.id for place in firsts]],
        )
        fresh = {row[0] for row in cursor}
        asked = [key for key in keys if key not in fresh or len(places[key]) > 1]
        if not asked:
            break
        cursor.execute("SELECT key, request_hash, run_id::text FROM start_key WHERE key = ANY(%s)", [asked])
        found = cursor.fetchall()
        for key, request_hash, run in found:
            for place in places[key][1 if key in fresh else 0 :]:
                outcomes[place] = Started(run, None) if prints[place] == request_hash else _key_reused()
        # Retention may have deleted a key with its run since it was in the way of ours.
        keys = sorted(set(asked) - {key for key, _, _ in found})
    return outcomes


def remember_replay(cursor: psycopg.Cursor[Any], run_id: str, key: str, new: str, asked: Any) -> str | None:
    """Keeps the Idempotency-Key of a replay; the run that it made before, if so. Raises RunError for another replay."""
    own = f"replay:{run_id}:{_short(key)}"
    fingerprint = content_hash(encode_ordered(asked))
    while True:
        cursor.execute(
            "INSERT INTO start_key (key, request_hash, run_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING key",
            [own, fingerprint, new],
        )
        if cursor.fetchone():
            return None
        row = cursor.execute("SELECT request_hash, run_id::text FROM start_key WHERE key = %s", [own]).fetchone()
        if row is not None and row[0] != fingerprint:
            raise _key_reused()
        if row is not None:
            return str(row[1])
        # Retention has deleted it since, with its run.


def signal_key(run_id: str, key: str) -> str:
    """How the Idempotency-Key of a signal is kept, however long it is."""
    return f"signal:{run_id}:{_short(key)}"


def _short(key: str) -> str:
    return f"#{hashlib.sha256(key.encode()).hexdigest()}"


def is_known_signal(cursor: psycopg.Cursor[Any], own: str, name: str, payload: Any) -> bool:
    """Whether a key of `signal_key` was used for this very signal. Raises RunError when that was another one.

    Its row is locked, so that of several requests one sends the signal and the others find it sent.
    """
    row = cursor.execute("SELECT request_hash FROM start_key WHERE key = %s FOR UPDATE", [own]).fetchone()
    if row is not None and row[0] != _print_of(name, payload):
        raise _key_reused()
    return row is not None


def remember_signal(cursor: psycopg.Cursor[Any], run_id: str, own: str, name: str, payload: Any) -> bool:
    """Keeps the key of a signal, locked; True when it was known. Raises RunError when it is that of another signal."""
    while True:
        cursor.execute(
            "INSERT INTO start_key (key, request_hash, run_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING key",
            [own, _print_of(name, payload), run_id],
        )
        if cursor.fetchone():
            return False
        if is_known_signal(cursor, own, name, payload):
            return True
        # Retention has deleted it since, with its run.


def _print_of(name: str, payload: Any) -> str:
    return content_hash(encode_ordered([name, payload]))


def _key_reused() -> RunError:
    return RunError(
        "idempotency_key_reused",
        "This Idempotency-Key was used for another request.",
        hint="Use a new key for a new run; the same key only for the very same request.",
    )
