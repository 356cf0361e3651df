"""`verify --fix`: the rows that differ are copied again, as a run of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from app.errors import MigrationError
from app.migration.load import PageLoader
from app.migration.pages import key_of
from app.migration.source import Key, Page
from app.migration.tables import CopyTable


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
    """

    def __init__(self, connection: AsyncConnection, table: CopyTable, run: int, *, most_refused: int) -> None:
        self._connection = connection
        self._table = table
        self._run = run
        self._loader = PageLoader(connection, table, run, most_refused=most_refused)

    async def fix(self, records: Sequence[dict[str, Any]]) -> dict[Key, str]:
        """Load rows as the source sent them; returns the SQLSTATEs of those that were refused, by key."""
        keys = [key_of(record, self._table) for record in records]
        body = json.dumps(list(records)).encode()
        try:
            await self._loader.load(Page(body, len(records), keys[-1]), checkpoint=False)
        except MigrationError as error:  # too many are refused
            error.step = "verify --fix"
            error.done = "rows that were copied again so far"
            error.pending = f"the rest of {self._table.name} and the tables after it"
            error.next_command = "botdata quarantine list"
            raise
        cursor = await self._connection.execute(
            "WITH wanted AS MATERIALIZED (SELECT ARRAY(SELECT json_array_elements_text(k)) AS key "
            "FROM json_array_elements(%s::json) k), loaded AS (DELETE FROM botdata.quarantine q USING wanted w "
            "WHERE q.key = w.key AND table_name = %s AND run_id <> %s) "
            "SELECT q.key, sqlstate FROM botdata.quarantine q JOIN wanted w ON q.key = w.key "
            "WHERE table_name = %s AND run_id = %s",
            [json.dumps(keys), self._table.name, self._run, self._table.name, self._run],
        )
        return {tuple(key): sqlstate for key, sqlstate in await cursor.fetchall()}
