"""What older releases recorded folds and decides the same today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runs.core.advance import decide
from runs.core.events import DECISIONS, TERMINAL, Event
from runs.core.fold import apply
from runs.core.state import State
from runs.core.values import Values
from workflows.core.canonical import value_hash
from workflows.core.compile import compile_document
from workflows.core.document import document_hash
from workflows.core.strictjson import decode

GOLDEN = [
    pytest.param(entry, id=f"{file.stem} {entry['name']}")
    for file in sorted((Path(__file__).parents[2] / "golden").glob("*.json"))
    for entry in json.loads(file.read_text())
]


def test_there_is_a_record() -> None:
    assert len(GOLDEN) >= 16


@pytest.mark.parametrize("entry", GOLDEN)
def test_a_log_of_an_older_release_is_replayed_decision_by_decision(entry: dict[str, Any]) -> None:
    documents = [decode(text, is_canonical=True) for text in entry["documents"]]
    irs = {document_hash(one): compile_document(one, version=document_hash(one)) for one in documents}
    blobs = {name: text.encode() for name, text in entry["values"].items()}
    state, values = State(), Values(blobs.__getitem__)
    for number, parts in enumerate(entry["events"], 1):
        event = Event(**parts)
        assert event.seq == number
        if event.type in DECISIONS:
            again = decide(state, irs.__getitem__, values)
            assert again is not None and again[:2] == (event.type, event.node), event
            assert value_hash(again[2]) == value_hash(event.data), event
        apply(state, event, irs.__getitem__)
    last = entry["events"][-1]["type"]
    assert state.ended is (last in TERMINAL)
    if not state.ended:
        assert decide(state, irs.__getitem__, values) is None
