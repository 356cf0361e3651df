"""One round of a sync from the target back to the source: look, delete, then write what differs, and read it back."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from app.common.bisection import in_halves
from app.common.keys import Key
from app.errors import OutcomeUnknownError, StoreError, StoreTimeoutError, UnavailableError
from app.migration.keys import keyed_rows
from app.migration.keys.key_counts import count_keys
from app.migration.keys.key_listing import require_whole, source_keys
from app.migration.keys.target_rows import target_pages
from app.migration.load import statements
from app.migration.load.table_authority import Authority
from app.migration.progress import Progress
from app.migration.retry import patiently
from app.migration.runs.report import refusals_of
from app.migration.sources.counts import shown_count
from app.migration.sources.pages import key_of, records_of
from app.migration.sources.postgres.silent_changes import values_stand
from app.migration.sources.source import Page, Source
from app.migration.sync import changed_rows, source_before_images
from app.migration.sync.direction import NOTHING_WRITTEN, CandidateDeletions, Direction, TableLook
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.sync.walked_keys import KeptKeys, WalkedKeys
from app.migration.sync.writers.postgres_writer import PostgresWriter
from app.migration.sync.writers.writer import ALWAYS_GENERATED, JSON_NULL, SourceWriter
from app.migration.tables.copy_table import CopyTable
from app.migration.target.cascades import has_cascades
from app.migration.target.sequences import sequence_statements
from app.migration.target.target_session import CONFLICTS, ROW_FAULTS
from app.migration.verify.row_comparison import compare_page
from app.state.runs import before_images, quarantine, row_versions
from app.stores.supabase.grammar import alias

_REFERRED_TO = "23503"  # foreign_key_violation
Refused = dict[Key, tuple[str, str | None]]  # SQLSTATE, and the place where the server named one


@dataclass(frozen=True, slots=True)
class ReverseLook(TableLook):
    """A look at a table.

    Attributes:
        new: rows that the source lacks.
        left: how many of its rows are in quarantine, and stay.
        cascades: a foreign key deletes or changes rows that refer to a deleted one, also of tables that are not synced.
    """

    new: KeptKeys
    left: int
    cascades: bool


class ReverseSync(Direction[ReverseLook]):
    """Brings the source's tables to the target's present state."""

    side, other = "the source", "the target"

    def __init__(
        self,
        connection: AsyncConnection,
        source: Source,
        writer: SourceWriter,
        run: int,
        options: SyncOptions,
        progress: Progress,
    ) -> None:
        super().__init__(connection, source, run, options, progress)
        self._writer = writer
        # Rows that stayed different although they were written, as the target held them: not to be written again.
        self._stuck: dict[str, dict[Key, str]] = {}
        self._images: dict[str, list[int]] = {}  # of the round's rows to be written over
        self._refused: dict[str, Refused] = {}  # of the round, by table
        self._waiting_deletions: list[ReverseLook] = []  # of the round: rows that referred to these are changed first
        self.left: dict[str, Refused] = {}  # by table, what the last round left

    async def _begin(self, tables: Sequence[CopyTable]) -> None:
        self._refused.clear()
        self._waiting_deletions.clear()

    async def _delete(self, look: ReverseLook, keys: list[Key], done: TableSynced) -> None:
        if look.cascades or not await self._delete_rows(look.table, keys, done):
            self._waiting_deletions.append(look)

    async def _finish(self, looks: Sequence[ReverseLook], done: Mapping[str, TableSynced]) -> None:
        if any(look.cascades for look in self._waiting_deletions):
            for look in looks:  # the rows that they refer to are there by now, in whatever order the tables are
                if self._refused[look.table.name]:
                    with self._explained(look.table, "the deletions, and what they stand in the way of"):
                        await self._once_more(look, done[look.table.name])
        kept: dict[str, Refused] = {}
        for look in self._waiting_deletions:
            with self._explained(look.table, "deletions that were refused at first"):
                keys = look.gone.keys or []
                if not look.cascades or not await self._delete_rows(look.table, keys, done[look.table.name]):
                    kept[look.table.name] = await self._delete_one_by_one(look.table, keys, done[look.table.name])
        for look in looks:
            await self._source.pace.ready()
            with self._source.pace.at_once():  # rows may be out of the source meanwhile, and are to come back soon
                await self._finish_table(look, kept.get(look.table.name, {}), done[look.table.name])

    async def _finish_table(self, look: ReverseLook, kept: Refused, done: TableSynced) -> None:
        name, refused = look.table.name, self._refused[look.table.name]
        done.left = look.left
        if refused:
            with self._explained(look.table, f"rows of {name} that were refused at first"):
                refused = await self._try_again(look, refused, done)
        if not self._options.dry_run:
            with self._explained(look.table, f"rows of {name} that make room for others, and are to come back"):
                await self._put_back(look.table, refused)
        done.kept += await before_images.drop_images(self._connection, self._images.pop(name, []), refused)
        self.left[name] = still = refused | kept
        done.refused = refusals_of(look.table, [(key, *still[key]) for key in sorted(still)])

    async def raise_sequences(self, tables: Sequence[CopyTable]) -> list[str]:
        """Raise the source's sequences where that can be done; the statements to run there by hand where it cannot."""
        by_hand = []
        for table in tables:
            if not await self._writer.raise_sequences(table):
                by_hand += await sequence_statements(self._connection, table)
        if isinstance(self._writer, PostgresWriter):
            by_hand += await self._writer.follow_sequences(self._connection, tables)
        return by_hand

    async def _look(self, table: CopyTable) -> ReverseLook:
        connection = self._connection
        cascades = await has_cascades(connection, self._source, table)
        stand = await values_stand(connection, self._source, table, dry_run=self._options.dry_run)
        async with source_keys(connection, self._source, table, versions=True) as listing:
            require_whole(listing, self._source, table, step="sync", pending=NOTHING_WRITTEN)
            # Rows in quarantine are in the source alone because the target refused them: they are not gone.
            missing = statements.missing_keys(table)
            gone = await CandidateDeletions.read(connection, quarantine.not_refused(table.name, missing), self._options)
            left = await count_keys(connection, missing) - gone.count
            new = await KeptKeys.keep(connection, f"new {table.name}", statements.extra_keys(table))
            changed = await changed_rows.changed_keys(
                connection, self._source, table, self._options, stand=stand, missing=False
            )
            if not self._options.dry_run:
                await row_versions.forget_gone(connection, table.name, statements.key_array(table, "s"))
            listed = WalkedKeys(connection, table)
            if changed is None:
                await listed.keep()
        if left:
            self._progress.notice(f"{table.name}: {left} rows in quarantine are left as they are in the source")
        return ReverseLook(table, listed if changed is None else changed, gone, new, left, cascades)

    async def _delete_rows(self, table: CopyTable, keys: Sequence[Key], done: TableSynced) -> bool:
        """Delete rows that the target does not have; False where a constraint of the source refuses that for now."""
        connection = self._connection
        if self._options.dry_run:
            done.spared = len(await keyed_rows.existing_keys(connection, table, keys))
            done.deleted += len(keys) - done.spared
            return True
        async with self._held(table) as confirm:
            there = await keyed_rows.existing_keys(connection, table, keys)
            gone = [key for key in keys if key not in there]
            done.spared = len(there)
            if gone:
                await confirm()
                async for page in self._source.rows_by_key(table, gone, versions=bool(table.version)):
                    done.kept += await source_before_images.keep_unknown(connection, self._run, table, page.body)
                try:
                    await self._delete_in_source(table, gone)
                except StoreError as error:
                    if not _refuses_rows(error):
                        raise
                    return False
                await row_versions.forget(connection, table.name, gone)
        done.deleted += len(gone)
        return True

    async def _delete_one_by_one(self, table: CopyTable, keys: Sequence[Key], done: TableSynced) -> Refused:
        """The same, once the rows that referred to these have been changed; gives those that are refused still."""
        return {key: (_REFERRED_TO, None) for key in keys if not await self._delete_rows(table, [key], done)}

    async def _bring(self, look: ReverseLook, done: TableSynced) -> None:
        self._refused[look.table.name] = await self._bring_rows(look, done)

    async def _bring_rows(self, look: ReverseLook, done: TableSynced) -> Refused:
        table = look.table
        different = await self._compare(look, done) if look.changed != [] else []
        stuck = await self._still_stuck(table, different)
        changed = [key for key in different if key not in stuck]
        done.inserted, done.updated = look.new.count, len(changed)
        done.unsettled += len(stuck)
        if self._options.dry_run:
            return {}
        refused: Refused = {}
        self._stuck[table.name] = stuck
        async for new in look.new.parts():
            refused |= await self._write(table, new, done)
        done.inserted -= len(refused)
        if changed:
            not_changed = await self._write(table, changed, done)
            done.updated -= len(not_changed)
            refused |= not_changed
        return refused

    async def _still_stuck(self, table: CopyTable, different: Sequence[Key]) -> dict[Key, str]:
        known = self._stuck.get(table.name, {})
        same: dict[Key, str] = {}
        async for page in target_pages(self._connection, table, sorted(known.keys() & set(different))):
            same |= {key: text for key, text in _texts(table, page).items() if known[key] == text}
        return same

    async def _compare(self, look: ReverseLook, done: TableSynced) -> list[Key]:
        """Keys of the rows that differ, the later ones of which are kept; the others' pairs are recorded."""
        table, keys = look.table, look.changed
        versioned = bool(table.version)
        changed = []
        if isinstance(keys, WalkedKeys):
            self._progress.begin(table.name, await shown_count(self._source, table), 0)
            async for page in self._source.pages(table.with_made, versions=versioned):
                changed += await self._different(table, page)
                self._progress.advance(table.name, page.rows)
                await keys.add(page.body, page.rows)
            keys = await keys.left_out(self._source, self._options, deleted=look.gone.keys or [])
        given: set[Key] = set()
        async for page in self._source.rows_by_key(table.with_made, keys, versions=versioned, listed=True):
            changed += await self._different(table, page)
            given |= await keyed_rows.keys_of(self._connection, table, page.body)
        absent = [key for key in keys if key not in given]
        done.unsettled += await changed_rows.still_listed(
            self._connection, self._source, table, absent, is_repeated=self._options.is_repeated
        )
        return sorted(changed)

    async def _different(self, table: CopyTable, page: Page) -> list[Key]:
        """Keys of a page's rows that the target holds differently; the later ones of the source's are kept."""
        different = [key for key, missing in await self._unequal(table, page.body) if not missing]
        if different and not self._options.dry_run:
            images = await source_before_images.keep_later(self._connection, self._run, table, page.body)
            self._images.setdefault(table.name, []).extend(images)
        return different

    async def _unequal(self, table: CopyTable, body: bytes) -> list[tuple[Key, bool]]:
        """The rows of a page that the target lacks or holds differently; the others' pairs are recorded."""
        unequal = [
            (row.key, row.missing) for row in (await compare_page(self._connection, table.with_made, body)).unequal
        ]
        if table.version and not self._options.dry_run:
            keys = {key for key, _ in unequal}
            records = records_of(body)
            equal = [record for record in records if key_of(record, table) not in keys]
            if equal:
                await changed_rows.record_pairs(self._connection, table, json.dumps(equal).encode())
        return unequal

    async def _write(self, table: CopyTable, keys: Sequence[Key], done: TableSynced) -> Refused:
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
            unequal.update(key for key, _ in await self._unequal(table, page.body))
        return [key for key in keys if key not in there or key in unequal]

    async def _once_more(self, look: ReverseLook, done: TableSynced) -> None:
        before = self._refused[look.table.name]
        self._refused[look.table.name] = await self._write(look.table, sorted(before), done)
        done.updated += len(before.keys() - self._refused[look.table.name].keys())

    async def _try_again(self, look: ReverseLook, refused: Refused, done: TableSynced) -> Refused:
        """Once more: what stood in the way may have gone since. Rows that hold each other's keys are deleted first.

        Not where other rows would go with them, or where no image of them may be kept.
        """
        table, before = look.table, set(refused)
        refused = await self._write(table, sorted(refused), done)
        conflicting = sorted(key for key, (sqlstate, _) in refused.items() if sqlstate in CONFLICTS)
        if len(conflicting) > 1 and not (look.cascades or table.keys_only):
            async for page in self._source.rows_by_key(table, conflicting):
                await source_before_images.keep_taken_out(self._connection, self._run, table, page.body)
            await self._delete_in_source(table, conflicting)
            still = await self._write(table, conflicting, done)
            refused = {key: reason for key, reason in refused.items() if key not in conflicting} | still
        done.updated += len(before - set(refused))
        return refused

    async def _put_back(self, table: CopyTable, refused: Refused) -> None:
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
