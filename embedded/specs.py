"""The processes of AOB as data: how each is started, on which plane it runs, and the cores of the planes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PYTHON = (sys.executable, "-P")
"""Python that takes no module from the directory that it is started in, which may be anybody's."""


@dataclass(frozen=True)
class ProcessSpec:
    """One child: how it is started, on which plane, and whether it is ready only when GET /healthz answers.

    One that is not trusted gets neither the addresses of the services nor the installation's secret (hazard S2).

    Every child shows its progress by writing its number to `run/<name>.alive` in the data directory.
    """

    name: str
    argv: Sequence[str]
    plane: str = "control"
    serves: bool = False
    trusted: bool = True


FRONTS = max(1, min(int(os.environ.get("AOB_FRONT_PROCESSES", "0")) or os.cpu_count() or 1, 8))
"""So many processes share the public port: one takes in about 4,000 starts a second, one core's worth of Python."""

FRONT_NAMES = ("front", *(f"front-{number}" for number in range(2, FRONTS + 1)))

SPECS = tuple(
    ProcessSpec(
        name,
        (*PYTHON, "-m", "aob_web.processes", name),
        plane,
        serves=name in FRONT_NAMES,
        trusted=name != "agent-runner",
    )
    for name, plane in (
        *((name, "control") for name in FRONT_NAMES),
        ("web", "control"),
        ("coordinator", "control"),
        ("sweeper", "control"),
        ("worker-runner", "runner"),
        ("agent-runner", "agent"),
    )
)

SECRETS = frozenset(
    {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "AOB_STORAGE_URL", "AOB_SECRET_KEY", "AOB_EMAIL_URL"}
)
"""What only trusted processes have in their environment."""

MODELS = re.compile(r"(OPENAI|ANTHROPIC)_API_KEY|OLLAMA_BASE_URL|AOB_LLM_[A-Z0-9_]+_URL")
"""Variables of which one at least must be set for agents to have a language model to talk to."""

SCRIPTED = "AOB_SCRIPTED_URL"
"""Where the scripted provider is, for those who try agents without a key."""

STOP_ORDER = (("agent-runner",), FRONT_NAMES, ("web",), ("worker-runner",), ("coordinator",), ("sweeper",))
"""First who takes work in, then who does it, last who writes it down; the others come after these."""


def hint_about_models(environ: Mapping[str, str]) -> str:
    """What to tell who starts AOB with no language model for its agents; nothing where there is one."""
    if any(MODELS.fullmatch(name) and value for name, value in environ.items()):
        return ""
    if environ.get(SCRIPTED):
        where = environ[SCRIPTED]
        return f"  Agents have the scripted provider at {where}: it answers from a script and is no language model."
    python = os.path.relpath(sys.executable)
    return (
        "  Agents have no language model yet. Stop, and start with a key: OPENAI_API_KEY=… make up; or with\n"
        "  ANTHROPIC_API_KEY or OLLAMA_BASE_URL. Without one models `scripted:…`, as in the example customer-rows,\n"
        "  answer from a script that is no language model; for your own set AOB_SCRIPTED_URL=http://127.0.0.1:8123 and\n"
        f"  {sys.executable if python.startswith('..') else python} -m worker.agent.scripted --port 8123 --script FILE"
    )


def plane_cpus(plane: str, available: Sequence[int]) -> frozenset[int]:
    """The cores of a plane out of those available; empty means unpinned.

    Only the workers are pinned, so that they cannot take the cores of web and coordinator: the last half
    of 2 to 4 cores, the second two fifths of more (8-15 of 20; the rest is for the fanout plane). One is shared.
    """
    count = len(available)
    if plane == "control" or count < 2:
        return frozenset()
    if count < 5:
        return frozenset(available[count // 2 :])
    first = count * 2 // 5
    return frozenset(available[first : 2 * first])
