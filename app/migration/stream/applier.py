"""Applies the changes of a peek to the target: whole transactions of the source, in their order, with their LSN."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError, UnavailableError
from app.migration.keys import keyed_rows
from app.migration.load.loader import PageLoader
from app.migration.load.mirrored_meanwhile import page_of
from app.migration.load.statements import key_array
from app.migration.load.table_authority import read_authority
from app.migration.runs.report import Loaded
from app.migration.sources.pages import key_of, records_of
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Page
from app.migration.stream.changes import PendingChanges, Put
from app.migration.stream.lsn import lsn_text
from app.migration.stream.messages import Begin, Commit, Delete, Insert, Message, Relation, Truncate, Unchanged, Update
from app.migration.stream.slot import StreamSlot
from app.migration.sync import target_before_images
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable, label
from app.migration.target.interference import silenced
from app.migration.target.target_session import CONFLICTS
from app.next_step import Command, NextStep
from app.state import streams
from app.state.json_keys import keys_json
from app.state.runs import before_images, quarantine
from app.stores.supabase.grammar import alias

_PART_ROWS = 5_000  # rows that wait in memory at most
_PART_BYTES = 4_000_000
_BATCH_ROWS = 5_000  # rows after which a transaction of the target ends, with the next one of the source
MOST_REFUSED = 100  # of a batch
_LOOKS = 600  # whether a transaction can be seen
_BETWEEN_LOOKS = 0.1  # seconds


class OtherRelationError(Exception):
    """A table's columns, or its replica identity, are not those of before.

    Attributes:
        before: the first transaction that shows it: where its commit record begins.
        columns: it is the columns.
    """

    def __init__(self, table: str, before: int, *, columns: bool) -> None:
        super().__init__(table)
        self.table = table
        self.before = before
        self.columns = columns


class AuthorityChangedError(Exception):
    """A table may not be written by the stream any more, or is written by mirrors now."""


@dataclass(slots=True)
class Applied:
    """What a peek came to.

    Attributes:
        messages: how many were sent.
        lsn: the end of the last transaction that was applied; None: there was none.
        lags: of each batch, seconds from the commit of its first transaction at the source to its own.
    """

    messages: int = 0
    lsn: int | None = None
    lags: list[float] = field(default_factory=list)


class Applier:
    """Applies changes of some tables.

    Args:
        connection: to the target, in autocommit.
        name: the stream's.
        tables: those to be followed, parents before children; what else comes is passed over.
        done: what is added to, by table.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: PostgresSource,
        slot: StreamSlot,
        run: int,
        options: SyncOptions,
        tables: Sequence[CopyTable],
        done: dict[str, TableSynced],
    ) -> None:
        self._connection = connection
        self._source = source
        self._slot = slot
        self._run = run
        self._options = options
        self._tables = {(table.schema, table.relation_name): table for table in tables}
        self._order = [table.name for table in tables]
        self._done = done
        self._relations: dict[int, Relation] = {}
        self._pending: dict[int, PendingChanges] = {}
        self._xids: set[int] = set()
        self._loaders: dict[str, PageLoader] = {}
        self.settled_lsn = 0  # up to it, changes may be older than rows that were read

    async def apply(
        self, parts: AsyncIterator[list[tuple[Message, int]]], *, after: int, before: int | None = None
    ) -> Applied:
        """Apply what a peek gives.

        Args:
            after: transactions whose commit records begin before it are applied already.
            before: stop at this one.

        Raises:
            OtherRelationError: nothing of the batch is applied.
            AuthorityChangedError: the same.
            MigrationError: too many rows were refused; the same.
        """
        applied = Applied()
        messages = _flat(parts, applied)
        while (first := await anext(messages, None)) is not None:
            if not await self._batch(first, messages, applied, after, before):
                break
        return applied

    async def _batch(
        self,
        first: tuple[Message, int],
        messages: AsyncGenerator[tuple[Message, int], None],
        applied: Applied,
        after: int,
        before: int | None,
    ) -> bool:
        """Apply some transactions in one of the target; False where it came to `before`."""
        batch = _Batch()
        self._pending.clear()
        self._xids.clear()
        goes_on = True
        async with self._connection.transaction():
            begin: Begin | None = None
            item: tuple[Message, int] | None = first
            while item is not None:
                message, size = item
                if isinstance(message, Begin):
                    if before is not None and message.commit_lsn >= before:
                        goes_on = False
                        break
                    begin = message if message.commit_lsn >= after else None
                    if begin is not None:
                        batch.begins(begin)
                elif isinstance(message, Commit):
                    if begin is not None:
                        batch.ends(begin, message)
                    if batch.rows >= _BATCH_ROWS:
                        break
                elif isinstance(message, Relation):
                    # Its changes of before keep the old one: a transaction that shows another is not begun here.
                    self._take_relation(message, begin)
                elif begin is not None:
                    await self._change(message, size, begin, batch)
                item = await anext(messages, None)
            if batch.last is None:
                return goes_on
            await self._flush(batch)
            lsn = batch.last.end_lsn
            await streams.note_applied(
                self._connection,
                self._slot.name,
                lsn_text(lsn),
                committed_at=batch.committed_at,
                changes=batch.rows,
            )
        applied.lsn = lsn
        for name, one in batch.done.items():
            self._done.setdefault(name, TableSynced(name)).add(one)
        assert batch.first is not None
        applied.lags.append((datetime.now(UTC) - batch.first.committed_at).total_seconds())
        return goes_on

    def _take_relation(self, relation: Relation, begin: Begin | None) -> None:
        known = self._relations.get(relation.oid)
        table = self._tables.get((relation.schema, relation.name))
        if begin is not None and known is not None and known != relation:
            name = table.name if table else label(relation.schema, relation.name)
            raise OtherRelationError(name, begin.commit_lsn, columns=known.shape != relation.shape)
        self._relations[relation.oid] = relation
        if table is not None and relation.oid not in self._pending:
            self._pending[relation.oid] = PendingChanges(table, relation)

    async def _change(self, message: Message, size: int, begin: Begin, batch: _Batch) -> None:
        if isinstance(message, Truncate):
            for oid in message.relations:
                if (pending := self._changes_of(oid)) is not None:
                    await self._flush(batch)
                    await self._empty(pending.table, batch)
        elif isinstance(message, Insert | Update | Delete):
            pending = self._changes_of(message.relation)
            if pending is None:
                return
            pending.add(message)
            self._xids.add(begin.xid)
            batch.rows += 1
            batch.bytes += size
            if batch.bytes >= _PART_BYTES or sum(map(len, self._pending.values())) >= _PART_ROWS:
                await self._flush(batch)

    def _changes_of(self, oid: int) -> PendingChanges | None:
        if oid not in self._pending and (relation := self._relations.get(oid)) is not None:
            table = self._tables.get((relation.schema, relation.name))
            if table is None:
                return None
            self._pending[oid] = PendingChanges(table, relation)
        return self._pending.get(oid)

    async def _flush(self, batch: _Batch) -> None:
        """Write what waits: deletions from children to parents, then rows from parents to children."""
        batch.bytes = 0
        taken = [(one.table, *one.take()) for one in self._pending.values() if len(one)]
        taken.sort(key=lambda one: self._order.index(one[0].name))
        rows = []
        for table, deleted, puts in taken:
            await self._confirm(table)
            rows.append((table, [key for key in deleted if key not in puts], await self._records(table, puts)))
        for table, deleted, _ in reversed(rows):
            if deleted:
                await self._delete(table, deleted, batch)
        for table, _, records in rows:
            if records:
                await self._put(table, records, batch)

    async def _confirm(self, table: CopyTable) -> None:
        """The table may be written until this transaction ends, and no mirror writes to it."""
        authority = await read_authority(self._connection, share=True)
        if self._options.permit.refusal(authority, table.name) or authority.mirrored(table.name):
            raise AuthorityChangedError(table.name)

    async def _records(self, table: CopyTable, puts: Mapping[Key, Put]) -> list[dict[str, Any]]:
        """The rows as those of a page; values that were not sent come from the target, else from the source."""
        partial = {key: put for key, put in puts.items() if not put.whole}
        absent = await self._complete(table, partial) if partial else set()
        names = [alias(position) for position in range(len(table.columns))]
        records: list[dict[str, Any]] = [
            dict(zip(names, put.values, strict=True)) for key, put in puts.items() if key not in absent
        ]
        if absent:
            records += await self._fetched(table, sorted(absent))
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

    async def _fetched(self, table: CopyTable, keys: list[Key]) -> list[dict[str, Any]]:
        """The source's rows of these keys as they are now; changes up to now may be older than they are."""
        for _ in range(_LOOKS):
            if await self._slot.are_seen(self._xids):
                break
            await asyncio.sleep(_BETWEEN_LOOKS)
        else:
            raise UnavailableError("the source waits for its synchronous standby with a transaction that it has logged")
        records = [one async for page in self._source.rows_by_key(table, keys) for one in records_of(page.body)]
        self.settled_lsn = max(self.settled_lsn, await self._slot.flushed())
        await streams.settle_stream(self._connection, self._slot.name, lsn_text(self.settled_lsn))
        return records

    async def _delete(self, table: CopyTable, keys: list[Key], batch: _Batch) -> None:
        done = batch.of(table)
        if self._is_settled(batch):
            done.kept += await target_before_images.keep_foreign(self._connection, self._run, table, keys)
        async with silenced(self._connection, self._run, table):
            done.deleted += await keyed_rows.delete_rows(self._connection, table, keys)
        await quarantine.leave(self._connection, table.name, keys)

    async def _empty(self, table: CopyTable, batch: _Batch) -> None:
        """Delete all rows, as a TRUNCATE at the source did."""
        await self._confirm(table)
        async with silenced(self._connection, self._run, table):
            emptied = await self._connection.execute(sql.SQL("DELETE FROM {}").format(table.rows))
        batch.of(table).deleted += emptied.rowcount
        await quarantine.leave_whole(self._connection, table.name)

    async def _put(self, table: CopyTable, records: list[dict[str, Any]], batch: _Batch) -> None:
        done, page = batch.of(table), page_of(records, table)
        images: list[int] = []
        if self._is_settled(batch):
            images = await target_before_images.keep_later(self._connection, self._run, table, page.body)
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
        """Put rows that hold each other's unique keys: their old rows are deleted first."""
        while len(records) > 1:
            keys = [key_of(one, table) for one in records]
            try:
                async with self._connection.transaction():
                    await quarantine.leave(self._connection, table.name, keys)
                    async with silenced(self._connection, self._run, table):
                        await keyed_rows.delete_rows(self._connection, table, keys)
                    if (await self._load(table, page_of(records, table))).refused:
                        raise _StillRefusedError(await self._refused_now(table))
            except _StillRefusedError as error:
                records = [one for one in records if key_of(one, table) not in error.keys]
            else:
                return

    async def _load(self, table: CopyTable, page: Page) -> Loaded:
        if table.name not in self._loaders:
            self._loaders[table.name] = PageLoader(
                self._connection, table, self._run, most_refused=self._options.most_refused
            )
        try:
            return await self._loaders[table.name].load(page, checkpoint=False)
        except MigrationError as error:  # too many refused
            error.step = "sync"
            error.next_step = _COMPARE
            raise

    async def _refused_now(self, table: CopyTable) -> dict[Key, str]:
        """The keys that were refused in this transaction."""
        return await quarantine.refused_keys(self._connection, table.name, now=True)

    def _is_settled(self, batch: _Batch) -> bool:
        """Whether changes of the batch are newer than all that was read: else a refusal may be for a newer row."""
        return batch.begun_at >= self.settled_lsn

    def _too_many(self, table: CopyTable, sqlstates: Sequence[str]) -> MigrationError:
        return MigrationError(
            f"the target refuses more than {MOST_REFUSED} rows of one batch of changes, of {table.name} with SQLSTATE "
            f"{', '.join(sqlstates)}: the mistake is likely not in the rows",
            step="sync",
            table=table.name,
            done="all transactions before this batch",
            pending="this batch, and what comes after it",
            next_step=_COMPARE,
        )


_COMPARE = NextStep("compare the two schemas (", Command("preflight"), "), then: ", Command("sync"))


class _StillRefusedError(Exception):
    """Rows that are refused although the others' old rows are out of the way; rolls the attempt back."""

    def __init__(self, keys: Collection[Key]) -> None:
        super().__init__()
        self.keys = set(keys)


@dataclass(slots=True)
class _Batch:
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


async def _flat(
    parts: AsyncIterator[list[tuple[Message, int]]], applied: Applied
) -> AsyncGenerator[tuple[Message, int], None]:
    async for part in parts:
        for item in part:
            applied.messages += 1
            yield item
