"""The connection to the PostgreSQL that rows are moved to, and its failures: in words, and by the row at fault."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.pq import TransactionStatus
from psycopg.types.json import Json

from app.common.driver_errors import missing_right, without_values
from app.common.schemas import schemas_of
from app.errors import (
    AccessDeniedError,
    AddressTooLongError,
    CountTimeoutError,
    LongAddressLostError,
    MigrationError,
    SchemaMismatchError,
    StoreError,
    UnavailableError,
    error_for_sqlstate,
)
from app.migration.tables.grants import grant_of
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value
from app.stores.postgres.database_url import shown_url
from app.stores.postgres.session import connect, source_errors
from app.stores.supabase.errors import SCHEMA_NOT_EXPOSED

EXPOSE_SCHEMA = "add it in Supabase's project settings > API > Exposed schemas, or read the database itself: --source postgresql://..."
# One run at a time on one target; the session that holds it is found in pg_locks.
_RUN_LOCK = 5_287_410_332
_UNLOCKING = 1.0  # seconds, where the server falls silent
_LOCK_HOLDER = """
SELECT a.application_name, a.backend_start::timestamp(0)::text FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = (%(lock)s::bigint >> 32)::oid
AND l.objid = (%(lock)s::bigint & 4294967295)::oid
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def as_json(body: bytes) -> Json:
    """A page as it came, as a parameter of a statement: it is sent without being parsed."""
    return Json(body, bytes)


@asynccontextmanager
async def open_target(url: str, *, step: str, exclusive: bool = False) -> AsyncIterator[AsyncConnection]:
    """A connection in autocommit whose session writes values as text in one fixed form.

    Args:
        url: as in DATABASE_URL.
        step: the name of the step, for messages and for `application_name`.
        exclusive: hold the lock that keeps a second run off this target.

    Raises:
        MigrationError: it cannot be reached, is a transaction pooler, or another run holds the lock.
    """
    pending = f"all of {step}"
    with explained(step, pending=pending):
        connection = await connect_target(url, step=step)
    async with connection:
        with explained(step, pending=pending):
            if exclusive:
                await _take_run_lock(connection, step, shown_url(url))
        try:
            yield connection
        finally:
            if exclusive:
                await _give_run_lock_back(connection)


async def connect_target(url: str, *, step: str) -> AsyncConnection:
    """Another session at the target, as `open_target` gives one; the caller closes it.

    Raises:
        MigrationError: the address of a transaction pooler.
        psycopg.Error: it cannot be reached, or refuses the login.
    """
    return await connect(url, setting="DATABASE_URL", step=step)


async def connect_named(url: str, *, setting: str, step: str, pending: str) -> AsyncConnection:
    """A session at a server that a setting or an option names; the caller closes it.

    Raises:
        MigrationError: it cannot be reached, refuses the login, or is a transaction pooler; names the setting.
    """
    try:
        with source_errors():
            return await connect(url, setting=setting, step=step)
    except StoreError as error:
        raise MigrationError(
            f"{setting}: {error}",
            step=step,
            pending=pending,
            next_step=NextStep(f"correct {setting}, or wait until the server is back, then: ", Command(step)),
        ) from error


async def run_lock_holder(connection: AsyncConnection) -> str | None:
    """Who holds the lock of the run that is at work on this target, in words; None where no run is."""
    holder = await (await connection.execute(_LOCK_HOLDER, {"lock": schemas_of(connection).lock(_RUN_LOCK)})).fetchone()
    if holder is None:
        return None
    name, since = holder  # another role's session does not tell since when
    return f"{name}, connected since {since} UTC" if since else f"{name}, of another role"


async def _take_run_lock(connection: AsyncConnection, step: str, target: str) -> None:
    lock = schemas_of(connection).lock(_RUN_LOCK)
    if await fetch_value(connection, "SELECT pg_try_advisory_lock(%s)", [lock]):
        return
    holder = await run_lock_holder(connection)
    who = f": {holder}" if holder else ""
    raise MigrationError(
        f"another run is at work on {target}{who}",
        step=step,
        pending="everything; nothing was written",
        next_step=NextStep(Command("status"), "; when that run has ended: ", Command(step)),
    )


async def _give_run_lock_back(connection: AsyncConnection) -> None:
    """Also after an error: the session ends a little later than it is closed, and the next run may come before that."""
    if not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE:
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(_UNLOCKING):
                await connection.execute("SELECT pg_advisory_unlock(%s)", [schemas_of(connection).lock(_RUN_LOCK)])


# SQLSTATE classes that say: this row, not the server or the program. 21 the same key twice in one page, 22 data,
# 23 integrity, 44 check option, 54 limits (an index entry too large), P0 raised by a trigger.
ROW_FAULTS = {"21", "22", "23", "44", "54", "P0"}
# Of a unique or an exclusion constraint: another row stands in the way.
CONFLICTS = {"23505", "23P01"}


def is_row_fault(error: psycopg.Error) -> bool:
    """Whether a row is to blame, so that the page without it can go in."""
    return error.sqlstate is not None and error.sqlstate[:2] in ROW_FAULTS


@contextmanager
def explained(
    step: str,
    *,
    setting: str = "SUPABASE_URL",
    table: str | None = None,
    done: str | None = None,
    pending: str | None = None,
) -> Iterator[None]:
    """Turn errors of the source or the target into a MigrationError: where it stopped, what to do, and no value.

    Args:
        setting: what names the source, see `Source.setting`.
        done, pending: what was done and is kept, and what is not done yet, in words.
    """
    try:
        yield
    except StoreError as error:
        raise MigrationError(
            f"the source ({setting}): {error}",
            step=step,
            table=table,
            done=done,
            pending=pending,
            next_step=NextStep(*remedy_at_source(error, setting, table), Command(step)),
        ) from error
    except psycopg.Error as error:
        raise MigrationError(
            _in_words(error),
            step=step,
            table=table,
            done=done,
            pending=pending,
            next_step=NextStep(*_remedy(error), Command(step)),
        ) from without_values(error)


def remedy_at_source(
    error: StoreError, setting: str = "SUPABASE_URL", table: str | None = None
) -> tuple[str | Command, ...]:
    """What to do first about a failure of the source that will not pass by itself; ends in ", then: ".

    Args:
        table: the table that was read, for the right that is missing.
    """
    if error.sqlstate == "42501" and setting == "--source":
        return ("grant it to the role in --source (docs/rights.md), then: ",)
    if error.sqlstate == "42501":
        return (f"{grant_of(str(error), table)} in Supabase's SQL editor, then: ",)
    if error.sqlstate == SCHEMA_NOT_EXPOSED:
        return (f"{EXPOSE_SCHEMA}, then: ",)
    if isinstance(error, AddressTooLongError | LongAddressLostError | CountTimeoutError):
        return ("read the database itself, with --source postgresql://..., then: ",)
    if isinstance(error, AccessDeniedError):
        return (f"correct {setting}{' and SUPABASE_KEY' if setting == 'SUPABASE_URL' else ''}, then: ",)
    if isinstance(error, SchemaMismatchError):
        return (Command("preflight"), ", which compares its tables with the models, then: ")
    if isinstance(error, UnavailableError):
        return (f"correct {setting}, or wait until it answers, then: ",)
    return ()


def _remedy(error: psycopg.Error) -> tuple[str | Command, ...]:
    match error.sqlstate:
        case "42501":
            return ("grant it, or let the role that owns the tables run it (docs/rights.md), then: ",)
        case "42P01" | "42703":
            return (Command("preflight"), ", which names all that is missing; then: ")
        case "25006":
            return ("have it take writes (default_transaction_read_only), or name the primary in DATABASE_URL, then: ",)
        case "53100":
            return ("make room on the target's disk, then: ",)
        case "P0001":
            return ("find the trigger of the target that refuses it, and mend or disable it, then: ",)
    return () if error.sqlstate else ("correct DATABASE_URL or wait until the server is back, then: ",)


def _in_words(error: psycopg.Error) -> str:
    if error.sqlstate is not None:
        place = missing_right(error) or error.diag.constraint_name or error.diag.column_name
        return f"the target (DATABASE_URL): {error_for_sqlstate(error.sqlstate, detail=f' ({place})' if place else '')}"
    if isinstance(error, psycopg.OperationalError):
        said = " ".join(str(error).split())  # libpq's own words: host, port, user and database, no password
        return f"the target (DATABASE_URL) cannot be reached, or the connection to it was lost: {said}"
    return "the driver could not carry out a statement on the target"


@asynccontextmanager
async def dropped_after(connection: AsyncConnection, *tables: str) -> AsyncIterator[None]:
    """Temporary tables, made before or in the context, are there no more after it."""
    try:
        yield
    finally:
        if connection.info.transaction_status in {TransactionStatus.IDLE, TransactionStatus.INTRANS}:
            names = sql.SQL(", ").join(sql.Identifier("pg_temp", table) for table in tables)
            await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(names))


T = TypeVar("T")


async def read_page(
    connection: AsyncConnection,
    body: bytes,
    as_typed: Callable[[bytes], Awaitable[T]],
    as_text: Callable[[bytes], Awaitable[T]],
) -> list[T]:
    """What the parts of a page gave, in its order: halves of halves, where a row of it is refused.

    Args:
        as_typed: reads rows by the types of their columns; nothing is left of it where it is refused.
        as_text: reads the row that is refused.

    Raises:
        psycopg.Error: the target failed.
        UnavailableError: the page is not whole JSON.
    """
    try:
        async with connection.transaction():  # the caller's own goes on
            return [await as_typed(body)]
    except psycopg.Error as error:
        if not is_row_fault(error):
            raise
    try:
        records = json.loads(body)
    except ValueError as error:
        raise UnavailableError("a page from the source is not whole JSON") from error
    if len(records) == 1:
        return [await as_text(body)]
    middle = len(records) // 2
    halves = [json.dumps(half).encode() for half in (records[:middle], records[middle:])]
    return [part for half in halves for part in await read_page(connection, half, as_typed, as_text)]
