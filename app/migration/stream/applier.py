"""Applies the changes of a peek to the target: whole transactions of the source, in their order, with their LSN."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.common.schemas import Schemas
from app.cutover.locks import HOLD_TABLE, SHARE_TABLE
from app.cutover.tables import METHODS_TABLES, OWN_AUTHORITY
from app.migration.load.statements import key_array
from app.migration.load.table_authority import Authority, Permit, read_authority
from app.migration.sources.source import key_of
from app.migration.stream.changes import Put, WaitingChanges
from app.migration.stream.moments import Moments
from app.migration.stream.row_writer import Batch, RowWriter
from app.migration.stream.source.messages import Begin, Commit, Delete, Insert, Message, Relation, Truncate, Update
from app.migration.stream.source.slot import lsn_text
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.state import streams
from app.state.runs import synced_tables

_PART_ROWS = 5_000  # rows that wait in memory at most
_PART_BYTES = 2_000_000
_BATCH_ROWS = 5_000  # rows after which a transaction of the target ends, with the next one of the source


class AuthorityChangedError(Exception):
    """A table may not be written by the stream any more, or mirrors have begun to write it."""


@dataclass(slots=True)
class Applied:
    """What a peek came to.

    Attributes:
        messages: how many were sent.
        lsn: the end of the last transaction that was applied; None: there was none.
        lags: of each batch, seconds from the commit of its first transaction at the source to its own.
        unexplained: tables of the methods with more changed rows than mirrors are to bring.
    """

    messages: int = 0
    lsn: int | None = None
    lags: list[float] = field(default_factory=list)
    unexplained: set[str] = field(default_factory=set)

    async def each(self, parts: AsyncIterator[list[tuple[Message, int]]]) -> AsyncGenerator[tuple[Message, int], None]:
        """The messages one by one, which are counted here."""
        async for part in parts:
            for item in part:
                self.messages += 1
                yield item


class Applier:
    """Applies changes of some tables.

    Args:
        connection: to the target, in autocommit.
        writer: writes rows in this connection's transactions.
        moments: tell what mirrors wrote.
        name: the stream's.
        permit: under what conditions rows may be written.
        tables, schemas: see `WaitingChanges`.
        done: what is added to, by table.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        writer: RowWriter,
        moments: Moments,
        name: str,
        permit: Permit,
        tables: Mapping[int, CopyTable],
        schemas: Schemas,
        done: dict[str, TableSynced],
    ) -> None:
        self._changes = WaitingChanges(tables, schemas)
        self._connection = connection
        self._writer = writer
        self._moments = moments
        self._name = name
        self._permit = permit
        self._done = done
        self._xids: set[int] = set()
        self._held: set[str] = set()  # the tables that the batch keeps from mirrors, and from being moved
        self._authority: Authority | None = None  # in the batch's transaction

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
        messages = applied.each(parts)
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
        batch = Batch()
        self._changes.clear()
        self._xids.clear()
        self._held.clear()
        self._authority = None
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
                    self._changes.take_relation(message, begin)
                elif begin is not None:
                    await self._change(message, size, begin, batch)
                item = await anext(messages, None)
            if batch.last is None:
                return goes_on
            await self._flush(batch)
            unexplained = [
                name
                for name, one in batch.done.items()
                if name in METHODS_TABLES and one.changed > await synced_tables.count_noted_keys(self._connection, name)
            ]
            lsn = batch.last.end_lsn
            assert batch.first is not None
            lag = (datetime.now(UTC) - batch.first.committed_at).total_seconds()
            await streams.note_applied(
                self._connection,
                self._name,
                lsn_text(lsn),
                commit_lsn=lsn_text(batch.last.commit_lsn),
                committed_at=batch.committed_at,
                changes=batch.rows,
                lag=lag,
            )
        applied.lsn = lsn
        applied.unexplained.update(unexplained)
        for name, one in batch.done.items():
            self._done.setdefault(name, TableSynced(name)).add(one)
        applied.lags.append((datetime.now(UTC) - batch.first.committed_at).total_seconds())
        return goes_on

    async def _change(self, message: Message, size: int, begin: Begin, batch: Batch) -> None:
        if isinstance(message, Truncate):
            for oid in message.relations:
                if (pending := self._changes.of(oid, begin)) is not None:
                    await self._flush(batch)
                    await self._empty(pending.table, batch)
        elif isinstance(message, Insert | Update | Delete):
            pending = self._changes.of(message.relation, begin)
            if pending is None:
                return
            pending.add(message)
            self._xids.add(begin.xid)
            batch.rows += 1
            batch.bytes += size
            if batch.bytes >= _PART_BYTES or len(self._changes) >= _PART_ROWS:
                await self._flush(batch)

    async def _flush(self, batch: Batch) -> None:
        """Write what waits: deletions from children to parents, then rows from parents to children."""
        batch.bytes = 0
        rows = []
        for table, deleted, puts in self._changes.take():
            authority = await self._confirmed(table)
            rows.append((table, *await self._as_of_now(table, deleted, puts, batch, authority)))
        for table, deleted, _ in reversed(rows):
            if deleted:
                await self._writer.delete(table, deleted, batch)
        for table, _, records in rows:
            if records:
                await self._writer.put(table, records, batch)

    async def _as_of_now(
        self, table: CopyTable, deleted: Sequence[Key], puts: Mapping[Key, Put], batch: Batch, authority: Authority
    ) -> tuple[list[Key], list[dict[str, Any]]]:
        """The keys to be deleted, and the rows to be put: those that mirrors wrote later, as the source has them."""
        keys = {*deleted, *puts, *(put.origin for put in puts.values() if not put.whole)}
        newer = await self._moments.newer(table, keys, puts.keys(), batch.begun_at, authority)
        # A value that was not sent is to come from no row that a mirror wrote.
        newer |= {key for key, put in puts.items() if not put.whole and put.origin in newer}
        rest = {key: put for key, put in puts.items() if key not in newer}
        gone = [key for key in deleted if key not in puts and key not in newer]
        records = await self._writer.records(table, rest, self._xids)
        if newer:
            fetched = await self._writer.fetched(table, sorted(newer), self._xids)
            there = {key_of(record, table) for record in fetched}
            return [*gone, *sorted(newer - there)], records + fetched
        return gone, records

    async def _empty(self, table: CopyTable, batch: Batch) -> None:
        """Delete all rows, as a TRUNCATE at the source did; not those that mirrors wrote later."""
        authority = await self._confirmed(table)
        if authority.mirrored(table.name) is None:
            await self._writer.empty(table, batch)
            return
        query = sql.SQL("SELECT {} FROM {} t").format(key_array(table, "t"), table.rows).as_string(None)
        async with self._connection.cursor("botdata_emptied") as cursor:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(_PART_ROWS):
                keys = [tuple(key) for (key,) in rows]
                gone, records = await self._as_of_now(table, keys, {}, batch, authority)
                await self._writer.delete(table, gone, batch)
                if records:
                    await self._writer.put(table, records, batch)

    async def _confirmed(self, table: CopyTable) -> Authority:
        """Where the cutover stands until this transaction ends, in which the table may be written.

        Tables that mirrors write are held, and those that a command may move alone stay where they are: all of them
        before the stage's row is. In another order a mirror, a move and this transaction could wait for each other.
        """
        if self._authority is None:
            for lock, tables in ((HOLD_TABLE, self._moments.mirrored), (SHARE_TABLE, self._moments.movable)):
                for one in tables:
                    await self._connection.execute(lock, {"table": one.name})
                    self._held.add(one.name)
            self._authority = await read_authority(self._connection, share=True)
        authority, name = self._authority, table.name
        needed = authority.mirrored(name) is not None or (authority.managed and name in OWN_AUTHORITY)
        if self._permit.refusal(authority, name) or (needed and name not in self._held):
            raise AuthorityChangedError(name)
        return authority
