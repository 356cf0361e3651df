"""Loading one page into the target: in one transaction with its checkpoint, refused rows found and set aside."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
from psycopg import AsyncConnection

from app.errors import MigrationError, UnavailableError
from app.migration import statements
from app.migration.report import Loaded, Refusal
from app.migration.source import Key, Page
from app.migration.tables import CopyTable
from app.migration.target import REPEATABLE, JsonBytes, is_row_fault, place_of
from app.privacy import mask_phones
from app.rest import alias

_QUARANTINE = """
INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message, place)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (table_name, key) DO UPDATE SET run_id = excluded.run_id, row_text = excluded.row_text,
    sqlstate = excluded.sqlstate, message = excluded.message, place = excluded.place, refused_at = now()
"""
_CHECKPOINT = """
UPDATE botdata.checkpoints SET last_key = coalesce(%s, last_key), pages = pages + 1, inserted = inserted + %s,
    updated = updated + %s, unchanged = unchanged + %s, changed_at = now()
WHERE run_id = %s AND table_name = %s
"""
_TRIES = 5


class PageLoader:
    """Loads the pages of one table.

    Args:
        connection: to the target, in autocommit.
        run: the run's id in `botdata.runs`.
        most_refused: refused rows in the run past which the mistake is elsewhere.
    """

    def __init__(self, connection: AsyncConnection, table: CopyTable, run: int, *, most_refused: int) -> None:
        self._connection = connection
        self._table = table
        self._run = run
        self._most_refused = most_refused
        self._load = statements.load_page(table).as_string(connection)
        self._delete = statements.delete_changed(table).as_string(connection) if table.replaces_rows else None

    async def load(self, page: Page, *, checkpoint: bool = True) -> Loaded:
        """Load a page, whole or (where the target refuses rows) without those, and move the checkpoint behind it.

        Args:
            checkpoint: False for rows fetched by key, which say nothing about how far the table is.

        Raises:
            psycopg.Error: the target failed; nothing of the page is in.
            UnavailableError: the page is not JSON: it was cut or garbled on its way.
            MigrationError: more rows were refused than `most_refused`.
        """
        for attempt in range(_TRIES):
            try:
                async with self._connection.transaction():
                    # A deferred constraint would speak up at the commit, where the row at fault cannot be told.
                    await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    loaded = await self._whole_or_in_parts(page.body)
                    await self._connection.execute(
                        _CHECKPOINT,
                        [
                            list(page.last_key) if checkpoint else None,
                            loaded.inserted,
                            loaded.updated,
                            page.rows - loaded.inserted - loaded.updated - len(loaded.refused),
                            self._run,
                            self._table.name,
                        ],
                    )
                    await self._connection.execute(
                        "INSERT INTO botdata.writes SELECT %s, %s, unnest(%s::text[]) ON CONFLICT DO NOTHING",
                        [self._run, self._table.name, list(loaded.transactions)],
                    )
                    loaded.rows = page.rows
                return loaded
            except psycopg.Error as error:
                if error.sqlstate not in REPEATABLE or attempt == _TRIES - 1:
                    raise
                await asyncio.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _whole_or_in_parts(self, body: bytes) -> Loaded:
        error = await self._try(body)
        if isinstance(error, Loaded):
            return error
        try:
            records = json.loads(body)
        except ValueError:
            raise UnavailableError("a page from the source is not whole JSON") from error
        loaded = Loaded()
        await self._halve(records, error, loaded)
        return loaded

    async def _halve(self, records: list[dict[str, Any]], error: psycopg.Error, loaded: Loaded) -> None:
        """Load what can be loaded of rows that failed together: O(log page) statements for a row at fault."""
        if len(records) == 1:
            await self._refuse(records[0], error, loaded)
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            outcome = await self._try(json.dumps(half).encode())
            if isinstance(outcome, Loaded):
                loaded.inserted += outcome.inserted
                loaded.updated += outcome.updated
                loaded.transactions |= outcome.transactions
            else:
                await self._halve(half, outcome, loaded)

    async def _try(self, body: bytes) -> Loaded | psycopg.Error:
        """The counts, or the error that a row of the page caused (rolled back to before the page)."""
        parameters = [JsonBytes(body)]
        try:
            async with self._connection.transaction():
                replaced = 0
                if self._delete is not None:
                    replaced = (await self._connection.execute(self._delete, parameters)).rowcount
                cursor = await self._connection.execute(self._load, parameters)
                row = await cursor.fetchone()
                assert row is not None
                return Loaded(inserted=row[0] - replaced, updated=row[1] + replaced, transactions=set(row[2]))
        except psycopg.Error as error:
            if not is_row_fault(error):
                raise
            return error

    async def _refuse(self, record: dict[str, Any], error: psycopg.Error, loaded: Loaded) -> None:
        row = {column.name: record[alias(position)] for position, column in enumerate(self._table.columns)}
        key: Key = tuple(row[column.name] for column in self._table.key)
        sqlstate, place = error.sqlstate or "", place_of(error)
        await self._connection.execute(
            _QUARANTINE,
            [
                self._run,
                self._table.name,
                list(key),
                json.dumps(row, ensure_ascii=False),
                sqlstate,
                error.diag.message_primary or "",
                place,
            ],
        )
        shown = tuple(map(mask_phones, key)) if self._table.key_holds_phone else key
        loaded.refused.append(Refusal(self._table.name, shown, sqlstate, place))
        cursor = await self._connection.execute(
            "SELECT count(*) FROM botdata.quarantine WHERE run_id = %s", [self._run]
        )
        count = await cursor.fetchone()
        if count and count[0] > self._most_refused:
            raise MigrationError(
                f"the target refuses more than {self._most_refused} rows, the last one with SQLSTATE {sqlstate}"
                f"{f' ({place})' if place else ''}: the mistake is likely not in the rows",
                step="copy",
                table=self._table.name,
                pending=f"the rest of {self._table.name}, from the last checkpoint on",
                next_command="compare the two schemas, then: botdata copy",
            )
