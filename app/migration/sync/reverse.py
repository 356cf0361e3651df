"""One round of a sync from the target back to the source: look, delete, then write what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection

from app.common.keys import Key
from app.migration.keys import keyed_rows
from app.migration.keys.key_listing import count_keys, extra_keys, missing_keys, require_whole, source_keys
from app.migration.runs.report import refusals_of
from app.migration.sources.moved_tables import shown_count
from app.migration.sources.postgres.silent_changes import values_stand
from app.migration.sources.source import Page, Progress, Source
from app.migration.sync import changed_rows, old_images
from app.migration.sync.changed_rows import KeptKeys, WalkedKeys
from app.migration.sync.direction import NOTHING_WRITTEN, CandidateDeletions, Direction, TableLook
from app.migration.sync.options import SyncOptions
from app.migration.sync.source_rows import Refused, SourceRows
from app.migration.sync.source_writers import PostgresWriter, SourceWriter
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import has_cascades
from app.migration.target.sequences import sequence_statements
from app.state.runs import before_images, quarantine

_REFERRED_TO = "23503"  # foreign_key_violation


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
        self._rows = SourceRows(connection, source, writer, run, options, progress)
        self._images: dict[str, list[int]] = {}  # of the round's rows to be written over
        self._refused: dict[str, Refused] = {}  # of the round, by table
        self._waiting_deletions: list[ReverseLook] = []  # of the round: rows that referred to these are changed first
        self.left: dict[str, Refused] = {}  # by table, what the last round left

    async def _begin(self, tables: Sequence[CopyTable]) -> None:
        self._refused.clear()
        self._waiting_deletions.clear()

    async def _delete(self, look: ReverseLook, keys: list[Key], done: TableSynced) -> None:
        if look.cascades or not await self._rows.delete(look.table, keys, done):
            self._waiting_deletions.append(look)

    async def _finish(self, looks: Sequence[ReverseLook], done: Mapping[str, TableSynced]) -> None:
        if any(look.cascades for look in self._waiting_deletions):
            for look in looks:  # the rows that they refer to are there by now, in whatever order the tables are
                table, refused = look.table, self._refused[look.table.name]
                if refused:
                    with self._explained(table, "the deletions, and what they stand in the way of"):
                        again = self._rows.try_again(table, refused, done[table.name], exchange=False)
                        self._refused[table.name] = await again
        kept: dict[str, Refused] = {}
        for look in self._waiting_deletions:
            with self._explained(look.table, "deletions that were refused at first"):
                keys = look.gone.keys or []
                table, synced = look.table, done[look.table.name]
                if not look.cascades or not await self._rows.delete(table, keys, synced, late=True):
                    still = [key for key in keys if not await self._rows.delete(table, [key], synced, late=True)]
                    kept[table.name] = dict.fromkeys(still, (_REFERRED_TO, None))
        for look in looks:
            await self._source.pace.ready()
            with self._source.pace.at_once():  # rows may be out of the source meanwhile, and are to come back soon
                await self._finish_table(look, kept.get(look.table.name, {}), done[look.table.name])

    async def _finish_table(self, look: ReverseLook, kept: Refused, done: TableSynced) -> None:
        name, refused = look.table.name, self._refused[look.table.name]
        done.left = look.left
        if refused:
            with self._explained(look.table, f"rows of {name} that were refused at first"):
                refused = await self._rows.try_again(look.table, refused, done, exchange=not look.cascades)
        if not self._options.dry_run:
            with self._explained(look.table, f"rows of {name} that make room for others, and are to come back"):
                await self._rows.put_back(look.table, refused)
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
            missing = missing_keys(table)
            gone = await CandidateDeletions.read(connection, quarantine.not_refused(table.name, missing), self._options)
            left = await count_keys(connection, missing) - gone.count
            new = await KeptKeys.keep(connection, f"new {table.name}", extra_keys(table))
            changed = await self._changed(table, stand=stand, missing=False)
        if left:
            self._progress.notice(f"{table.name}: {left} rows in quarantine are left as they are in the source")
        return ReverseLook(table, changed, gone, new, left, cascades)

    async def _bring(self, look: ReverseLook, done: TableSynced) -> None:
        table, refused = look.table, self._refused.setdefault(look.table.name, {})
        different = await self._compare(look, done) if look.changed != [] else []
        stuck = await self._rows.still_stuck(table, different)
        changed = [key for key in different if key not in stuck]
        done.inserted, done.updated = look.new.count, len(changed)
        done.unsettled += len(stuck)
        if self._options.dry_run:
            return
        async for new in look.new.parts():
            refused |= await self._rows.write(table, new, done)
        done.inserted -= len(refused)
        if changed:
            not_changed = await self._rows.write(table, changed, done)
            done.updated -= len(not_changed)
            refused |= not_changed

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
        different = [row.key for row in await self._rows.unequal(table, page.body) if not row.missing]
        if different and not self._options.dry_run:
            images = await old_images.keep_later_of_source(self._connection, self._run, table, page.body)
            self._images.setdefault(table.name, []).extend(images)
        return different
