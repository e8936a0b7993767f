"""The processes of AOB: `python -m aob_web.processes front|web|coordinator|sweeper|worker-runner|worker-agent`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ALIVE_SECONDS = 2.0


def main() -> None:
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    kind = "front" if name.startswith("front-") else name
    if kind not in PROCESSES:
        sys.exit(f"usage: python -m aob_web.processes {'|'.join(PROCESSES)}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aob_web.settings")
    os.environ["AOB_PROCESS"] = kind
    import django

    django.setup(set_prefix=False)
    _spare_the_collector()
    PROCESSES[kind](_alive(name))


def _spare_the_collector() -> None:
    """Collects garbage less often: batches make and drop many objects, hardly ever in cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _alive(name: str) -> Callable[[], None]:
    """Touches the process's sign of progress, which the supervisor watches (hazard P3)."""
    from django.conf import settings

    file: Path = settings.AOB_HOME / "run" / f"{name}.alive"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    last = 0.0

    def touch() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > ALIVE_SECONDS:
            last = now
            file.touch(mode=0o600)

    return touch


def _until_signal(run: Callable[[threading.Event, Callable[[], None]], None], alive: Callable[[], None]) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(stop, alive)


def coordinator(alive: Callable[[], None]) -> None:
    from runs.coordinator import run_forever

    _until_signal(run_forever, alive)


def sweeper(alive: Callable[[], None]) -> None:
    from runs.sweeper import run_forever

    _until_signal(run_forever, alive)


def worker_runner(alive: Callable[[], None]) -> None:
    from worker.celery import run_forever

    run_forever("runner", alive)


def worker_agent(alive: Callable[[], None]) -> None:
    from worker.celery import run_forever

    run_forever("agent", alive)


def front(alive: Callable[[], None]) -> None:
    from django.conf import settings

    from aob_web.front.app import run

    run(os.environ.get("AOB_HOST", "127.0.0.1"), settings.AOB_PORT, Path(settings.AOB_WEB_SOCKET), alive)


def web(alive: Callable[[], None]) -> None:
    from django.conf import settings

    from aob_web.asgi import application
    from aob_web.server import Server

    def beat() -> None:
        while True:
            alive()
            time.sleep(ALIVE_SECONDS)

    threading.Thread(target=beat, daemon=True).start()
    socket = Path(settings.AOB_WEB_SOCKET)
    socket.unlink(missing_ok=True)
    os.umask(0o077)
    Server(
        application=application,
        endpoints=["unix:" + str(socket).replace(":", r"\:") + ":mode=600:backlog=4096:lockfile=0"],
        http_timeout=None,
        request_buffer_size=64 * 1024,
        application_close_timeout=5,
        websocket_timeout=86_400,
        verbosity=0,
        server_name="aob",
    ).run()


PROCESSES: dict[str, Callable[[Callable[[], None]], None]] = {
    "front": front,
    "web": web,
    "coordinator": coordinator,
    "sweeper": sweeper,
    "worker-runner": worker_runner,
    "worker-agent": worker_agent,
}

if __name__ == "__main__":
    main()
