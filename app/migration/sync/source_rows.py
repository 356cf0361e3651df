"""What a sync back does to the source's rows: it deletes, writes, and reads back what it wrote."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection

from app.common.bisection import in_halves
from app.common.keys import Key
from app.errors import OutcomeUnknownError, StoreError, StoreTimeoutError, UnavailableError
from app.migration.keys import keyed_rows
from app.migration.keys.keyed_rows import target_pages
from app.migration.load.table_authority import Authority
from app.migration.retry import patiently
from app.migration.sources.source import Page, Progress, Source, key_of, records_of
from app.migration.sync import changed_rows, old_images
from app.migration.sync.options import SyncOptions
from app.migration.sync.source_writers import ALWAYS_GENERATED, JSON_NULL, SourceWriter
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import CONFLICTS, ROW_FAULTS
from app.migration.verify.row_comparison import UnequalRow, compare_page, keys_held
from app.state.runs import before_images, row_versions
from app.stores.supabase.grammar import alias

Refused = dict[Key, tuple[str, str | None]]  # SQLSTATE, and the place where the server named one


class SourceRows:
    """The rows of the source, which are to be as the target's.

    Args:
        connection: to the target.
        writer: sends them.
        run: the sync's.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        source: Source,
        writer: SourceWriter,
        run: int,
        options: SyncOptions,
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._source = source
        self._writer = writer
        self._run = run
        self._options = options
        self._progress = progress
        # Rows that stayed different although they were written, as the target held them: not to be written again.
        self._stuck: dict[str, dict[Key, str]] = {}

    async def delete(self, table: CopyTable, keys: Sequence[Key], done: TableSynced, *, late: bool = False) -> bool:
        """Delete rows that the target does not have; False where a constraint of the source refuses that for now.

        Args:
            late: the target's rows are written by now. One whose key is equal and has another text, such as 1.0 and
                1.00, is there under the key of before.
        """
        connection = self._connection
        if self._options.dry_run:
            done.spared = len(await keyed_rows.existing_keys(connection, table, keys))
            done.deleted += len(keys) - done.spared
            return True
        async with self._held(table) as confirm:
            there = await keyed_rows.existing_keys(connection, table, keys)
            if late:
                there |= await keys_held(connection, table, keys)
            gone = [key for key in keys if key not in there]
            done.spared = len(there)
            if gone:
                await confirm()
                async for page in self._source.rows_by_key(table, gone, versions=bool(table.version)):
                    done.kept += await old_images.keep_unknown(connection, self._run, table, page.body)
                try:
                    await self._delete_in_source(table, gone)
                except StoreError as error:
                    if not _refuses_rows(error):
                        raise
                    return False
                await row_versions.forget(connection, table.name, gone)
        done.deleted += len(gone)
        return True

    async def still_stuck(self, table: CopyTable, different: Sequence[Key]) -> Collection[Key]:
        """Those that were written and stayed different, and that the target holds as it did then."""
        known = self._stuck.get(table.name, {})
        same: dict[Key, str] = {}
        async for page in target_pages(self._connection, table, sorted(known.keys() & set(different))):
            same |= {key: text for key, text in _texts(table, page).items() if known[key] == text}
        self._stuck[table.name] = same
        return same

    async def unequal(self, table: CopyTable, body: bytes) -> list[UnequalRow]:
        """The rows of a page that the target lacks or holds differently; the others' pairs are recorded."""
        unequal = (await compare_page(self._connection, table.with_made, body)).unequal
        if table.version and not self._options.dry_run:
            keys = {row.key for row in unequal}
            records = records_of(body)
            equal = [record for record in records if key_of(record, table) not in keys]
            if equal:
                await changed_rows.record_pairs(self._connection, table, json.dumps(equal).encode())
        return unequal

    async def write(self, table: CopyTable, keys: Sequence[Key], done: TableSynced) -> Refused:
        """Write the target's rows of these keys, and read them back: an answer that was lost says nothing.

        Returns:
            The rows refused.
        """
        refused: Refused = {}
        pending, tries = list(keys), 0
        while True:
            lost: StoreError | None = None
            behind: dict[Key, str] = {}
            pages = target_pages(self._connection, table, pending)
            while True:
                # What is read here is not older than what a mirror sends: none of the table is sent meanwhile.
                async with self._held(table) as confirm:
                    page = await anext(pages, None)
                    if page is None:
                        break
                    await confirm()
                    lost = await self._put(table, records_of(page.body), refused) or lost
                    sent = {key: text for key, text in _texts(table, page).items() if key not in refused}
                    behind |= {key: sent[key] for key in await self._read_back(table, list(sent))}
            tries += 1
            if lost is None or not behind:
                self._stuck[table.name] |= behind
                done.unsettled += len(behind)
                return refused
            if tries >= self._writer.limits.attempts:
                raise lost
            self._progress.notice(f"{self._source.label}: {lost}; read back, and {len(behind)} rows are written again")
            await asyncio.sleep(min(self._writer.limits.wait_max, self._writer.limits.wait_initial * 2**tries))
            pending = list(behind)

    @asynccontextmanager
    async def _held(self, table: CopyTable) -> AsyncIterator[Callable[[], Awaitable[Authority]]]:
        """See `Permit.held`; it begins when the source may be asked, and does not wait for that any more then."""
        await self._source.pace.ready()
        async with self._options.permit.held(self._connection, table.name) as confirm:
            with self._source.pace.at_once():
                yield confirm

    async def _put(self, table: CopyTable, records: list[dict[str, Any]], refused: Refused) -> StoreError | None:
        """Send rows, halving where they are refused; the error that left it open whether all were written."""
        sendable = []
        for record in records:
            if column := self._writer.unsendable(table, record):
                refused[key_of(record, table)] = (JSON_NULL, column)
            else:
                sendable.append(record)
        lost: list[StoreError] = []

        async def attempt(part: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
            try:
                page = Page(json.dumps(part).encode(), len(part), key_of(part[-1], table))
                self._source.pace.count(rows=page.rows, size=len(page.body))
                await self._writer.write(table, page)
            except (UnavailableError, StoreTimeoutError, OutcomeUnknownError) as error:
                lost.append(error)
            except StoreError as error:
                if not _refuses_rows(error):
                    raise
                if len(part) > 1:
                    return part
                refused[key_of(part[0], table)] = (error.sqlstate or "", None)
            return ()

        if sendable:
            await in_halves(sendable, attempt)
        return lost[0] if lost else None

    async def _read_back(self, table: CopyTable, keys: Sequence[Key]) -> list[Key]:
        """Keys whose rows are not the same on both sides; the others' pairs are recorded."""
        there: set[Key] = set()
        unequal: set[Key] = set()
        async for page in self._source.rows_by_key(table.with_made, keys, versions=bool(table.version)):
            there.update(key_of(record, table) for record in records_of(page.body))
            unequal.update(row.key for row in await self.unequal(table, page.body))
        return [key for key in keys if key not in there or key in unequal]

    async def try_again(self, table: CopyTable, refused: Refused, done: TableSynced, *, exchange: bool) -> Refused:
        """Once more: what stood in the way may have gone since. Rows that hold each other's keys are deleted first.

        Args:
            exchange: they may be: no other rows would go with them.
        """
        before = set(refused)
        refused = await self.write(table, sorted(refused), done)
        conflicting = sorted(key for key, (sqlstate, _) in refused.items() if sqlstate in CONFLICTS)
        if len(conflicting) > 1 and exchange and not table.keys_only:
            async for page in self._source.rows_by_key(table, conflicting):
                await old_images.keep_taken_out(self._connection, self._run, table, page.body)
            await self._delete_in_source(table, conflicting)
            still = await self.write(table, conflicting, done)
            refused = {key: reason for key, reason in refused.items() if key not in conflicting} | still
        done.updated += len(before - set(refused))
        return refused

    async def put_back(self, table: CopyTable, refused: Refused) -> None:
        """Put rows back that were taken out of the source, by a sync that was killed too, where theirs are refused."""
        if not (images := await before_images.taken_out(self._connection, table.name)):
            return
        there: set[Key] = set()
        async for page in self._source.rows_by_key(table, sorted(images)):
            there |= {key_of(record, table) for record in records_of(page.body)}
        absent = [key for key in images if key in refused and key not in there]
        lost = [{alias(i): images[key].get(name) for i, name in enumerate(table.names)} for key in absent]
        kept: Refused = {}
        if lost and await self._put(table, lost, kept) is not None:
            kept |= dict.fromkeys(absent, ("", None))  # perhaps they are back; the next sync looks
        await before_images.drop_taken_out(self._connection, table.name, images.keys() - kept.keys())

    async def _delete_in_source(self, table: CopyTable, keys: Sequence[Key]) -> None:
        await patiently(
            lambda: self._writer.delete(table, keys),
            self._writer.limits,
            self._progress.notice,
            self._source.label,
            unknown_too=True,
        )


def _refuses_rows(error: StoreError) -> bool:
    """Whether rows are to blame: also for a column that is always generated, which PostgREST cannot override."""
    return error.sqlstate is not None and (error.sqlstate[:2] in ROW_FAULTS or error.sqlstate == ALWAYS_GENERATED)


def _texts(table: CopyTable, page: Page) -> dict[Key, str]:
    return {key_of(record, table): json.dumps(record) for record in records_of(page.body)}
