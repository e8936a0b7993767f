"""What holds for every request: no NUL in its address, a strict policy without inline script (hazard S19).

And what programs ask for is never refused with a page.
"""

from __future__ import annotations

from collections.abc import Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from aob_web.api.problems import instead_of_page, plain

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'{nonce}; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class SecurityHeaders:
    """Refuses what no handler could use; sets Content-Security-Policy and Permissions-Policy."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", "") or "\0" in request.path:
            refused = plain(400, "text_nul", "The address holds a NUL character.")
            refused = self.mark(request, refused)
            return self._coroutine(refused) if iscoroutinefunction(self) else refused
        if iscoroutinefunction(self):
            return self.answer(request)  # type: ignore[return-value]
        return self.mark(request, self.get_response(request))

    async def _coroutine(self, response: HttpResponse) -> HttpResponse:
        return response

    async def answer(self, request: HttpRequest) -> HttpResponse:
        return self.mark(request, await self.get_response(request))  # type: ignore[misc]

    def mark(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.path.startswith("/api/"):
            response = instead_of_page(response)
        # The editor's code fields write their styles into the page; they know the number that allows it.
        nonce = getattr(response, "style_nonce", None)
        policy = POLICY.format(nonce=f" 'nonce-{nonce}'" if nonce else "")
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        return response
