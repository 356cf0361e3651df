"""The way back by a change stream: the target's log tells which rows have changed, and they go to the source.

Nothing of ours is at the source, so no place in the log can be kept there with the rows. What is brought is the row as
the target has it when it is written. So to bring it twice comes to the same, and the place is kept at the target after
the rows are in the source: a kill repeats a part of the work.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.common.schemas import Schemas
from app.cutover.tables import METHODS_TABLES
from app.migration.keys import keyed_rows
from app.migration.load.table_authority import TableMovedError, read_authority
from app.migration.runs.report import Refusal, refusals_of
from app.migration.sources.postgres.postgres_source import PostgresSource, open_postgres_source
from app.migration.stream.applier import Applied, AuthorityChangedError
from app.migration.stream.changes import WaitingChanges
from app.migration.stream.followed import Applying
from app.migration.stream.moments import Moments
from app.migration.stream.source.messages import Begin, Commit, Delete, Insert, Message, Relation, Truncate, Update
from app.migration.stream.source.slot import StreamSlot, lsn_text, stream_name, target_identity
from app.migration.stream.stream_sync import StreamSync
from app.migration.sync.changed_rows import KeptKeys
from app.migration.sync.direction import CandidateDeletions, Direction
from app.migration.sync.reverse import ReverseLook, ReverseSync
from app.migration.sync.source_rows import Refused
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import has_cascades
from app.migration.verify.row_comparison import keys_held
from app.state import streams
from app.state.json_keys import keys_json
from app.state.runs import quarantine
from app.stores.postgres.session import source_errors

_PART_ROWS = 5_000  # keys that wait in memory at most


class ReverseByKey(ReverseSync):
    """Brings the source's tables, or given rows of them, to the target's present state."""

    _given: Mapping[str, Collection[Key]] | None = None

    async def bring(self, tables: Sequence[CopyTable], keys: Mapping[str, Collection[Key]]) -> list[TableSynced]:
        """One round over the rows of these keys, by table; errors as of `round`.

        No number of deletions stops it: each was made.
        """
        self._given = keys
        try:
            return await self.round(tables)
        finally:
            self._given = None

    async def _look(self, table: CopyTable) -> ReverseLook:
        if self._given is None:
            return await super()._look(table)
        keys = sorted(self._given[table.name])
        here = await keyed_rows.existing_keys(self._connection, table, keys)
        there: set[Key] = set()
        async for page in self._source.rows_by_key(replace(table, columns=table.key), keys):
            there |= await keyed_rows.keys_of(self._connection, table, page.body)
        left = await quarantine.refused_among(self._connection, table.name, keys)
        gone = sorted(there - here - left.keys())
        new = sql.SQL("SELECT ARRAY(SELECT json_array_elements_text(k)) FROM json_array_elements({}::json) k").format(
            sql.Literal(keys_json(sorted(here - there)))
        )
        return ReverseLook(
            table,
            sorted(here & there),
            CandidateDeletions(0, gone),
            await KeptKeys.keep(self._connection, f"new {table.name}", new),
            0,
            await has_cascades(self._connection, self._source, table),
        )


class BackApplier:
    """Brings the rows to the source whose keys a peek gives.

    Args:
        connection: to the target, in autocommit.
        engine: writes them.
        name: the stream's.
        tables, schemas: see `WaitingChanges`.
        done: what is added to, by table.

    Attributes:
        left: rows that the source refuses, by table: they are tried again with the next changes.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        engine: ReverseByKey,
        name: str,
        tables: Mapping[int, CopyTable],
        schemas: Schemas,
        done: dict[str, TableSynced],
    ) -> None:
        self._changes = WaitingChanges(tables, schemas)
        self._tables = list(tables.values())
        self._connection = connection
        self._engine = engine
        self._name = name
        self._done = done
        self._emptied: set[str] = set()
        self.left: dict[str, Refused] = {one.name: engine.left.get(one.name, {}) for one in self._tables}

    async def apply(
        self, parts: AsyncIterator[list[tuple[Message, int]]], *, after: int, before: int | None = None
    ) -> Applied:
        """Bring what a peek tells of; arguments and errors as of `Applier.apply`."""
        applied, begin, rows = Applied(), None, 0
        first: Begin | None = None
        last: tuple[Begin, Commit] | None = None
        self._changes.clear()
        async for message, _ in applied.each(parts):
            if isinstance(message, Begin):
                if before is not None and message.commit_lsn >= before:
                    break
                begin = message if message.commit_lsn >= after else None
                first = first or begin
            elif isinstance(message, Commit):
                last = (begin, message) if begin is not None else last
            elif isinstance(message, Relation):
                self._changes.take_relation(message, begin)
            elif begin is not None:
                self._note(message, begin)
                if len(self._changes) >= _PART_ROWS:
                    rows += await self._bring()
        if last is None:
            return applied
        rows += await self._bring()
        applied.lsn = last[1].end_lsn
        await streams.note_applied(
            self._connection,
            self._name,
            lsn_text(applied.lsn),
            commit_lsn=lsn_text(last[1].commit_lsn),
            committed_at=last[0].committed_at,
            changes=rows,
        )
        if first is not None:
            applied.lags.append((datetime.now(UTC) - first.committed_at).total_seconds())
        return applied

    def _note(self, message: Message, begin: Begin) -> None:
        if isinstance(message, Truncate):
            of = [one for oid in message.relations if (one := self._changes.of(oid, begin)) is not None]
            self._emptied.update(one.table.name for one in of)
        elif isinstance(message, Insert | Update | Delete):
            pending = self._changes.of(message.relation, begin)
            if pending is not None:
                pending.add(message)

    async def _bring(self) -> int:
        """Bring the rows whose keys wait; returns how many these are."""
        keys: dict[str, set[Key]] = {}
        for table, deleted, puts in self._changes.take():
            keys[table.name] = {*deleted, *puts, *self.left[table.name]}
        tables = [table for table in self._tables if table.name in keys]
        emptied = [table for table in self._tables if table.name in self._emptied]
        try:
            done = await self._engine.round(emptied) if emptied else []
            done += await self._engine.bring(tables, keys) if tables else []
        except TableMovedError as error:
            raise AuthorityChangedError(error.table) from None
        self._emptied.clear()
        for one in done:
            self._done.setdefault(one.table, TableSynced(one.table)).add(one)
            self.left[one.table] = self._engine.left.get(one.table, {})
        if any(self.left.values()):  # the next start is to look at all rows
            await streams.unsettle_stream(self._connection, self._name)
        return sum(map(len, keys.values()))


class ReverseStreamSync(StreamSync):
    """A sync back to the source that follows by the target's change stream."""

    _end: ClassVar[str] = "target"
    _command: ClassVar[str] = "--reverse --follow --by stream"
    _back: ClassVar[type[ReverseSync]] = ReverseByKey
    _applies: BackApplier | None = None
    _source_identity = ""

    async def _open_log(self, ends: AsyncExitStack, source: PostgresSource) -> PostgresSource:
        with source_errors():
            async with await source.connect() as session:
                self._source_identity = await target_identity(session)
        log = open_postgres_source(self._target_url, step="sync", setting="DATABASE_URL", pace=source.pace)
        return await ends.enter_async_context(log)

    async def _name(self, connection: AsyncConnection) -> str:
        """Of both ends: the salons of one database have each a way back, and their sources may look the same."""
        return stream_name(f"back/{self._source_identity}/{await target_identity(connection)}")

    async def _applier(
        self,
        connection: AsyncConnection,
        engine: Direction[Any],
        slot: StreamSlot,
        moments: Moments,
        settled: int,
        tables: Mapping[int, CopyTable],
        done: dict[str, TableSynced],
    ) -> Applying:
        assert isinstance(engine, ReverseByKey)
        self._applies = BackApplier(connection, engine, slot.name, tables, self._log.schemas, done)
        return self._applies

    async def _chosen(self, connection: AsyncConnection, published: Sequence[CopyTable]) -> list[CopyTable]:
        """Without those that the bot mirrors itself."""
        chosen = await super()._chosen(connection, published)
        if not (await read_authority(connection)).managed:
            return chosen
        return [table for table in chosen if table.name not in METHODS_TABLES]

    async def _refusals(self, connection: AsyncConnection, table: CopyTable) -> tuple[Refusal, ...]:
        left = self._applies.left.get(table.name, {}) if self._applies else {}
        return refusals_of(table, [(key, *left[key]) for key in sorted(left)])

    async def _left(self, connection: AsyncConnection, table: CopyTable) -> int:
        """Of the rows in quarantine, those that the target does not hold."""
        refused = list(await quarantine.refused_keys(connection, table.name))
        return len(refused) - len(await keys_held(connection, table, refused))
