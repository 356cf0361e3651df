"""A front that speaks TLS as PostgreSQL does, before a server whose build has none."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.support.relay import Relay

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL, "SSLRequest": its length and the code 80877103


class TlsFront(Relay):
    """A relay with whom a client can agree on TLS first.

    Args:
        server_url: the libpq URL of the server behind it.
        certificate: a file with the certificate and its key; None: it says that it has no TLS.

    Attributes:
        logins: connections that went on past the handshake.
    """

    def __init__(self, server_url: str, certificate: Path | None) -> None:
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(certificate)
        self.logins = 0
        server = conninfo_to_dict(server_url)
        host, port = str(server.get("host", "")), int(str(server.get("port", 5432)))
        super().__init__(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        begun = await reader.readexactly(8)
        if begun == _SSL_REQUEST:
            writer.write(b"S" if self._context else b"N")
            await writer.drain()
            if self._context:
                await writer.start_tls(self._context, ssl_handshake_timeout=10)
            begun = await reader.readexactly(1)
        self.logins += 1
        return begun
