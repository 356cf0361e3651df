"""A small HTTP server that answers a copier as PostgREST does, and fails on demand.

PostgreSQL makes the JSON; its bytes go out untouched. `page_query` has what is understood of the query language,
`page_write` of writes, `faults` what can go wrong. `test_page_server.py` and `test_page_writes.py` hold it against
exchanges recorded from PostgREST.
"""

import base64
import gzip
import hashlib
import hmac
import json
import socket
import struct
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from tests.support.faults import JSON, Answer, Delivery, Hook, Request, Unreached
from tests.support.page_query import UnknownRequestError, Window, page_statement, quote_identifier
from tests.support.page_write import (
    Preferences,
    RefusedRequestError,
    delete_statement,
    insert_statement,
    update_statement,
)

_PREFIX = "/rest/v1/"
_LONGEST_TARGET = 8000  # bytes: gateways take a request line of 8 KB
_NO_TABLE = "42P01"
_BAD_KEY = "JWT cryptographic operation failed"
# PostgREST's reference, "Errors", HTTP status codes; anything else is 400.
_STATUS = {"08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "40": 500, "53": 503, "54": 500}
_STATUS |= {"55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500, "XX": 500, "57P01": 503, "42883": 404}
_STATUS |= {"21000": 500, "23503": 409, "23505": 409}


@dataclass(frozen=True)
class Exchange:
    """A request and its answer: rows and bytes of the body, whether a fault was in it, whether all of it was sent."""

    request: Request
    status: int
    rows: int
    size: int
    faulty: bool
    whole: bool


class PageServer:
    """The server, in threads of its own; a context manager.

    Args:
        database_url: a libpq URL. A role's requests run under that role, the service key's as the URL's user.
        max_rows: the row cap, which a hook may change in mid-run.
        hook: gives the fault of each request.
        compress: answer with gzip where the client accepts it.

    Attributes:
        exchanges: every request seen, in the order of the answers.
    """

    def __init__(
        self, database_url: str, *, max_rows: int | None = 1000, hook: Hook | None = None, compress: bool = False
    ) -> None:
        self.max_rows = max_rows
        self.hook: Hook = hook or (lambda _request: None)
        self.compress = compress
        self.service_key = _legacy_key("service_role")
        self.anon_key = _legacy_key("anon")
        self.roles: dict[str, str | None] = {self.service_key: None, self.anon_key: "anon"}
        self.exchanges: list[Exchange] = []
        self.stopping = threading.Event()
        self._database_url = database_url
        self._idle: dict[str | None, list[psycopg.Connection]] = defaultdict(list)
        self._failures: list[BaseException] = []
        self._received = 0
        self._lock = threading.Lock()
        self._restarting = threading.Lock()
        self._http = _Listener(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._serve()

    def pages(self, table: str) -> list[Exchange]:
        """The pages of a table that were sent whole and right, without counts and errors."""
        return [
            seen
            for seen in self.exchanges
            if seen.request.table == table
            and seen.request.method == "GET"
            and seen.status in {200, 206}
            and not seen.faulty
            and seen.whole
        ]

    def restart(self, away: float) -> None:
        """End every connection, keep the port closed for so many seconds, and listen on it again.

        Not to be called by a hook itself, since the request at hand is to end.
        """
        with self._restarting:
            if self.stopping.is_set():
                return
            self._end()
            self.stopping.wait(away)
            self._http = _Listener(self, self._http.server_address[1])
            self._serve()

    def stop(self) -> None:
        """End every connection; raises what went wrong in the server itself. May be called twice."""
        if not self.stopping.is_set():
            self.stopping.set()
            with self._restarting:
                self._end()
            for connection in (one for idle in self._idle.values() for one in idle):
                connection.close()
        if self._failures:
            raise ExceptionGroup("the page server failed", [e for e in self._failures if isinstance(e, Exception)])

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def _end(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.end_clients()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def received(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Number a request and take it apart."""
        split = urlsplit(target)
        parameters = tuple(parse_qsl(split.query, keep_blank_values=True, errors="strict"))
        with self._lock:
            self._received += 1
            number = self._received
        return Request(number, method, target, unquote(split.path.removeprefix(_PREFIX)), parameters, headers, body)

    def sent(self, request: Request, answer: Answer, *, faulty: bool, whole: bool) -> None:
        """Keep what was answered."""
        exchange = Exchange(request, answer.status, answer.rows, len(answer.body), faulty, whole)
        with self._lock:
            self.exchanges.append(exchange)

    def failed(self, error: BaseException) -> None:
        """Keep an error of the server's own, to be raised by `stop`."""
        self._failures.append(error)

    def answer(self, request: Request) -> Answer:
        """What PostgREST would answer."""
        if len(request.target) > _LONGEST_TARGET:
            return Answer(414, {"Content-Type": "text/html"}, b"<h1>414 Request-URI Too Large</h1>")
        key = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("apikey", "")
        if key not in self.roles:
            challenge = f'Bearer error="invalid_token", error_description="{_BAD_KEY}"'
            return _error(401, "PGRST301", _BAD_KEY, headers={"WWW-Authenticate": challenge})
        counted = "count=exact" in request.headers.get("Prefer", "")
        try:
            if not request.target.startswith(_PREFIX):
                raise UnknownRequestError("its path")
            if request.method in {"POST", "PATCH", "DELETE"}:
                return self._write(request, self.roles[key])
            window = Window.of(dict(request.parameters), request.headers.get("Range")).capped(self.max_rows)
            statement = page_statement(request.table, request.parameters, window, counted=counted)
        except (UnknownRequestError, ValueError) as error:
            return _error(501, "PAGES", f"the page server does not know this request: {error}")
        role = self.roles[key]
        result = self._execute(statement.text, statement.values, role)
        if result.status != ExecStatus.TUPLES_OK:
            return _database_error(result, request.table, signed_in=role is None)
        rows, total = int(result.get_value(0, 0) or b"0"), result.get_value(0, 1)
        body = result.get_value(0, 2) or b""
        headers = {**JSON, **({"Preference-Applied": "count=exact"} if counted else {})}
        if total is not None and window.offset and window.offset >= int(total):
            headers["Content-Range"] = f"*/{int(total)}"
            details = f"An offset of {window.offset} was requested, but there are only {int(total)} rows."
            return _error(416, "PGRST103", "Requested range not satisfiable", details=details, headers=headers)
        span = f"{window.offset}-{window.offset + rows - 1}" if rows else "*"
        headers["Content-Range"] = f"{span}/{'*' if total is None else int(total)}"
        if request.table.isprintable():  # no header holds another name
            headers["Content-Location"] = f"/{request.table}{_canonical(request)}"
        partial = total is not None and rows < int(total)
        return Answer(206 if partial else 200, headers, body, rows)

    def _write(self, request: Request, role: str | None) -> Answer:
        preferences = Preferences.of(request.headers.get("Prefer", ""))
        try:
            if request.method == "DELETE":
                statement = delete_statement(request.table, request.parameters)
            elif request.method == "PATCH":
                statement = update_statement(request.table, request.parameters, request.body)
            else:
                statement = insert_statement(request.table, request.parameters, preferences, request.body)
        except RefusedRequestError as error:
            return _error(400, error.code, str(error))
        result = self._execute(statement.text, statement.values, role)
        if result.status != ExecStatus.TUPLES_OK:
            return _database_error(result, request.table, signed_in=role is None)
        rows, new, body = int(result.get_value(0, 0) or b"0"), result.get_value(0, 1) == b"1", result.get_value(0, 2)
        span = f"0-{rows - 1}/*" if request.method == "PATCH" and rows else "*/*"
        headers = {"Content-Range": span, **preferences.applied}
        created = request.method == "POST" and (new or not preferences.resolution)
        if not preferences.represents:
            return Answer(201 if created else 200 if request.method == "POST" else 204, headers, b"", rows)
        if body is None:
            raise UnknownRequestError("a representation without a select list")
        return Answer(201 if created else 200, {**JSON, **headers}, body, rows)

    def _execute(self, statement: str, values: list[bytes], role: str | None) -> PGresult:
        with self._lock:
            connection = self._idle[role].pop() if self._idle[role] else None
        if connection is None:
            connection = psycopg.connect(self._database_url, autocommit=True)
            if role:
                connection.execute(f"SET ROLE {quote_identifier(role)}")
        # Below psycopg's own cursors: values without a type go in, and the JSON's bytes come out as they are.
        result = connection.pgconn.exec_params(statement.encode(), values)
        if connection.pgconn.status == ConnStatus.OK:
            with self._lock:
                self._idle[role].append(connection)
        else:
            connection.close()
        return result


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, pages: PageServer, port: int = 0) -> None:
        self.pages = pages
        self.clients: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def end_clients(self) -> None:
        for thread, connection in list(self.clients.items()):
            with suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):  # clients may go at any time
            self.pages.failed(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        self.server.clients[threading.current_thread()] = self.request
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.clients.pop(threading.current_thread(), None)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
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


def _error(
    status: int, code: str, message: str, *, details: str | None = None, hint: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:  # fmt: skip
    fields = {"code": code, "details": details, "hint": hint, "message": message}
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status, {**JSON, "Proxy-Status": f"PostgREST; error={code}", **(headers or {})}, body)


def _database_error(result: PGresult, table: str, *, signed_in: bool) -> Answer:
    def part(name: DiagnosticField) -> str | None:
        value = result.error_field(name)
        return None if value is None else bytes(value).decode()

    code = part(DiagnosticField.SQLSTATE)
    if code is None:
        return _error(503, "PGRST001", "Database client error. Retrying the connection.")
    if code == _NO_TABLE:
        return _error(404, "PGRST205", f"Could not find the table 'public.{table}' in the schema cache")
    status, headers = _STATUS.get(code) or _STATUS.get(code[:2], 400), {}
    if code == "42501":
        status, headers = (403, {}) if signed_in else (401, {"WWW-Authenticate": "Bearer"})
    details, hint = part(DiagnosticField.MESSAGE_DETAIL), part(DiagnosticField.MESSAGE_HINT)
    return _error(
        status, code, part(DiagnosticField.MESSAGE_PRIMARY) or "", details=details, hint=hint, headers=headers
    )


def _canonical(request: Request) -> str:
    """The query as PostgREST repeats it: sorted by name, the values of a name joined by commas."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in request.parameters:
        values[name].append(value)
    pairs = (f"{quote(name, safe='')}={quote(','.join(values[name]), safe='')}" for name in sorted(values))
    return f"?{'&'.join(pairs)}" if values else ""


def _legacy_key(role: str) -> str:
    """A key as old Supabase projects have it: a JWT with a role, signed with a secret that guards nothing."""
    claims = {"iss": "supabase", "ref": "made-up", "role": role, "iat": 1700000000, "exp": 4000000000}
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest(b"no secret at all", ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, _base64(signature)])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
