"""A small HTTP server that answers a copier as PostgREST does, and fails on demand.

PostgreSQL makes the JSON; its bytes go out untouched. `page_query` has what is understood of the query language,
`page_write` of writes, `page_root` the root document, `page_http` the clients' side, `faults` what can go wrong.
`test_page_server.py` and `test_page_writes.py` hold it against exchanges recorded from PostgREST.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import psycopg
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from tests.support.faults import JSON, Answer, Hook, Request
from tests.support.page_errors import database_error, error_answer
from tests.support.page_http import Listener
from tests.support.page_keys import legacy_key
from tests.support.page_query import UnknownRequestError, Window, page_statement, quote_identifier
from tests.support.page_root import DOCUMENT
from tests.support.page_write import (
    Preferences,
    RefusedRequestError,
    delete_statement,
    insert_statement,
    update_statement,
)

_PREFIX = "/rest/v1/"
_BAD_KEY = "JWT cryptographic operation failed"


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
        schemas: those that are exposed; the first is meant where a request names none.
        describes: give the root document; otherwise the server knows no such request.
        settings: of each of its sessions at the database, as a role or a pooler may have them.
        longest_target: bytes of an address that the gateway before it takes; a request line of 8 KB by default.
        too_long: the status of the gateway's answer to a longer one, such as 414 or 502.

    Attributes:
        exchanges: every request seen, in the order of the answers.
    """

    def __init__(
        self,
        database_url: str,
        *,
        max_rows: int | None = 1000,
        hook: Hook | None = None,
        compress: bool = False,
        schemas: Sequence[str] = ("public",),
        describes: bool = False,
        settings: Mapping[str, str] | None = None,
        longest_target: int = 8000,
        too_long: int = 414,
    ) -> None:
        self.max_rows = max_rows
        self.schemas = tuple(schemas)
        self.describes = describes
        self.settings = dict(settings or {})
        self.longest_target = longest_target
        self.too_long = too_long
        self.hook: Hook = hook or (lambda _request: None)
        self.compress = compress
        self.service_key = legacy_key("service_role")
        self.anon_key = legacy_key("anon")
        self.roles: dict[str, str | None] = {self.service_key: None, self.anon_key: "anon"}
        self.exchanges: list[Exchange] = []
        self.stopping = threading.Event()
        self._database_url = database_url
        self._idle: dict[tuple[str | None, str], list[psycopg.Connection]] = defaultdict(list)
        self._failures: list[BaseException] = []
        self._received = 0
        self._lock = threading.Lock()
        self._restarting = threading.Lock()
        self._http = Listener(self)
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
            self._http = Listener(self, self._http.server_address[1])
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

    def __exit__(self, *error: object) -> None:
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
        if len(request.target) > self.longest_target:
            words = "414 Request-URI Too Large" if self.too_long == 414 else f"{self.too_long} Bad Gateway"
            return Answer(self.too_long, {"Content-Type": "text/html"}, f"<h1>{words}</h1>".encode())
        key = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("apikey", "")
        if key not in self.roles:
            challenge = f'Bearer error="invalid_token", error_description="{_BAD_KEY}"'
            return error_answer(401, "PGRST301", _BAD_KEY, headers={"WWW-Authenticate": challenge})
        role, writing = self.roles[key], request.method in {"POST", "PATCH", "DELETE"}
        # A header's bytes are UTF-8 to PostgREST; Python's server takes them for Latin-1.
        named = request.headers.get("Content-Profile" if writing else "Accept-Profile", "")
        schema = named.encode("latin-1").decode() or self.schemas[0]
        if schema not in self.schemas:
            exposed = ", ".join(self.schemas)
            return error_answer(406, "PGRST106", f"The schema must be one of the following: {exposed}")
        try:
            answer = self._answer(request, role, schema, writing=writing)
        except psycopg.OperationalError:  # the database has gone
            return error_answer(503, "PGRST001", "Database client error. Retrying the connection.")
        # With several schemas PostgREST says which one answered.
        profile = {"Content-Profile": schema} if len(self.schemas) > 1 and answer.status < 300 else {}
        return replace(answer, headers={**answer.headers, **profile})

    def _answer(self, request: Request, role: str | None, schema: str, *, writing: bool) -> Answer:
        counted = "count=exact" in request.headers.get("Prefer", "")
        try:
            if not request.target.startswith(_PREFIX):
                raise UnknownRequestError("its path")
            if writing:
                return self._write(request, role, schema)
            if self.describes and not request.table:
                return self._describe(role, schema)
            window = Window.of(dict(request.parameters), request.headers.get("Range")).capped(self.max_rows)
            statement = page_statement(request.table, request.parameters, window, counted=counted, schema=schema)
        except (UnknownRequestError, ValueError) as error:
            return error_answer(501, "PAGES", f"the page server does not know this request: {error}")
        result = self._execute(statement.text, statement.values, role, schema)
        if result.status != ExecStatus.TUPLES_OK:
            return database_error(result, schema, request.table, signed_in=role is None)
        rows, total = int(result.get_value(0, 0) or b"0"), result.get_value(0, 1)
        body = result.get_value(0, 2) or b""
        headers = {**JSON, **({"Preference-Applied": "count=exact"} if counted else {})}
        if total is not None and window.offset and window.offset >= int(total):
            headers["Content-Range"] = f"*/{int(total)}"
            details = f"An offset of {window.offset} was requested, but there are only {int(total)} rows."
            return error_answer(416, "PGRST103", "Requested range not satisfiable", details=details, headers=headers)
        span = f"{window.offset}-{window.offset + rows - 1}" if rows else "*"
        headers["Content-Range"] = f"{span}/{'*' if total is None else int(total)}"
        if request.table.isprintable():  # no header holds another name
            headers["Content-Location"] = f"/{request.table}{_canonical(request)}"
        partial = total is not None and rows < int(total)
        return Answer(206 if partial else 200, headers, body, rows)

    def _describe(self, role: str | None, schema: str) -> Answer:
        result = self._execute(DOCUMENT, [schema.encode()], role, schema)
        if result.status != ExecStatus.TUPLES_OK:
            return database_error(result, schema, "", signed_in=role is None)
        body = result.get_value(0, 0) or b""
        return Answer(200, {"Content-Type": "application/openapi+json; charset=utf-8"}, body)

    def _write(self, request: Request, role: str | None, schema: str) -> Answer:
        preferences = Preferences.of(request.headers.get("Prefer", ""))
        try:
            if request.method == "DELETE":
                statement = delete_statement(request.table, request.parameters, schema=schema)
            elif request.method == "PATCH":
                statement = update_statement(request.table, request.parameters, request.body, schema=schema)
            else:
                statement = insert_statement(
                    request.table, request.parameters, preferences, request.body, schema=schema
                )
        except RefusedRequestError as error:
            return error_answer(400, error.code, str(error))
        result = self._execute(statement.text, statement.values, role, schema)
        if result.status != ExecStatus.TUPLES_OK:
            return database_error(result, schema, request.table, signed_in=role is None)
        rows, new, body = int(result.get_value(0, 0) or b"0"), result.get_value(0, 1) == b"1", result.get_value(0, 2)
        span = f"0-{rows - 1}/*" if request.method == "PATCH" and rows else "*/*"
        headers = {"Content-Range": span, **preferences.applied}
        created = request.method == "POST" and (new or not preferences.resolution)
        if not preferences.represents:
            return Answer(201 if created else 200 if request.method == "POST" else 204, headers, b"", rows)
        if body is None:
            raise UnknownRequestError("a representation without a select list")
        return Answer(201 if created else 200, {**JSON, **headers}, body, rows)

    def _execute(self, statement: str, values: list[bytes], role: str | None, schema: str) -> PGresult:
        with self._lock:
            connection = self._idle[role, schema].pop() if self._idle[role, schema] else None
        if connection is None:
            connection = self._connect(role, schema)
        # Below psycopg's own cursors: values without a type go in, and the JSON's bytes come out as they are.
        try:
            result = connection.pgconn.exec_params(statement.encode(), values)
        except psycopg.OperationalError:
            connection.close()
            raise
        if connection.pgconn.status == ConnStatus.OK:
            with self._lock:
                self._idle[role, schema].append(connection)
        else:
            connection.close()
        return result

    def _connect(self, role: str | None, schema: str) -> psycopg.Connection:
        """A session as PostgREST's requests have it: the schema is first in the search path, then public."""
        connection = psycopg.connect(self._database_url, autocommit=True)
        path = ", ".join(quote_identifier(name) for name in dict.fromkeys([schema, "public"]))
        for name, value in {"client_encoding": "UTF8", "search_path": path, **self.settings}.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        if role:
            connection.execute(f"SET ROLE {quote_identifier(role)}")
        return connection


def _canonical(request: Request) -> str:
    """The query as PostgREST repeats it: sorted by name, the values of a name joined by commas."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in request.parameters:
        values[name].append(value)
    pairs = (f"{quote(name, safe='')}={quote(','.join(values[name]), safe='')}" for name in sorted(values))
    return f"?{'&'.join(pairs)}" if values else ""
