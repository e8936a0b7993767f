"""Small servers, for HTTP and for mail, that the tests script and watch."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.installation import free_port


class HttpServer:
    """Answers with the scripted statuses, then 200, after `delay` or `release()`; remembers every request."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
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
        self._released.wait(self.delay)
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
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def release(self) -> None:
        """From now on everything is answered at once, also what waits."""
        self._released.set()


class SmtpServer:
    """Takes mails, and remembers each with whom it was for; refuses what its scripts say."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mails: list[EmailMessage] = []
        self.envelopes: list[list[str]] = []
        self.answers: list[str] = []
        self.refused: dict[str, str] = {}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.answers.pop(0) if self.answers else "250 taken"
        if answer.startswith("2"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.envelopes.append(list(envelope.rcpt_tos))
            self.mails.append(mail)
        return answer

    def to(self, address: str) -> list[EmailMessage]:
        """The mails that somebody got."""
        return [mail for mail, whom in zip(self.mails, self.envelopes, strict=True) if address in whom]

    def __enter__(self) -> SmtpServer:
        self._controller.start()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._controller.stop()
