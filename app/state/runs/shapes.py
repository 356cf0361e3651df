"""Shapes: what the catalogs of both ends said of a table's values when a sync or a copy last looked."""

from collections.abc import Mapping

from psycopg import AsyncConnection

from app.state.fetching import fetch_rows
from app.state.schema_name import SCHEMA


async def known(connection: AsyncConnection) -> dict[str, tuple[str, str]]:
    """What they said of each table by its name: the source's, and the target's."""
    rows = await fetch_rows(connection, f"SELECT table_name, source, target FROM {SCHEMA}.shapes")
    return {name: (source, target) for name, source, target in rows}


async def keep(connection: AsyncConnection, shapes: Mapping[str, tuple[str, str]]) -> None:
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
