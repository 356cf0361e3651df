"""Our rows by natural key, as PostgreSQL's text, read under the locks of a mirror."""

from collections.abc import Sequence

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from app.common.keys import Key
from app.common.schemas import DATA
from app.cutover.locks import SHARE_STAGE, SHARE_TABLE, TRY_EACH_KEY
from app.state.fetching import Connection, fetch_rows
from app.stores.codec.json_rows import encode
from app.stores.codec.rows import key_of, natural_key
from app.stores.supabase.table import Record

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_SET_UP = (
    "SELECT set_config('DateStyle', 'ISO', true), set_config('IntervalStyle', 'postgres', true), "
    "set_config('extra_float_digits', '1', true), set_config('lock_timeout', %(lock)s, true), "
    f"set_config('idle_in_transaction_session_timeout', %(idle)s, true), {SHARE_STAGE}"
)


async def set_up(connection: Connection, *, lock_timeout: float, idle: float) -> None:
    """Texts of values in one form, an end to a transaction whose process is cut off, a turn after moves.

    All of it lasts until the transaction ends.

    Args:
        lock_timeout: seconds to wait for the stage or a table.
        idle: seconds after which the server gives the locks of a silent process back.
    """
    milliseconds = {"lock": str(round(lock_timeout * 1000)), "idle": str(round(idle * 1000))}
    await connection.execute(_SET_UP, milliseconds)


async def lock_keys(connection: Connection, table: str, keys: Sequence[Key]) -> list[Key]:
    """Hold those keys that nobody holds, until the transaction ends."""
    await connection.execute(SHARE_TABLE, {"table": table})
    rows = await fetch_rows(connection, TRY_EACH_KEY, {"table": table, "keys": encode(keys)})
    return [keys[position - 1] for position, is_free in rows if is_free]


async def rows_as_text(connection: Connection, table: Table, keys: Sequence[Key]) -> dict[Key, Record | None]:
    """Our rows of these natural keys as PostgreSQL's text; None for a key that has no row."""
    natural = natural_key(table)
    quote = _DIALECT.identifier_preparer.quote
    columns = ", ".join(f"CAST({quote(c.name)} AS text)" for c in table.c)
    names = ", ".join(quote(name) for name in natural)
    parts = ", ".join(f"CAST(k->>{i} AS {table.c[name].type.compile(_DIALECT)})" for i, name in enumerate(natural))
    statement = (
        f'SELECT {columns} FROM "{DATA}".{quote(table.name)} WHERE ({names}) '  # noqa: S608
        f"IN (SELECT {parts} FROM json_array_elements(CAST(%(keys)s AS json)) k) ORDER BY id"
    )
    found: dict[Key, Record | None] = dict.fromkeys(keys)
    for row in await fetch_rows(connection, statement, {"keys": encode(keys)}):
        record = dict(zip(table.c.keys(), row, strict=True))
        found[key_of(table, record)] = record
    return found
