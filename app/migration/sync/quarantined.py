"""What a sync asks of the quarantine: who is in it, and who leaves it."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.copy.completeness import select_keys
from app.migration.load.statements import key_array
from app.migration.runs.report import Refusal
from app.migration.sources.source import VERSION
from app.migration.sync import row_versions as versions
from app.migration.tables.copy_table import CopyTable
from app.privacy import mask_phones


async def waiting_rows(connection: AsyncConnection, table: CopyTable) -> tuple[dict[Key, str | None], list[Key]]:
    """The table's rows in quarantine, while `source_keys` is there.

    Returns:
        The versions of those that the source has, by key; and the keys that it does not list.
    """
    cursor = await connection.execute(
        sql.SQL(
            "SELECT q.key, s.{first} IS NOT NULL, s.{version} FROM botdata.quarantine q "
            "LEFT JOIN source_keys s ON {key} = q.key WHERE q.table_name = {name}"
        ).format(
            first=sql.Identifier(table.key[0].name),
            version=sql.Identifier(VERSION),
            key=key_array(table, "s"),
            name=sql.Literal(table.name),
        )
    )
    rows = await cursor.fetchall()
    listed = {tuple(key): version for key, there, version in rows if there}
    return listed, sorted(tuple(key) for key, there, _ in rows if not there)


async def leave_quarantine(connection: AsyncConnection, table: CopyTable, keys: Iterable[Key]) -> None:
    """Take rows out of the quarantine."""
    await connection.execute(
        sql.SQL("DELETE FROM botdata.quarantine WHERE table_name = %s AND ") + versions.AMONG_KEYS,
        [table.name, versions.keys_json(keys)],
    )


async def refused_now(connection: AsyncConnection, table: CopyTable) -> set[Key]:
    """Keys that were refused in the present transaction."""
    return await select_keys(
        connection, "SELECT key FROM botdata.quarantine WHERE table_name = %s AND refused_at = now()", [table.name]
    )


async def conflicting_rows(connection: AsyncConnection, table: CopyTable) -> set[Key]:
    """Keys of the rows that a unique or exclusion constraint refused."""
    return await select_keys(
        connection,
        "SELECT key FROM botdata.quarantine WHERE table_name = %s AND sqlstate IN ('23505', '23P01')",
        [table.name],
    )


async def refusals(connection: AsyncConnection, table: CopyTable) -> tuple[Refusal, ...]:
    """The table's rows in quarantine, keys masked where they hold phone numbers."""
    cursor = await connection.execute(
        "SELECT key, sqlstate, place FROM botdata.quarantine WHERE table_name = %s ORDER BY number", [table.name]
    )
    return tuple(
        Refusal(table.name, tuple(map(mask_phones, key)) if table.key_holds_phone else tuple(key), sqlstate, place)
        for key, sqlstate, place in await cursor.fetchall()
    )
