"""The target's rows as pages, in the form in which a source sends its own."""

from collections.abc import AsyncIterator, Sequence

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.keys import keyed_rows
from app.migration.sources.pages import read_page
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable
from app.state.json_keys import keys_json
from app.stores.supabase.grammar import alias

_ROWS = 200
_BYTES = 2_000_000


async def target_pages(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> AsyncIterator[Page]:
    """The rows of these keys that the target holds now; a page of several rows has no more than 2 MB."""
    columns = sql.SQL(", ").join(
        sql.SQL("t.{}::text AS {}").format(sql.Identifier(column.name), sql.Identifier(alias(position)))
        for position, column in enumerate(table.columns)
    )
    query = sql.SQL("SELECT json_agg(page)::text FROM (SELECT {} FROM {}) page").format(
        columns, keyed_rows.of_keys(table)
    )
    groups = [list(keys[first : first + _ROWS]) for first in range(0, len(keys), _ROWS)]
    while groups:
        group = groups.pop(0)
        row = await (await connection.execute(query, [keys_json(group)])).fetchone()
        if row is None or row[0] is None:
            continue
        body = row[0].encode()
        if len(body) > _BYTES and len(group) > 1:
            middle = len(group) // 2
            groups[:0] = [group[:middle], group[middle:]]
        elif page := read_page(body, table):
            yield page
