"""One round of a sync from the source to the target: look, delete, then insert and update."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from app.errors import MigrationError
from app.migration import replaced, statements, versions
from app.migration.compare import compare_page
from app.migration.completeness import select_keys
from app.migration.load import PageLoader
from app.migration.pages import key_of, records_of
from app.migration.report import Progress
from app.migration.sequences import raise_sequences
from app.migration.source import Key, Page, Source
from app.migration.sync_deletions import gone_from_source, refuse_many_deletions
from app.migration.sync_options import SyncOptions
from app.migration.sync_quarantine import (
    conflicting_rows,
    leave_quarantine,
    refusals,
    refused_now,
    waiting_rows,
)
from app.migration.sync_report import TableSynced
from app.migration.tables import CopyTable
from app.migration.target import explained


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at a table found.

    Attributes:
        changed: keys of rows to fetch; None: more than are asked for by key, so that all pages are read.
        gone: keys of the target that the source did not list.
    """

    table: CopyTable
    changed: list[Key] | None
    gone: list[Key]


class ForwardSync:
    """Brings the target's tables to the source's present state, round by round.

    Args:
        run: the run's id in `botdata.runs`.
    """

    def __init__(
        self, connection: AsyncConnection, source: Source, run: int, options: SyncOptions, progress: Progress
    ) -> None:
        self._connection = connection
        self._source = source
        self._run = run
        self._options = options
        self._progress = progress
        self._waiting: dict[str, dict[Key, str | None]] = {}  # rows in quarantine, as they were at the last look

    async def round(self, tables: Sequence[CopyTable]) -> list[TableSynced]:
        """One round over the tables, parents before children."""
        looks = []
        for table in tables:
            with self._explained(table, "everything of this round; nothing of it was written"):
                looks.append(await self._look(table))
        refuse_many_deletions(
            {look.table.name: len(look.gone) for look in looks}, self._options, side="the target", other="the source"
        )
        done = {look.table.name: TableSynced(look.table.name) for look in looks}
        for look in reversed(looks):
            if look.gone:
                with self._explained(look.table, "the rest of this round's deletions, and its changes"):
                    await self._delete(look, done[look.table.name])
        for position, look in enumerate(looks):
            waiting = ", ".join(
                [f"the rest of {look.table.name}"] + [later.table.name for later in looks[position + 1 :]]
            )
            if look.changed != []:
                with self._explained(look.table, waiting):
                    await self._bring(look, done[look.table.name])
        for look in looks:
            if not self._options.dry_run:
                with self._explained(look.table, f"rows of {look.table.name} that were refused at first"):
                    await self._finish(look, done[look.table.name])
        return list(done.values())

    async def _look(self, table: CopyTable) -> _Look:
        most = self._options.most_by_key
        async with versions.source_versions(self._connection, self._source, table):
            gone = await select_keys(self._connection, statements.extra_keys(table).as_string(self._connection))
            changed: list[Key] | None = None
            if table.version:
                changed = await versions.unsettled_keys(self._connection, table, missing=True, most=most + 1)
            waiting, unlisted = await waiting_rows(self._connection, table)
            if not self._options.dry_run:
                await versions.forget_gone(self._connection, table)
        if not self._options.dry_run:
            arrived = set(waiting) - set(changed) if changed is not None and len(changed) <= most else set()
            absent = await gone_from_source(self._connection, self._source, table, unlisted)
            await leave_quarantine(self._connection, table, [*absent, *arrived])  # equal by now, by way of the source
        known = self._waiting.get(table.name, {})
        if changed is not None and not gone and all(key in known and known[key] == waiting.get(key) for key in changed):
            changed = []  # refused as they are, and nothing has changed that could let them in
        self._waiting[table.name] = waiting
        return _Look(table, None if changed is not None and len(changed) > most else changed, sorted(gone))

    async def _delete(self, look: _Look, done: TableSynced) -> None:
        table = look.table
        gone = await gone_from_source(self._connection, self._source, table, look.gone)
        done.spared = len(look.gone) - len(gone)
        if done.spared:
            self._progress.notice(f"{table.name}: {done.spared} rows are in the source after all, and stay")
        done.deleted = len(gone)
        if gone and not self._options.dry_run:
            async with self._connection.transaction():
                done.kept += await replaced.keep_foreign(self._connection, self._run, table, gone)
                done.deleted = await versions.delete_rows(self._connection, table, gone)
                await versions.forget(self._connection, table, gone)

    async def _bring(self, look: _Look, done: TableSynced) -> None:
        table, loader = look.table, self._loader(look.table)
        if look.changed is None:
            self._progress.begin(table.name, await self._source.count(table), 0)
            async for page in self._source.pages(table, versions=bool(table.version)):
                await self._load(table, loader, page, done)
                self._progress.advance(table.name, page.rows)
            return
        given: set[Key] = set()
        async for page in self._source.rows_by_key(table, look.changed, versions=True):
            given |= await versions.keys_of(self._connection, table, page.body)
            await self._load(table, loader, page, done)
        absent = [key for key in look.changed if key not in given]
        done.unsettled += await versions.still_listed(self._connection, self._source, table, absent)

    def _loader(self, table: CopyTable) -> PageLoader:
        return PageLoader(self._connection, table, self._run, most_refused=self._options.most_refused)

    async def _load(self, table: CopyTable, loader: PageLoader, page: Page, done: TableSynced) -> None:
        """Load a page and record its pairs, in one transaction."""
        if self._options.dry_run:
            unequal = (await compare_page(self._connection, table, page.body)).unequal
            done.inserted += sum(row.missing for row in unequal)
            done.updated += sum(not row.missing for row in unequal)
            return
        async with self._connection.transaction():
            images = await replaced.keep_later(self._connection, self._run, table, page.body)
            try:
                loaded = await loader.load(page, checkpoint=False)
            except MigrationError as error:  # too many refused
                error.step, error.next_command = "sync", "compare the two schemas, then: botdata sync"
                raise
            await self._settle(table, page, images, done)
        done.inserted += loaded.inserted
        done.updated += loaded.updated

    async def _settle(self, table: CopyTable, page: Page, images: list[int], done: TableSynced) -> None:
        """Behind a load, in its transaction: who left the quarantine, what was replaced, which rows are equal now."""
        records = records_of(page.body)
        refused = await refused_now(self._connection, table)
        arrived = [record for record in records if key_of(record, table) not in refused]
        await leave_quarantine(self._connection, table, [key_of(record, table) for record in arrived])
        done.kept += await replaced.only_replaced(self._connection, images)
        if arrived and table.version:
            body = page.body if len(arrived) == len(records) else json.dumps(arrived).encode()
            done.unsettled += len(arrived) - await versions.record_pairs(self._connection, table, body)

    async def _finish(self, look: _Look, done: TableSynced) -> None:
        """Try refused rows once more: what stood in their way may have gone since; and raise the sequences."""
        table = look.table
        if look.changed != []:
            waiting = await select_keys(self._connection, statements.refused_keys(), [table.name])
            if waiting:
                loader = self._loader(table)
                async for page in self._source.rows_by_key(table, sorted(waiting), versions=bool(table.version)):
                    await self._load(table, loader, page, done)
                await self._exchange(table, done)
            await raise_sequences(self._connection, table)
        done.refused = await refusals(self._connection, table)

    async def _exchange(self, table: CopyTable, done: TableSynced) -> None:
        """Load rows that hold each other's unique keys: their old rows are deleted first, in the same transaction."""
        records: list[dict[str, Any]] = []
        conflicting = sorted(await conflicting_rows(self._connection, table))
        if len(conflicting) > 1:
            async for page in self._source.rows_by_key(table, conflicting, versions=bool(table.version)):
                records += records_of(page.body)
        while len(records) > 1:
            page = Page(json.dumps(records).encode(), len(records), key_of(records[-1], table))
            attempt = TableSynced(table.name)
            try:
                async with self._connection.transaction():
                    images = await replaced.keep_later(self._connection, self._run, table, page.body)
                    keys = [key_of(record, table) for record in records]
                    there = await versions.existing_keys(self._connection, table, keys)
                    await versions.delete_rows(self._connection, table, sorted(there))
                    loaded = await self._loader(table).load(page, checkpoint=False)
                    if loaded.refused:
                        raise _StillRefusedError(await refused_now(self._connection, table))
                    await self._settle(table, page, images, attempt)
            except _StillRefusedError as error:
                records = [record for record in records if key_of(record, table) not in error.keys]
            else:
                done.inserted += loaded.inserted - len(there)
                done.updated += len(there)
                done.kept += attempt.kept
                done.unsettled += attempt.unsettled
                return

    def _explained(self, table: CopyTable, pending: str) -> AbstractContextManager[None]:
        return explained("sync", setting=self._source.setting, table=table.name, pending=pending)


class _StillRefusedError(Exception):
    """Rows that are refused although the others' old rows are out of the way; rolls the attempt back."""

    def __init__(self, keys: set[Key]) -> None:
        super().__init__()
        self.keys = keys
