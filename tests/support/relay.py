"""A relay before a server, in a thread of its own, that can hang, slow down or cut all connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Thread
from typing import Self

from sqlalchemy.engine import make_url

from tests.support.connections import end_connections, take_in_accepted

Address = str | tuple[str, int]  # the path of a Unix socket, or host and port
_CONNECTING = 30.0  # seconds


def postgres_address(url: str) -> Address:
    """Where the server of a libpq URL listens."""
    parts = make_url(url)
    directory, port = parts.query.get("host"), parts.query.get("port", "5432")
    return f"{directory}/.s.PGSQL.{port}" if directory else (parts.host or "", parts.port or 5432)


class Relay:
    """Listens on a free port of 127.0.0.1 and passes bytes on to a server, whether that runs or not.

    Attributes:
        server: what it stands before.
        port: where it listens.
        held: how many times it has held something back to be slow.
        accepted: how many connections have come.
    """

    def __init__(self, server: Address) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._delay = 0.0
        self.held = 0
        self.accepted = 0
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open.set()
        self._thread = Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._listener = asyncio.run_coroutine_threadsafe(listening, self._loop).result(60)
        self.port: int = self._listener.sockets[0].getsockname()[1]

    def way(self, url: str) -> str:
        """A libpq URL with the relay in its server's place."""
        through = make_url(url).set(host="127.0.0.1", port=self.port, query={})
        return through.render_as_string(hide_password=False)

    def hang(self) -> None:
        """Keep what comes, and every connection, until `heal`."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def slow(self, seconds: float) -> None:
        """Hold back everything that a client sends for this long."""
        self._delay = seconds

    def cut(self) -> None:
        """End all connections, and those to come."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._end_all)

    def heal(self) -> None:
        """Pass everything on again, with what was kept first."""
        self._delay, self._cut = 0.0, False
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """End everything. May be called twice."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def _close(self) -> None:
        self._cut = True
        await take_in_accepted()
        self._listener.close()
        writers = list(self._writers)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await end_connections(writers)

    def _end_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._tasks.add(task)
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            if self._cut:
                return
            begun = await self._greet(reader, writer)
            await self._open.wait()
            opening = (
                asyncio.open_unix_connection(self.server)
                if isinstance(self.server, str)
                else asyncio.open_connection(*self.server)
            )
            answers, there = await asyncio.wait_for(opening, _CONNECTING)
            self._writers.add(there)
            there.write(begun)
            if not self._cut:
                ways = [self._pass_on(reader, there, slowed=True), self._pass_on(answers, writer, slowed=False)]
                passing = [asyncio.ensure_future(way) for way in ways]
                try:
                    await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in passing:
                        each.cancel()
                    await asyncio.gather(*passing, return_exceptions=True)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, there):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort() if self._cut else each.close()
            self._tasks.discard(task)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """What is done with a client before the server is called; returns what the server is sent first."""
        return b""

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowed: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if slowed and self._delay:
                    self.held += 1
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                writer.write(data)
                await writer.drain()
