"""Runs and checkpoints: what is remembered of a copy between its starts, and which rows of the target are ours."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load import statements
from app.migration.runs.report import Loaded, Refusal
from app.migration.tables.copy_table import CopyTable
from app.privacy import mask_phones

_UNCOUNTED = -1  # rows of the source, in a checkpoint whose table could not be counted


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a table is in a run.

    Attributes:
        source_before: rows of the source then; None where it could not count them.
        was_empty: the target held no row of it when the run came to it.
    """

    last_key: Key | None
    source_before: int | None
    inserted: int
    updated: int
    unchanged: int
    complete: bool
    was_empty: bool = False

    @property
    def rows(self) -> int:
        """Rows loaded so far."""
        return self.inserted + self.updated + self.unchanged


async def begin_run(
    connection: AsyncConnection, source: str, tables: list[CopyTable], *, restart: bool = False
) -> tuple[int, bool]:
    """The newest copy from this source where it left a table, a foreign key or its own end unfinished; or a new one.

    A new one takes over from those that it leaves behind: they are abandoned, and the foreign keys that they took from
    the target are for it to put back.

    Args:
        restart: a new one although there is an unfinished one.

    Returns:
        The run's id, and whether it goes on.
    """
    cursor = await connection.execute(
        "SELECT id FROM botdata.runs r WHERE state = 'running' "
        "AND id = (SELECT max(id) FROM botdata.runs WHERE command = 'copy' AND source = %s) "
        "AND (EXISTS (SELECT FROM unnest(%s::text[]) chosen WHERE NOT EXISTS (SELECT FROM botdata.checkpoints c "
        "WHERE c.run_id = r.id AND c.table_name = chosen AND c.state = 'complete')) "
        "OR NOT EXISTS (SELECT FROM botdata.checkpoints c WHERE c.run_id = r.id AND c.state <> 'complete') "
        "OR EXISTS (SELECT FROM botdata.foreign_keys f WHERE f.run_id = r.id AND f.state <> 'validated'))",
        [source, [table.name for table in tables]],
    )
    if not restart and (row := await cursor.fetchone()):
        return row[0], True
    async with connection.transaction():
        cursor = await connection.execute(
            "INSERT INTO botdata.runs (command, source) VALUES ('copy', %s) RETURNING id", [source]
        )
        row = await cursor.fetchone()
        assert row is not None
        run = int(row[0])
        await connection.execute(
            "UPDATE botdata.runs SET state = 'abandoned', finished_at = now() "
            "WHERE command = 'copy' AND source = %s AND state = 'running' AND id < %s",
            [source, run],
        )
        await connection.execute("UPDATE botdata.foreign_keys SET run_id = %s WHERE state <> 'validated'", [run])
    return run, False


async def describe_resumed(connection: AsyncConnection, run: int) -> str:
    """A sentence on the run that goes on: since when, and which tables are done and not read again."""
    cursor = await connection.execute(
        "SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), (SELECT string_agg(table_name, ', ' "
        "ORDER BY table_name) FROM botdata.checkpoints WHERE run_id = id AND state = 'complete') "
        "FROM botdata.runs WHERE id = %s",
        [run],
    )
    row = await cursor.fetchone()
    assert row is not None
    done = f"; not read again, since they are done: {row[1]}" if row[1] else ""
    return f"run {run}, begun {row[0]} UTC, goes on where it stopped{done}"


async def describe_done(connection: AsyncConnection, run: int) -> str | None:
    """What a run has loaded so far, in words."""
    cursor = await connection.execute(
        "SELECT table_name, inserted + updated + unchanged FROM botdata.checkpoints "
        "WHERE run_id = %s AND inserted + updated + unchanged > 0 ORDER BY begun_at, table_name",
        [run],
    )
    return ", ".join(f"{rows:,} rows of {table}" for table, rows in await cursor.fetchall()) or None


async def finish_run(connection: AsyncConnection, run: int) -> None:
    """Mark a run complete once all tables that it began are."""
    await connection.execute(
        "UPDATE botdata.runs SET state = 'complete', finished_at = now() WHERE id = %s AND NOT EXISTS "
        "(SELECT FROM botdata.checkpoints WHERE run_id = %s AND state <> 'complete')",
        [run, run],
    )


async def find_checkpoint(connection: AsyncConnection, run: int, table: CopyTable) -> Checkpoint | None:
    """The table's checkpoint in the run, if it has one."""
    cursor = await connection.execute(
        "SELECT last_key, nullif(source_before, %s), inserted, updated, unchanged, state = 'complete', was_empty "
        "FROM botdata.checkpoints WHERE run_id = %s AND table_name = %s",
        [_UNCOUNTED, run, table.name],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Checkpoint(tuple(row[0]) if row[0] else None, *row[1:])


async def begin_table(connection: AsyncConnection, run: int, table: CopyTable, source_before: int | None) -> Checkpoint:
    """Make the table's checkpoint; its rows in quarantine are all asked for again, so they leave it."""
    async with connection.transaction():
        await connection.execute("DELETE FROM botdata.quarantine WHERE table_name = %s", [table.name])
        cursor = await connection.execute(
            sql.SQL(
                "INSERT INTO botdata.checkpoints (run_id, table_name, source_before, was_empty) "
                "VALUES (%s, %s, %s, NOT EXISTS (SELECT FROM {})) RETURNING was_empty"
            ).format(table.rows),
            [run, table.name, _UNCOUNTED if source_before is None else source_before],
        )
        row = await cursor.fetchone()
        assert row is not None
    return Checkpoint(None, source_before, 0, 0, 0, complete=False, was_empty=row[0])


async def add_to_checkpoint(
    connection: AsyncConnection, run: int, table: CopyTable, loaded: Loaded, *, last_key: Key | None = None
) -> None:
    """Count what a page or a range did, in the transaction that loaded it; the table is done up to the last key."""
    unchanged = loaded.rows - loaded.inserted - loaded.updated - len(loaded.refused)
    await connection.execute(
        "UPDATE botdata.checkpoints SET last_key = coalesce(%s, last_key), inserted = inserted + %s, "
        "updated = updated + %s, unchanged = unchanged + %s, pages = pages + 1, changed_at = now() "
        "WHERE run_id = %s AND table_name = %s",
        [list(last_key) if last_key else None, loaded.inserted, loaded.updated, unchanged, run, table.name],
    )


async def add_snapshot(connection: AsyncConnection, run: int, snapshot: str) -> int:
    """Note the snapshot that a start reads; gives how many the run has read, this one included."""
    await connection.execute("INSERT INTO botdata.snapshots (run_id, snapshot) VALUES (%s, %s)", [run, snapshot])
    cursor = await connection.execute("SELECT count(*) FROM botdata.snapshots WHERE run_id = %s", [run])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def resume_table(connection: AsyncConnection, run: int, table: CopyTable) -> None:
    """Note that another start comes to the table now, so that its rate leaves the pause out."""
    await connection.execute(
        "UPDATE botdata.checkpoints SET begun_at = now(), rows_before = inserted + updated + unchanged "
        "WHERE run_id = %s AND table_name = %s",
        [run, table.name],
    )


async def finish_table(connection: AsyncConnection, run: int, table: CopyTable) -> None:
    """Mark the table complete in the run."""
    await connection.execute(
        "UPDATE botdata.checkpoints SET state = 'complete', changed_at = now() WHERE run_id = %s AND table_name = %s",
        [run, table.name],
    )


async def refusals(connection: AsyncConnection, run: int, table: CopyTable) -> tuple[Refusal, ...]:
    """The table's rows in quarantine, keys masked where they hold phone numbers."""
    cursor = await connection.execute(
        "SELECT key, sqlstate, place FROM botdata.quarantine WHERE run_id = %s AND table_name = %s ORDER BY number",
        [run, table.name],
    )
    return tuple(
        Refusal(table.name, tuple(map(mask_phones, key)) if table.key_holds_phone else tuple(key), sqlstate, place)
        for key, sqlstate, place in await cursor.fetchall()
    )


async def adopt_rows(connection: AsyncConnection, run: int, table: CopyTable) -> None:
    """Take every row of the table for ours from now on, those too that were there before and that were overwritten."""
    await connection.execute(statements.adopt_rows(table), [run, table.name])
