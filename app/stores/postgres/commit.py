"""The commit of a write, and what is known of it afterwards.

A commit that waits for a synchronous standby ends in a WARNING where the wait is cancelled: the server keeps the
transaction, and a failover may lose it. The server sends other warnings at this point, too, which the code and not the
words would have to tell apart, and the codes are alike. So a commit with a warning is one of unknown outcome.

Of a transaction in which a statement has failed, PostgreSQL makes a rollback and calls that a success. Here it is none.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus

from app.common.driver_errors import ends_session, without_values
from app.errors import OutcomeUnknownError, StoreError, UnavailableError, error_for_sqlstate
from app.state.wal import INSERT_LSN, TIMELINE, WalPlace, lsn_as_number
from app.stores.postgres.keepalives import hang_up

_WARNING = "WARNING"
_NOT_KEPT_FOR_SURE = "the commit ended with a warning: the write was made, and a failover may lose it"
_LOST = "the connection to PostgreSQL was lost during a commit"
# One round trip. The place is read after the commit, so that it covers it.
_COMMIT_AND_LOCATE = f"COMMIT; SELECT {TIMELINE}, {lsn_as_number(INSERT_LSN)}".encode()
# Classes of what can end the statement after a commit: it is cancelled, ended, refused, or out of means.
_OF_ANY_STATEMENT = {"0A", "42", "53", "57", "XX"}
# A commit that is not flushed may be lost in a crash, though it was seen: processes would have gone by it.
_TO_LAST = b"""
SELECT set_config('client_min_messages', 'warning', true),
    set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'local'), true)
"""


async def commit(driver: psycopg.AsyncConnection[Any], *, locate: bool = False) -> WalPlace | None:
    """Make a transaction's writes last.

    Args:
        locate: read where the log stands after it, in the same round trip.

    Returns:
        A place in the log that is not before the commit; None where it was not asked for.

    Raises:
        OutcomeUnknownError: the connection was lost in between, or the server warned; the writes may have been
            committed, and those that were may be lost in a failover.
        psycopg.Error: the server rolled the transaction back, and says why.
        StoreError: a statement had failed, so that the transaction can only be rolled back.
    """
    _refuse_failed(driver)
    place: WalPlace | None = None
    with _warnings(driver) as warnings:
        try:
            if locate and driver.pgconn.transaction_status == TransactionStatus.INTRANS:
                place = await _commit_and_locate(driver)
            else:
                await driver.commit()
        except psycopg.Error as error:
            if outcome := _unknown(error, located=locate):
                raise outcome from without_values(error)
            raise
    if warnings:
        raise OutcomeUnknownError(_NOT_KEPT_FOR_SURE)
    return place


def _refuse_failed(driver: psycopg.AsyncConnection[Any]) -> None:
    if driver.pgconn.transaction_status == TransactionStatus.INERROR:
        raise StoreError("a statement has failed, so nothing of the transaction can be kept")


async def _commit_and_locate(driver: psycopg.AsyncConnection[Any]) -> WalPlace | None:
    cursor = await driver.execute(_COMMIT_AND_LOCATE, prepare=False)
    cursor.nextset()
    row = await cursor.fetchone()
    return WalPlace(*row) if row and row[0] is not None else None


def _unknown(error: psycopg.Error, *, located: bool) -> OutcomeUnknownError | None:
    """The outcome of a commit that failed; None where the server says that it rolled back.

    Args:
        located: another statement came after the commit, which may be the one that failed.
    """
    state = error.sqlstate
    if state is None:
        return OutcomeUnknownError(_LOST)
    # What would be "nothing was done" of any other statement: a pooler's errors and the server's that say so.
    is_open = isinstance(error_for_sqlstate(state), UnavailableError)
    if ends_session(error) or is_open or (located and state[:2] in _OF_ANY_STATEMENT):
        return OutcomeUnknownError(f"{_LOST} [SQLSTATE {state}]", sqlstate=state)
    return None


@asynccontextmanager
async def transaction(connection: psycopg.AsyncConnection[Any], *, seconds: float) -> AsyncIterator[None]:
    """A transaction of a command, whose commit is waited for no longer than so many seconds.

    Where they are over, the connection is given up and the commit goes on: the server makes it visible as soon as its
    standby answers, and not before.

    Raises:
        OutcomeUnknownError: the commit did not end in time, ended with a warning, or the connection was lost during it.
    """
    within = connection.transaction()
    with _warnings(connection) as warnings:
        async with _rolled_back_on_error(within):
            await connection.execute(_TO_LAST)
            yield
            _refuse_failed(connection)
        warnings.clear()
        ending = asyncio.ensure_future(within.__aexit__(None, None, None))
        try:
            await asyncio.wait({ending}, timeout=seconds)
            is_late = not ending.done()
        finally:
            if not ending.done():
                hang_up(connection)  # a cancel would have the server go on without its standby
                await asyncio.wait({ending}, timeout=1.0)
        if is_late:
            ending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody asks any more
            raise OutcomeUnknownError(f"the commit did not end within {seconds:g} s: a synchronous standby is away")
        try:
            ending.result()
        except psycopg.Error as error:
            if outcome := _unknown(error, located=False):
                raise outcome from without_values(error)
            raise
    if warnings:
        raise OutcomeUnknownError(_NOT_KEPT_FOR_SURE)


@asynccontextmanager
async def _rolled_back_on_error(within: Any) -> AsyncIterator[None]:
    await within.__aenter__()
    try:
        yield
    except BaseException as error:
        await within.__aexit__(type(error), error, error.__traceback__)
        raise


@contextmanager
def _warnings(driver: psycopg.AsyncConnection[Any]) -> Iterator[list[Diagnostic]]:
    """The warnings that the server sends meanwhile."""
    heard: list[Diagnostic] = []

    def hear(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == _WARNING:
            heard.append(notice)

    driver.add_notice_handler(hear)
    try:
        yield heard
    finally:
        driver.remove_notice_handler(hear)
