"""A front that speaks TLS as PostgreSQL does, before a server whose build has none."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL, "SSLRequest": its length and the code 80877103


class TlsFront:
    """Listens on a free port of 127.0.0.1, in a thread of its own; a context manager.

    Args:
        server_url: the libpq URL of the server behind it.
        certificate: a file with the certificate and its key; None: it says that it has no TLS.

    Attributes:
        port: where it listens.
        logins: connections that went on past the handshake.
    """

    def __init__(self, server_url: str, certificate: Path | None) -> None:
        self._server = conninfo_to_dict(server_url)
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(certificate)
        self.logins = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._listener = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port: int = self._listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def _close(self) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.05)  # the transports' last callbacks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            first = await reader.readexactly(8)
            if first == _SSL_REQUEST:
                writer.write(b"S" if self._context else b"N")
                await writer.drain()
                if self._context:
                    await writer.start_tls(self._context, ssl_handshake_timeout=10)
                first = b""
            answers, there = await self._open()
            begun = first or await reader.readexactly(1)
            self.logins += 1
            there.write(begun)
            ways = [asyncio.create_task(_pass_on(reader, there)), asyncio.create_task(_pass_on(answers, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, EOFError, asyncio.CancelledError):  # ssl.SSLError is an OSError
            pass
        finally:
            for each in (writer, there):
                if each is not None:
                    each.close()
            self._tasks.discard(task)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._server.get("host", "")), int(str(self._server.get("port", 5432)))
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
