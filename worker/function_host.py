"""A child process that runs functions: it has no credentials in its environment and dies with its worker.

Speaks JSON lines: requests on standard input, answers on the descriptor AOB_ANSWER_FD. What a function
prints goes to its own standard output, never into the protocol.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from worker.functions.registry import Blob, NewBlob, load

PR_SET_PDEATHSIG = 1
MAX_TRACEBACK_LINES = 20
MEMORY = int(os.environ.get("AOB_FUNCTION_MEMORY", str(1024**3)))


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(int(os.environ.pop("AOB_ANSWER_FD")), "w", encoding="utf-8")
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line)), ensure_ascii=True) + "\n")
        answers.flush()
        sys.stdout.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The result of one call, or its error."""
    directory = Path(request["directory"])
    new_blobs: list[dict[str, str]] = []
    try:
        call = load(request["name"], request["version"])
        arguments = _with_blobs(request["args"], request["blobs"], directory)
        if "context" in inspect.signature(call).parameters:
            arguments["context"] = request["context"]
        result = call(**arguments)
        output = _without_blobs(result, new_blobs, directory, request["mark"])
        json.dumps(output, allow_nan=False)
    except MemoryError:
        return {"error": {"code": "function_memory", "message": "The function used more memory than it may."}}
    except Exception as error:
        lines = traceback.format_exception(error)
        return {
            "error": {
                "code": getattr(error, "code", None) or "function_failed",
                "message": f"{type(error).__name__}: {error}"[:2000],
                "transient": bool(getattr(error, "transient", isinstance(error, (TimeoutError, ConnectionError)))),
                "traceback": "".join(lines)[-4000:].splitlines()[-MAX_TRACEBACK_LINES:],
            }
        }
    return {"output": output, "new_blobs": new_blobs}


def _with_blobs(value: Any, files: dict[str, Any], directory: Path) -> Any:
    """The arguments with blob references replaced by readable blobs."""
    if isinstance(value, list):
        return [_with_blobs(item, files, directory) for item in value]
    if isinstance(value, dict):
        known = files.get(str(value.get("blob")))
        if known is not None:
            return Blob(directory / known["file"], known["bytes"], known["media_type"])
        return {key: _with_blobs(item, files, directory) for key, item in value.items()}
    return value


def _without_blobs(value: Any, made: list[dict[str, str]], directory: Path, mark: str) -> Any:
    """The result with new blobs written to files and replaced by marks that only the parent understands."""
    if isinstance(value, NewBlob):
        name = f"new-{len(made)}"
        if isinstance(value.content, Path):
            value.content.replace(directory / name)
        else:
            data = value.content.encode() if isinstance(value.content, str) else value.content
            (directory / name).write_bytes(data)
        made.append({"file": name, "media_type": value.media_type})
        return {mark: len(made) - 1}
    if isinstance(value, (list, tuple)):
        return [_without_blobs(item, made, directory, mark) for item in value]
    if isinstance(value, dict):
        return {key: _without_blobs(item, made, directory, mark) for key, item in value.items()}
    return value


if __name__ == "__main__":
    main()
