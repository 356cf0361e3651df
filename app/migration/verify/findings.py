"""Rows that seem to differ are read again, a while after, before they count as differences: the sides may move.

A row that the source has written meanwhile is read once more, a few times: what brings it over may be a moment late.
Beside a change stream a row is read again when the stream has passed the last look at it. There it counts where a
column differs in the same way in two looks; a row of which both sides go on changing is one that the stream follows.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from time import monotonic
from typing import Any

from psycopg import AsyncConnection

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.keys.key_listing import require_whole, source_keys
from app.migration.runs.beside_stream import BesideStream
from app.migration.runs.report import FoundDifference
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.migration.verify.row_comparison import RowsCompared, UnequalRow, keys_held, keys_in_source, look_at
from app.next_step import Command, NextStep
from app.state.fetching import fetch_column
from app.state.runs import quarantine
from app.state.tool_schema import may_read
from app.stores.postgres.cursors import rendered

_BATCH = 500
_MOST_WAITING = 20_000
_MOST_LOOKS = 6


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A row that seemed to differ: its key, whether the source had it, and when to read it again.

    Attributes:
        looks: how often it was looked at.
        source: a hash of what the source gave then of the columns that differed; None for the first look.
        seen_at: when that was, where a change stream is to pass it; pairs: what both sides held, by column.
    """

    key: Key
    in_source: bool
    ready_at: float
    looks: int = 1
    source: int | None = None
    seen_at: datetime | None = None
    pairs: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass
class Findings:
    """What of a table differs. Memory is bounded: suspects are settled as they come, differences are kept to a limit.

    Args:
        pause: seconds from the first look at a row to the second one.
        most: differences that are kept; all are counted.
        recount: look at the source's set of keys too before a row that it had, and does not give any more, counts as
            gone.
        fix: copies rows of these keys again.
        stream: the change stream that brings rows of this table over, if one does.
    """

    connection: AsyncConnection
    source: Source
    table: CopyTable
    pause: float
    most: int
    recount: bool
    fix: Callable[[Sequence[Key]], Awaitable[None]] | None = None
    stream: BesideStream | None = None
    differences: list[FoundDifference] = field(default_factory=list)
    missing: int = 0
    extra: int = 0
    different: int = 0
    quarantined: int = 0
    changed: int = 0
    fixed: int = 0
    gone: int = 0  # rows that the source had at the first look and has not any more
    cut: bool = False
    _waiting: deque[_Suspect] = field(default_factory=deque)
    _not_given: list[Key] = field(default_factory=list)

    async def look(self, keys: Sequence[Key]) -> int:
        """Look at rows that have not been looked at; returns how many of them the source gave."""
        look = await look_at(self.connection, self.source, self.table, keys)
        unequal = {row.key for row in look.unequal}
        given = look.records.keys()
        await self.suspect((key for key in keys if key in unequal), in_source=True)
        await self.suspect((key for key in keys if key not in given), in_source=self.recount)
        return len(given)

    async def suspect(self, keys: Iterable[Key], *, in_source: bool) -> None:
        """Rows that seem to differ, and whether the source has them; those that waited long enough are settled."""
        ready_at, seen_at = monotonic() + self.pause, await self._now()
        self._waiting.extend(_Suspect(key, in_source, ready_at, seen_at=seen_at) for key in keys)
        while len(self._waiting) > _MOST_WAITING or (
            len(self._waiting) >= _BATCH and self._waiting[_BATCH - 1].ready_at <= monotonic()
        ):
            await self._settle_batch(_BATCH)

    @property
    def next_look(self) -> float | None:
        """When the next row is to be read again, by the monotonic clock; None: none is left."""
        return self._waiting[0].ready_at if self._waiting else None

    async def settle_ready(self) -> None:
        """Read again the rows that have waited long enough; some of them may have to wait once more."""
        now = monotonic()
        ready = sum(1 for _ in takewhile(lambda suspect: suspect.ready_at <= now, self._waiting))
        for first in range(0, ready, _BATCH):
            await self._settle_batch(min(_BATCH, ready - first))

    async def finish(self) -> None:
        """To be called when none is left to be read again.

        Raises:
            MigrationError: the source's pages leave out rows that it has, so that they were not compared.
        """
        if self._not_given:
            await self._settle_not_given()
        self.differences.sort(key=lambda found: found.kind == "extra")  # those come last

    async def _settle_batch(self, size: int) -> None:
        batch = [self._waiting.popleft() for _ in range(size)]
        await self._wait_for(batch)
        keys = [suspect.key for suspect in batch]
        look = await look_at(self.connection, self.source, self.table, keys)
        if self.fix is not None and look.unequal:
            look = await self._fix(keys, look)
        unequal = {row.key: row for row in look.unequal}
        absent = [key for key in keys if key not in look.records]
        held = await keys_held(self.connection, self.table, absent)
        refused = await self._refused_among(unequal)
        seen_at = await self._now()
        for suspect in batch:
            if row := unequal.get(suspect.key):
                if seen_at is not None:
                    self._settle_beside_stream(suspect, row, refused.get(row.key), seen_at)
                elif not self._is_looked_at_again(suspect, row):
                    self._count_unequal(row, refused.get(row.key))
            elif seen_at is not None and suspect.looks == 1 and suspect.key in held:
                self._wait_again(suspect, seen_at=seen_at)
            elif suspect.key in look.records:
                self.changed += 1
            elif suspect.in_source and self.recount:
                self._not_given.append(suspect.key)
            else:
                self.gone += suspect.in_source
                self._count_absent(suspect.key, held)

    def _is_looked_at_again(self, suspect: _Suspect, row: UnequalRow) -> bool:
        """Whether the source may have written the row between the last two looks, so that a third has to tell."""
        source = hash(tuple(row.source))
        if self.fix is not None or suspect.looks == _MOST_LOOKS or suspect.source == source:
            return False
        self._wait_again(suspect, source=source)
        return True

    def _settle_beside_stream(self, suspect: _Suspect, row: UnequalRow, refused: str | None, seen_at: datetime) -> None:
        """After the stream has passed the last look: the row differs, is looked at again, or is followed."""
        pairs = dict(zip(row.columns, zip(row.source, row.target, strict=True), strict=True))
        again = suspect.looks > 1
        stays = again and (row.missing or any(suspect.pairs.get(name) == pair for name, pair in pairs.items()))
        if not stays and suspect.looks < _MOST_LOOKS:
            self._wait_again(suspect, seen_at=seen_at, pairs=pairs)
        elif stays or any(target == suspect.pairs.get(name, ("", ""))[1] for name, (_, target) in pairs.items()):
            self._count_unequal(row, refused)
        else:
            self.changed += 1

    def _wait_again(self, suspect: _Suspect, **changes: Any) -> None:
        ready_at = monotonic() + self.pause
        self._waiting.append(replace(suspect, ready_at=ready_at, looks=suspect.looks + 1, **changes))

    async def _now(self) -> datetime | None:
        """The moment that the change stream is to pass; None where none brings rows, or it stands still."""
        if self.stream is None or self.stream.stands is not None or self.fix is not None:
            return None
        return await self.stream.now()

    async def _wait_for(self, batch: Sequence[_Suspect]) -> None:
        """Until rows can be read again."""
        seen_at = batch[-1].seen_at
        if seen_at is None or self.stream is None or not await self.stream.passed(seen_at):
            await asyncio.sleep(max(0.0, batch[-1].ready_at - monotonic()))

    async def _fix(self, keys: Sequence[Key], look: RowsCompared) -> RowsCompared:
        """Copy the unequal rows again; returns a new look at all keys."""
        assert self.fix is not None
        before = [row.key for row in look.unequal]
        await self.fix(before)
        again = await look_at(self.connection, self.source, self.table, keys)
        still = {row.key for row in again.unequal}
        done = [key for key in before if key in again.records and key not in still]
        self.fixed += len(done)
        self.changed -= len(done)  # they are equal now, and will be counted as changed
        return again

    async def _settle_not_given(self) -> None:
        """Rows that the source had and does not give by key: gone, or left out of answers? Its set of keys tells."""
        async with source_keys(self.connection, self.source, self.table) as listing:
            require_whole(listing, self.source, self.table, step="verify", pending=f"the rest of {self.table.name}")
            wanted = [json.dumps(self._not_given)]
            query = rendered(keys_in_source(self.table))
            there = set(map(tuple, await fetch_column(self.connection, query, wanted)))
        held = await keys_held(self.connection, self.table, self._not_given)
        if not_compared := there & held:
            raise MigrationError(
                f"{len(not_compared)} rows were not compared: the source's pages left them out",
                step="verify",
                table=self.table.name,
                pending=f"the rest of {self.table.name}",
                next_step=NextStep(Command("verify")),
            )
        refused = await self._refused_among(there)
        for key in self._not_given:
            if key in there:
                self._count_unequal(UnequalRow(key, True, (), (), ()), refused.get(key))
            else:
                self.gone += 1
                self._count_absent(key, held)

    async def _refused_among(self, keys: Collection[Key]) -> dict[Key, str]:
        """The SQLSTATEs of those that are in quarantine."""
        if not (keys and await may_read(self.connection, "quarantine")):
            return {}
        return await quarantine.refused_among(self.connection, self.table.name, keys)

    def _count_unequal(self, row: UnequalRow, refused: str | None) -> None:
        self.quarantined += refused is not None
        if row.missing:
            self.missing += 1
            self._keep("missing", row.key, refused=refused)
            return
        self.different += 1
        for column, source, target in zip(row.columns, row.source, row.target, strict=True):
            self._keep("different", row.key, column, source, target, refused=refused)

    def _count_absent(self, key: Key, held: set[Key]) -> None:
        """A row that is not in the source."""
        if key in held:
            self.extra += 1
            self._keep("extra", key)
        else:
            self.changed += 1

    def _keep(
        self,
        kind: str,
        key: Key,
        column: str | None = None,
        source: str | None = None,
        target: str | None = None,
        *,
        refused: str | None = None,
    ) -> None:
        if len(self.differences) >= self.most:
            self.cut = True
            return
        table = self.table
        texts = (None, None) if table.keys_only else (source, target)
        withheld = table.keys_only and column is not None
        self.differences.append(
            FoundDifference(kind, table.name, key, table.key_holds_phone, column, *texts, refused, withheld)
        )


async def stream_keys(connection: AsyncConnection, query: str) -> AsyncIterator[list[Key]]:
    """The keys (text[]) that a query returns, a thousand at a time; the server keeps the rest."""
    async with connection.cursor("botdata_keys", withhold=True) as cursor:
        await cursor.execute(query)
        while rows := await cursor.fetchmany(1000):
            yield [tuple(row[0]) for row in rows]
