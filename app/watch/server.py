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
        self._moving = asyncio.Lock()
        routes = [Route(path, self._file, methods=["GET"]) for path in _FILES]
        routes += [Route("/facts", self._facts), Route(METRICS, self._metrics)]
        routes += [Route("/move", self._post, methods=["POST"])] if move else []
        self.guard = Guard(Starlette(routes=routes), port, metrics_token)

    async def serve(self, listening: socket.socket) -> None:
        """Answer until cancelled; a move that is under way is cancelled too, and gives up its hold."""
        config = uvicorn.Config(
            self.guard,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
        )
        await uvicorn.Server(config).serve(sockets=[listening])

    async def _file(self, request: Request) -> Response:
        return FileResponse(_PAGE / _FILES[request.url.path])

    async def _facts(self, _: Request) -> Response:
        document = self._masked(self._tell(self._watcher.facts))
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
        if kind not in {"advance", "back"} or stage is None:
            return PlainTextResponse("That is no move.\n", HTTPStatus.BAD_REQUEST)
        if self._moving.locked():
            busy = {"moved": False, "said": "a move is under way", "next": "wait until it has ended"}
            return self._answer(Told(busy, conflict=True))
        async with self._moving:
            try:
                told = await self._move(kind, stage)
            finally:
                self._watcher.look_again()
        return self._answer(told)

    def _answer(self, told: Told) -> Response:
        return JSONResponse(self._masked(told.document), HTTPStatus.CONFLICT if told.conflict else HTTPStatus.OK)


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
