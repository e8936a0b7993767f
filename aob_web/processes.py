"""The processes of AOB: `python -m aob_web.processes front|web|coordinator|sweeper|worker-runner|agent-runner`."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aob_web.lifesign import ALIVE_SECONDS, LifeSign

STUCK_SECONDS = 15.0
"""A web process that has not answered for so long writes down what its threads are at."""

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def main() -> None:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    kind = "front" if name.startswith("front-") else name
    if kind not in PROCESSES:
        sys.exit(f"usage: python -m aob_web.processes {'|'.join(PROCESSES)}")
    os.environ["AOB_PROCESS"] = kind
    home = Path(os.environ.get("AOB_HOME", ".aob")).absolute()
    if kind == "agent-runner":
        # It has no database, so it has no Django either.
        max_bytes = int(os.environ.get("AOB_MAX_PROCESS_MB", "256")) * 2**20
    else:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aob_web.settings")
        import django

        django.setup(set_prefix=False)
        from django.conf import settings

        home, max_bytes = settings.AOB_HOME, settings.AOB_MAX_PROCESS_MB * 2**20
    _spare_the_collector()
    PROCESSES[kind](LifeSign(name, home, max_bytes=max_bytes, supervised="AOB_EMBEDDED" in os.environ))


def _spare_the_collector() -> None:
    """Collects garbage less often: batches make and drop many objects, hardly ever in cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _until_signal(run: Callable[[threading.Event, LifeSign], None], alive: LifeSign) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(stop, alive)


def coordinator(alive: LifeSign) -> None:
    from runs.coordinator import run_forever

    _until_signal(run_forever, alive)


def sweeper(alive: LifeSign) -> None:
    from approvals import messenger, webhooks
    from runs.sweeper import run_forever
    from worker.http.posting import post

    def run(stop: threading.Event, alive: LifeSign) -> None:
        # A mail server or a webhook may take its time; what was lost must not wait for it.
        for turn in (messenger.turn, lambda: webhooks.turn(post)):
            threading.Thread(target=messenger.run_forever, args=(stop, turn), name="messenger", daemon=True).start()
        run_forever(stop, alive)

    _until_signal(run, alive)


def worker_runner(alive: LifeSign) -> None:
    from worker.celery import run_forever

    run_forever(alive, finish_all=lambda: alive.has_grown)


def agent_runner(alive: LifeSign) -> None:
    from worker.agent.runner import run, settings_of

    url, token = settings_of(Path(os.environ.get("AOB_HOME", ".aob")) / "agent-runner.json")

    async def work() -> None:
        if not os.environ.get("AOB_SCRIPTED_URL"):
            # So that examples with agents run without a key and without the internet, by a script that says what it is.
            from worker.agent.scripted import serve, with_scripts

            os.environ["AOB_SCRIPTED_URL"] = await serve(with_scripts(EXAMPLES, url))
        await run(url, token, slots=int(os.environ.get("AOB_AGENT_SLOTS", "8")), alive=alive)

    asyncio.run(work())


def front(alive: LifeSign) -> None:
    from django.conf import settings

    from aob_web.front.app import run

    run(os.environ.get("AOB_HOST", "127.0.0.1"), settings.AOB_PORT, Path(settings.AOB_WEB_SOCKET), alive)


def web(alive: LifeSign) -> None:
    from django.conf import settings

    from aob_web.asgi import application
    from aob_web.server import Server, answers

    socket = Path(settings.AOB_WEB_SOCKET)

    def beat() -> None:
        while True:
            # Whoever has lost the socket, or does not answer there, is of no use, however alive.
            if answers(socket):
                # Should it hang, its log tells where, before the supervisor ends it.
                faulthandler.dump_traceback_later(STUCK_SECONDS)
                alive()
                time.sleep(ALIVE_SECONDS)
            else:
                time.sleep(0.1)

    threading.Thread(target=beat, daemon=True).start()
    os.umask(0o077)
    Server(
        socket,
        application=application,
        http_timeout=None,
        request_buffer_size=64 * 1024,
        application_close_timeout=5,
        websocket_timeout=86_400,
        verbosity=0,
        server_name="aob",
    ).run()
    # Not by returning: that would wait for threads, and one of them may wait for the event loop, which is no more.
    os._exit(0)


PROCESSES: dict[str, Callable[[LifeSign], None]] = {
    "front": front,
    "web": web,
    "coordinator": coordinator,
    "sweeper": sweeper,
    "worker-runner": worker_runner,
    "agent-runner": agent_runner,
}

if __name__ == "__main__":
    main()
