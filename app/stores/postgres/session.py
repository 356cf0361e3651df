"""Connections to either PostgreSQL: sessions fit for a long run, and addresses that cannot serve one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from app.common.driver_errors import ends_session, missing_right, poolers_words, without_values
from app.errors import MigrationError, StoreError, UnavailableError, error_for_sqlstate
from app.next_step import Command, NextStep
from app.stores.postgres.cursors import cursors_in
from app.stores.postgres.database_url import libpq_url, schemas_of_url, tls_advice, uses_pgbouncer
from app.stores.postgres.keepalives import KEEPALIVES
from app.stores.postgres.poolers.pooled_reader import PooledReader
from app.stores.postgres.poolers.probe import Pooling, UndecidedError, find_pooling
from app.stores.postgres.primary import Primary

# No notices: in a COPY, whatever the server says is an error (see streams).
# How values are written as text: fixed, so that equal values have equal texts. With YMD, a date that the source
# wrote in another style is refused instead of misread (but for years up to 31, which verify reports).
# PostgreSQL takes some questions to its catalogs for dear: to compile one takes 0.2 s, to answer it 0.004 s.
_VALUES = """
SET statement_timeout = 0; SET lock_timeout = '30s';
SET client_encoding = 'UTF8'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; SET client_min_messages = 'error';
SET lc_monetary = 'C'; SET array_nulls = on; SET quote_all_identifiers = off; SET standard_conforming_strings = on;
SET transform_null_equals = off; SET jit = off
"""
# The server's own keepalives: the session of a machine that has gone would hold the run lock for hours.
_OF_SESSION = """
SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off;
SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 15; SET tcp_keepalives_count = 4
"""
# Set by a database or a role for short work (PostgreSQL 14 and 17 brought the last two): a run outlasts them.
_UNHURRIED = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
"""
_TRANSACTION_TIMEOUT = 170_000  # the version that brought it
# A type compares by the operators of its extension, citext's in any case. Where the path lacks their schema, a cast to
# text would be taken instead, and another order with it. At the end, a schema hides no name.
_MISSING = """
SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') AS names
FROM pg_catalog.pg_amop a JOIN pg_catalog.pg_am m ON m.oid = a.amopmethod
JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE m.amname = 'btree' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
AND n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> ALL (current_schemas(false))
AND has_schema_privilege(n.oid, 'USAGE')
"""
_OPERATORS = f"""
SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), missing.names), false)
FROM ({_MISSING}) missing WHERE missing.names IS NOT NULL
"""  # noqa: S608
# Another client's temporary tables would come first where pg_temp is not named. A path that a file of settings has may
# hold names that want quotes in a statement.
PATH = f"""
SELECT concat_ws(', ', own.names, missing.names, 'pg_temp') FROM ({_MISSING}) missing, (
    SELECT string_agg(quote_ident(name), ', ' ORDER BY place) AS names
    FROM unnest(current_schemas(false)) WITH ORDINALITY one (name, place) WHERE name !~ '^pg_temp_'
) own
"""  # noqa: S608
# A source that hides rows from the role refuses instead: a sync would delete what is hidden.
_ALL_ROWS = "SET row_security = off"
# Away with what another client of the pool may have left.
_LEFT = """
SET LOCAL session_authorization TO DEFAULT; SET LOCAL role TO DEFAULT; SET LOCAL search_path TO DEFAULT
"""
_CONNECTING = 10  # seconds
# Where it stands in an address, the server's greeting is not taken at its word.
_TRANSACTION_POOLER_PORT = "6543"  # Supabase documentation, "Connect to your database"
# The addresses that this process has looked at closely: host, ports, database and role; with why they are not fit for
# sessions.
_LOOKED_AT: dict[tuple[str, ...], str | None] = {}


async def connect(url: str, *, setting: str, step: str, read_only: bool = False) -> AsyncConnection:
    """A connection in autocommit, without prepared statements, which a pooler's sessions may not share.

    One to read by may go through a transaction pooler. It refuses to read where rows are hidden from the role: a sync
    would delete what is hidden.

    Args:
        setting: what names the address, "DATABASE_URL" or "--source".
        step: the name of the step, for messages and for `application_name`.

    Raises:
        SettingsError: not a PostgreSQL URL.
        MigrationError: the address of a transaction pooler.
        psycopg.Error: it cannot be reached, or refuses the login.
    """
    try:
        if read_only and _LOOKED_AT.get(_place(url, setting)):
            return await _read_pooled(url, setting, step)
        connection = await _log_in(url, setting)
    except psycopg.OperationalError as error:
        # libpq gives no code for a certificate that it refuses, nor for a server that is not there.
        if error.sqlstate is None and (advice := tls_advice(url)):
            raise psycopg.OperationalError(f"{error} ({advice})") from without_values(error)
        raise
    try:
        if (refusal := await _transaction_pooler(connection, url, setting, step)) is not None:
            if not read_only:
                raise refusal
            await connection.close()
            return await _read_pooled(url, setting, step)
        # Not given when logging in: PgBouncer would leave it to the next client that has no name.
        settings = f"{_VALUES}; {_OF_SESSION}; SET application_name = {_name(url, setting, step)}"
        await connection.execute(settings.encode())
        await connection.execute(_UNHURRIED.encode())
        await connection.execute(_OPERATORS.encode())
        if read_only:
            await connection.execute(f"SET default_transaction_read_only = on; {_ALL_ROWS}".encode())
    except BaseException:
        await connection.close()
        raise
    return connection


async def set_for_all(connection: AsyncConnection, settings: str) -> None:
    """Let settings, "SET ...", hold for whatever the connection is asked from now on."""
    if isinstance(connection, PooledReader):
        connection.settings += f"; {_locally(settings)}"
    else:
        await connection.execute(settings.encode())


async def begin_snapshot(connection: AsyncConnection, snapshot: str | None = None) -> None:
    """Begin a transaction, which ROLLBACK ends, whose statements all see one moment: that of a snapshot, or this one.

    Raises:
        psycopg.Error: the snapshot is gone, or the connection was lost.
    """
    taken = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)).as_string(None) if snapshot else ""
    if isinstance(connection, PooledReader):
        await connection.begin(f"{connection.beginning('REPEATABLE READ')}; {taken}")
    else:
        begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE; {taken}"
        await AsyncCursor(connection).execute(begin.encode())


async def _read_pooled(url: str, setting: str, step: str) -> PooledReader:
    connection = await _log_in(url, setting, PooledReader)
    assert isinstance(connection, PooledReader)
    try:
        connection.name_tables(schemas_of_url(url, name=setting))
        limits = "SET idle_in_transaction_session_timeout = 0"
        if connection.info.server_version >= _TRANSACTION_TIMEOUT:
            limits += "; SET transaction_timeout = 0"
        named = f"SET application_name = {_name(url, setting, step)}"
        connection.settings = f"{_locally(f'{limits}; {_VALUES}; {_ALL_ROWS}; {named}')}; {_LEFT}"
        ((path,),) = await (await connection.execute(PATH.encode())).fetchall()
        connection.settings += f"; SET LOCAL search_path = {path}"
    except BaseException:
        await connection.close()
        raise
    return connection


def _locally(settings: str) -> str:
    return re.sub(r"(^|;)\s*SET ", r"\1 SET LOCAL ", settings)


def _name(url: str, setting: str, step: str) -> str:
    """A session's name, as a literal."""
    schema = schemas_of_url(url, name=setting).data
    return sql.Literal(f"botdata {step}" if schema == "public" else f"botdata {schema} {step}").as_string(None)


async def _log_in(url: str, setting: str, kind: type[AsyncConnection[Any]] = AsyncConnection) -> AsyncConnection:
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
            connection = await primary.connect(options, seconds=_CONNECTING, kind=kind)
        except UnavailableError as error:
            # The last refusal: a login may be wrong, and no host be away.
            why = f" ({error.__cause__})" if error.__cause__ else ""
            raise psycopg.OperationalError(f"{error}{why}") from error.__cause__
    else:
        connection = await kind.connect(**options)
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
            if (refusal := await _transaction_pooler(connection, url, setting, step)) is not None:
                raise refusal


async def _transaction_pooler(connection: AsyncConnection, url: str, setting: str, step: str) -> MigrationError | None:
    """Why nothing can be done that keeps a session, which each transaction would lose there, and leave to others."""
    place = host, *ports, _, _ = _place(url, setting)
    if place not in _LOOKED_AT:
        suspected = _TRANSACTION_POOLER_PORT in ports or uses_pgbouncer(url)
        said = None
        try:
            pooling = await find_pooling(connection, lambda: _log_in(url, setting), suspected=suspected)
            if pooling is Pooling.TRANSACTION:
                said = "is the address of a transaction pooler (its server processes go from client to client)"
        except UndecidedError as error:
            pooling = Pooling.TRANSACTION
            said = f"is the address of a pooler, and it cannot be told whether it is a transaction pooler ({error})"
        if pooling is Pooling.NONE and not suspected:
            return None
        _LOOKED_AT[place] = said
    if (said := _LOOKED_AT[place]) is None:
        return None
    server = host or "the same host"
    address = "another address" if ports == ["5432"] else f"{server}:5432 without pgbouncer=true"
    if setting == "DATABASE_URL":
        remedy = NextStep(f"set DATABASE_URL to {address} (the server itself), then: ", Command(step))
    else:
        remedy = NextStep(Command(step), f", with {address} in {setting} (the session pooler, or the server itself)")
    return MigrationError(
        f"{setting} {said}, where a session ends with each transaction",
        step=step,
        pending="everything; nothing was read or written",
        next_step=remedy,
    )


def _place(url: str, setting: str) -> tuple[str, ...]:
    """Host, ports, database and role."""
    parts = conninfo_to_dict(libpq_url(url, name=setting))
    ports = str(parts.get("port") or _default_port() or "5432").split(",")
    return str(parts.get("host") or ""), *ports, str(parts.get("dbname")), str(parts.get("user"))


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
        said = poolers_words(error) or (f" ({place})" if place else "")
        translated: StoreError = error_for_sqlstate(error.sqlstate, detail=said, ends_session=ends_session(error))
    elif isinstance(error, psycopg.OperationalError):
        said = " ".join(str(error).split())  # libpq's own words: host, port, user and database, no password
        translated = UnavailableError(f"PostgreSQL cannot be reached, or the connection to it was lost: {said}")
    else:
        translated = StoreError("the driver could not carry out a statement")
    raise translated from without_values(error)
