"""One way of a sync: the order of a round, which both ways share, and the deletions that it may make."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.keys import keyed_rows
from app.migration.keys.key_listing import count_keys, select_keys
from app.migration.load.statements import key_array
from app.migration.sources.source import Progress, Source
from app.migration.sync.changed_rows import WalkedKeys, changed_keys
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.interference import find_firing
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.state.runs import row_versions

NOTHING_WRITTEN = "everything of this round; nothing of it was written"


class StillRefusedError(Exception):
    """Rows that are refused although the others' old rows are out of the way; rolls the attempt back."""

    def __init__(self, keys: Collection[Key]) -> None:
        super().__init__()
        self.keys = set(keys)


@dataclass(frozen=True, slots=True)
class CandidateDeletions:
    """Rows of one side that the other does not have.

    Attributes:
        count: how many there are.
        keys: in their order; None where they are more than a round may delete, which only a dry run passes over.
    """

    count: int
    keys: list[Key] | None

    @classmethod
    async def read(cls, connection: AsyncConnection, query: sql.Composed, options: SyncOptions) -> Self:
        """What a query for their keys (text[]) gives; they come over where they are not too many."""
        count = await count_keys(connection, query)
        if count > options.most_deleted:
            return cls(count, None)
        return cls(count, sorted(await select_keys(connection, query.as_string(connection))) if count else [])


def refuse_many_deletions(gone: Mapping[str, int], options: SyncOptions, *, side: str, other: str) -> None:
    """Stop where a round would delete more rows than it may.

    Args:
        gone: candidates by table.
        side: where the rows would be deleted, in words; other: where they are missing.

    Raises:
        MigrationError: says how many rows of which tables, and the option.
    """
    total = sum(gone.values())
    if total <= options.most_deleted or options.dry_run:
        return
    counts = ", ".join(f"{table} ({rows:,})" for table, rows in gone.items() if rows)
    raise MigrationError(
        f"{total:,} rows of {side} are not in {other} and would be deleted, more than --max-deletes "
        f"({options.most_deleted:,}): {counts}",
        step="sync",
        pending="everything of this round; nothing was deleted",
        next_step=NextStep(
            Command("sync", f"{'--reverse ' * options.reverse}--max-deletes {total}"),
            ", if those rows were deleted on purpose",
        ),
    )


@dataclass(frozen=True, slots=True)
class TableLook:
    """What a look at a table found.

    Attributes:
        changed: keys of rows to fetch or to compare; where more are than are asked for by key, all that the source
            lists: then all pages are read.
        gone: rows that the side which is written to has, and the other does not.
    """

    table: CopyTable
    changed: list[Key] | WalkedKeys
    gone: CandidateDeletions


LookT = TypeVar("LookT", bound=TableLook)


class Direction(ABC, Generic[LookT]):
    """Brings the tables of one side to the other's present state, round by round.

    Attributes:
        side: where rows are written, in words.
        other: where they come from.
    """

    side: ClassVar[str]
    other: ClassVar[str]

    def __init__(
        self, connection: AsyncConnection, source: Source, run: int, options: SyncOptions, progress: Progress
    ) -> None:
        self._connection = connection
        self._source = source
        self._run = run
        self._options = options
        self._progress = progress

    async def round(self, tables: Sequence[CopyTable]) -> list[TableSynced]:
        """One round over the tables, parents before children. All are looked at before anything is written.

        Raises:
            MigrationError: too much would be deleted, or one of the ends failed.
        """
        looks = []
        for table in tables:
            with self._explained(table, NOTHING_WRITTEN):
                looks.append(await self._look(table))
        gone = {look.table.name: look.gone.count for look in looks}
        refuse_many_deletions(gone, self._options, side=self.side, other=self.other)
        done = {look.table.name: TableSynced(look.table.name, keys_only=look.table.keys_only) for look in looks}
        await self._begin(tables)
        for look in reversed(looks):
            if look.gone.keys is None:
                done[look.table.name].deleted = look.gone.count
            elif look.gone.keys:
                with self._explained(look.table, "the rest of this round's deletions, and its changes"):
                    await self._delete(look, look.gone.keys, done[look.table.name])
        for position, look in enumerate(looks):
            waiting = [f"the rest of {look.table.name}", *(later.table.name for later in looks[position + 1 :])]
            with self._explained(look.table, ", ".join(waiting)):
                await self._bring(look, done[look.table.name])
        await self._finish(looks, done)
        return list(done.values())

    @abstractmethod
    async def _look(self, table: CopyTable) -> LookT:
        """What is changed and what is gone; writes nothing but what the tool remembers."""

    async def _changed(self, table: CopyTable, *, stand: bool, missing: bool) -> list[Key] | WalkedKeys:
        """See `TableLook.changed`; the last that is asked of `source_keys`. For the arguments see `changed_keys`."""
        connection = self._connection
        changed = await changed_keys(connection, self._source, table, self._options, stand=stand, missing=missing)
        if not self._options.dry_run:
            await row_versions.forget_gone(connection, table.name, key_array(table, "s"))
        if changed is not None:
            return changed
        listed = WalkedKeys(connection, table)
        await listed.keep()
        return listed

    async def _begin(self, tables: Sequence[CopyTable]) -> None:
        """Called when nothing was written yet."""

    @abstractmethod
    async def _delete(self, look: LookT, keys: list[Key], done: TableSynced) -> None:
        """Delete rows that the other side does not have, children before parents."""

    @abstractmethod
    async def _bring(self, look: LookT, done: TableSynced) -> None:
        """Insert and update, parents before children."""

    @abstractmethod
    async def _finish(self, looks: Sequence[LookT], done: Mapping[str, TableSynced]) -> None:
        """Try again what was refused, and say what still is."""

    def _explained(self, table: CopyTable, pending: str) -> AbstractContextManager[None]:
        return explained("sync", setting=self._source.setting, table=table.name, pending=pending)


async def gone_from_source(
    connection: AsyncConnection, source: Source, table: CopyTable, keys: Sequence[Key]
) -> list[Key]:
    """Those of the target's keys that the source does not have when it is asked for them."""
    there: set[Key] = set()
    async for page in source.rows_by_key(table, keys):
        there |= await keyed_rows.keys_of(connection, table, page.body)
    return [key for key in keys if key not in there]


async def rows_kept(connection: AsyncConnection, table: CopyTable, keys: Sequence[Key]) -> tuple[int, str]:
    """How many rows are there still after they were deleted, and a sentence that names what may have kept them."""
    kept = len(await keyed_rows.existing_keys(connection, table, keys))
    if not kept:
        return 0, ""
    found = await find_firing(connection, [table])
    names = [f"{one.kind.lower()} {one.name}" for one in found if "delete" in one.events]
    by = f" ({', '.join(names)})" if names else ""
    return kept, f"{table.name}: {kept} rows that the source does not have were deleted, and the target keeps them{by}"
