"""What the drills share: a record of how long each recovery took, and a database for those inside the test process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Recovery = Callable[[str, str, float], None]

_recoveries: list[dict[str, Any]] = []


@pytest.fixture
def recovery(request: pytest.FixtureRequest) -> Recovery:
    """`recovery("F11", "blob disk full", seconds)`: so long after the fault ended all was as before."""

    def record(fault: str, what: str, seconds: float) -> None:
        _recoveries.append({"fault": fault, "what": what, "seconds": round(seconds, 2), "test": request.node.name})

    return record


@pytest.fixture
def database(test_database: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database, its live work removed afterwards."""
    from runs import db, services
    from tests.support.crashes import wipe

    with django_db_blocker.unblock():
        yield
        wipe()
        services.advancer.cache_clear()
        db.close_pool()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Appends the recoveries to the file AOB_DRILLS_REPORT, one JSON object a line."""
    report = os.environ.get("AOB_DRILLS_REPORT")
    if report and _recoveries:
        with open(report, "a") as file:
            file.writelines(json.dumps(row) + "\n" for row in _recoveries)
