"""Help, mistakes in usage, the speed of the start, and that the client stands alone."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
import tomllib

import pytest

from cli.spec import COMMANDS, SERVER, Command, group, names
from cli.texts import HELP, VERSION
from tests.unit.cli.stub import CODE, ID, ROOT, Stub, aob, environment, of_json, run


def test_the_static_help_lists_exactly_the_commands_of_the_parser() -> None:
    listed = re.search(r"\ncommands:\n(.*?)\n\n", HELP, re.DOTALL)
    assert listed is not None
    lines = dict(line.strip().split(None, 1) for line in listed.group(1).splitlines())
    assert list(lines) == names()
    for name in names():
        commands = group(name)
        if len(commands[0].path) == 1:
            assert lines[name] == commands[0].help
        else:
            assert lines[name].split(", ") == [command.path[1] for command in commands]


def test_the_version_is_that_of_the_package() -> None:
    assert f"aob {tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']}" == VERSION
    for arguments in (["--version"], ["version"]):
        assert aob(*arguments).out == f"{VERSION}\n"
    assert aob("version", "--json").json() == {"version": VERSION.removeprefix("aob ")}


def test_help_is_there_for_nothing_for_groups_and_for_every_command() -> None:
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        done = aob(*arguments)
        assert (done.code, done.out) == (0, HELP)
    assert "retry-policy" in aob("run", "--help").out
    assert aob("workflow", "-h").code == 0


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one.path[0] not in SERVER], ids=lambda one: " ".join(one.path)
)
def test_the_help_of_a_command_has_an_example_and_the_common_options(command: Command) -> None:
    done = aob(*command.path, "--help")
    assert done.code == 0, done.err
    assert f"usage: aob {' '.join(command.path)}" in done.out
    assert re.search(rf"example: .*aob {' '.join(command.path)}", done.out)
    for option in ("--json", "--url", "--token"):
        assert option in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu", "list"], "there is no command 'rnu'. Did you mean `aob run`?"),
        (["zzzz"], "there is no command 'zzzz'. See `aob --help`."),
        (["run", "strat", "x"], "`aob run` has no action 'strat'. Did you mean `aob run start`?"),
        (["run"], "`aob run` needs an action. Its actions: start, batch,"),
        (["run", "start", "x", "--folow"], "cannot use '--folow'. Did you mean `--follow`?"),
        (["run", "status"], "the following arguments are required: RUN"),
        (["run", "status", "a", "b"], "cannot use 'b'"),
        (["run", "start", "x", "--priority", "urgent"], "invalid choice: 'urgent'"),
        (["run", "list", "--limit", "many"], "invalid int value"),
        (["--json"], "which command?"),
    ],
)
def test_a_mistake_in_usage_is_two_and_says_what_was_meant(arguments: list[str], words: str) -> None:
    done = aob(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "pause", ""], ["run", "status", ""], ["run", "status", "", "--json"], ["approve", "", "approve"],
        ["patch", "show", ""], ["logs", "stream", ""],
    ],
)  # fmt: skip
def test_an_empty_name_is_a_mistake_that_no_server_is_asked_about(stub: Stub, arguments: list[str]) -> None:
    done = aob(*arguments, url=stub.url)
    assert done.code == 2 and "is empty" in done.err and stub.requests == []


def test_silence_is_told_with_what_to_do_about_it_in_every_form() -> None:
    for arguments in (["run", "list"], ["run", "status", ID], ["logs", "stream", ID]):
        plain = aob(*arguments, url="http://127.0.0.1:1")
        told = aob(*arguments, "--json", url="http://127.0.0.1:1")
        assert plain.code == told.code == 3
        assert told.json()["code"] == "unreachable" and told.json()["hint"] in plain.err and "aob up" in plain.err


def test_server_commands_go_on_in_a_python_with_packages(tmp_path: object) -> None:
    for arguments in (["up", "--help"], ["--json", "doctor", "--help"]):
        done = aob(*arguments)
        assert done.code == 0 and "--port" in done.out, done.err


def test_the_script_and_the_parsers_of_the_server_commands_know_what_the_help_lists() -> None:
    script = re.search(r"^SERVER_COMMANDS=' (.*) '$", (ROOT / "bin" / "aob").read_text(), re.MULTILINE)
    assert script is not None and set(script.group(1).split()) == SERVER
    for command in COMMANDS:
        if command.path[0] in SERVER:
            done = aob(command.path[0], "--help")
            assert done.code == 0, done.err
            for name, keywords in command.arguments:
                assert (name if name.startswith("-") else keywords["metavar"]) in done.out, (command.path, name)


def imported(*arguments: str, **more: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-IS", "-X", "importtime", "-c", CODE, *arguments],
        env=environment(**more), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_version_and_help_import_next_to_nothing() -> None:
    for argument in ("--version", "--help"):
        found = imported(argument)
        assert {name for name in found if name.startswith("cli")} == {"cli", "cli.main", "cli.texts"}
        assert found.isdisjoint({"argparse", "json", "re", "socket", "_socket", "typing", "os"})


def test_status_imports_no_parser_and_no_heavy_http(stub: Stub) -> None:
    stub.on(f"GET /runs/{ID}", of_json(run()))
    found = imported("run", "status", ID, AOB_URL=stub.url, AOB_TOKEN="x")
    heavy = {"argparse", "typing", "socket", "ssl", "http.client", "urllib.parse", "urllib.request", "email", "datetime"}
    assert "_socket" in found
    assert found.isdisjoint(heavy | {"difflib", "dataclasses", "random", "hashlib", "encodings.idna"})


def test_no_command_imports_what_is_not_of_the_standard_library(stub: Stub) -> None:
    modules = [f"cli.{file.stem}" for file in (ROOT / "cli").glob("*.py") if file.stem != "__init__"]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + "".join(f"import {name}\n" for name in modules)
    code += "own = set(sys.stdlib_module_names) | {'cli', '__main__'}\n"
    code += "print(sorted(name for name in sys.modules if name.partition('.')[0] not in own))"
    done = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def times(code: str, *arguments: str, **more: str) -> list[float]:
    found = []
    for _ in range(15):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-IS", "-c", code, *arguments], env=environment(**more), capture_output=True, check=True
        )
        found.append(time.perf_counter() - start)
    return found


def quicker_than(factor: float, *arguments: str, **more: str) -> None:
    """By the median or, where other work disturbs, the best of 15; three rounds."""
    seen = []
    for _ in range(3):
        bare, ours = times("pass"), times(CODE, *arguments, **more)
        seen.append(min(statistics.median(ours) / statistics.median(bare), min(ours) / min(bare)))
        if seen[-1] < factor:
            return
    raise AssertionError(f"{arguments}: {seen} times the bare interpreter, not {factor}")


def test_the_start_is_quick(stub: Stub) -> None:
    stub.on(f"GET /runs/{ID}", of_json(run()))
    quicker_than(1.5, "--version")
    quicker_than(1.5, "--help")
    quicker_than(4.0, "run", "status", ID, AOB_URL=stub.url, AOB_TOKEN="x")
