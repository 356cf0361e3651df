"""Quarantine: the rows that the target refused, as the source sent them."""

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.types.json import Json

from app.common.keys import Key
from app.state.fetching import fetch_column, fetch_rows, fetch_value
from app.state.json_keys import AMONG_KEYS, keys_json
from app.state.schema_name import SCHEMA

_QUARANTINE = sql.Identifier(SCHEMA, "quarantine")
_REFUSED_AT = 'to_char(refused_at, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')'  # in UTC, to the second, as ISO 8601
_CHOSEN = (
    "(%(numbers)s::bigint[] IS NULL OR number = ANY (%(numbers)s)) "
    "AND (%(tables)s::text[] IS NULL OR table_name = ANY (%(tables)s))"
)
_FAULTS = (
    "unnest(%(numbers)s::bigint[], %(sqlstates)s::text[], %(messages)s::text[], %(places)s::text[]) "
    "AS f (number, sqlstate, message, place)"
)
# A refused row's number (in quarantine or where it waits), and PostgreSQL's reason: SQLSTATE, message, and the
# constraint or column where it named one.
Fault = tuple[int, str, str, str | None]


async def exists(connection: AsyncConnection) -> bool:
    """Whether the tool's schema is there with a quarantine."""
    return bool(await fetch_value(connection, f"SELECT to_regclass('{SCHEMA}.quarantine') IS NOT NULL"))


async def count_rows(connection: AsyncConnection, run: int | None = None) -> int:
    """How many rows are in quarantine, of one run or of all."""
    statement = f"SELECT count(*) FROM {SCHEMA}.quarantine WHERE %(run)s::bigint IS NULL OR run_id = %(run)s"
    return int(await fetch_value(connection, statement, {"run": run}))


async def table_names(connection: AsyncConnection) -> set[str]:
    """The tables that have rows in quarantine."""
    return set(await fetch_column(connection, f"SELECT DISTINCT table_name FROM {SCHEMA}.quarantine"))


async def count_by_reason(connection: AsyncConnection, tables: Sequence[str] | None) -> list[tuple[Any, ...]]:
    """Why rows were refused: table, SQLSTATE, place and how many rows, the most of a table first.

    Args:
        tables: None for all.
    """
    return await fetch_rows(
        connection,
        f"SELECT table_name, sqlstate, place, count(*) FROM {SCHEMA}.quarantine "
        "WHERE %(tables)s::text[] IS NULL OR table_name = ANY (%(tables)s) GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2, 3",
        {"tables": tables},
    )


async def first_rows(connection: AsyncConnection, tables: Sequence[str] | None, limit: int) -> list[tuple[Any, ...]]:
    """The first rows without their values: number, table, key, SQLSTATE, place, when they were refused."""
    return await fetch_rows(
        connection,
        f"SELECT number, table_name, key, sqlstate, place, {_REFUSED_AT} FROM {SCHEMA}.quarantine "
        "WHERE %(tables)s::text[] IS NULL OR table_name = ANY (%(tables)s) ORDER BY number LIMIT %(limit)s",
        {"tables": tables, "limit": limit},
    )


async def choose_rows(
    connection: AsyncConnection, numbers: Sequence[int] | None, tables: Sequence[str] | None
) -> list[tuple[int, str, int, Key]]:
    """Rows without their values: number, table, run and key."""
    rows = await fetch_rows(
        connection,
        f"SELECT number, table_name, run_id, key FROM {SCHEMA}.quarantine WHERE {_CHOSEN}",
        {"numbers": numbers, "tables": tables},
    )
    return [(number, table, run, tuple(key)) for number, table, run, key in rows]


async def read_rows(
    connection: AsyncConnection, numbers: Sequence[int] | None, tables: Sequence[str] | None
) -> AsyncGenerator[tuple[Any, ...], None]:
    """Rows with their values, a few at a time.

    Yields:
        Number, table, key, SQLSTATE, message, place, when it was refused, and the row: each column's text.
    """
    async with connection.transaction(), connection.cursor(name="botdata_quarantine") as cursor:
        await cursor.execute(
            f"SELECT number, table_name, key, sqlstate, message, place, {_REFUSED_AT}, row_text "
            f"FROM {SCHEMA}.quarantine WHERE {_CHOSEN} ORDER BY number",
            {"numbers": numbers, "tables": tables},
        )
        async for row in cursor:
            yield row


async def refused_keys(connection: AsyncConnection, table: str, *, now: bool = False) -> dict[Key, str]:
    """The keys of the table's rows in quarantine, with their SQLSTATEs.

    Args:
        now: of those alone that were refused in the present transaction.
    """
    return await _sqlstates(connection, "(NOT %(now)s OR refused_at = now())", {"table": table, "now": now})


async def refused_among(connection: AsyncConnection, table: str, keys: Iterable[Key]) -> dict[Key, str]:
    """Those of the keys whose rows are in quarantine, with their SQLSTATEs."""
    return await _sqlstates(connection, AMONG_KEYS, {"table": table, "keys": keys_json(keys)})


async def _sqlstates(connection: AsyncConnection, condition: str, given: dict[str, Any]) -> dict[Key, str]:
    statement = f"SELECT key, sqlstate FROM {SCHEMA}.quarantine WHERE table_name = %(table)s AND {condition}"
    return {tuple(key): sqlstate for key, sqlstate in await fetch_rows(connection, statement, given)}


async def refusals(
    connection: AsyncConnection, table: str, run: int | None = None
) -> list[tuple[Key, str, str | None]]:
    """The table's rows in quarantine, of one run or of all: key, SQLSTATE and place."""
    rows = await fetch_rows(
        connection,
        f"SELECT key, sqlstate, place FROM {SCHEMA}.quarantine "
        "WHERE table_name = %(table)s AND (%(run)s::bigint IS NULL OR run_id = %(run)s) ORDER BY number",
        {"table": table, "run": run},
    )
    return [(tuple(key), sqlstate, place) for key, sqlstate, place in rows]


async def numbers_but(connection: AsyncConnection, run: int, table: str, sqlstate: str) -> list[int]:
    """The numbers of the table's rows that the run put into quarantine for another reason than this SQLSTATE."""
    return await fetch_column(
        connection,
        f"SELECT number FROM {SCHEMA}.quarantine WHERE run_id = %(run)s AND table_name = %(table)s "
        "AND sqlstate <> %(sqlstate)s ORDER BY number",
        {"run": run, "table": table, "sqlstate": sqlstate},
    )


async def leave_to_run(connection: AsyncConnection, run: int, table: str, keys: Iterable[Key]) -> None:
    """Of the rows of these keys, those that other runs refused leave."""
    await connection.execute(
        "WITH wanted AS MATERIALIZED (SELECT ARRAY(SELECT json_array_elements_text(k)) AS key "
        f"FROM json_array_elements(%(keys)s::json) k) DELETE FROM {SCHEMA}.quarantine q USING wanted w "
        "WHERE q.key = w.key AND table_name = %(table)s AND run_id <> %(run)s",
        {"keys": keys_json(keys), "table": table, "run": run},
    )


async def waiting_rows(
    connection: AsyncConnection, table: str, *, key: sql.Composable, first: sql.Composable, version: sql.Composable
) -> tuple[dict[Key, str | None], list[Key]]:
    """The table's rows in quarantine, while `source_keys` is there.

    Args:
        key: the key of the row `s` of `source_keys`, as text[].
        first, version: columns of `s`: the key's first, and the row's version.

    Returns:
        The versions of those that the source has, by key; and the keys that it does not list.
    """
    statement = sql.SQL(
        "SELECT q.key, s.{first} IS NOT NULL, s.{version} FROM {quarantine} q "
        "LEFT JOIN source_keys s ON {key} = q.key WHERE q.table_name = %(table)s"
    ).format(first=first, version=version, quarantine=_QUARANTINE, key=key)
    rows = await fetch_rows(connection, statement, {"table": table})
    listed = {tuple(key): version for key, there, version in rows if there}
    return listed, sorted(tuple(key) for key, there, _ in rows if not there)


async def other_columns(connection: AsyncConnection, numbers: Sequence[int], names: Iterable[str]) -> set[int]:
    """Those of the rows that were refused when their table had other columns than these."""
    found = await fetch_column(
        connection,
        f"SELECT number FROM {SCHEMA}.quarantine WHERE number = ANY (%(numbers)s) AND (SELECT array_agg(name "
        'ORDER BY name COLLATE "C") FROM json_object_keys(row_text) name) IS DISTINCT FROM %(names)s::text[]',
        {"numbers": numbers, "names": sorted(names)},
    )
    return set(found)


async def stage_rows(
    connection: AsyncConnection, staging: sql.Composable, columns: Sequence[str], numbers: Sequence[int]
) -> None:
    """Put rows into a temporary table, as text, numbered from 1 in this order.

    Args:
        columns: the temporary table's: that of the number, then those of the values.
    """
    statement = sql.SQL(
        "INSERT INTO {} ({}) SELECT position, {} FROM unnest(%(numbers)s::bigint[]) WITH ORDINALITY "
        "AS chosen (number, position) JOIN {} USING (number)"
    ).format(
        staging,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.SQL("row_text ->> {}").format(sql.Literal(name)) for name in columns[1:]),
        _QUARANTINE,
    )
    await connection.execute(statement, {"numbers": list(numbers)})


def not_refused(table: str, keys: sql.Composable) -> sql.Composed:
    """Of a query for keys (text[]) of a table, those (`key`) that are not in quarantine."""
    return sql.SQL(
        "SELECT k.key FROM ({}) k (key) WHERE k.key NOT IN (SELECT key FROM {} WHERE table_name = {})"
    ).format(keys, _QUARANTINE, sql.Literal(table))


def values_of(table: str, column: str) -> sql.Composed:
    """A query for the texts (`value`) of a column of the table's rows in quarantine."""
    return sql.SQL("SELECT row_text ->> {} AS value FROM {} WHERE table_name = {}").format(
        sql.Literal(column), _QUARANTINE, sql.Literal(table)
    )


async def set_aside(
    connection: AsyncConnection,
    run: int,
    table: str,
    staging: sql.Composable,
    faults: Sequence[Fault],
    *,
    number: sql.Composable,
    key: sql.Composable,
    texts: sql.Composable,
) -> list[tuple[Key, str, str | None]]:
    """Put refused rows into quarantine, as the source sent them; of a key that is there twice, the last.

    Args:
        staging: the temporary table with the rows that wait.
        number: its column with the numbers of the faults.
        key: the key of its row `s`, as text[].
        texts: the select list of the row's values, as text under their names.

    Returns:
        Of each its key, SQLSTATE and place.
    """
    statement = sql.SQL(
        "INSERT INTO {quarantine} (run_id, table_name, key, row_text, sqlstate, message, place) "
        "SELECT %(run)s, %(table)s, key, row_text, sqlstate, message, place FROM (SELECT DISTINCT ON ({key}) f.*, "
        "{key} AS key, (SELECT row_to_json(v.*) FROM (SELECT {texts}) v) AS row_text FROM {faults} "
        "JOIN {staging} s ON s.{number} = f.number ORDER BY {key}, f.number DESC) refused "
        "ORDER BY number ON CONFLICT (table_name, key) DO UPDATE SET run_id = excluded.run_id, "
        "row_text = excluded.row_text, sqlstate = excluded.sqlstate, message = excluded.message, "
        "place = excluded.place, refused_at = now() RETURNING key, sqlstate, place"
    ).format(quarantine=_QUARANTINE, key=key, texts=texts, faults=sql.SQL(_FAULTS), staging=staging, number=number)
    rows = await fetch_rows(connection, statement, {"run": run, "table": table, **_listed(faults)})
    return [(tuple(key), sqlstate, place) for key, sqlstate, place in rows]


async def note_faults(connection: AsyncConnection, faults: Sequence[Fault]) -> None:
    """Give rows that were refused again the reason of this time."""
    await connection.execute(
        f"UPDATE {SCHEMA}.quarantine q SET sqlstate = f.sqlstate, message = f.message, place = f.place, "
        f"refused_at = now() FROM {_FAULTS} WHERE q.number = f.number",
        _listed(faults),
    )


def _listed(faults: Sequence[Fault]) -> dict[str, list[Any]]:
    names = ("numbers", "sqlstates", "messages", "places")
    return {name: [fault[position] for fault in faults] for position, name in enumerate(names)}


async def set_values(connection: AsyncConnection, rows: Iterable[tuple[int, dict[str, str | None]]]) -> None:
    """Give rows other values, all of them or none: of each its number and its columns' texts."""
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.executemany(
            f"UPDATE {SCHEMA}.quarantine SET row_text = %(row)s WHERE number = %(number)s",
            [
                {"row": Json(row, lambda value: json.dumps(value, ensure_ascii=False)), "number": number}
                for number, row in rows
            ],
        )


async def leave(connection: AsyncConnection, table: str, keys: Iterable[Key]) -> None:
    """Take rows out."""
    await _delete(connection, f"table_name = %(table)s AND {AMONG_KEYS}", {"table": table, "keys": keys_json(keys)})


async def leave_by_number(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    """Take rows out."""
    await _delete(connection, "number = ANY (%(numbers)s)", {"numbers": list(numbers)})


async def leave_whole(connection: AsyncConnection, table: str) -> None:
    """Take all rows of a table out."""
    await _delete(connection, "table_name = %(table)s", {"table": table})


async def leave_earlier(connection: AsyncConnection, table: str) -> None:
    """Take out the rows of a table that were not refused in the present transaction."""
    await _delete(connection, "table_name = %(table)s AND refused_at <> now()", {"table": table})


async def _delete(connection: AsyncConnection, condition: str, given: dict[str, Any]) -> None:
    await connection.execute(f"DELETE FROM {SCHEMA}.quarantine WHERE {condition}", given)
