"""The guard of the page: who may see it, from where, and what a browser may do with it.

The printed address holds a token. The first request with it gets a cookie, and the token is void from then on. Every
answer, a refusal too, forbids frames, scripts of others and caches.
"""

import secrets
from hmac import compare_digest
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METRICS = "/metrics"
CSRF_HEADER = "X-CSRF-Token"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_CLOSED = (
    "Nothing is shown here. The address that botdata watch prints opens it once, in one browser. "
    "That browser goes on at the address without the token. For another one, or if it was not you who opened it, "
    "end botdata watch and start it again.\n"
)


class Guard:
    """Lets a request through to the page, or answers it.

    Args:
        app: the page.
        port: where it is served, on 127.0.0.1.
        metrics_token: the bearer token for `/metrics`; None: there is no such page.

    Attributes:
        csrf: what a POST has to send in `CSRF_HEADER`; the page gets it with its facts.
    """

    def __init__(self, app: ASGIApp, port: int, metrics_token: str | None = None) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._cookie = f"botdata_watch_{port}"  # cookies know no ports
        self._metrics_token = metrics_token
        self._session = secrets.token_urlsafe(32)
        self._token: str | None = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)
        self.address = f"http://127.0.0.1:{port}/?token={self._token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "http":
            answer = self._answer(Request(scope)) or self._app
            await answer(scope, receive, send_guarded)

    def _answer(self, request: Request) -> Response | None:
        """What the request gets instead of the page; None: the page."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return PlainTextResponse("This is not the address of botdata watch.\n", HTTPStatus.MISDIRECTED_REQUEST)
        if request.url.path == METRICS:
            return self._metrics(request)
        if request.url.path == "/" and "token" in request.query_params:
            return self._exchange(request.query_params["token"])
        # A page on another port is another origin, but gets the cookie sent: a site has no port.
        from_here = request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
        if not (from_here and _same(request.cookies.get(self._cookie), self._session)):
            return PlainTextResponse(_CLOSED, HTTPStatus.FORBIDDEN)
        if request.method not in {"GET", "HEAD"} and not (
            request.headers.getlist("origin") == [f"http://{hosts[0]}"]
            and _same(request.headers.get(CSRF_HEADER), self.csrf)
        ):
            return PlainTextResponse("Only the page itself may ask for this. Reload it.\n", HTTPStatus.FORBIDDEN)
        return None

    def _exchange(self, token: str) -> Response:
        if not _same(token, self._token):
            return PlainTextResponse(_CLOSED, HTTPStatus.FORBIDDEN)
        self._token = None
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return answer

    def _metrics(self, request: Request) -> Response | None:
        if self._metrics_token is None:
            return PlainTextResponse("Without WATCH_METRICS_TOKEN there are no metrics.\n", HTTPStatus.NOT_FOUND)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(token.strip(), self._metrics_token):
            return None
        return PlainTextResponse(
            "The bearer token is that of WATCH_METRICS_TOKEN.\n",
            HTTPStatus.UNAUTHORIZED,
            {"WWW-Authenticate": "Bearer"},
        )


def _same(given: str | None, kept: str | None) -> bool:
    return given is not None and kept is not None and compare_digest(given.encode(), kept.encode())
