from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runs import db, services


@pytest.fixture(autouse=True)
def database(test_database: None, django_db_blocker: Any) -> Iterator[None]:
    """Every integration test commits for real. The log stays: it cannot be emptied, by design."""
    with django_db_blocker.unblock():
        yield
        with db.transaction() as cursor:
            cursor.execute("TRUNCATE run, run_snapshot, run_inbox, task, dead_letter, run_patch, start_key")
            cursor.execute("TRUNCATE agent_spend, agent_use, agent_switch, ticket, ticket_message")
            cursor.execute("TRUNCATE workflow, workflow_version, tag, tag_move, workflow_patch, experiment")
            cursor.execute("TRUNCATE blob_use, blob_part")
            cursor.execute("DELETE FROM blob")
        services.advancer.cache_clear()
        db.close_pool()
