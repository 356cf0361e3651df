"""The SQL by which verify knows which keys were compared, and which keys a side holds."""

from collections.abc import Callable

from psycopg import sql

from app.migration.load import statements
from app.migration.tables.copy_table import CopyColumn, CopyTable


def compare_page(table: CopyTable, *, typed: bool = True) -> sql.Composed:
    """As `statements.compare_page`, and one row more, whose key is NULL and whose last column is the keys' hashes."""
    compared = statements.compare_page(table, typed=typed)

    def text(column: CopyColumn) -> sql.Composed:
        name = sql.Identifier("page", column.name)
        return sql.SQL("{}::{}::text").format(name, sql.SQL(column.type if column.zoned and typed else "text"))

    return sql.SQL("{} UNION ALL SELECT NULL, NULL, NULL, NULL, array_agg({}::text) FROM page").format(
        compared, _hash(table, text)
    )


def key_fingerprint(table: CopyTable) -> sql.Composed:
    """One row: how many rows the target holds, and the sum of their keys' hashes."""
    return sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {} t").format(_hash_of("t", table), table.rows)


CREATE_COMPARED = "CREATE TEMP TABLE compared_keys (h bigint)"
COPY_COMPARED = "COPY compared_keys FROM STDIN"


def keys_not_compared(table: CopyTable) -> sql.Composed:
    """Keys (text[]) of `source_keys` whose hashes are not in `compared_keys`."""
    return sql.SQL(
        "SELECT DISTINCT {} FROM source_keys s WHERE NOT EXISTS (SELECT FROM compared_keys c WHERE c.h = {}) ORDER BY 1"
    ).format(statements.key_array(table, "s"), _hash_of("s", table))


def keys_held(table: CopyTable, *, typed: bool = True) -> sql.Composed:
    """Which of the keys (parameter 1: a JSON array of arrays) the target holds; not `typed`, any text is taken."""
    return _keys_in(table, table.rows, lambda column: column.type if typed else None)


def keys_in_source(table: CopyTable) -> sql.Composed:
    """Which of the keys (parameter 1: a JSON array of arrays) `source_keys` holds."""
    return _keys_in(table, sql.Identifier("source_keys"), lambda column: column.type if column.zoned else None)


def _keys_in(table: CopyTable, place: sql.Composable, cast: Callable[[CopyColumn], str | None]) -> sql.Composed:
    def same(position: int, column: CopyColumn) -> sql.Composed:
        name, wanted = sql.Identifier("t", column.name), sql.Identifier("w", f"k{position}")
        if type_name := cast(column):
            return sql.SQL("{} = {}::{}").format(name, wanted, sql.SQL(type_name))
        return sql.SQL('{}::text COLLATE "C" = {}').format(name, wanted)

    keys = sql.SQL(", ").join(sql.Identifier("w", f"k{position}") for position in range(table.key_size))
    values = sql.SQL(", ").join(
        sql.SQL("e ->> {} AS {}").format(sql.Literal(position), sql.Identifier(f"k{position}"))
        for position in range(table.key_size)
    )
    return sql.SQL(
        "SELECT ARRAY[{}] FROM (SELECT {} FROM json_array_elements(%s::json) e) w "
        "WHERE EXISTS (SELECT FROM {} t WHERE {})"
    ).format(keys, values, place, sql.SQL(" AND ").join(same(*numbered) for numbered in enumerate(table.key)))


def _hash_of(prefix: str, table: CopyTable) -> sql.Composed:
    return _hash(table, lambda column: sql.SQL("{}::text").format(sql.Identifier(prefix, column.name)))


def _hash(table: CopyTable, text: Callable[[CopyColumn], sql.Composed]) -> sql.Composed:
    keys = sql.SQL(", ").join(map(text, table.key))
    return sql.SQL('hashtextextended({}::text COLLATE "C", 0)').format(
        keys if table.key_size == 1 else sql.SQL("ROW({})").format(keys)
    )
