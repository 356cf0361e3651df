"""Following a stream: the steps that are done again and again, and the two ways in which it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from psycopg import AsyncConnection

from app.errors import MigrationError, StoreError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress
from app.migration.stream.applier import Applied, AuthorityChangedError
from app.migration.stream.changes import OtherRelationError
from app.migration.stream.looks import StreamLooks
from app.migration.stream.moments import Moments
from app.migration.stream.options import FollowOptions
from app.migration.stream.source.messages import Message
from app.migration.stream.source.publication import Publication
from app.migration.stream.source.slot import OtherServerError, SlotLook, StreamSlot, lsn_text
from app.migration.stream.source.table_fingerprints import (
    CHANGED,
    changed_tables,
    fingerprints,
    other_files,
    other_identities,
)
from app.migration.sync.sync_report import TableSynced
from app.migration.tables.copy_table import CopyTable
from app.next_step import Command, NextStep
from app.state import streams

# The slot is gone, or gives nothing any more; or a session is reading it.
_NO_SLOT, _IN_USE = {"42704", "55000"}, "55006"


class Applying(Protocol):
    """Brings the changes of a peek to the other end."""

    async def apply(
        self, parts: AsyncIterator[list[tuple[Message, int]]], *, after: int, before: int | None = None
    ) -> Applied:
        """See `Applier.apply`."""


class Clock:
    """When something was last done."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """It is done now."""
        self._at = monotonic()

    def due(self, seconds: float) -> bool:
        """Whether that is so long ago; it counts as done now, then."""
        is_due = monotonic() - self._at >= seconds
        if is_due:
            self.begin()
        return is_due


class BeginAnewError(Exception):
    """The stream is to be begun again, with a look at everything."""


class GivenUpError(Exception):
    """There is no stream any more; says why."""


async def weigh(slot: StreamSlot, most_held: int, end: str) -> SlotLook:
    """See whether the stream may go on; returns the slot as it is.

    Args:
        most_held: bytes of its log that the end may keep which has the slot.
        end: that, in a word.

    Raises:
        GivenUpError: it keeps more.
        BeginAnewError: the slot is lost.
    """
    look = await slot.look()
    if look is None or look.lost:
        raise BeginAnewError(f"the slot {slot.name} gives no changes any more")
    if look.held is None or look.held <= most_held:
        return look
    oldest = await slot.oldest_transaction()
    because = f"; the oldest open transaction there is {oldest}" if oldest else ""
    raise GivenUpError(
        f"the change stream is given up, and its slot dropped: the {end} kept {look.held:,} bytes of its log for "
        f"it, more than --max-wal{because}. All tables are followed by their rows' versions from here on"
    )


@dataclass(slots=True)
class FollowedStream:
    """What is followed, and what is done with it again and again.

    Attributes:
        connection: to the target, in autocommit.
        log: the end whose log it is.
        end: what that end is, in a word.
        command: the options of the command that follows it.
        choose: gives those of some tables that may be written now.
        tables: by the stream.
        rest: the other ones, by xmin or as a whole.
        at_the_end: those that come by xmin in the last round; all, where triggers of the target may write to others.
        moments: of the target, taken before each peek.
        seen: up to where a peek has looked.
        position: every transaction whose commit record begins before it is applied.
        done: what was applied since it was last told.
    """

    connection: AsyncConnection
    log: PostgresSource
    end: str
    command: str
    how: FollowOptions
    progress: Progress
    choose: Callable[[AsyncConnection, Sequence[CopyTable]], Awaitable[Sequence[CopyTable]]]
    slot: StreamSlot
    publication: Publication
    applier: Applying
    moments: Moments
    tables: Sequence[CopyTable]
    rest: Sequence[CopyTable]
    at_the_end: Sequence[CopyTable]
    published: str
    prints: dict[str, str]
    position: int
    done: dict[str, TableSynced]
    looks: StreamLooks
    lags: list[float] = field(default_factory=list)
    told: Clock = field(default_factory=Clock)
    confirmed: Clock = field(default_factory=Clock)
    checked: Clock = field(default_factory=Clock)
    weighed: Clock = field(default_factory=Clock)
    until: int | None = None
    seen: int | None = None
    is_busy: bool = False

    async def step(self) -> tuple[bool, int]:
        """One peek, applied and confirmed; whether there is more at once, and up to where it looked."""
        await self.log.pace.ready()  # nothing is begun while it is paused
        taken = await self.moments.take()
        upto, end = await self.slot.places()
        self.moments.place(taken, end)
        if upto == self.seen:
            return False, upto
        try:
            applied = await self._peeked(upto)
        except AuthorityChangedError as error:
            raise BeginAnewError(f"{error}: who writes it has changed") from None
        except OtherRelationError as error:
            await self._peeked(upto, before=error.before)
            if not error.columns:
                raise BeginAnewError(f"the replica identity of {error.table} has changed") from None
            raise await self._changed([error.table]) from None
        except OtherServerError as error:
            raise BeginAnewError(str(error)) from None
        except StoreError as error:
            if error.sqlstate == _IN_USE:
                if not self.is_busy:
                    self.progress.notice(f"another session is reading the slot {self.slot.name}; trying again")
                self.is_busy = True
                await asyncio.sleep(self.how.interval)
                return True, upto
            if error.sqlstate in _NO_SLOT:
                raise BeginAnewError(f"the slot {self.slot.name} gives no changes any more") from None
            raise
        more = applied.messages >= self.how.most_messages
        self.seen = self.seen if more else upto
        return more, upto

    async def _peeked(self, upto: int, before: int | None = None) -> Applied:
        peek = self.slot.peek(upto=upto, most=self.how.most_messages)
        async with aclosing(peek) as parts:
            applied = await self.applier.apply(parts, after=self.position, before=before)
        self.lags += applied.lags
        self.looks.unexplained |= applied.unexplained
        if applied.lsn is not None:
            self.position = applied.lsn
            self.confirmed.begin()
            await self.slot.advance(self.position)
        return applied

    async def catch_up(self) -> int:
        """Apply what is committed by now; returns up to where that is."""
        await asyncio.sleep(await self.slot.flushed_after())
        until = await self.slot.flushed()
        await self._catch_up()
        return until

    async def _catch_up(self) -> None:
        more = True
        while more:
            more, _ = await self.step()

    async def confirm_idle(self, upto: int, *, more: bool) -> None:
        """Let the source forget a log without changes, as far as a peek has looked."""
        if self.confirmed.due(self.how.idle_interval) and not more and upto > self.position:
            await streams.note_applied(self.connection, self.slot.name, lsn_text(upto))
            self.position = upto
            await self.slot.advance(upto)

    async def weigh(self) -> None:
        """Look at what is kept for the slot, now and then; errors as of `weigh`."""
        if self.weighed.due(self.how.idle_interval):
            look = await weigh(self.slot, self.how.most_held, self.end)
            to_come = max(0, await self.slot.flushed() - max(self.position, self.seen or 0))
            await streams.note_weighed(self.connection, self.slot.name, held=look.held, to_come=to_come)

    async def check_catalog(self) -> None:
        """See whether the tables are as they were at the end whose log it is, and can be published as before.

        Raises:
            MigrationError: they are not, and all that was committed before that is applied.
            BeginAnewError: something else has changed that only a new start takes in.
        """
        prints = await fingerprints(self.log, self.tables)
        if changed := changed_tables(self.prints, prints):
            await self._catch_up()
            raise await self._changed(changed)
        if other_identities(self.prints, prints):
            raise BeginAnewError(f"a replica identity has changed at the {self.end}")
        if emptied := other_files(self.prints, prints):
            raise BeginAnewError(f"partitions of {', '.join(emptied)} may have been emptied at the {self.end}")
        if self.prints != prints:
            await streams.keep_tables(self.connection, self.slot.name, prints)
            self.prints = prints
        published = (await self.publication.look([*self.tables, *self.rest])).tables
        chosen = {one.name for one in await self.choose(self.connection, published)}
        if chosen != set(prints) or await self.publication.fingerprint() != self.published:
            raise BeginAnewError("other tables can be followed by the change stream than before")

    async def _changed(self, tables: Sequence[str]) -> MigrationError:
        """The error; the next start compares all rows of these tables, even where the catalog is as it was by then."""
        await streams.keep_tables(self.connection, self.slot.name, self.prints | dict.fromkeys(tables, CHANGED))
        return MigrationError(
            f"the {self.end}'s tables {', '.join(tables)} were changed; the stream stops at {lsn_text(self.position)}",
            step="sync",
            table=tables[0] if len(tables) == 1 else None,
            done="all transactions before it",
            pending="the changes since",
            next_step=NextStep(
                f"change the {'source' if self.end == 'target' else 'target'}'s tables in the same way (",
                Command("preflight"),
                " compares them), then: ",
                Command("sync", self.command),
            ),
        )
