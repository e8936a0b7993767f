"""HTTP, SSE and WebSocket routing."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aob_web.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - needs the apps that get_asgi_application loads
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from aob_web.front.starts import Receive, Scope, Send  # noqa: E402
from aob_web.inbox import InboxConsumer  # noqa: E402
from aob_web.live import RunConsumer  # noqa: E402
from aob_web.mcp import PATH  # noqa: E402
from aob_web.mcp.door import door  # noqa: E402
from aob_web.presence import PresenceConsumer  # noqa: E402

websockets = URLRouter(
    [
        path("ws/runs/<str:run_id>/", RunConsumer.as_asgi()),
        path("ws/inbox/", InboxConsumer.as_asgi()),
        path("ws/workflows/<str:name>/", PresenceConsumer.as_asgi()),
    ]
)
MOUNTED = {PATH: door}
"""What answers HTTP beside Django; each asks for credentials itself (S4)."""


async def pages_or_mounted(scope: Scope, receive: Receive, send: Send) -> None:
    await MOUNTED.get(scope["path"], http)(scope, receive, send)


application = ProtocolTypeRouter({"http": pages_or_mounted, "websocket": AuthMiddlewareStack(websockets)})
