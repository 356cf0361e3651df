"""The steps of following a stream: a peek that is applied, and looks at what else the source could have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from psycopg import AsyncConnection

from app.errors import MigrationError, StoreError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Progress
from app.migration.stream.applier import Applied, AuthorityChangedError
from app.migration.stream.changes import OtherRelationError
from app.migration.stream.followed import BeginAnewError, Stream, weigh
from app.migration.stream.options import StreamOptions
from app.migration.stream.source.publication import changed_tables, fingerprints, other_identities
from app.migration.stream.source.slot import OtherServerError, lsn_text
from app.migration.tables.copy_table import CopyTable
from app.next_step import Command, NextStep
from app.state import streams

# The slot is gone, or gives nothing any more; or a session is reading it.
_NO_SLOT, _IN_USE = {"42704", "55000"}, "55006"


class Steps:
    """What is done again and again with a stream.

    Args:
        connection: to the target, in autocommit.
        log: the end whose log it is.
        chosen: those of some tables that may be written now.
        end: what that end is, in a word.
        command: the options of the command that follows it.
    """

    def __init__(
        self,
        stream: Stream,
        connection: AsyncConnection,
        log: PostgresSource,
        how: StreamOptions,
        progress: Progress,
        chosen: Callable[[AsyncConnection, Sequence[CopyTable]], Awaitable[Sequence[CopyTable]]],
        end: str,
        command: str,
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._log = log
        self._how = how
        self._progress = progress
        self._chosen = chosen
        self._end = end
        self._command = command

    async def step(self) -> tuple[bool, int]:
        """One peek, applied and confirmed; whether there is more at once, and up to where it looked."""
        stream = self._stream
        await self._log.pace.ready()  # nothing is begun while it is paused
        taken = await stream.moments.take()
        upto, end = await stream.slot.places()
        stream.moments.place(taken, end)
        if upto == stream.seen:
            return False, upto
        try:
            applied = await self._peeked(upto)
        except AuthorityChangedError as error:
            raise BeginAnewError(f"{error}: who writes it has changed") from None
        except OtherRelationError as error:
            await self._peeked(upto, before=error.before)
            if not error.columns:
                raise BeginAnewError(f"the replica identity of {error.table} has changed") from None
            raise self._changed([error.table]) from None
        except OtherServerError as error:
            raise BeginAnewError(str(error)) from None
        except StoreError as error:
            if error.sqlstate == _IN_USE:
                if not stream.is_busy:
                    self._progress.notice(f"another session is reading the slot {stream.slot.name}; trying again")
                stream.is_busy = True
                await asyncio.sleep(self._how.interval)
                return True, upto
            if error.sqlstate in _NO_SLOT:
                raise BeginAnewError(f"the slot {stream.slot.name} gives no changes any more") from None
            raise
        more = applied.messages >= self._how.most_messages
        stream.seen = stream.seen if more else upto
        return more, upto

    async def _peeked(self, upto: int, before: int | None = None) -> Applied:
        stream = self._stream
        peek = stream.slot.peek(upto=upto, most=self._how.most_messages)
        async with aclosing(peek) as parts:
            applied = await stream.applier.apply(parts, after=stream.position, before=before)
        stream.lags += applied.lags
        stream.looks.unexplained |= applied.unexplained
        if applied.lsn is not None:
            stream.position = applied.lsn
            stream.confirmed.begin()
            await stream.slot.advance(stream.position)
        return applied

    async def catch_up(self) -> int:
        """Apply what is committed by now; returns up to where that is."""
        await asyncio.sleep(await self._stream.slot.flushed_after())
        until = await self._stream.slot.flushed()
        await self._catch_up()
        return until

    async def _catch_up(self) -> None:
        more = True
        while more:
            more, _ = await self.step()

    async def confirm_idle(self, upto: int, *, more: bool) -> None:
        """Let the source forget a log without changes, as far as a peek has looked."""
        stream = self._stream
        if stream.confirmed.due(self._how.idle_interval) and not more and upto > stream.position:
            await streams.note_applied(self._connection, stream.slot.name, lsn_text(upto))
            stream.position = upto
            await stream.slot.advance(upto)

    async def weigh(self) -> None:
        """Look at what is kept for the slot, now and then; errors as of `weigh`."""
        stream = self._stream
        if stream.weighed.due(self._how.idle_interval):
            look = await weigh(stream.slot, self._how.most_held, self._end)
            to_come = max(0, await stream.slot.flushed() - max(stream.position, stream.seen or 0))
            await streams.note_weighed(self._connection, stream.slot.name, held=look.held, to_come=to_come)

    async def check_catalog(self) -> None:
        """See whether the tables are as they were at the end whose log it is, and can be published as before.

        Raises:
            MigrationError: they are not, and all that was committed before that is applied.
            BeginAnewError: something else has changed that only a new start takes in.
        """
        stream = self._stream
        prints = await fingerprints(self._log, stream.tables)
        if changed := changed_tables(stream.prints, prints):
            await self._catch_up()
            raise self._changed(changed)
        if other_identities(stream.prints, prints):
            raise BeginAnewError(f"a replica identity has changed at the {self._end}")
        if stream.prints != prints:
            await streams.keep_tables(self._connection, stream.slot.name, prints)
            stream.prints = prints
        published = (await stream.publication.look([*stream.tables, *stream.rest])).tables
        chosen = {one.name for one in await self._chosen(self._connection, published)}
        if chosen != set(prints) or await stream.publication.fingerprint() != stream.published:
            raise BeginAnewError("other tables can be followed by the change stream than before")

    def _changed(self, tables: Sequence[str]) -> MigrationError:
        return MigrationError(
            f"the {self._end}'s tables {', '.join(tables)} were changed; the stream stops at "
            f"{lsn_text(self._stream.position)}",
            step="sync",
            table=tables[0] if len(tables) == 1 else None,
            done="all transactions before it",
            pending="the changes since",
            next_step=NextStep(
                f"change the {'source' if self._end == 'target' else 'target'}'s tables in the same way (",
                Command("preflight"),
                " compares them), then: ",
                Command("sync", self._command),
            ),
        )
