"""The HTTP call of unit H3, the same for every peer: one connection for each thread, which is kept."""

from __future__ import annotations

import http.client
import json
import os
import threading
from typing import Any
from urllib.parse import urlsplit

SECONDS = 10

_local = threading.local()


def post(number: int) -> Any:
    """Posts to the server at WORLD (bench.effects) and gives its answer; raises OSError or HTTPException."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        world = urlsplit(os.environ["WORLD"])
        connection = _local.connection = http.client.HTTPConnection(world.netloc, timeout=SECONDS)
    body = json.dumps({"n": number}).encode()
    connection.request("POST", "/effect", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise OSError(f"the world answered {answer.status}")
    return json.loads(content)
