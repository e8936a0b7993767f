"""`function`: an installed Python callable, run in a child process that holds no credentials (hazard S2).

Blobs among the arguments are written to a private directory first; new blobs come back as files in it. No
path that stands in run data is ever opened (S13).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from worker.executors.base import TaskContext, TaskError, in_line, is_blob
from worker.functions.registry import find
from workflows.core.errors import AobError
from workflows.core.strictjson import decode

MAX_HOSTS = int(os.environ.get("AOB_FUNCTION_HOSTS", "4"))
"""AOB_FUNCTION_HOSTS: so many functions run at a time in one worker."""

MAX_CALLS = 500
MAX_ANSWER = 64 * 1024 * 1024
MAX_PRINTED = 4_000
PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "PYTHONPATH",
    "HOME",
    "TMPDIR",
    "AOB_FUNCTION_MEMORY",
    "VIRTUAL_ENV",
)
ROOT = Path(__file__).resolve().parents[2]


async def execute(config: dict[str, Any], context: TaskContext) -> Any:
    """What the callable returns."""
    try:
        version = find(config["name"], config.get("version"))
    except AobError as error:
        raise TaskError(error.code, error.message, transient=False, pointer=error.pointer, hint=error.hint) from None
    args = config.get("args") or {}
    if not isinstance(args, dict):
        raise TaskError("function_args", "The arguments are not a map by name.", transient=False)
    with tempfile.TemporaryDirectory(prefix="aob-function-") as directory:
        mark = f"blob-{secrets.token_hex(16)}"
        request = {
            "name": config["name"],
            "version": version,
            "args": args,
            "directory": directory,
            "mark": mark,
            "blobs": await _materialise(args, Path(directory), context),
            "context": {
                "run": context.run_id,
                "node": context.path,
                "attempt": context.attempt,
                "idempotency_key": context.idempotency_key,
            },
        }
        answer = await _pool().call(request, context)
        if "error" in answer:
            failure = answer["error"]
            raise TaskError(
                str(failure["code"]),
                f"The function {config['name']!r} failed: {failure['message']}",
                transient=bool(failure.get("transient")),
                details={"traceback": failure["traceback"]} if failure.get("traceback") else None,
            )
        made = [
            await context.blobs.put(
                _chunks(Path(directory) / Path(blob["file"]).name),
                media_type=str(blob["media_type"])[:200],
                max_bytes=context.max_blob_bytes,
            )
            for blob in answer["new_blobs"]
        ]
        return _with_references(answer["output"], mark, made)


async def _materialise(args: Any, directory: Path, context: TaskContext) -> dict[str, Any]:
    files: dict[str, Any] = {}
    work = [args]
    while work:
        value = work.pop()
        if is_blob(value) and value["blob"] not in files:
            name = f"in-{len(files)}"
            with (directory / name).open("wb") as file:
                async for chunk in context.blobs.open(value):
                    file.write(chunk)
                size = file.tell()
            media_type = str(value.get("media_type", "application/octet-stream"))
            files[value["blob"]] = {"file": name, "bytes": size, "media_type": media_type}
        elif isinstance(value, dict):
            work.extend(value.values())
        elif isinstance(value, list):
            work.extend(value)
    return files


def _with_references(value: Any, mark: str, made: list[dict[str, Any]]) -> Any:
    if isinstance(value, list):
        return [_with_references(item, mark, made) for item in value]
    if isinstance(value, dict):
        if len(value) == 1 and mark in value:
            return made[value[mark]]
        return {key: _with_references(item, mark, made) for key, item in value.items()}
    return value


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(256 * 1024):
            yield chunk


class _Host:
    """One child process; `call` is exclusive."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._answers: asyncio.StreamReader | None = None
        self.calls = 0

    async def start(self) -> None:
        read, write = os.pipe()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
        environment["AOB_ANSWER_FD"] = str(write)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "worker.function_host",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                pass_fds=[write],
                start_new_session=True,
                cwd="/",
            )  # fmt: skip
        finally:
            os.close(write)
        self._answers = asyncio.StreamReader(limit=MAX_ANSWER)
        protocol = asyncio.StreamReaderProtocol(self._answers)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read, "rb"))

    @property
    def usable(self) -> bool:
        return self._process is not None and self._process.returncode is None and self.calls < MAX_CALLS

    async def call(self, request: dict[str, Any], context: TaskContext) -> dict[str, Any]:
        assert self._process is not None and self._process.stdin is not None and self._answers is not None
        self.calls += 1
        printed = asyncio.create_task(self._listen())
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._answers.readuntil(b"\n")
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
            code = await self._process.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise TaskError("function_crashed", f"The process of the function ended by {how}.", transient=True) from None
        except asyncio.LimitOverrunError:
            self.kill()
            raise TaskError("output_too_large", "The function's answer is too large.", transient=False) from None
        finally:
            printed.cancel()
            text = await asyncio.gather(printed, return_exceptions=True)
            if isinstance(text[0], str) and text[0]:
                context.log("info", text[0])
        try:
            return decode(line, max_bytes=MAX_ANSWER)  # type: ignore[no-any-return]
        except AobError as error:
            raise TaskError(error.code, f"The function's answer: {error.message}", transient=False) from None

    async def _listen(self) -> str:
        """What the function prints, bounded; the pipe is always emptied, so a talkative one cannot stall."""
        assert self._process is not None and self._process.stdout is not None
        kept = b""
        try:
            while chunk := await self._process.stdout.read(65_536):
                if len(kept) < MAX_PRINTED:
                    kept += chunk
        except asyncio.CancelledError:
            pass
        return kept[:MAX_PRINTED].decode("utf-8", "replace").replace("\x00", "�").strip()

    def kill(self) -> None:
        """Ends the process and everything that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


class _Pool:
    """Hosts that are used again; one that was interrupted is killed with its whole group."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_HOSTS)
        self._free: list[_Host] = []

    async def call(self, request: dict[str, Any], context: TaskContext) -> dict[str, Any]:
        async with in_line(self._slots):
            host = await self._take()
            try:
                answer = await host.call(request, context)
            except BaseException:
                host.kill()
                raise
            if host.usable:
                self._free.append(host)
            else:
                host.kill()
            return answer

    def close(self) -> None:
        for host in self._free:
            host.kill()
        self._free.clear()

    async def _take(self) -> _Host:
        while self._free:
            host = self._free.pop()
            if host.usable:
                return host
            host.kill()
        host = _Host()
        await host.start()
        return host


_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


def _pool() -> _Pool:
    return _pools.setdefault(asyncio.get_running_loop(), _Pool())
