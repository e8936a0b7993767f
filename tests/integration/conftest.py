from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.test.utils import setup_databases, teardown_databases

from runs import db, services


@pytest.fixture(scope="session")
def test_database(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """A database of its own for each worker of the test run."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    with django_db_blocker.unblock():
        from django.conf import settings

        if worker:
            settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = f"test_aob_{worker}"
        made = setup_databases(verbosity=0, interactive=False)
        yield
        db.close_pool()
        teardown_databases(made, verbosity=0)


@pytest.fixture(autouse=True)
def database(test_database: None, django_db_blocker: Any) -> Iterator[None]:
    """Every integration test commits for real. The log stays: it cannot be emptied, by design."""
    with django_db_blocker.unblock():
        yield
        with db.transaction() as cursor:
            cursor.execute("TRUNCATE run, run_snapshot, run_inbox, task, dead_letter, start_key")
            cursor.execute("TRUNCATE workflow, workflow_version, tag, tag_move")
        services._advancer.cache_clear()
        db.close_pool()
