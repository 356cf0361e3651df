"""Errors of the driver turned into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from app.common.driver_errors import ends_session, without_values
from app.errors import OutcomeUnknownError, StoreError, UnavailableError, error_for_sqlstate
from app.stores.postgres.poolers.pooled_connection import ANOTHERS_SESSION

# What psycopg raises for a value that it has received and Python cannot hold.
UNREADABLE = (psycopg.DataError, ValueError, OverflowError, RecursionError)


class UnreadableError(StoreError):
    """A row has come that holds a value which Python cannot hold."""


class AnothersSessionError(OutcomeUnknownError):
    """A pooler gave the connection another session during a write, which may have been carried out there."""


async def fetched(cursor: psycopg.AsyncCursor[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that was carried out; UnreadableError where a value cannot be held."""
    try:
        return await cursor.fetchall()
    except UNREADABLE as error:
        raise UnreadableError("a row holds a value that Python cannot hold") from without_values(error)


@contextmanager
def translated_errors(*, writing: bool, driver: psycopg.AsyncConnection[Any] | None = None) -> Iterator[None]:
    """Turn driver errors into the tree of app.errors, by SQLSTATE and never by message text.

    Args:
        writing: what a pooler's other session has carried out may be a write.
        driver: lost on the way, it leaves the outcome of a write unknown.
    """
    try:
        yield
    except psycopg.Error as error:
        is_lost = driver is not None and driver.closed
        raise _translate(error, writing=writing, is_lost=is_lost) from without_values(error)


def _translate(original: psycopg.Error, *, writing: bool, is_lost: bool) -> StoreError:
    if isinstance(original, ANOTHERS_SESSION):  # another client's statement may have been carried out
        kind = AnothersSessionError if writing else UnavailableError
        return kind("a pooler gave the connection another session; no statement is prepared from here on")
    if original.sqlstate is not None:
        return error_for_sqlstate(original.sqlstate, detail=_where(original), ends_session=ends_session(original))
    if is_lost:
        return OutcomeUnknownError("the connection to PostgreSQL was lost during a write")
    if isinstance(original, (psycopg.OperationalError, psycopg.InterfaceError)):
        return UnavailableError("PostgreSQL cannot be reached")
    return StoreError("the database driver could not carry out the call")


def _where(error: psycopg.Error) -> str:
    diagnostics = error.diag
    name = diagnostics.constraint_name or diagnostics.column_name or diagnostics.table_name
    return f" ({name})" if name else ""
