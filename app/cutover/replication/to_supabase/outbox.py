"""The SQL on `botdata.outbox`: natural keys that were written to PostgreSQL, until Supabase has their rows.

An entry is `unsure` while a send that covers it may be under way and may still land. The process that wrote it makes
the first send (`attempts` is 0 until then); every later one is the relay's, which claims the entry before it sends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.common.keys import Key
from app.stores.codec.json_rows import encode

LAST = 2**63 - 1  # an id that is above all
_IN_KEYS = "IN (SELECT ARRAY(SELECT json_array_elements_text(k)) FROM json_array_elements(CAST(:keys AS json)) k)"
_COLUMNS = "id, process, table_name, key, attempts, unsure, recheck_at IS NOT NULL"
_OF_KEYS = text(f"SELECT {_COLUMNS} FROM botdata.outbox WHERE table_name = :table AND key {_IN_KEYS}")  # noqa: S608
_DELETE = text("DELETE FROM botdata.outbox WHERE id = ANY(:ids)")
_SETTLE_LATER = text(
    "UPDATE botdata.outbox SET recheck_at = later.later, next_attempt_at = later.later, last_error = NULL "
    "FROM (SELECT clock_timestamp() + make_interval(secs => :seconds)) later (later) WHERE id = ANY(:ids)"
)
# The pause doubles with each attempt.
_PUT_OFF = text(
    "UPDATE botdata.outbox SET attempts = attempts + :counted, unsure = :unsure, last_error = :error, "
    "next_attempt_at = clock_timestamp() "
    "+ make_interval(secs => least(:longest, power(2, least(attempts + :counted, 10)))) WHERE id = ANY(:ids)"
)
# Only where no relay has claimed it, even in this moment.
_LEAVE = text(
    "UPDATE botdata.outbox SET attempts = 1, unsure = false, last_error = 'Supabase is away', "  # noqa: S608
    "next_attempt_at = clock_timestamp() + interval '2 seconds' WHERE table_name = :table AND process = :process "
    f"AND attempts = 0 AND id <> ALL(CAST(:except_for AS bigint[])) AND key {_IN_KEYS}"
)
_RECORD = text(
    "INSERT INTO botdata.outbox (process, table_name, key, attempts) "
    "SELECT :process, k->>0, ARRAY(SELECT json_array_elements_text(k->1)), 1 "
    "FROM json_array_elements(CAST(:keys AS json)) k"
)
_SEND_AGAIN = text(
    "UPDATE botdata.outbox SET unsure = false, recheck_at = NULL, next_attempt_at = clock_timestamp() "
    "WHERE id = ANY(:ids)"
)
_WAIT = text(
    "UPDATE botdata.outbox SET next_attempt_at = clock_timestamp() + make_interval(secs => :seconds) "
    "WHERE id = ANY(:ids)"
)
_CLAIM = text(
    "UPDATE botdata.outbox SET attempts = attempts + 1, unsure = true, "
    "next_attempt_at = clock_timestamp() + make_interval(secs => :seconds) WHERE id = ANY(:ids)"
)
_DUE = text(
    f"SELECT {_COLUMNS} FROM botdata.outbox "  # noqa: S608
    "WHERE next_attempt_at <= clock_timestamp() AND table_name = :table AND id <= :last "
    "ORDER BY next_attempt_at LIMIT :most FOR UPDATE SKIP LOCKED"
)
_TABLES_DUE = text(
    "SELECT DISTINCT table_name FROM (SELECT table_name FROM botdata.outbox "
    "WHERE next_attempt_at <= clock_timestamp() AND id <= :last ORDER BY next_attempt_at LIMIT 2000) due"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `sent` says that it waits only to be read back."""

    id: int
    process: str
    table: str
    key: Key
    attempts: int
    unsure: bool
    sent: bool


async def entries_of(connection: AsyncConnection, table: str, keys: Sequence[Key]) -> list[Entry]:
    """The entries of these keys, whosever they are."""
    rows = await connection.execute(_OF_KEYS, {"table": table, "keys": encode(keys)})
    return [_entry(*row) for row in rows]


def _entry(id_: int, process: str, table: str, key: Iterable[str], attempts: int, unsure: bool, sent: bool) -> Entry:
    return Entry(id_, process, table, tuple(key), attempts, unsure, sent)


async def leave(
    connection: AsyncConnection, process: str, table: str, keys: Sequence[Key], *, except_for: Collection[int]
) -> None:
    """Entries of a process whose first send was not begun, and will not be."""
    given = {"process": process, "table": table, "keys": encode(keys), "except_for": list(except_for)}
    await connection.execute(_LEAVE, given)


async def record(connection: AsyncConnection, process: str, keys: Collection[tuple[str, Key]]) -> None:
    """Leave an entry for each table and key; they are the relay's."""
    await connection.execute(_RECORD, {"process": process, "keys": encode(list(keys))})


async def delete(connection: AsyncConnection, ids: Collection[int]) -> None:
    """Take entries out."""
    if ids:
        await connection.execute(_DELETE, {"ids": list(ids)})


async def settle_later(connection: AsyncConnection, ids: Collection[int], seconds: float) -> None:
    """Entries whose rows were sent, although an earlier send of theirs may still land: to be read back then."""
    if ids:
        await connection.execute(_SETTLE_LATER, {"ids": list(ids), "seconds": seconds})


async def put_off(
    connection: AsyncConnection,
    ids: Collection[int],
    *,
    unsure: bool,
    error: str | None,
    longest: float,
    counted: int = 0,
) -> None:
    """Entries that were not sent, or perhaps not, until later.

    Args:
        error: what was said, without values.
        longest: seconds until the next attempt, at most.
        counted: attempts to add.
    """
    if ids:
        given = {"ids": list(ids), "unsure": unsure, "error": error, "longest": longest, "counted": counted}
        await connection.execute(_PUT_OFF, given)


async def send_again(connection: AsyncConnection, ids: Collection[int]) -> None:
    """Entries that were read back and differ: nothing of theirs can land any more, and they are due."""
    if ids:
        await connection.execute(_SEND_AGAIN, {"ids": list(ids)})


async def wait(connection: AsyncConnection, ids: Collection[int], seconds: float) -> None:
    """Entries that nothing is done with before then."""
    if ids:
        await connection.execute(_WAIT, {"ids": list(ids), "seconds": seconds})


async def claim(connection: AsyncConnection, ids: Collection[int], seconds: float) -> None:
    """Say that a send of these entries is about to begin; nobody else begins one for so long."""
    if ids:
        await connection.execute(_CLAIM, {"ids": list(ids), "seconds": seconds})


async def due(connection: AsyncConnection, table: str, most: int, last: int = LAST) -> list[Entry]:
    """Entries up to an id whose time has come, locked; those that another relay has just locked are left out."""
    rows = await connection.execute(_DUE, {"table": table, "most": most, "last": last})
    return [_entry(*row) for row in rows]


async def tables_due(connection: AsyncConnection, last: int = LAST) -> list[str]:
    """The tables that have such entries."""
    return list((await connection.execute(_TABLES_DUE, {"last": last})).scalars())
