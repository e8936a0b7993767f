"""Commands on all agents at once: the operator's switch."""

from __future__ import annotations

from cli.connection import Connection
from cli.exits import DONE
from cli.printing import clean, document, local_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def status(connection: Connection, options: Any) -> int:
    """`aob agents status`."""
    return _said(connection.get("/agents"), options)


def switch(connection: Connection, options: Any) -> int:
    """`aob agents stop|start`."""
    reason = getattr(options, "reason", None)
    return _said(connection.call("POST", f"/agents/{options.action}", {"reason": reason} if reason else {}), options)


def _said(view: dict[str, Any], options: Any) -> int:
    if options.json:
        document(view)
        return DONE
    stopped = view["stopped"]
    if stopped is None:
        print("Agents may work.")
    else:
        reason = f": {clean(stopped['reason'])}" if stopped["reason"] else ""
        print(f"All agents were stopped by {clean(stopped['by'])} at {local_time(stopped['at'])}{reason}")
    return DONE
