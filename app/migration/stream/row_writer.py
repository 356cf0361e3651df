"""Writes what waits of a table: deletions, rows, and the values of rows that the source did not send."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError, UnavailableError
from app.migration.keys import keyed_rows
from app.migration.load.loader import PageLoader
from app.migration.load.mirrored_meanwhile import page_of
from app.migration.load.statements import key_array
from app.migration.runs.report import Loaded
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Page, key_of, records_of
from app.migration.stream.changes import Put
from app.migration.stream.source.messages import Begin, Commit, Unchanged
from app.migration.stream.source.slot import StreamSlot, lsn_text
from app.migration.sync import old_images
from app.migration.sync.direction import StillRefusedError
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import silenced
from app.migration.target.target_session import CONFLICTS
from app.next_step import Command, NextStep
from app.state import streams
from app.state.json_keys import keys_json
from app.state.runs import before_images, quarantine
from app.stores.supabase.grammar import alias

MOST_REFUSED = 100  # of a batch
_LOOKS = 600  # whether a transaction can be seen
_BETWEEN_LOOKS = 0.1  # seconds


@dataclass(slots=True)
class Batch:
    """Transactions of the source that are one of the target.

    Attributes:
        begun_at: where the first one's commit record begins.
        rows, bytes: changes so far; the bytes that wait.
    """

    begun_at: int = 0
    first: Begin | None = None
    last: Commit | None = None
    committed_at: datetime | None = None
    rows: int = 0
    bytes: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    done: dict[str, TableSynced] = field(default_factory=dict)

    def begins(self, begin: Begin) -> None:
        """A transaction begins."""
        if self.first is None:
            self.first, self.begun_at = begin, begin.commit_lsn

    def ends(self, begin: Begin, commit: Commit) -> None:
        """It ended."""
        self.last, self.committed_at = commit, begin.committed_at

    def of(self, table: CopyTable) -> TableSynced:
        """What is done to a table."""
        return self.done.setdefault(table.name, TableSynced(table.name, keys_only=table.keys_only))


class RowWriter:
    """Writes rows in the caller's transaction, which has seen to it that their tables may be written.

    Args:
        connection: to the target.
        settled_lsn: changes from before it may be older than rows that were read.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: PostgresSource,
        slot: StreamSlot,
        run: int,
        options: SyncOptions,
        settled_lsn: int,
    ) -> None:
        self._connection = connection
        self._source = source
        self._slot = slot
        self._run = run
        self._options = options
        self._loaders: dict[str, PageLoader] = {}
        self._settled_lsn = settled_lsn

    async def records(self, table: CopyTable, puts: Mapping[Key, Put], xids: Collection[int]) -> list[dict[str, Any]]:
        """The rows as those of a page; values that were not sent come from the target, else from the source."""
        partial = {key: put for key, put in puts.items() if not put.whole}
        absent = await self._complete(table, partial) if partial else set()
        names = [alias(position) for position in range(len(table.columns))]
        records: list[dict[str, Any]] = [
            dict(zip(names, put.values, strict=True)) for key, put in puts.items() if key not in absent
        ]
        if absent:
            records += await self.fetched(table, sorted(absent), xids)
        return records

    async def _complete(self, table: CopyTable, puts: Mapping[Key, Put]) -> set[Key]:
        """Fill in what the target has; the keys of the rows that it lacks."""
        texts = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in table.names)
        query = sql.SQL("SELECT {}, {} FROM {}").format(key_array(table, "t"), texts, keyed_rows.of_keys(table))
        given = [keys_json([put.origin for put in puts.values()])]
        held = {tuple(key): values for key, *values in await (await self._connection.execute(query, given)).fetchall()}
        absent = set()
        for key, put in puts.items():
            if (values := held.get(put.origin)) is None:
                absent.add(key)
            else:
                put.values = [
                    was if now is Unchanged.TOAST else now for was, now in zip(values, put.values, strict=True)
                ]
        return absent

    async def fetched(self, table: CopyTable, keys: Sequence[Key], xids: Collection[int]) -> list[dict[str, Any]]:
        """The source's rows of these keys as they are now; changes up to now may be older than they are."""
        for _ in range(_LOOKS):
            if await self._slot.are_seen(xids):
                break
            await asyncio.sleep(_BETWEEN_LOOKS)
        else:
            raise UnavailableError("the source waits for its synchronous standby with a transaction that it has logged")
        with self._source.pace.at_once():  # a table may be held meanwhile
            records = [one async for page in self._source.rows_by_key(table, keys) for one in records_of(page.body)]
        self._settled_lsn = max(self._settled_lsn, await self._slot.flushed())
        await streams.settle_stream(self._connection, self._slot.name, lsn_text(self._settled_lsn))
        return records

    async def delete(self, table: CopyTable, keys: list[Key], batch: Batch) -> None:
        """Delete the rows of these keys."""
        done = batch.of(table)
        if self._is_settled(batch):
            done.kept += await old_images.keep_foreign(self._connection, self._run, table, keys)
        async with silenced(self._connection, self._run, table):
            done.deleted += await keyed_rows.delete_rows(self._connection, table, keys)
        await quarantine.leave(self._connection, table.name, keys)

    async def empty(self, table: CopyTable, batch: Batch) -> None:
        """Delete all rows, as a TRUNCATE at the source did."""
        async with silenced(self._connection, self._run, table):
            emptied = await self._connection.execute(sql.SQL("DELETE FROM {}").format(table.rows))
        batch.of(table).deleted += emptied.rowcount
        await quarantine.leave_whole(self._connection, table.name)

    async def put(self, table: CopyTable, records: list[dict[str, Any]], batch: Batch) -> None:
        """Insert or update rows; those that the target refuses go to quarantine.

        Raises:
            MigrationError: too many of the batch, or of the run.
        """
        done, page = batch.of(table), page_of(records, table)
        images: list[int] = []
        if self._is_settled(batch):
            images = await old_images.keep_later(self._connection, self._run, table, page.body)
        # A change replaces what was refused of its key before; what is in quarantine then is refused as it is now.
        if table.name in await quarantine.table_names(self._connection):
            await quarantine.leave(self._connection, table.name, [key_of(one, table) for one in records])
        loaded = await self._load(table, page)
        if loaded.refused:
            refused = await self._refused_now(table)
            await self._exchange(table, [one for one in records if refused.get(key_of(one, table)) in CONFLICTS])
            refused = await self._refused_now(table)
            batch.refused[table.name] = len(refused)
            if sum(batch.refused.values()) > MOST_REFUSED and self._is_settled(batch):
                raise self._too_many(table, sorted(set(refused.values())))
        done.kept += await before_images.only_replaced(self._connection, images)
        done.inserted += loaded.inserted
        done.updated += loaded.updated

    async def _exchange(self, table: CopyTable, records: list[dict[str, Any]]) -> None:
        """Put rows whose unique keys are held by each other, or were until the rest was put: old rows go first."""
        while records:
            keys = [key_of(one, table) for one in records]
            try:
                async with self._connection.transaction():
                    await quarantine.leave(self._connection, table.name, keys)
                    async with silenced(self._connection, self._run, table):
                        await keyed_rows.delete_rows(self._connection, table, keys)
                    if (await self._load(table, page_of(records, table))).refused:
                        raise StillRefusedError(await self._refused_now(table))
            except StillRefusedError as error:
                records = [one for one in records if key_of(one, table) not in error.keys]
            else:
                return

    async def _load(self, table: CopyTable, page: Page) -> Loaded:
        if table.name not in self._loaders:
            self._loaders[table.name] = PageLoader(
                self._connection, table, self._run, step="sync", most_refused=self._options.most_refused
            )
        return await self._loaders[table.name].load(page, checkpoint=False)

    async def _refused_now(self, table: CopyTable) -> dict[Key, str]:
        """The keys that were refused in this transaction."""
        return await quarantine.refused_keys(self._connection, table.name, now=True)

    def _is_settled(self, batch: Batch) -> bool:
        """Whether changes of the batch are newer than all that was read: else a refusal may be for a newer row."""
        return batch.begun_at >= self._settled_lsn

    def _too_many(self, table: CopyTable, sqlstates: Sequence[str]) -> MigrationError:
        return MigrationError(
            f"the target refuses more than {MOST_REFUSED} rows of one batch of changes, of {table.name} with SQLSTATE "
            f"{', '.join(sqlstates)}: the mistake is likely not in the rows",
            step="sync",
            table=table.name,
            done="all transactions before this batch",
            pending="this batch, and what comes after it",
            next_step=NextStep(Command("preflight"), ", which compares the schemas; then: ", Command("sync")),
        )
