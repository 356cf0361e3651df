"""Ports of 127.0.0.1 for servers that have to be told one, and may be started on it again."""

import secrets
import socket

_PORTS = range(20_000, 32_000)  # none that the system gives to a connection, or to a server that asks for any


def held_port() -> socket.socket:
    """Hold the number of a port on which nothing listens, until the socket is closed; nobody else is given it here.

    The socket is one of UDP. The server listens on the port of TCP that has the same number.
    """
    while True:
        held = socket.socket(type=socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", secrets.choice(_PORTS)))
            with socket.socket() as server:
                server.bind(held.getsockname())
        except OSError:
            held.close()
        else:
            return held


def number_of(held: socket.socket) -> int:
    """The number of a held port."""
    number: int = held.getsockname()[1]
    return number
