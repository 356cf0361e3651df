"""One round of a sync from the source to the target: look, delete, then insert and update."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.cutover.tables import METHODS_TABLES
from app.migration.keys import keyed_rows
from app.migration.keys.key_listing import count_target, extra_keys, require_whole, source_keys
from app.migration.load.loader import PageLoader
from app.migration.load.mirrored_meanwhile import UnlockedReading, outdated, page_of, this_moment
from app.migration.load.statements import key_array
from app.migration.runs.report import refusals_of
from app.migration.sources.moved_tables import shown_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.postgres.silent_changes import values_stand
from app.migration.sources.source import VERSION, Page, Progress, Source, key_of, records_of
from app.migration.sync import changed_rows, old_images
from app.migration.sync.changed_rows import WalkedKeys
from app.migration.sync.direction import (
    NOTHING_WRITTEN,
    CandidateDeletions,
    Direction,
    StillRefusedError,
    TableLook,
    gone_from_source,
    rows_kept,
)
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.sync.whole_tables import WholeTables
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import Interference, find_writers, silenced
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import CONFLICTS
from app.migration.verify.row_comparison import compare_page
from app.state.runs import before_images, quarantine, row_versions
from app.state.runs.synced_tables import LookBegun, begin_look, count_noted_keys, end_look


@dataclass(frozen=True, slots=True)
class _Look(TableLook):
    """`begun`: when the look began; None in a dry run."""

    begun: LookBegun | None


class ForwardSync(Direction[_Look]):
    """Brings the target's tables to the source's present state.

    `round` raises TableMovedError where the authority of a table moved meanwhile.
    """

    side, other = "the target", "the source"

    def __init__(
        self, connection: AsyncConnection, source: Source, run: int, options: SyncOptions, progress: Progress
    ) -> None:
        super().__init__(connection, source, run, options, progress)
        self._permit = options.permit
        self._whole = WholeTables(connection, source, run, options) if isinstance(source, PostgresSource) else None
        self._unexplained: set[str] = set()  # tables with changes in this round that no mirror explains
        self._kept: dict[str, str] = {}  # what the target keeps though it was deleted, in words that were told
        self._waiting: dict[str, dict[Key, str | None]] = {}  # rows in quarantine, as they were at the last look
        self._writers: Sequence[Interference] = ()  # triggers and rules that may write beside the round
        self._before: Mapping[str, int] = {}  # counts of the tables, where there are any

    async def round(self, tables: Sequence[CopyTable]) -> list[TableSynced]:
        """As any round; tables without a key, which only a PostgreSQL source gives, are brought as a whole."""
        done = await self._whole.round([table for table in tables if not table.key]) if self._whole else []
        return done + await super().round([table for table in tables if table.key])

    async def _begin(self, tables: Sequence[CopyTable]) -> None:
        self._unexplained.clear()
        self._writers = await find_writers(self._connection, tables)
        counted = tables if self._writers else ()
        self._before = {table.name: await count_target(self._connection, table) for table in counted}

    async def _finish(self, looks: Sequence[_Look], done: Mapping[str, TableSynced]) -> None:
        if self._options.dry_run:
            return
        for look in looks:
            with self._explained(look.table, f"sequences, and rows of {look.table.name} that were refused"):
                await self._finish_table(look, done[look.table.name])
        if self._writers:
            await self._look_beside([look.table for look in looks], done)

    async def _look_beside(self, tables: Sequence[CopyTable], done: Mapping[str, TableSynced]) -> None:
        """Count among the rows that stay different those that triggers and rules wrote beside the round's own."""
        for table in tables:
            name = table.name
            left = self._before[name] + done[name].inserted - done[name].deleted
            more = await count_target(self._connection, table) - left
            if more and (beside := await changed_rows.rows_beside(self._connection, self._source, table, more)):
                done[name].unsettled += beside
                ran = ", ".join(map(str, self._writers))
                self._progress.notice(f"{name}: {beside:,} rows {'more' if more > 0 else 'fewer'} since {ran} ran")

    async def _look(self, table: CopyTable) -> _Look:
        begun = None
        if not self._options.dry_run:
            begun = await begin_look(self._connection, table.name, self._options.settles_after)
        stand = await values_stand(self._connection, self._source, table, dry_run=self._options.dry_run)
        async with source_keys(self._connection, self._source, table, versions=True) as listing:
            require_whole(listing, self._source, table, step="sync", pending=NOTHING_WRITTEN)
            gone = await CandidateDeletions.read(self._connection, extra_keys(table), self._options)
            waiting, unlisted = await quarantine.waiting_rows(
                self._connection,
                table.name,
                key=key_array(table, "s"),
                first=sql.Identifier(table.key[0].name),
                version=sql.Identifier(VERSION),
            )
            changed = await self._changed(table, stand=stand, missing=True)
        if not self._options.dry_run:
            arrived = set() if isinstance(changed, WalkedKeys) else set(waiting) - set(changed)
            absent = await gone_from_source(self._connection, self._source, table, unlisted)
            # What arrived is equal by now, by way of the source.
            await quarantine.leave(self._connection, table.name, [*absent, *arrived])
        known = self._waiting.get(table.name, {})
        if (
            not isinstance(changed, WalkedKeys)
            and not gone.count
            and all(key in known and known[key] == waiting.get(key) for key in changed)
        ):
            changed = []  # refused as they are, and nothing has changed that could let them in
        self._waiting[table.name] = waiting
        return _Look(table, changed, gone, begun)

    async def _delete(self, look: _Look, keys: list[Key], done: TableSynced) -> None:
        table = look.table
        moment = await this_moment(self._connection, table)
        gone = await gone_from_source(self._connection, self._source, table, keys)
        done.deleted = len(gone)
        if gone and not self._options.dry_run:
            async with self._permit.held(self._connection, table.name, moment.authority) as confirm:
                now = await confirm()
                page = keyed_rows.page_of_keys(gone)
                written = (await outdated(self._connection, table, page, moment, now)).written
                gone = [key for key in gone if key not in written]
                done.kept += await old_images.keep_foreign(self._connection, self._run, table, gone)
                async with silenced(self._connection, self._run, table):
                    done.deleted = await keyed_rows.delete_rows(self._connection, table, gone)
                kept, why = await rows_kept(self._connection, table, gone)
                if self._kept.get(table.name, "") != why:
                    self._kept[table.name] = why
                    self._progress.notice(why or f"{table.name}: the target keeps no deleted row any more")
                done.deleted = min(done.deleted, len(gone) - kept)
                done.unsettled += kept
                await row_versions.forget(self._connection, table.name, gone)
                await self._explain(table, done.deleted)
        done.spared = look.gone.count - len(gone)
        if done.spared:
            self._progress.notice(f"{table.name}: {done.spared} rows are in the source after all, and stay")

    async def _bring(self, look: _Look, done: TableSynced) -> None:
        table, loader = look.table, self._loader(look.table)
        keys = look.changed
        if keys == []:
            return
        if isinstance(keys, WalkedKeys):
            self._progress.begin(table.name, await shown_count(self._source, table), 0)
            pages = self._source.pages(table.with_made, versions=bool(table.version))
            while (page := await self._load_next(table, loader, pages, done)) is not None:
                self._progress.advance(table.name, page.rows)
                await keys.add(page.body, page.rows)
            keys = await keys.left_out(self._source, self._options)
        await self._bring_by_key(table, loader, keys, done)

    async def _bring_by_key(self, table: CopyTable, loader: PageLoader, keys: Sequence[Key], done: TableSynced) -> None:
        given: set[Key] = set()
        pages = self._source.rows_by_key(table.with_made, keys, versions=bool(table.version), listed=True)
        while (page := await self._load_next(table, loader, pages, done)) is not None:
            given |= await keyed_rows.keys_of(self._connection, table, page.body)
        absent = [key for key in keys if key not in given]
        done.unsettled += await changed_rows.still_listed(
            self._connection, self._source, table, absent, is_repeated=self._options.is_repeated
        )

    def _loader(self, table: CopyTable) -> PageLoader:
        return PageLoader(self._connection, table, self._run, step="sync", most_refused=self._options.most_refused)

    async def _load_next(
        self, table: CopyTable, loader: PageLoader, pages: AsyncIterator[Page], done: TableSynced
    ) -> Page | None:
        """Read the next page, and load it with the table to itself; None where there is none."""
        moment = await this_moment(self._connection, table)
        page = await anext(pages, None)
        if page is not None and self._options.dry_run:
            await self._load(table, loader, page, done)
        elif page is not None:
            reading = UnlockedReading(
                self._connection,
                self._permit,
                table,
                read=lambda keys: self._source.rows_by_key(table.with_made, keys, versions=bool(table.version)),
                load=lambda rows: self._load(table, loader, rows, done),
                pace=self._source.pace,
            )
            left = await reading.bring(page, moment)
            done.unsettled += len(left)  # after the loads, which count there too
        return page

    async def _load(self, table: CopyTable, loader: PageLoader, page: Page, done: TableSynced) -> None:
        """Load a page and record its pairs, in one transaction."""
        if self._options.dry_run:
            unequal = (await compare_page(self._connection, table.with_made, page.body)).unequal
            done.inserted += sum(row.missing for row in unequal)
            done.updated += sum(not row.missing for row in unequal)
            return
        async with self._connection.transaction():
            images = await old_images.keep_later(self._connection, self._run, table, page.body)
            loaded = await loader.load(page, checkpoint=False)
            await self._settle(table, page, images, done)
        await self._explain(table, loaded.inserted + loaded.updated)
        done.inserted += loaded.inserted
        done.updated += loaded.updated

    async def _settle(self, table: CopyTable, page: Page, images: list[int], done: TableSynced) -> None:
        """After a load, in its transaction: who left the quarantine, what was replaced, which rows are equal now."""
        records = records_of(page.body)
        refused = await quarantine.refused_keys(self._connection, table.name, now=True)
        arrived = [record for record in records if key_of(record, table) not in refused]
        await quarantine.leave(self._connection, table.name, [key_of(record, table) for record in arrived])
        done.kept += await before_images.only_replaced(self._connection, images)
        if arrived and table.version:
            body = page.body if len(arrived) == len(records) else json.dumps(arrived).encode()
            done.unsettled += len(arrived) - await changed_rows.record_pairs(self._connection, table.with_made, body)

    async def _finish_table(self, look: _Look, done: TableSynced) -> None:
        """Try refused rows once more: what stood in their way may have gone since; and raise the sequences."""
        table = look.table
        if look.changed != []:
            waiting = await quarantine.refused_keys(self._connection, table.name)
            if waiting:
                loader = self._loader(table)
                pages = self._source.rows_by_key(table.with_made, sorted(waiting), versions=bool(table.version))
                while await self._load_next(table, loader, pages, done) is not None:
                    pass
                await self._exchange(table, done)
        await raise_sequences(self._connection, table)
        done.refused = refusals_of(table, await quarantine.refusals(self._connection, table.name))
        if look.begun is not None and not done.unsettled:
            aged = not self._options.follow or table.name in self._unexplained
            await end_look(self._connection, self._source.label, table.name, look.begun, aged=aged)

    async def _exchange(self, table: CopyTable, done: TableSynced) -> None:
        """Load rows that hold each other's unique keys: their old rows are deleted first, in the same transaction."""
        records: list[dict[str, Any]] = []
        waiting = await quarantine.refused_keys(self._connection, table.name)
        conflicting = sorted(key for key, sqlstate in waiting.items() if sqlstate in CONFLICTS)
        if len(conflicting) < 2:
            return
        moment = await this_moment(self._connection, table)
        async for page in self._source.rows_by_key(table.with_made, conflicting, versions=bool(table.version)):
            records += records_of(page.body)
        async with self._permit.held(self._connection, table.name, moment.authority) as confirm:
            now = await confirm()
            if records:
                old = await outdated(self._connection, table, json.dumps(records).encode(), moment, now)
                records = [one for one in records if key_of(one, table) not in old.written | old.absent]
            while len(records) > 1:
                try:
                    await self._exchange_all(table, records, done)
                except StillRefusedError as error:
                    records = [record for record in records if key_of(record, table) not in error.keys]
                else:
                    return

    async def _exchange_all(self, table: CopyTable, records: list[dict[str, Any]], done: TableSynced) -> None:
        page = page_of(records, table)
        async with self._connection.transaction():
            images = await old_images.keep_later(self._connection, self._run, table, page.body)
            there = await keyed_rows.existing_keys(self._connection, table, [key_of(one, table) for one in records])
            async with silenced(self._connection, self._run, table):
                await keyed_rows.delete_rows(self._connection, table, sorted(there))
            loaded = await self._loader(table).load(page, checkpoint=False)
            if loaded.refused:
                raise StillRefusedError(await quarantine.refused_keys(self._connection, table.name, now=True))
            await self._settle(table, page, images, done)
        await self._explain(table, len(records))
        done.inserted += loaded.inserted - len(there)
        done.updated += len(there)

    async def _explain(self, table: CopyTable, changed: int) -> None:
        """In the transaction that made some changes: remember the table where they are more than mirrors explain."""
        bots = changed and table.name in METHODS_TABLES
        if bots and changed > await count_noted_keys(self._connection, table.name):
            self._unexplained.add(table.name)
