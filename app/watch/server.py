"""The web server of `botdata watch`: the page's files, its facts, the moves and the figures, on 127.0.0.1 alone."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from app.cutover.stages import Stage
from app.errors import SettingsError
from app.watch.facts import Facts
from app.watch.guard import METRICS, Guard
from app.watch.metrics import CONTENT_TYPE, metrics_text
from app.watch.watcher import Watcher

_PAGE = Path(__file__).with_name("page")
_ENDING = 5  # seconds that what is being answered may take to end
_FILES = {"/": "watch.html", "/watch.css": "watch.css", "/watch.js": "watch.js"}


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a move, for the page.

    Attributes:
        document: as of `cutover advance --json` with `said`, or `moved`, `said` and `next` alone.
        conflict: something else was faster than the page: it showed another stage, or another move is under way.
    """

    document: Mapping[str, Any]
    conflict: bool = False


# Moves the stage: "advance" or "back", and the stage that the page showed.
Move = Callable[[str, Stage], Awaitable[Told]]


class Server:
    """The page and its answers.

    Args:
        watcher: where the facts come from; it runs beside.
        tell: makes a document of them.
        masked: takes out of it, and of labels, what is not for a page.
        move: None: the page moves nothing.
        metrics_token: see `Guard`.

    Attributes:
        guard: the whole application.
    """

    def __init__(
        self,
        watcher: Watcher,
        port: int,
        tell: Callable[[Facts], Mapping[str, Any]],
        *,
        masked: Callable[[Any], Any],
        move: Move | None = None,
        metrics_token: str | None = None,
    ) -> None:
        self._watcher = watcher
        self._tell = tell
        self._masked = masked
        self._move = move
        self._moving: asyncio.Task[Told] | None = None
        routes = [Route(path, self._file, methods=["GET"]) for path in _FILES]
        routes += [Route("/facts", self._facts), Route(METRICS, self._metrics)]
        routes += [Route("/move", self._post, methods=["POST"])] if move else []
        self.guard = Guard(Starlette(routes=routes), port, metrics_token)
        config = uvicorn.Config(
            self.guard,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_ENDING,
        )
        self._server = uvicorn.Server(config)

    async def serve(self, listening: socket.socket) -> None:
        """Answer until `stop`, or SIGINT or SIGTERM."""
        await self._server.serve(sockets=[listening])

    def stop(self) -> None:
        """End soon; a move that is under way gives up its hold, and the old stage goes on."""
        self._server.should_exit = True
        if self._moving is not None:
            self._moving.cancel()

    async def _file(self, request: Request) -> Response:
        return FileResponse(_PAGE / _FILES[request.url.path])

    async def _facts(self, _: Request) -> Response:
        document = self._masked(self._tell(self._watcher.show()))
        return JSONResponse({"facts": document, "csrf": self.guard.csrf if self._move else None})

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(metrics_text(self._watcher.facts, self._masked), media_type=CONTENT_TYPE)

    async def _post(self, request: Request) -> Response:
        assert self._move is not None
        try:
            asked = json.loads(await request.body())
            kind, stage = asked["kind"], Stage(asked["stage"])
        except (ValueError, KeyError, TypeError):
            kind = stage = None
        if kind not in ("advance", "back") or stage is None:
            return PlainTextResponse("That is no move.\n", HTTPStatus.BAD_REQUEST)
        if self._moving is not None:
            return self._answer(_untold("a move is under way", "wait until it has ended"))
        self._moving = asyncio.ensure_future(self._move(kind, stage))
        try:
            await asyncio.wait({self._moving})
            ended = self._moving.cancelled()
            return self._answer(_untold("botdata watch was ended") if ended else self._moving.result())
        finally:
            self._moving = None
            self._watcher.look_again()

    def _answer(self, told: Told) -> Response:
        return JSONResponse(self._masked(told.document), HTTPStatus.CONFLICT if told.conflict else HTTPStatus.OK)


def _untold(said: str, next_step: str = "botdata cutover status") -> Told:
    return Told({"moved": False, "said": said, "next": next_step}, conflict=True)


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1; 0: at any free port.

    Raises:
        SettingsError: the port is taken, or not to be had.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()  # who opens the address before the server is ready waits for it
    except OSError as error:
        listening.close()
        why = f"port {port} cannot be used: {error.strerror}"
        raise SettingsError(f"{why}; any free one: botdata watch --port 0") from None
    return listening
