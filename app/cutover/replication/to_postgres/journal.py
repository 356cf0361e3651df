"""Notes of what is being written to Supabase: in the target, else in this process's spool file, else in its memory."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from app import models
from app.common.background import BackgroundTasks, end_all
from app.common.breaker import Breaker
from app.common.deadlines import within
from app.common.keys import Key
from app.cutover.replication.to_postgres.fallback_file import FallbackFile, Left, Overflow
from app.cutover.replication.to_postgres.journal_table import JournalTable
from app.cutover.replication.to_postgres.note import Note
from app.cutover.replication.write_queue import ENDING
from app.errors import AuthorityMovedError, StoreError, StoreTimeoutError
from app.settings import Settings
from app.state.cutover.journal import Ids
from app.state.fetching import Connection
from app.stores.codec.rows import table_of
from app.stores.postgres.database import Database

logger = logging.getLogger("app.data_layer.notes")

_SHARE_OF_POSTGRES = 0.75  # of the time for a note; what is left of it is the spool's
_BROUGHT_AT_ONCE = 200
_LATE = 2.0  # seconds that PostgreSQL may take over a note after its write has gone on without it
_MOST_IN_MEMORY = 10_000  # notes of an outage; what is written after that is for a sync to repair, not for a mirror


class Notes:
    """The notes of one process, wherever they are.

    Args:
        spool: the directory of the spool files.
        process: the name of the process.
        breaker: open while PostgreSQL is known to be down.
    """

    def __init__(self, database: Database, spool: Path, process: str, breaker: Breaker, settings: Settings) -> None:
        self._table = JournalTable(database, process)
        self._spool = FallbackFile(spool, process)
        self._overflow = Overflow(spool, process)
        self._breaker = breaker
        self._note_timeout = settings.note_timeout  # seconds that a write waits for its note at most
        self._timeout = settings.mirror_timeout  # seconds for what nobody waits for
        self._elsewhere: list[Note] = []  # not in the target
        self._moving = asyncio.Lock()  # a note's way into the target, and its end
        self._beside = BackgroundTasks()
        self.problem: str | None = None

    @property
    def elsewhere(self) -> int:
        """How many are not in the target."""
        return len(self._elsewhere) + self._overflow.count

    @property
    def has_overflow(self) -> bool:
        """Whether some are in a file alone."""
        return self._overflow.count > 0

    async def take(self, model: type[models.Base], keys: Sequence[Key]) -> Note:
        """Note a write before it is made. Where the caller is cancelled meanwhile, the note goes again.

        Raises:
            AuthorityMovedError: Supabase is no longer the store to write to.
        """
        note = Note(table_of(model).name, list(keys), model=model)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._note_timeout
        if not self._breaker.is_open:
            inserting = asyncio.create_task(
                within(self._note_timeout + _LATE, self._table.insert(note.table, note.keys))
            )
            try:
                await asyncio.wait({inserting}, timeout=self._note_timeout * _SHARE_OF_POSTGRES)
            except asyncio.CancelledError:
                self._beside.start(self._take_back(note, inserting))
                raise
            try:
                note.ids = inserting.result() if inserting.done() else {}
            except AuthorityMovedError:
                raise
            except StoreError as error:
                self._postgres_failed(error)
            else:
                if note.ids:
                    self._breaker.succeeded()
                    return note
                self._postgres_failed(StoreTimeoutError("no answer in time for a note"))
                self._beside.start(self._take_late(note, inserting))
        self._elsewhere.append(note)
        line = note.line = self._line(note)
        try:
            await asyncio.wait({line}, timeout=max(deadline - loop.time(), 0))
        except asyncio.CancelledError:
            self._beside.start(self._take_back(note))
            raise
        if note.line is line:  # else PostgreSQL has taken the note meanwhile
            self._look_at(line)
        return note

    async def drop(self, note: Note) -> None:
        """Take a note away, since its write was not made.

        Raises:
            StoreError: PostgreSQL's; the note stays there.
        """
        async with self._moving:
            if note.ids:
                await within(self._timeout, self._table.delete(list(note.ids.values())))
            self._not_elsewhere(note)
        note.settled.set()

    async def leave(self, note: Note, error: str | None = None) -> None:
        """Leave a note, as it is, to be repaired; it is settled where a sync has done so already.

        Raises:
            StoreError: PostgreSQL's.
        """
        async with self._moving:
            if not note.ids:
                return
            left = await within(
                self._timeout,
                self._table.leave(
                    note.table,
                    note.ids,
                    note.state,
                    attempts=note.attempts,
                    error=error,
                    anew=not note.left,
                    spoils_proofs=note.spoils_proofs,
                ),
            )
        note.left = True
        note.ids = left
        note.keys = list(left)
        if not left:
            note.settled.set()

    async def set_aside(self, note: Note) -> bool:
        """Leave a note to a file where too many are in memory; False: it is kept."""
        if note.ids or len(self._elsewhere) <= _MOST_IN_MEMORY:
            return False
        try:
            await self._overflow.append(note.table, note.keys)
        except OSError:
            return False
        async with self._moving:
            if note.ids:  # PostgreSQL has taken it meanwhile
                return False
            self._not_elsewhere(note)
        note.settled.set()
        return True

    async def clear(self, transaction: Connection, notes: Sequence[Note], keys: Collection[Key]) -> None:
        """Delete what is noted of these keys in the transaction of their mirror."""
        ids = [number for note in notes for key, number in note.ids.items() if key in keys]
        await self._table.clear(transaction, ids, spoils_proofs=any(note.state == "unknown" for note in notes))

    async def probe(self) -> None:
        """Ask PostgreSQL whether it would take a note in time; StoreError where not."""
        await within(self._note_timeout, self._table.probe())

    async def bring_in(self) -> int:
        """Move the notes that are elsewhere into the target, and say how many.

        Raises:
            StoreError: PostgreSQL's.
        """
        count = 0
        while self._elsewhere:
            async with self._moving:
                notes = self._elsewhere[:_BROUGHT_AT_ONCE]
                states = [note.state for note in notes]
                ids = await within(
                    self._timeout,
                    self._table.bring_in(
                        [(note.table, note.keys, state) for note, state in zip(notes, states, strict=True)],
                        spoils_proofs=any(note.spoils_proofs for note in notes),
                    ),
                )
                for note, state, its_ids in zip(notes, states, ids, strict=True):
                    note.ids = its_ids
                    note.left = state != "writing"
                    self._not_elsewhere(note)
            count += len(notes)
        self.problem = None
        return count

    async def bring_in_of_the_dead(self) -> None:
        """Move what dead processes left in their spool files into the target, where a sync repairs it.

        Raises:
            StoreError: PostgreSQL's.
            OSError: the directory or a file does not let it.
        """
        overflow = self._overflow.count
        await self._overflow.give_up()
        await self._spool.take_over(self._bring_in_left)
        self._overflow.count -= overflow

    def write_again(self) -> None:
        """Try the spool again with notes that are in memory alone."""
        if self.problem is None:
            return
        for note in self._elsewhere:
            if note.line is not None and note.line.done() and note.line.exception() is not None:
                note.line = self._line(note)
        if all(note.line is not None and note.line.done() and not note.line.exception() for note in self._elsewhere):
            self.problem = None

    async def close(self) -> None:
        """Give the spool file up, with what it holds."""
        files = [partial(self._give_up, file) for file in (self._overflow.give_up, self._spool.close)]
        await end_all(lambda: self._beside.wait(self._note_timeout), lambda: self._beside.end(ENDING), *files)

    async def _give_up(self, file: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(OSError):
            await within(self._timeout, file())

    async def _bring_in_left(self, left: Left) -> None:
        if left.unreadable:
            logger.error("the spool file of process %s holds %d lines that are no notes", left.process, left.unreadable)
        await within(self._timeout, self._table.bring_in_left(left))
        logger.warning("%d notes that process %s left wait for a sync", len(left.writes), left.process)

    def _line(self, note: Note) -> asyncio.Task[None]:
        line = asyncio.create_task(self._spool.append(note.table, note.keys))
        line.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it is looked at, or not
        return line

    def _not_elsewhere(self, note: Note) -> None:
        if note in self._elsewhere:
            self._elsewhere.remove(note)
        if note.line is not None:
            self._beside.start(self._settle(note.line))
            note.line = None

    async def _settle(self, line: asyncio.Task[None]) -> None:
        with suppress(OSError):
            await line
            await self._spool.settle()

    async def _take_late(self, note: Note, inserting: asyncio.Task[Ids]) -> None:
        """What PostgreSQL made of a note after all: it is there, or it is one too many."""
        with suppress(StoreError):
            ids = await inserting
            async with self._moving:
                if note in self._elsewhere and note.state != "unknown":
                    note.ids = ids
                    self._not_elsewhere(note)
                else:
                    await within(self._timeout, self._table.delete(list(ids.values())))

    async def _take_back(self, note: Note, inserting: asyncio.Task[Ids] | None = None) -> None:
        with suppress(StoreError):
            if inserting is not None:
                note.ids = await inserting
            await self.drop(note)

    def _postgres_failed(self, error: StoreError) -> None:
        if not self._breaker.is_open:
            logger.warning("PostgreSQL takes no notes (%s); they go to the spool until it does", error)
        self._breaker.failed()

    def _look_at(self, line: asyncio.Task[None]) -> None:
        failure = line.exception() if line.done() else None
        if line.done() and failure is None:
            return
        why = (failure.strerror if isinstance(failure, OSError) else None) or "it does not answer"
        if self.problem is None:
            logger.error(
                "the spool cannot be written (%s) while PostgreSQL takes no notes: they are in this process's memory "
                "alone, so let it run until PostgreSQL is back",
                why,
            )
        self.problem = f"notes are in memory alone, since the spool cannot be written ({why})"
