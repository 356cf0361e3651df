"""Tells whether definitions differ, or only how two versions of PostgreSQL write the same one.

A view, a rule or a function is kept as a tree, and written anew when it is asked for: PostgreSQL 16 and later leave out
a table's name where 15 has it. The scratch database is given the source's text, in a transaction that is rolled back,
and asked for its own.
"""

import json
from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection

from app.adopt.catalog import Catalog, Difference, read_catalog


async def without_rewordings(
    connection: AsyncConnection, found: Sequence[Difference], schemas: Sequence[str], tables: Sequence[int]
) -> list[Difference]:
    """The differences that remain once the scratch database has read the source's text.

    Args:
        connection: a session at the scratch database, in autocommit.

    Raises:
        psycopg.Error: the connection was lost.
    """
    said: list[Difference] = []
    async with connection.transaction(force_rollback=True):
        await connection.execute("SET LOCAL search_path = ''; SET LOCAL check_function_bodies = false")
        for one in found:
            statement = _statement(one)
            if statement is not None and await taken(connection, statement):
                said.append(one)
        again = await read_catalog(connection, schemas, tables) if said else {}
    return [one for one in found if one not in said or not _is_same(one, again)]


def _statement(one: Difference) -> str | None:
    """What gives the scratch database the source's text."""
    if one.source is None or one.target is None:
        return None
    if one.kind == "function":
        return one.source if one.source.startswith("CREATE") else None
    if one.kind == "rule":
        return one.source.partition(" ")[2].replace("CREATE RULE", "CREATE OR REPLACE RULE", 1)
    view = json.loads(one.source)["view"] if one.kind == "table" else None
    if view is None:
        return None
    if json.loads(one.source)["kind"] == "v":
        return f"CREATE OR REPLACE VIEW {one.name} AS {view}"
    query = view.rstrip(";")
    return f"DROP MATERIALIZED VIEW {one.name} CASCADE; CREATE MATERIALIZED VIEW {one.name} AS {query} WITH NO DATA"


async def taken(connection: AsyncConnection, statement: str) -> bool:
    """Whether the server takes a statement; what it does stays until the end of the surrounding transaction."""
    try:
        async with connection.transaction():
            await connection.execute(statement.encode())
    except psycopg.Error:
        if connection.closed:
            raise
        return False
    return True


def _is_same(one: Difference, again: Catalog) -> bool:
    now = again.get((one.kind, one.name))
    if one.kind != "table":
        return now == one.target
    assert one.source is not None
    assert one.target is not None
    source, target = json.loads(one.source), json.loads(one.target)
    view = json.loads(now)["view"] if now else None
    return bool(view == target["view"] and {**source, "view": view} == target)
