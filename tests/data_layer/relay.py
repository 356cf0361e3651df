"""A relay before PostgreSQL, or before nothing, that can fall silent or hang up: the network's ways to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url

from tests.support.connections import end_connections, take_in_accepted


class Relay:
    """Passes bytes on to `target`, a libpq URL; without one it accepts and never answers.

    Attributes:
        silent: while set, nothing is passed on.
        hang_up_after: when a client has sent these bytes, they are passed on and both connections end.
    """

    def __init__(self, target: str | None) -> None:
        self._target = make_url(target) if target else None
        self.silent = False
        self._forgotten = 0  # connections before this one are forgotten
        self._made = 0
        self.hang_up_after: bytes | None = None
        self._answered = asyncio.Event()  # by the server, while nothing is passed on
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def database_url(self) -> str:
        """The libpq URL of the target by way of the relay."""
        url = self._target or make_url("postgresql://postgres@/postgres")
        return url.set(host="127.0.0.1", port=self.port, query={}).render_as_string(hide_password=False)

    def forget(self) -> None:
        """From now on nothing is passed on for the connections that there are, as by a router that forgot them."""
        self._forgotten = self._made

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self._target is None:
            return
        serving = asyncio.current_task()
        assert serving is not None
        self._tasks.add(serving)
        there_reader, there_writer = await self._connect()
        self._writers.append(there_writer)
        self._made += 1
        ways = ((reader, there_writer, True, self._made), (there_reader, writer, False, self._made))
        for way in ways:
            task = asyncio.create_task(self._pass_on(*way))
            self._tasks.add(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        assert self._target is not None
        directory = self._target.query.get("host")
        if directory:
            port = self._target.query.get("port", "5432")
            return await asyncio.open_unix_connection(f"{directory}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._target.host, self._target.port or 5432)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outward: bool, number: int
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.silent or number <= self._forgotten:
                    if not outward:
                        self._answered.set()
                    continue
                last = outward and self.hang_up_after is not None and self.hang_up_after in data
                self.silent = last  # the answer to these bytes is held back
                writer.write(data)
                await writer.drain()
                if last:
                    await self._answered.wait()  # the server has carried them out
                    break
        if self.silent and self.hang_up_after:
            for each in self._writers:
                each.close()
        writer.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await end_connections(self._writers)


@asynccontextmanager
async def relay_to(target: str | None) -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1."""
    relay = Relay(target)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        await take_in_accepted()
        server.close()
        await relay.close()
        await server.wait_closed()
