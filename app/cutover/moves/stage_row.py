"""The row of the stage, as the commands read and lock it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from app.common.driver_errors import without_values
from app.common.schemas import schemas_of
from app.cutover.locks import HOLD_STAGE, HOLD_TURN
from app.errors import MigrationError, OutcomeUnknownError
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.cutover.moves import try_commit
from app.state.cutover.stage import StageRow, lock_holders, read_stage_row, refuse_moved_out
from app.state.tool_schema import is_current
from app.stores.postgres.commit import transaction

UNCHANGED = "nothing was changed"
LET_IT_END = "let it end, or end it with SELECT pg_terminate_backend(its pid)"
BRING_BACK = "bring a standby of synchronous_standby_names back, or take it out of there"
_COMMIT = 3.0  # seconds
_PATIENCE = b"SET LOCAL lock_timeout = '5s'"
_MOMENT = b"SET LOCAL lock_timeout = '300ms'"
_BETWEEN = 0.2  # seconds
_TRIES = 10


class MoveUnknownError(MigrationError):
    """A move's own commit may have been made, or may still be: nothing else is to be done for it."""


@asynccontextmanager
async def kept(url: str, connection: AsyncConnection, *, step: str) -> AsyncIterator[None]:
    """A transaction of a move, whose commit is to be known.

    Raises:
        MoveUnknownError: it is not: a synchronous standby is away, or the connection was lost; says how the row stands.
    """
    try:
        async with transaction(connection, seconds=_COMMIT):
            yield
    except OutcomeUnknownError as error:
        raise MoveUnknownError(
            f"{error}; {await _as_it_stands(url, step)}",
            step=step,
            pending="perhaps all of it: the move is made as soon as the standby answers, and the processes hold their "
            "writes until then; it is lost where the primary fails before",
            next_step=NextStep(f"{BRING_BACK}; then: ", Command("cutover status")),
        ) from error


async def require_standby(connection: AsyncConnection, *, step: str) -> None:
    """Stop where a commit would wait for a synchronous standby that is away.

    Raises:
        MigrationError: it is; the connection is of no use any more.
    """
    try:
        async with transaction(connection, seconds=_COMMIT):
            await try_commit(connection)
    except OutcomeUnknownError as error:
        raise MigrationError(
            f"no commit can be made: {error}",
            step=step,
            pending=f"all of it; {UNCHANGED}",
            next_step=NextStep(f"{BRING_BACK}; then: ", Command(step)),
        ) from error


async def _as_it_stands(url: str, step: str) -> str:
    with suppress(MigrationError, psycopg.Error, TimeoutError):
        async with asyncio.timeout(_COMMIT), open_target(url, step=step) as connection:
            row = await read_stage_row(connection)
            return f"the row of the stage says {row.stage}, of move {row.moves}"
    return "the row of the stage cannot be read"


async def lock_stage_row(
    connection: AsyncConnection, lock: str, *, step: str, although_moved_out: bool = False
) -> StageRow:
    """The row, locked in a transaction that from then on waits for no lock longer than a write should take.

    Raises:
        MigrationError: others hold it, and it says who; or the tables have moved to another server.
    """
    await connection.execute(_PATIENCE)
    try:
        async with connection.transaction():
            if lock == "FOR UPDATE":
                await connection.execute(HOLD_STAGE.encode())
                row = await _hold_row(connection)
                await connection.execute(_PATIENCE)
            else:
                row = await read_stage_row(connection, lock=lock)
    except LockNotAvailable as error:
        raise MigrationError(
            f"a transaction holds the stage: {await lock_holders(connection)}",
            step=step,
            pending=UNCHANGED,
            next_step=NextStep(f"{LET_IT_END}; then: ", Command(step)),
        ) from without_values(error)
    if not although_moved_out:
        refuse_moved_out(row, schemas_of(connection), step=step, pending=UNCHANGED)
    return row


async def _hold_row(connection: AsyncConnection) -> StageRow:
    """Lock after the writes in flight; those that come later wait for a moment at a time, should one of these hang."""
    for _ in range(_TRIES):
        try:
            async with connection.transaction():
                await connection.execute(_MOMENT)
                await connection.execute(HOLD_TURN.encode())
                return await read_stage_row(connection, lock="FOR UPDATE")
        except LockNotAvailable as error:
            late = error
            await asyncio.sleep(_BETWEEN)
    raise late


@asynccontextmanager
async def open_cutover(
    url: str, step: str, *, pending: str = UNCHANGED, writes: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A connection to a target that has the tool's schema as this version knows it.

    Args:
        writes: a commit of it is to end.

    Raises:
        MigrationError: it cannot be reached, has no such schema, or is to be written and has moved to another
            server, or a synchronous standby is away.
    """
    async with open_target(url, step=step) as connection:
        with explained(step, pending=pending):
            if not await is_current(connection):
                tool = schemas_of(connection).tool
                raise MigrationError(
                    f"the target has not the tables of a cutover: its schema {tool} is missing or of another version",
                    step=step,
                    pending=pending,
                    next_step=NextStep(
                        Command("upgrade"), ", as the owner of the target's schema; then: ", Command(step)
                    ),
                )
            if writes:
                refuse_moved_out(await read_stage_row(connection), schemas_of(connection), step=step, pending=pending)
                await require_standby(connection, step=step)
            yield connection


@asynccontextmanager
async def changing(settings: Settings, step: str) -> AsyncIterator[AsyncConnection]:
    """The same to the target of the settings, to be written in one transaction."""
    async with open_cutover(settings.require_database_url(), step, writes=True) as connection, connection.transaction():
        yield connection
