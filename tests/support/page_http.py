"""The page server's side towards its clients: connections, threads, and answers that arrive only in part."""

from __future__ import annotations

import gzip
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

from tests.support.faults import Answer, Delivery, Hook, Request, Unreached


class Pages(Protocol):
    """What is asked for an answer, and told how it was sent."""

    hook: Hook
    compress: bool

    def received(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request: ...

    def answer(self, request: Request) -> Answer: ...

    def sent(self, request: Request, answer: Answer, *, faulty: bool, whole: bool) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, pages: Pages, port: int = 0) -> None:
        self.pages = pages
        self.clients: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), Handler)

    def end_clients(self) -> None:
        for thread, connection in list(self.clients.items()):
            with suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # clients may go at any time
            self.pages.failed(error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def setup(self) -> None:
        self.server.clients[threading.current_thread()] = self.request
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.clients.pop(threading.current_thread(), None)

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the client hung up; a request that is not whole is carried out by no server
            self.close_connection = True
            return
        pages = self.server.pages
        request = pages.received(self.command, self.path, self.headers, body)
        fault = pages.hook(request)
        answer = Answer(500, {}, b"") if isinstance(fault, Unreached) else pages.answer(request)
        if fault is not None:
            answer = fault(answer)
        whole = False
        try:
            self._deliver(answer)
            whole = answer.delivery in {Delivery.WHOLE, Delivery.SLOW, Delivery.RESET_BEHIND}
        finally:
            pages.sent(request, answer, faulty=fault is not None, whole=whole)

    do_HEAD = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing: what was asked is in `exchanges`."""

    def _deliver(self, answer: Answer) -> None:
        body = b"" if self.command == "HEAD" else answer.body
        headers = {"Date": self.date_time_string(), **answer.headers}
        if self.server.pages.compress and "gzip" in self.headers.get("Accept-Encoding", "") and body:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        if self.command != "HEAD":
            headers["Content-Length"] = str(len(body) // 2 if answer.delivery is Delivery.OVERLONG else len(body))
        if answer.delivery is Delivery.CHUNKS_CUT:
            del headers["Content-Length"]
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%b\r\n" % (len(body), body)
        head = f"HTTP/1.1 {answer.status} \r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole = head.encode() + b"\r\n" + body
        part = len(whole) - len(body) // 2
        match answer.delivery:
            case Delivery.WHOLE | Delivery.OVERLONG:
                self.connection.sendall(whole)
            case Delivery.CHUNKS_CUT:
                self.connection.sendall(whole)
                self.close_connection = True
            case Delivery.RESET_BEHIND:
                self.connection.sendall(whole)
                time.sleep(answer.pause)
                self._reset()
            case Delivery.SLOW:
                step = max(1, len(whole) // 10 + 1)
                for start in range(0, len(whole), step):
                    self.connection.sendall(whole[start : start + step])
                    time.sleep(answer.pause)
            case Delivery.SHORT:
                self.connection.sendall(whole[:part])
                self.close_connection = True
            case Delivery.RESET_IN_BODY:
                self.connection.sendall(whole[:part])
                time.sleep(answer.pause)  # a reset throws away what the client has not read yet
                self._reset()
            case Delivery.RESET:
                self._reset()
            case Delivery.NEVER:
                self.connection.recv(1)  # returns when the client goes, or the server stops
                self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The descriptor itself is closed: the file objects around the socket would keep it open.
        socket.close(self.connection.detach())
