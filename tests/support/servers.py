"""A small HTTP server that the tests script and watch."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpServer:
    """Answers with the scripted statuses, then 200; remembers every request."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.answer(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_one

            def log_message(self, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            headers = {name.lower(): text for name, text in handler.headers.items()}
            self.requests.append({"method": handler.command, "path": handler.path, "headers": headers, "body": body})
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            scripted = self.script.pop(0) if self.script else 200
        self._closing.wait(self.delay)
        with self._lock:
            self._at_once -= 1
        status, more, data = scripted if isinstance(scripted, tuple) else (scripted, {}, None)
        if data is None:
            echo = json.loads(body) if body and headers.get("content-type") == "application/json" else None
            data = json.dumps({"path": handler.path, "echo": echo}).encode()
            more = {"content-type": "application/json", **more}
        try:
            handler.send_response(status)
            for name, text in more.items():
                handler.send_header(name, text)
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        except OSError:
            return

    def __enter__(self) -> HttpServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
