"""Connections to either PostgreSQL: sessions fit for a long run, and addresses that cannot serve one."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, ClassVar, NoReturn, Self

import psycopg
from psycopg import AsyncConnection, AsyncCopy, AsyncCursor, AsyncServerCursor, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo, TransactionStatus

from app.common.driver_errors import missing_right, without_values
from app.common.schemas import Schemas
from app.errors import MigrationError, StoreError, UnavailableError, error_for_sqlstate
from app.next_step import Command, NextStep
from app.stores.postgres.database_url import libpq_url, schemas_of_url, tls_advice, uses_pgbouncer
from app.stores.postgres.keepalives import KEEPALIVES
from app.stores.postgres.pooler import Pooling, UndecidedError, find_pooling
from app.stores.postgres.primary import Primary

# The server's own keepalives: the session of a machine that has gone would hold the run lock for hours.
# No notices: in a COPY, whatever the server says is an error (see streams).
# How values are written as text: fixed, so that equal values have equal texts. With YMD, a date that the source
# wrote in another style is refused instead of misread (but for years up to 31, which verify reports).
_SESSION = """
SET statement_timeout = 0; SET lock_timeout = '30s';
SET client_encoding = 'UTF8'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; SET client_min_messages = 'error';
SET lc_monetary = 'C'; SET array_nulls = on; SET quote_all_identifiers = off; SET standard_conforming_strings = on;
SET transform_null_equals = off; SET default_transaction_isolation = 'read committed';
SET default_transaction_deferrable = off;
SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 15; SET tcp_keepalives_count = 4
"""
# Set by a database or a role for short work (PostgreSQL 14 and 17 brought the last two): a run outlasts them.
_UNHURRIED = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
"""
# A type compares by the operators of its extension, citext's in any case. Where the path lacks their schema, a cast to
# text would be taken instead, and another order with it. At the end, a schema hides no name.
_OPERATORS = """
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), missing.names), false)
FROM (
    SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') AS names
    FROM pg_amop a JOIN pg_am m ON m.oid = a.amopmethod JOIN pg_operator o ON o.oid = a.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE m.amname = 'btree' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> ALL (current_schemas(false))
    AND has_schema_privilege(n.oid, 'USAGE')
) missing WHERE missing.names IS NOT NULL
"""
# A source that hides rows from the role refuses instead: a sync would delete what is hidden.
_READING = "SET default_transaction_read_only = on; SET row_security = off"
_CONNECTING = 10  # seconds
# Where it stands in an address, the server's greeting is not taken at its word.
_TRANSACTION_POOLER_PORT = "6543"  # Supabase documentation, "Connect to your database"
# The addresses that this process has looked at closely and found fit for sessions: host, ports, database and role.
_FIT: set[tuple[str, ...]] = set()


class _Cursor(AsyncCursor[Any]):
    """Puts the names of its schemas into statements.

    It takes a percent sign in a name as one, where psycopg would look for a placeholder if there are parameters.
    """

    schemas: ClassVar[Schemas]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        return await super().execute(self._ready(query, params), params, **options)

    async def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
        await super().executemany(self._ready(query, ()), params_seq, returning=returning)

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncIterator[AsyncCopy]:
        try:
            async with super().copy(self._ready(statement, params), params, **options) as copy:
                yield copy
        finally:
            if is_amid_statement(self.connection):
                await self.connection.close()

    def _ready(self, query: Any, params: Any) -> str:
        if isinstance(query, sql.Composable):
            query = _escaped(query, params).as_string(self.connection)
        return _named(self.schemas, query)


class _ServerCursor(AsyncServerCursor[Any]):
    """Likewise, for rows that are fetched a few at a time."""

    schemas: ClassVar[Schemas]

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        return await super().execute(_named(self.schemas, query), params, **options)


def _named(schemas: Schemas, query: str | bytes) -> str:
    return schemas.named(query if isinstance(query, str) else query.decode())


@lru_cache(maxsize=1024)
def cursors_in(schemas: Schemas) -> tuple[type[AsyncCursor[Any]], type[AsyncServerCursor[Any]]]:
    """The two kinds of cursor of a connection whose statements mean these schemas."""
    own = {"schemas": schemas}
    return type("Cursor", (_Cursor,), own), type("ServerCursor", (_ServerCursor,), own)


def turn_to(connection: AsyncConnection, schemas: Schemas) -> None:
    """Let the statements of a connection, which is at rest, mean other schemas from now on."""
    connection.cursor_factory, connection.server_cursor_factory = cursors_in(schemas)


def is_amid_statement(connection: AsyncConnection) -> bool:
    """Whether nothing can be sent any more, not even a rollback: only closing ends what the server is doing.

    psycopg leaves a connection so where a task is cancelled just as a COPY begins, too late for the server to be told.
    """
    return connection.pgconn.transaction_status == TransactionStatus.ACTIVE


def rendered(query: sql.Composed) -> str:
    """The text of a statement that is carried out several times, always with parameters."""
    text: str = _escaped(query, ()).as_string(None)
    return text


def _escaped(query: Any, params: Any) -> Any:
    if params is None or not isinstance(query, sql.Composed):
        return query
    return sql.Composed([_escaped_part(part, params) for part in query])


def _escaped_part(part: sql.Composable, params: Any) -> Any:
    if isinstance(part, (sql.Identifier, sql.Literal)) and "%" in (text := part.as_string(None)):
        return sql.SQL(text.replace("%", "%%"))
    return _escaped(part, params)


async def connect(url: str, *, setting: str, step: str, read_only: bool = False) -> AsyncConnection:
    """A connection in autocommit, without prepared statements, which a pooler's sessions may not share.

    Args:
        setting: what names the address, "DATABASE_URL" or "--source".
        step: the name of the step, for messages and for `application_name`.

    Raises:
        SettingsError: not a PostgreSQL URL.
        MigrationError: the address of a transaction pooler.
        psycopg.Error: it cannot be reached, or refuses the login.
    """
    try:
        connection = await _log_in(url, setting)
    except psycopg.OperationalError as error:
        # libpq gives no code for a certificate that it refuses, nor for a server that is not there.
        if error.sqlstate is None and (advice := tls_advice(url)):
            raise psycopg.OperationalError(f"{error} ({advice})") from without_values(error)
        raise
    try:
        await _stop_at_transaction_pooler(connection, url, setting, step)
        # Not given when logging in: PgBouncer would leave it to the next client that has no name.
        schema = schemas_of_url(url, name=setting).data
        name = sql.Literal(f"botdata {step}" if schema == "public" else f"botdata {schema} {step}")
        await connection.execute(sql.SQL("{}; SET application_name = {}").format(sql.SQL(_SESSION), name))
        await connection.execute(_UNHURRIED)
        await connection.execute(_OPERATORS)
        if read_only:
            await connection.execute(_READING)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _log_in(url: str, setting: str) -> AsyncConnection:
    address = libpq_url(url, name=setting)
    given = conninfo_to_dict(address)
    keepalives: dict[str, Any] = {key: value for key, value in KEEPALIVES.items() if key not in given}
    cursor, server_cursor = cursors_in(schemas_of_url(url, name=setting))
    options: dict[str, Any] = {
        **given,
        **keepalives,
        "autocommit": True,
        "connect_timeout": _CONNECTING,
        "prepare_threshold": None,
        "cursor_factory": cursor,
    }
    if primary := Primary.of(url, name=setting):
        try:
            connection = await primary.connect(options, seconds=_CONNECTING)
        except UnavailableError as error:
            # The last refusal: a login may be wrong, and no host be away.
            why = f" ({error.__cause__})" if error.__cause__ else ""
            raise psycopg.OperationalError(f"{error}{why}") from error.__cause__
    else:
        connection = await AsyncConnection.connect(**options)
    connection.server_cursor_factory = server_cursor
    return connection


async def refuse_transaction_pooler(url: str, *, setting: str, step: str) -> None:
    """Stop at the address of a transaction pooler, before a step whose first part would work there.

    An address that cannot be reached is left to the step.

    Raises:
        SettingsError: not a PostgreSQL URL.
        MigrationError: names the address to use.
    """
    with suppress(psycopg.Error):
        async with await _log_in(url, setting) as connection:
            await _stop_at_transaction_pooler(connection, url, setting, step)


async def _stop_at_transaction_pooler(connection: AsyncConnection, url: str, setting: str, step: str) -> None:
    """Stop where each transaction may get another session: settings and locks would be lost, and left to others."""
    parts = conninfo_to_dict(libpq_url(url, name=setting))
    ports = str(parts.get("port") or _default_port() or "5432").split(",")
    place = (str(parts.get("host")), *ports, str(parts.get("dbname")), str(parts.get("user")))
    if place in _FIT:
        return
    suspected = _TRANSACTION_POOLER_PORT in ports or uses_pgbouncer(url)
    try:
        pooling = await find_pooling(connection, lambda: _log_in(url, setting), suspected=suspected)
        said = "is the address of a transaction pooler (its server processes go from client to client)"
    except UndecidedError as error:
        pooling = Pooling.TRANSACTION
        said = f"is the address of a pooler, and it cannot be told whether it is a transaction pooler ({error})"
    if pooling is not Pooling.TRANSACTION:
        if suspected or pooling is Pooling.SESSION:
            _FIT.add(place)
        return
    host = parts.get("host") or "the same host"
    address = "another address" if ports == ["5432"] else f"{host}:5432 without pgbouncer=true"
    if setting == "DATABASE_URL":
        remedy = NextStep(f"set DATABASE_URL to {address} (the server itself), then: ", Command(step))
    else:
        remedy = NextStep(Command(step), f", with {address} in {setting} (the session pooler, or the server itself)")
    raise MigrationError(
        f"{setting} {said}, where a session ends with each transaction",
        step=step,
        pending="everything; nothing was read or written",
        next_step=remedy,
    )


def _default_port() -> str:
    """The port of an address without one: libpq's own, which PGPORT may set."""
    ports = (option.val for option in Conninfo.get_defaults() if option.keyword == b"port")
    return (next(ports, None) or b"").decode()


@contextmanager
def source_errors() -> Iterator[None]:
    """Turn driver errors at the source into the tree of app.errors, by SQLSTATE, without values."""
    try:
        yield
    except psycopg.Error as error:
        _raise_translated(error)


def _raise_translated(error: psycopg.Error) -> NoReturn:
    if error.sqlstate is not None:
        diagnosis = error.diag
        place = missing_right(error) or diagnosis.constraint_name or diagnosis.column_name or diagnosis.table_name
        translated: StoreError = error_for_sqlstate(error.sqlstate, detail=f" ({place})" if place else "")
    elif isinstance(error, psycopg.OperationalError):
        said = " ".join(str(error).split())  # libpq's own words: host, port, user and database, no password
        translated = UnavailableError(f"PostgreSQL cannot be reached, or the connection to it was lost: {said}")
    else:
        translated = StoreError("the driver could not carry out a statement")
    raise translated from without_values(error)
