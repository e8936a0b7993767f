"""HTTP, SSE and WebSocket routing."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aob_web.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - needs the apps that get_asgi_application loads
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from aob_web.live import RunConsumer  # noqa: E402
from aob_web.presence import PresenceConsumer  # noqa: E402

websockets = URLRouter(
    [
        path("ws/runs/<str:run_id>/", RunConsumer.as_asgi()),
        path("ws/workflows/<str:name>/", PresenceConsumer.as_asgi()),
    ]
)
application = ProtocolTypeRouter({"http": http, "websocket": AuthMiddlewareStack(websockets)})
