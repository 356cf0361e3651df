"""The bot's PostgreSQL: the engine, connections for reads and writes, and driver errors turned into ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.database_url import sqlalchemy_url, uses_pgbouncer
from app.errors import OutcomeUnknownError, StoreError, UnavailableError, error_for_sqlstate
from app.text_values import register_loaders

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection


class Database:
    """An engine with the two kinds of connection that the repositories use.

    Args:
        url: as in DATABASE_URL.
        pool_size: connections kept at most; a caller past that waits up to `pool_timeout`.
        pool_timeout: seconds to wait for a free connection, and for a new one to be made.
        statement_timeout: seconds after which the server cancels a statement.
    """

    def __init__(
        self, url: str, *, pool_size: int = 10, pool_timeout: float = 30.0, statement_timeout: float = 30.0
    ) -> None:
        connect_args: dict[str, Any] = {"connect_timeout": max(2, int(pool_timeout))}
        if uses_pgbouncer(url):
            connect_args["prepare_threshold"] = None
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            hide_parameters=True,
            connect_args=connect_args,
        )
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        milliseconds = max(1, int(statement_timeout * 1000))

        @event.listens_for(self.engine.sync_engine, "connect")
        def _prepare(dbapi_connection: DBAPIConnection, _record: object) -> None:
            register_loaders(dbapi_connection.driver_connection.adapters)
            # The clock's defaults (CURRENT_TIMESTAMP into a timestamp without zone) are to be UTC, as in Supabase.
            with dbapi_connection.cursor() as cursor:  # type: ignore[attr-defined]
                cursor.execute(f"SET TIME ZONE 'UTC'; SET statement_timeout = {milliseconds}")
            dbapi_connection.commit()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[AsyncConnection]:
        """A connection in autocommit: one statement, one round trip."""
        with translated_errors(writing=False):
            async with self._reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that the caller commits; anything else rolls back."""
        with translated_errors(writing=True):
            async with self.engine.connect() as connection:
                yield connection

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()


@contextmanager
def translated_errors(*, writing: bool) -> Iterator[None]:
    """Turn driver errors into the tree of app.errors, by SQLSTATE and never by message text.

    Args:
        writing: a connection lost on the way leaves the outcome of a write unknown.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("no free database connection in time") from error
    except DBAPIError as error:
        raise _translate(error.orig, invalidated=error.connection_invalidated, writing=writing, error=error) from error
    except psycopg.Error as error:
        raise _translate(error, invalidated=False, writing=writing, error=error) from error


def _translate(original: BaseException | None, *, invalidated: bool, writing: bool, error: BaseException) -> StoreError:
    if isinstance(original, psycopg.Error) and original.sqlstate is not None:
        return error_for_sqlstate(original.sqlstate, detail=_where(original))
    disconnected = invalidated or isinstance(
        error, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
    )
    if not disconnected:
        return StoreError("the database driver could not carry out the call")
    if writing and invalidated:
        return OutcomeUnknownError("the connection to PostgreSQL was lost during a write")
    return UnavailableError("PostgreSQL cannot be reached")


def _where(error: psycopg.Error) -> str:
    diagnostics = error.diag
    name = diagnostics.constraint_name or diagnostics.column_name or diagnostics.table_name
    return f" ({name})" if name else ""
