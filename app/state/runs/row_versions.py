"""Row versions: which rows have changed on either side since both were known to be equal.

A pair (the source's xmin, the target's xmin) is recorded when a row has the same text on both sides. While both stand,
the row is settled and is not read again. The same pairs serve both directions.
"""

from collections.abc import Iterable, Mapping, Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.state.fetching import fetch_rows
from app.state.json_keys import AMONG_KEYS, keys_json
from app.state.schema_name import SCHEMA

_PAIRS = sql.Identifier(SCHEMA, "row_versions")


async def unsettled_keys(
    connection: AsyncConnection,
    table: str,
    *,
    rows: sql.Composable,
    key: sql.Composable,
    same: sql.Composable,
    version: sql.Composable,
    missing: bool,
    most: int,
) -> list[Key]:
    """Keys of the source, no more than `most`, whose rows' versions are not those of the pair.

    A foreign table gives 0 for the xmin of each row, which tells nothing.

    Args:
        rows: what stands after FROM for the rows of the target's table.
        key: the key of the row `s` of `source_keys`, as text[].
        same: the target's row `t` has the key of `s`.
        version: the column of `source_keys` with the version of its row.
        missing: those too that the target does not hold.
    """
    statement = sql.SQL(
        "SELECT DISTINCT {key} FROM source_keys s {join} {rows} t ON {same} "
        "LEFT JOIN {pairs} v ON v.table_name = %(table)s AND v.key = {key} "
        "WHERE v.source_xid IS DISTINCT FROM s.{version} OR s.{version} IS NULL OR s.{version} = '0' "
        "OR v.target_xid IS DISTINCT FROM t.xmin::text OR t.xmin IS NULL LIMIT %(most)s"
    ).format(
        key=key,
        join=sql.SQL("LEFT JOIN" if missing else "JOIN"),
        rows=rows,
        same=same,
        pairs=_PAIRS,
        version=version,
    )
    rows_left = await fetch_rows(connection, statement, {"table": table, "most": most})
    return sorted(tuple(row[0]) for row in rows_left)


async def forget_gone(connection: AsyncConnection, table: str, key: sql.Composable) -> None:
    """Drop the pairs of rows that the source no longer has.

    Args:
        key: the key of the row `s` of `source_keys`, as text[].
    """
    statement = sql.SQL(
        "DELETE FROM {} v WHERE v.table_name = %(table)s AND NOT EXISTS (SELECT FROM source_keys s WHERE {} = v.key)"
    )
    await connection.execute(statement.format(_PAIRS, key), {"table": table})


async def forget(connection: AsyncConnection, table: str, keys: Iterable[Key]) -> None:
    """Drop the pairs of these rows."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.row_versions WHERE table_name = %(table)s AND {AMONG_KEYS}",
        {"table": table, "keys": keys_json(keys)},
    )


async def forget_all(connection: AsyncConnection, table: str | None = None) -> None:
    """Drop all pairs of a table, or of all tables."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.row_versions WHERE %(table)s::text IS NULL OR table_name = %(table)s", {"table": table}
    )


def record_pairs(
    table: str,
    *,
    page: sql.Composable,
    rows: sql.Composable,
    key: sql.Composable,
    same: sql.Composable,
    version: sql.Composable,
    different: sql.Composable,
) -> sql.Composed:
    """The statement that records the pairs of a page's rows that the target holds with the same text.

    Args:
        page: a CTE `page`, whose parameters are all that the statement has.
        rows: what stands after FROM for the rows of the target's table.
        key: the key of the target's row `t`, as text[].
        same: `t` has the key of the page's row `p`.
        version: the column of the page with the version of its row.
        different: `t` and `p` are not equal.
    """
    return sql.SQL(
        "WITH {page} INSERT INTO {pairs} (table_name, key, source_xid, target_xid) "
        "SELECT DISTINCT ON (1, 2) {table}, {key}, p.{version}, t.xmin::text FROM page p JOIN {rows} t ON {same} "
        "WHERE p.{version} IS NOT NULL AND NOT ({different}) ON CONFLICT (table_name, key) "
        "DO UPDATE SET source_xid = excluded.source_xid, target_xid = excluded.target_xid"
    ).format(
        page=page,
        pairs=_PAIRS,
        table=sql.Literal(table),
        key=key,
        version=version,
        rows=rows,
        same=same,
        different=different,
    )


def record_all(table: str, *, keys: Sequence[sql.Identifier]) -> sql.Composed:
    """The statement that records the pairs of rows that have the same hash in `source_hashes` and `target_hashes`.

    Args:
        keys: the names of the key's columns in both; `h` is the hash, and `v` the version.
    """
    same = (sql.SQL("s.{0} = t.{0}").format(name) for name in keys)
    return sql.SQL(
        "INSERT INTO {pairs} (table_name, key, source_xid, target_xid) "
        "SELECT DISTINCT ON ({keys}) {table}, ARRAY[{keys}], s.v, t.v "
        "FROM source_hashes s JOIN target_hashes t ON {same} "
        "WHERE s.h = t.h AND s.v IS NOT NULL "
        "ON CONFLICT (table_name, key) DO UPDATE SET source_xid = excluded.source_xid, target_xid = excluded.target_xid"
    ).format(
        pairs=_PAIRS,
        table=sql.Literal(table),
        keys=sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in keys),
        same=sql.SQL(" AND ").join(same),
    )


def is_paired(table: str, key: sql.Composable, side: str, xid: sql.Composable) -> sql.Composed:
    """A condition: a row was the same on both sides as it is.

    Args:
        key: its key, as text[].
        side: "source" or "target", where the row is.
        xid: its version there.
    """
    return sql.SQL("EXISTS (SELECT FROM {} v WHERE v.table_name = {} AND v.key = {} AND v.{} = {})").format(
        _PAIRS, sql.Literal(table), key, sql.Identifier(f"{side}_xid"), xid
    )


async def known_shapes(connection: AsyncConnection) -> dict[str, tuple[str, str]]:
    """What the catalogs of both ends said of each table's values, by its name: the source's, and the target's."""
    rows = await fetch_rows(connection, f"SELECT table_name, source, target FROM {SCHEMA}.shapes")
    return {name: (source, target) for name, source, target in rows}


async def keep_shapes(connection: AsyncConnection, shapes: Mapping[str, tuple[str, str]]) -> None:
    """Keep what they say now of some tables; the pairs of these of before tell nothing any more, and are dropped."""
    given = {
        "tables": list(shapes),
        "sources": [source for source, _ in shapes.values()],
        "targets": [target for _, target in shapes.values()],
    }
    async with connection.transaction():
        await connection.execute(f"DELETE FROM {SCHEMA}.row_versions WHERE table_name = ANY (%(tables)s)", given)
        await connection.execute(
            f"INSERT INTO {SCHEMA}.shapes SELECT * FROM unnest(%(tables)s::text[], %(sources)s::text[], "
            "%(targets)s::text[]) ON CONFLICT (table_name) "
            "DO UPDATE SET source = excluded.source, target = excluded.target",
            given,
        )
