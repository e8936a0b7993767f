"""`python -m aob_web.setup`: migrations, the first account and token, the examples. Safe to run again.

Prints one JSON line per step; the last one is `{"step": "ready", …}` with what is shown only once.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

FIRST_USER = "admin"
RUNNER_FILE = "agent-runner.json"
LOCK_SECONDS, LOCK_TRIES = 1, 300


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aob_web.settings")
    import django

    django.setup(set_prefix=False)
    from django.conf import settings

    from aob_web.accounts.models import RUNNER_SCOPE, SCOPES

    _migrate()
    password = _first_account()
    token = _token_file(settings.AOB_HOME / "client.json", settings.AOB_PUBLIC_URL, "command line", SCOPES)
    _token_file(settings.AOB_HOME / RUNNER_FILE, settings.AOB_PUBLIC_URL, "agent runner", (RUNNER_SCOPE,))
    _load_examples(settings.BASE_DIR / "examples", settings.AOB_PUBLIC_URL)
    _tell("ready", url=settings.AOB_PUBLIC_URL, username=FIRST_USER, password=password, token=token)


def _tell(step: str, **more: Any) -> None:
    print(json.dumps({"step": step, **more}), flush=True)


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import OperationalError, connection
    from django.db.migrations.executor import MigrationExecutor
    from psycopg.errors import LockNotAvailable

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    waited = 0
    while plan:
        # What waits for a table's lock holds up everybody behind it, so a migration waits briefly, many times (F33).
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        try:
            call_command("migrate", verbosity=0, interactive=False)
            break
        except OperationalError as error:
            waited += 1
            if not isinstance(error.__cause__, LockNotAvailable) or waited >= LOCK_TRIES:
                raise
            _tell("migrate", status="waiting", detail="another session holds a table")
            connection.close()
            time.sleep(LOCK_SECONDS)
    _tell("migrate", status="done", detail=f"{len(plan)} migrations" if plan else "up to date")


def _first_account() -> str | None:
    """Makes the first account where there is none; gives its password, which is not kept anywhere."""
    from django.contrib.auth.models import User

    if User.objects.exists():
        _tell("account", status="done", detail="there already")
        return None
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(FIRST_USER, password=password)
    _tell("account", status="done", detail=f"made {FIRST_USER!r}")
    return password


def _token_file(file: Path, url: str, name: str, scopes: tuple[str, ...]) -> str | None:
    """Writes a file with the address and a token; makes one where the file has none that is valid."""
    from django.contrib.auth.models import User

    from aob_web.accounts.models import ApiToken

    known: dict[str, Any] = {}
    if file.exists():
        known = json.loads(file.read_text())
    made = None
    if not known.get("token") or ApiToken.find(known["token"]) is None:
        owner = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if owner is None:
            _tell("token", status="skipped", detail="there is no active superuser")
            return None
        made = known["token"] = ApiToken.issue(owner, name, scopes)
    if made or known.get("url") != url:
        known["url"] = url
        part = file.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(known, out)
        part.replace(file)
    _tell("token", status="done", detail=f"{name}: {'made' if made else 'there already'}")
    return made


def _load_examples(folder: Path, url: str) -> None:
    from workflows.core.errors import AobError
    from workflows.core.strictjson import decode
    from workflows.services import push

    loaded = 0
    for file in sorted(folder.glob("*/*workflow*.json")):
        try:
            # The examples call the demo endpoints of this very system, on whatever port it listens.
            text = file.read_text(encoding="utf-8").replace("http://127.0.0.1:8800", url)
            push(decode(text), note="Example")
            loaded += 1
        except AobError as error:
            print(f"{file.name}: {error.message}", file=sys.stderr)
    _tell("examples", status="done", detail=f"{loaded} workflows")


if __name__ == "__main__":
    main()
