"""https:// through the standard library: certificates are verified against the system's (SSL_CERT_FILE)."""

from __future__ import annotations

import http.client

from cli.transport import PIECE, NotConnected, Transport, Upload, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.transport import Body, Exchange, Headers


class Secure(Transport):
    """https://"""

    def exchange(self, method: str, path: str, body: Body, headers: Headers, seconds: float) -> Exchange:
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=seconds)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise NotConnected(*error.args) from None
        try:
            sent = dict(headers)
            if body is not None or method in ("POST", "PUT"):
                sent["Content-Length"] = str(size_of(body))
            data = body.pieces() if isinstance(body, Upload) else body
            broken: OSError | None = None
            try:
                connection.request(method, f"{self.prefix}{path}", body=data, headers=sent)
            except ConnectionError as error:
                broken = error
            try:
                answer = connection.getresponse()
            except http.client.HTTPException as error:
                raise broken or OSError(f"it does not speak HTTP ({type(error).__name__})") from None
        except BaseException:
            connection.close()
            raise
        received = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, received, _pieces(connection, answer)


def _pieces(connection: http.client.HTTPSConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    expected, got = answer.length, 0
    try:
        while piece := answer.read1(PIECE):
            got += len(piece)
            yield piece
    except http.client.HTTPException:
        raise ConnectionError("it closed the connection before the answer was complete") from None
    finally:
        connection.close()
    if expected is not None and got < expected:
        raise ConnectionError("it closed the connection before the answer was complete")
