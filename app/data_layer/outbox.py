"""The SQL on `botdata.outbox`: natural keys that were written to PostgreSQL, until Supabase has their rows.

An entry is `unsure` while a send that covers it may be under way and may still land. The process that wrote it makes
the first send (`attempts` is 0 until then); every later one is a drainer's, which claims the entry before it sends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cutover.locks import SHARE_TABLE, TRY_EACH_KEY
from app.json_rows import encode

Key = tuple[str, ...]  # a natural key as texts, in the order of Table.info["natural_key"]
Record = dict[str, str | None]  # a row's values as PostgreSQL's text, by column

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
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
_SET_UP = text(
    "SELECT set_config('DateStyle', 'ISO', true), set_config('IntervalStyle', 'postgres', true), "
    "set_config('extra_float_digits', '1', true), set_config('lock_timeout', :lock, true), "
    "set_config('idle_in_transaction_session_timeout', :idle, true)"
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


async def set_up(connection: AsyncConnection, *, lock_timeout: float, idle: float) -> None:
    """Texts of values in one form, and an end to a transaction whose process is cut off; until the transaction ends.

    Args:
        lock_timeout: seconds to wait for the stage or a table.
        idle: seconds after which the server gives the locks of a silent process back.
    """
    milliseconds = {"lock": str(round(lock_timeout * 1000)), "idle": str(round(idle * 1000))}
    await connection.execute(_SET_UP, milliseconds)


async def lock_keys(connection: AsyncConnection, table: str, keys: Sequence[Key]) -> list[Key]:
    """Hold those keys that nobody holds, until the transaction ends."""
    await connection.execute(text(SHARE_TABLE), {"table": table})
    rows = await connection.execute(text(TRY_EACH_KEY), {"table": table, "keys": encode(keys)})
    return [keys[position - 1] for position, is_free in rows if is_free]


async def entries_of(connection: AsyncConnection, table: str, keys: Sequence[Key]) -> list[Entry]:
    """The entries of these keys, whosever they are."""
    rows = await connection.execute(_OF_KEYS, {"table": table, "keys": encode(keys)})
    return [_entry(*row) for row in rows]


def _entry(id_: int, process: str, table: str, key: Iterable[str], attempts: int, unsure: bool, sent: bool) -> Entry:
    return Entry(id_, process, table, tuple(key), attempts, unsure, sent)


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


async def rows_as_text(connection: AsyncConnection, table: Table, keys: Sequence[Key]) -> dict[Key, Record | None]:
    """Our rows of these natural keys as PostgreSQL's text; None for a key that has no row."""
    natural: tuple[str, ...] = table.info["natural_key"]
    quote = _DIALECT.identifier_preparer.quote
    columns = ", ".join(f"CAST({quote(c.name)} AS text)" for c in table.c)
    names = ", ".join(quote(name) for name in natural)
    parts = ", ".join(f"CAST(k->>{i} AS {table.c[name].type.compile(_DIALECT)})" for i, name in enumerate(natural))
    statement = (
        f"SELECT {columns} FROM {quote(table.name)} WHERE ({names}) "  # noqa: S608
        f"IN (SELECT {parts} FROM json_array_elements(CAST(:keys AS json)) k) ORDER BY id"
    )
    found: dict[Key, Record | None] = dict.fromkeys(keys)
    for row in await connection.execute(text(statement), {"keys": encode(keys)}):
        record = dict(zip(table.c.keys(), row, strict=True))
        found[tuple(str(record[name]) for name in natural)] = record
    return found
