"""Answers recorded from a real PostgREST, served again one by one over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from app.stores.supabase.client import SupabaseRest
from tests.support.connections import end_connections, take_in_accepted

EXCHANGES: dict[str, dict[str, Any]] = {
    exchange["name"]: exchange
    for exchange in json.loads((Path(__file__).parent / "exchanges.json").read_text())["exchanges"]
}


class Recorded:
    """A server that answers every request with the response that was set last.

    Attributes:
        rest: the real client, connected to it.
        requests: what came, head and body.
    """

    def __init__(self) -> None:
        self.rest: SupabaseRest
        self.requests: list[bytes] = []
        self._answer = b""
        self._writers: list[asyncio.StreamWriter] = []

    def answer(self, name: str) -> None:
        """Answer with a recorded response from now on."""
        response = EXCHANGES[name]["response"]
        self.answer_with(response["status"], response["body"], **response["headers"])

    def answer_with(self, status: int, body: str, **headers: str) -> None:
        """Answer with a made-up response from now on."""
        content = body.encode()
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} Recorded", f"content-length: {len(content)}", *lines])
        self._answer = f"{head}\r\n\r\n".encode() + content

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = {
                    name.strip().lower(): value.strip()
                    for name, _, value in (line.partition(b":") for line in head.splitlines()[1:])
                }
                body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
                self.requests.append(head + body)
                answer = self._answer
                if head.startswith(b"HEAD"):
                    answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                writer.write(answer)
                await writer.drain()

    async def close(self) -> None:
        """End every connection."""
        await end_connections(self._writers)


@asynccontextmanager
async def recorded_server() -> AsyncIterator[Recorded]:
    """A server on a free port of 127.0.0.1, and a client for it."""
    recorded = Recorded()
    server = await asyncio.start_server(recorded.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    recorded.rest = await SupabaseRest.open(f"http://127.0.0.1:{port}", "sb_secret_planted")
    try:
        yield recorded
    finally:
        await recorded.rest.close()
        await take_in_accepted()
        server.close()
        await recorded.close()
        await server.wait_closed()
