"""Exit codes, and the one place where failures become messages."""

from __future__ import annotations

import json
import sys

from cli.connection import Refused, Unreachable

TYPE_CHECKING = False  # typing costs 7 ms to import
if TYPE_CHECKING:
    from collections.abc import Callable

DONE, REFUSED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130


class UsageError(Exception):
    """Something that the user wrote cannot be used."""


def guarded(command: Callable[[], int], *, as_json: bool) -> int:
    """The exit code of a command; whatever it raises on purpose is told to its user."""
    try:
        return command()
    except UsageError as error:
        print(f"aob: {error}", file=sys.stderr)
        return USAGE
    except Refused as error:
        if as_json:
            print(json.dumps(error.problem, ensure_ascii=False))
        else:
            for line in error.lines():
                print(line, file=sys.stderr)
        return REFUSED
    except Unreachable as error:
        if as_json:
            print(json.dumps({"code": "unreachable", "detail": str(error)}))
        else:
            print(f"aob: {error}\n  Is it running? Start it with `make up` or `aob up`.", file=sys.stderr)
        return UNREACHABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
