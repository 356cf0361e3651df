"""One transaction that Alembic and psycopg share, so that revisions and what goes with them are made together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from sqlalchemy import NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection as EngineConnection
from sqlalchemy.ext.asyncio import create_async_engine

from app.common.background import end_all
from app.common.schemas import schemas_of
from app.errors import MigrationError
from app.migration.target.target_session import connect_target, explained
from app.next_step import Command, NextStep
from app.schema import revisions
from app.stores.postgres.cursors import is_amid_statement
from app.stores.postgres.database_url import sqlalchemy_url

_NOTHING = "everything; nothing was changed"


@asynccontextmanager
async def revisions_transaction(url: str, *, step: str) -> AsyncIterator[tuple[EngineConnection, AsyncConnection]]:
    """One REPEATABLE READ transaction, as Alembic and as psycopg see it; rolled back unless it is committed.

    Args:
        step: the command, for messages.

    Raises:
        MigrationError: the target cannot be reached.
    """
    engine = create_async_engine(
        sqlalchemy_url(url),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        hide_parameters=True,
        async_creator=lambda: connect_target(url, step=step),
    )
    try:
        connection = await engine.connect()
    except DBAPIError as error:
        raise MigrationError(
            revisions.explain(error), step=step, pending=_NOTHING, next_step=NextStep(Command(step))
        ) from error
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        # No upgrade is to begin meanwhile, and one that runs is waited for before the snapshot is taken.
        with explained(step, pending=_NOTHING):
            await driver.execute("SELECT set_config('statement_timeout', '30s', false)")
            await driver.execute("SELECT pg_advisory_lock(%s)", [schemas_of(driver).lock(revisions.UPGRADE_LOCK)])
            await driver.commit()
        await connection.begin()
        yield connection, driver
    finally:
        await end_all(partial(_end, connection, driver), engine.dispose)


async def _end(connection: EngineConnection, driver: Any) -> None:
    with suppress(DBAPIError):  # it was lost, and the error on its way says so
        if is_amid_statement(driver):
            await connection.invalidate()
        await connection.close()


async def commit(connection: EngineConnection, *, step: str, next_step: NextStep) -> None:
    """Make it last.

    Args:
        next_step: how to see whether it was, where the answer is lost.

    Raises:
        MigrationError: it may have been carried out, or not.
    """
    try:
        await connection.commit()
    except DBAPIError as error:
        raise MigrationError(
            f"{revisions.explain(error)}; it was being committed, so it may have been carried out",
            step=step,
            pending="nothing, or everything",
            next_step=next_step,
        ) from error
