"""`aob doctor` and the `aob` script: what they find, from wherever they are called."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from embedded import doctor, services
from embedded.console import Console
from embedded.home import write_runtime
from embedded.specs import hint_about_models
from tests.support.installation import clean_environment, free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def database() -> None:
    """These tests start services of their own, so they need no clean tables."""


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)


def findings(home: Path, port: int) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(home, port)}


def test_doctor_works_where_nothing_has_ever_run(tmp_path: Path) -> None:
    said: list[str] = []
    assert doctor.run(tmp_path / "none", free_port(), as_json=True, tell=said.append) == 0
    found = {one["name"]: one for one in json.loads(said[0])}
    assert found["Python"]["state"] == found["Postgres binary"]["state"] == found["Redis binary"]["state"] == "ok"
    assert {found[name]["state"] for name in ("Postgres", "Redis", "Broker", "Web", "coordinator")} == {"warn"}
    assert all(one["remedy"] for one in found.values() if one["state"] != "ok")
    assert not (tmp_path / "none").exists()


def test_doctor_examines_the_services_that_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with services.start(home, {}) as running:
        write_runtime(home, {name.lower(): url for name, url in running.environment().items()})
        found = findings(home, free_port())
    for name in ("Postgres", "Durability", "Clock", "Redis", "Broker", "Data directory"):
        assert found[name].state == "ok", found[name]
    assert "Role" not in found
    assert found["Web"].state == found["coordinator"].state == "fail"


def test_doctor_names_open_files_weak_keys_and_dead_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "client.json").touch()
    (home / "client.json").chmod(0o644)
    monkeypatch.setenv("AOB_SECRET_KEY", "x" * 40)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("CELERY_BROKER_URL", "nonsense://")
    said: list[str] = []
    assert doctor.run(home, free_port(), tell=said.append) == 1
    found = findings(home, free_port())
    for name in ("Permissions", "Secret key", "Postgres", "Redis", "Broker"):
        assert found[name].state == "fail" and found[name].remedy, found[name]
    assert f"    → chmod go= {home / 'client.json'}" in said


@pytest.mark.parametrize("way", ["direct", "absolute link", "chain of relative links", "by the shell in its folder"])
def test_the_script_finds_its_code_however_it_is_called(tmp_path: Path, way: str) -> None:
    command, place = [str(ROOT / "bin" / "aob")], tmp_path
    if way == "absolute link":
        (tmp_path / "aob").symlink_to(ROOT / "bin" / "aob")
        command = [str(tmp_path / "aob")]
    elif way == "chain of relative links":
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "aob").symlink_to(os.path.relpath(ROOT / "bin" / "aob", tmp_path / "deep"))
        (tmp_path / "aob").symlink_to("deep/aob")
        command = [str(tmp_path / "aob")]
    elif way == "by the shell in its folder":
        command, place = ["sh", "aob"], ROOT / "bin"
    for arguments in (["--version"], ["doctor", "--help"]):
        done = subprocess.run([*command, *arguments], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0 and "aob" in done.stdout, done.stderr


def test_what_lies_where_aob_is_started_is_not_executed(tmp_path: Path) -> None:
    """Names that the processes import late, early, from the standard library, from packages and from AOB itself."""
    place, home = tmp_path / "downloads", tmp_path / "home"
    place.mkdir()
    code = f"import os; open({str(tmp_path / 'executed')!r}, 'a').write(__file__ + chr(10)); os._exit(9)"
    for name in ("mcp", "json", "asyncio", "celery", "granian", "pydantic_ai", "aob_web", "workflows", "sitecustomize"):
        (place / f"{name}.py").write_text(code)
    port = free_port()
    environment = {**os.environ, "AOB_HOME": str(home), "AOB_PORT": str(port), "AOB_FRONT_PROCESSES": "1"}
    output = tmp_path / "out"
    with output.open("w") as out:
        process = subprocess.Popen(
            [ROOT / "bin" / "aob", "up"], cwd=place, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: "AOB is ready" in output.read_text() or process.poll() is not None, seconds=90)
        assert process.poll() is None, output.read_text()
        token = json.loads((home / "client.json").read_text())["token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        answer = httpx.post(f"http://127.0.0.1:{port}/mcp", headers=headers, json=asked, timeout=20)
        assert answer.status_code == 200, answer.text
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(40)
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()


def test_the_installed_script_finds_the_packages_beside_its_python(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    packages = venv / "lib" / "python3.11" / "site-packages"
    (venv / "bin").mkdir(parents=True)
    packages.mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    shutil.copy(ROOT / "bin" / "aob", venv / "bin" / "aob")
    broken = subprocess.run([venv / "bin" / "aob", "--version"], capture_output=True, text=True)
    assert broken.returncode == 3 and "install it again" in broken.stderr
    shutil.copytree(ROOT / "cli", packages / "cli")
    done = subprocess.run([venv / "bin" / "aob", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("aob "), done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "web"])
def test_a_port_that_is_none_is_a_usage_error(port: str) -> None:
    done = subprocess.run([ROOT / "bin" / "aob", "up", "--port", port], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "AOB_PORT" in done.stderr


def test_what_is_shown_only_once_is_shown_when_quiet_and_a_lost_terminal_ends_nothing() -> None:
    lines: list[str] = []
    account = {"username": "admin", "password": "p4ss", "token": None}
    quiet = Console("quiet", lines.append)
    quiet.say("progress", "Starting")
    quiet.say("problem", "web ended")
    quiet.welcome(url="http://x", seconds=1.0, account=account, client_file="c", models="")
    assert [line for line in lines if "p4ss" in line] and lines[0] == "! web ended" and len(lines) == 2

    def gone(line: str) -> None:
        raise BrokenPipeError

    Console("text", gone).say("problem", "web ended")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, ("no language model yet", "OPENAI_API_KEY=… make up", "-m worker.agent.scripted", "AOB_SCRIPTED_URL=")),
        ({"OPENAI_API_KEY": ""}, ("no language model yet",)),
        (
            {"AOB_SCRIPTED_URL": "http://127.0.0.1:8123"},
            ("scripted provider at http://127.0.0.1:8123", "no language model"),
        ),
    ],
)
def test_without_a_language_model_it_is_said_how_to_get_one(environ: dict[str, str], words: tuple[str, ...]) -> None:
    hint = hint_about_models(environ)
    assert all(word in hint for word in words), hint
    assert max(len(line) for line in hint.splitlines()) <= 130


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_BASE_URL", "AOB_LLM_ACME_URL"])
def test_with_a_language_model_nothing_is_said(name: str) -> None:
    assert hint_about_models({name: "x", "AOB_SCRIPTED_URL": "http://x"}) == ""
