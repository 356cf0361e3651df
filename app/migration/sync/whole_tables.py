"""A sync's tables without a key: looked at by their hashes, and brought over as a whole where these differ."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from psycopg import AsyncConnection

from app.errors import MigrationError
from app.migration.runs.report import Refusal, refusals_of
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sync.direction import refuse_many_deletions
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.migration.target.sequences import raise_sequences
from app.migration.target.target_session import explained
from app.migration.verify.hash_comparison import Range
from app.migration.verify.whole_comparison import compare_whole, whole_hashes
from app.migration.whole import Unpaired, bring_whole
from app.next_step import Command, NextStep
from app.state.runs import quarantine


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last look found and left; `at`: on the clock `monotonic`."""

    at: float
    hashes: tuple[Range, Range]
    refused: tuple[Refusal, ...] = ()
    unsettled: int = 0


class WholeTables:
    """Brings them to the source's present state, round by round; a sync that follows looks once a minute.

    A round raises TableMovedError where the authority of a table moved meanwhile.
    """

    def __init__(self, connection: AsyncConnection, source: PostgresSource, run: int, options: SyncOptions) -> None:
        self._connection = connection
        self._source = source
        self._run = run
        self._options = options
        self._known: dict[str, _Known] = {}

    async def round(self, tables: Sequence[CopyTable]) -> list[TableSynced]:
        """One round.

        Raises:
            MigrationError: too much would be deleted, or one of the ends failed.
        """
        done = []
        for position, table in enumerate(tables):
            waiting = ", ".join([f"the changes of {table.name}", *(one.name for one in tables[position + 1 :])])
            with explained("sync", setting=self._source.setting, table=table.name, pending=waiting):
                done.append(await self._bring(table))
        return done

    async def _bring(self, table: CopyTable) -> TableSynced:
        known = self._known.get(table.name)
        due = known is None or not self._options.follow or monotonic() - known.at >= self._options.whole_interval
        if known is not None and not due:
            return TableSynced(table.name, refused=known.refused, unsettled=known.unsettled)
        if self._options.dry_run:
            return _counts(table, (await compare_whole(self._connection, self._source, table)).counts)
        hashes = await whole_hashes(self._connection, self._source, table)
        if known is not None and known.hashes == hashes:  # what stays different does so for the same reason
            done = TableSynced(table.name, refused=known.refused, unsettled=known.unsettled)
        elif hashes[0] == hashes[1]:
            await quarantine.leave_whole(self._connection, table.name)
            done = TableSynced(table.name)
        else:
            done = await self._replace(table)
            hashes = await whole_hashes(self._connection, self._source, table)
        await raise_sequences(self._connection, table)
        self._known[table.name] = _Known(monotonic(), hashes, done.refused, done.unsettled)
        return done

    async def _replace(self, table: CopyTable) -> TableSynced:
        def check(before: Unpaired) -> None:
            gone = before.extra - before.changed
            refuse_many_deletions({table.name: gone}, self._options, side="the target", other="the source")

        options = self._options
        brought = await bring_whole(
            self._connection,
            self._source,
            table,
            self._run,
            options.permit,
            most_refused=options.most_refused,
            check=check,
        )
        done = _counts(table, brought.before)
        done.inserted, done.updated = brought.loaded.inserted, brought.loaded.updated
        done.deleted = brought.before.extra - brought.loaded.updated
        done.kept, done.unsettled = brought.kept, brought.unlike
        done.refused = refusals_of(table, await quarantine.refusals(self._connection, table.name))
        return done


def _counts(table: CopyTable, found: Unpaired) -> TableSynced:
    """What bringing it over comes to: a row that went and one that came are one that changed."""
    return TableSynced(
        table.name,
        inserted=found.missing - found.changed,
        updated=found.changed,
        deleted=found.extra - found.changed,
        keys_only=table.keys_only,
    )


def refuse_way_back(tables: Sequence[CopyTable]) -> None:
    """Stop a sync back where it would have to write a table whose rows nothing tells apart.

    Raises:
        MigrationError: names them, and the tables that can go back.
    """
    whole = [table.name for table in tables if not table.key]
    if not whole:
        return
    rest = ",".join(table.name for table in tables if table.key)
    others: list[str | Command] = []
    if rest:
        others = ["; or without them: ", Command("sync", f"--reverse --tables {shlex.quote(rest)}")]
    raise MigrationError(
        f"nothing tells the rows of {', '.join(whole)} apart, so that they cannot be brought back one by one",
        step="sync",
        table=whole[0] if len(whole) == 1 else None,
        pending="everything; nothing was written",
        next_step=NextStep("give each a primary key at both ends, then: ", Command("sync", "--reverse"), *others),
    )
