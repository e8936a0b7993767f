"""Real services for the tests: one embedded Postgres and Redis per session, shared by xdist's workers.

Loaded as a plugin before pytest-django, which reads the settings first thing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.services import Services, start

NO_CHROMIUM = "there is no Chromium; install it (Debian: apt-get install chromium-headless-shell) and run them again"

_services: Services | None = None
_home = Path(tempfile.mkdtemp(prefix="aob-test-"))

if "AOB_TEST_DATABASE_URL" not in os.environ:
    _services = start(_home, {})
    os.environ["AOB_TEST_DATABASE_URL"] = _services.database_url
    os.environ["AOB_TEST_REDIS_URL"] = _services.redis_url
    os.environ["AOB_TEST_BROKER_URL"] = _services.broker_url

_number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
os.environ |= {
    "DATABASE_URL": os.environ["AOB_TEST_DATABASE_URL"],
    "REDIS_URL": os.environ["AOB_TEST_REDIS_URL"].replace("db=0", f"db={2 * _number}"),
    "CELERY_BROKER_URL": os.environ["AOB_TEST_BROKER_URL"].replace("host=1", f"host={2 * _number + 1}"),
    "AOB_SECRET_KEY": "test-key-" + "x" * 40,
    "AOB_HTTP_ALLOW": "127.0.0.1",
    "AOB_LEASE_SECONDS": "3",
    "AOB_HOME": str(_home / "home"),
}


@pytest.fixture(scope="session")
def test_database(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """A database of its own for each worker of the test run."""
    from django.conf import settings
    from django.test.utils import setup_databases, teardown_databases

    from runs import db

    worker = os.environ.get("PYTEST_XDIST_WORKER")
    with django_db_blocker.unblock():
        if worker:
            settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = f"test_aob_{worker}"
        made = setup_databases(verbosity=0, interactive=False)
        yield
        db.close_pool()
        teardown_databases(made, verbosity=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in the browser are skipped where there is none, and the last lines say so."""
    from tests.support.browser import chromium

    if chromium() is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    missing = [report.nodeid for report in skipped if NO_CHROMIUM in str(report.longrepr)]
    if missing:
        terminalreporter.section(f"{len(missing)} tests did not run: {NO_CHROMIUM}")
        terminalreporter.write_line("\n".join(missing))


def pytest_unconfigure(config: pytest.Config) -> None:
    if _services is not None:
        _services.stop()
    shutil.rmtree(_home, ignore_errors=True)
