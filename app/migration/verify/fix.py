"""`verify --fix`: the rows that differ are copied again, as a run of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence

from psycopg import AsyncConnection

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.load.loader import PageLoader
from app.migration.load.table_authority import Permit
from app.migration.sources.source import Page, Source
from app.migration.tables.copy_table import CopyTable


async def begin_fix(connection: AsyncConnection, source: str) -> int:
    """A run of the command `verify --fix`, in place of those that were killed; returns its id."""
    await connection.execute(
        "UPDATE botdata.runs SET state = 'abandoned', finished_at = now() "
        "WHERE command = 'verify --fix' AND state = 'running'"
    )
    cursor = await connection.execute(
        "INSERT INTO botdata.runs (command, source) VALUES ('verify --fix', %s) RETURNING id", [source]
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def finish_fix(connection: AsyncConnection, run: int) -> None:
    """Mark the run complete."""
    await connection.execute(
        "UPDATE botdata.runs SET state = 'complete', finished_at = now() WHERE id = %s AND state = 'running'", [run]
    )


class Fixer:
    """Loads rows of one table again; rows that the target refuses are in quarantine afterwards.

    Args:
        connection: to the target, in autocommit, with the run lock.
        run: the run's id.
        permit: asked before rows are written.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: Source,
        table: CopyTable,
        run: int,
        permit: Permit,
        *,
        most_refused: int,
    ) -> None:
        self._connection = connection
        self._source = source
        self._permit = permit
        self._table = table
        self._run = run
        self._loader = PageLoader(connection, table, run, most_refused=most_refused)

    async def fix(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Load rows as the source has them now; returns the SQLSTATEs of those that were refused, by key."""
        async with self._permit.held(self._connection, self._table.name) as confirm:
            pages = [page async for page in self._source.rows_by_key(self._table, keys)]
            await confirm()
            for page in pages:
                await self._load(page)
            return await self._refused(keys)

    async def _load(self, page: Page) -> None:
        try:
            await self._loader.load(page, checkpoint=False)
        except MigrationError as error:  # too many are refused
            error.step = "verify --fix"
            error.done = "rows that were copied again so far"
            error.pending = f"the rest of {self._table.name} and the tables after it"
            error.next_command = "botdata quarantine list"
            raise

    async def _refused(self, keys: Sequence[Key]) -> dict[Key, str]:
        cursor = await self._connection.execute(
            "WITH wanted AS MATERIALIZED (SELECT ARRAY(SELECT json_array_elements_text(k)) AS key "
            "FROM json_array_elements(%s::json) k), loaded AS (DELETE FROM botdata.quarantine q USING wanted w "
            "WHERE q.key = w.key AND table_name = %s AND run_id <> %s) "
            "SELECT q.key, sqlstate FROM botdata.quarantine q JOIN wanted w ON q.key = w.key "
            "WHERE table_name = %s AND run_id = %s",
            [json.dumps(keys), self._table.name, self._run, self._table.name, self._run],
        )
        return {tuple(key): sqlstate for key, sqlstate in await cursor.fetchall()}
