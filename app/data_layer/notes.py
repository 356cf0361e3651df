"""Notes of what is being written to Supabase: in the target, else in this process's spool file, else in its memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app import models
from app.cutover.guard import read_stage
from app.cutover.stages import Store
from app.data_layer.bounded import within
from app.data_layer.breaker import Breaker
from app.data_layer.spool import Key, Left, Spool
from app.db import Database
from app.errors import AuthorityMovedError, StoreError
from app.json_rows import encode
from app.rows import table_of

logger = logging.getLogger("app.data_layer.notes")

State: TypeAlias = Literal["writing", "written", "unknown"]

_SHARE_OF_POSTGRES = 0.75  # of the time for a note; what is left of it is the spool's
_MANY_KEYS = 500  # in one statement

_INSERT = text(
    "INSERT INTO botdata.notes (process, table_name, key, state, attempts, last_error) "
    "SELECT :process, :table, ARRAY(SELECT json_array_elements_text(k)), :state, :attempts, :error "
    "FROM json_array_elements(CAST(:keys AS json)) k RETURNING id, key"
)
_DELETE = text("DELETE FROM botdata.notes WHERE id = ANY(:ids)")
# An outcome that is unknown settles from now on, however long the write took before.
_LEAVE = text(
    "UPDATE botdata.notes SET state = :state, attempts = :attempts, last_error = :error, "
    "noted_at = CASE :state WHEN 'unknown' THEN clock_timestamp() ELSE noted_at END WHERE id = ANY(:ids) RETURNING id"
)
_LEFT = text("UPDATE botdata.last_left_note SET left_at = clock_timestamp()")


@dataclass(eq=False, slots=True)
class Note:
    """The note of one write.

    Attributes:
        ids: of its rows in botdata.notes, by key; empty while it is not there.
        left: it was left there for a sync, which may have repaired it since.
        attempts: mirrors that failed.
    """

    model: type[models.Base]
    keys: list[Key]
    state: State = "writing"
    ids: dict[Key, int] = field(default_factory=dict)
    left: bool = False
    attempts: int = 0
    error: str | None = None
    line: asyncio.Task[None] | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def table(self) -> str:
        """The name of its table."""
        return table_of(self.model).name


class Notes:
    """The notes of one process.

    Args:
        breaker: open while PostgreSQL is known to be down.
        timeout: seconds that a write waits for its note at most.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        breaker: Breaker,
        *,
        process: str,
        timeout: float,
    ) -> None:
        self._database = database
        self._spool = spool
        self._breaker = breaker
        self._process = process
        self._timeout = timeout
        self._elsewhere: list[Note] = []  # not in the target
        self._moving = asyncio.Lock()  # a note's way into the target, and its end
        self._ending: set[asyncio.Task[None]] = set()
        self.problem: str | None = None

    @property
    def elsewhere(self) -> int:
        """Notes that are not in the target."""
        return len(self._elsewhere)

    async def take(self, model: type[models.Base], keys: Sequence[Key]) -> Note:
        """Note a write before it is made; where a caller is cancelled here, nothing stays.

        Raises:
            AuthorityMovedError: Supabase is no longer the store to write to.
        """
        note = Note(model, list(keys))
        began = asyncio.get_running_loop().time()
        if not self._breaker.is_open:
            inserting = asyncio.create_task(within(self._timeout * _SHARE_OF_POSTGRES, self._insert(note)))
            try:
                await asyncio.shield(inserting)
            except AuthorityMovedError:
                raise
            except StoreError as error:
                self._is_down(error)
            except asyncio.CancelledError:
                self._end_beside(note, inserting)
                raise
            else:
                self._breaker.succeeded()
                return note
        note.line = asyncio.create_task(self._spool.append(note.table, note.keys))
        self._elsewhere.append(note)
        try:
            spent = asyncio.get_running_loop().time() - began
            await asyncio.wait({note.line}, timeout=max(self._timeout - spent, 0))
        except asyncio.CancelledError:
            self._end_beside(note)
            raise
        self._look_at_the_spool(note)
        return note

    async def drop(self, note: Note) -> None:
        """The write was not made, so its note goes.

        Raises:
            StoreError: PostgreSQL's; the note stays there.
        """
        async with self._moving:
            if note.ids:
                await within(self._timeout, self._delete(note))
            await self._not_elsewhere(note)
        note.settled.set()

    async def leave(self, note: Note, state: State, error: str | None = None) -> bool:
        """Leave a note for a sync, with what is known; False where a sync has repaired it already.

        Raises:
            StoreError: PostgreSQL's.
        """
        note.state, note.error = state, error
        async with self._moving:
            return not note.ids or await within(self._timeout, self._leave(note))

    async def clear(self, connection: AsyncConnection, notes: Sequence[Note]) -> None:
        """Delete notes in the transaction of their mirror."""
        await connection.execute(_DELETE, {"ids": [number for note in notes for number in note.ids.values()]})
        if any(note.state == "unknown" for note in notes):
            await connection.execute(_LEFT)

    async def bring_in(self) -> int:
        """Move the notes that are elsewhere into the target, and say how many; also a probe of the target.

        Raises:
            StoreError: PostgreSQL's.
        """
        async with self._moving:
            notes = list(self._elsewhere)
            async with self._database.writer() as connection:
                await read_stage(connection)
                ids = [await self._insert_into(connection, note) for note in notes]
                if notes:
                    await connection.execute(_LEFT)
                await connection.commit()
            for note, its_ids in zip(notes, ids, strict=True):
                note.ids, note.left = its_ids, True
                await self._not_elsewhere(note)
            self.problem = None
        return len(notes)

    async def bring_in_of_the_dead(self) -> None:
        """Move what dead processes left in their spool files into the target, where a sync repairs it.

        Raises:
            StoreError: PostgreSQL's.
            OSError: the directory does not let it.
        """
        await self._spool.take_over(self._bring_in_left)

    async def close(self) -> None:
        """Give the spool file up, with what it holds."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=self._timeout)
        with suppress(OSError):
            await self._spool.close()

    async def _insert(self, note: Note) -> None:
        async with self._database.writer() as connection:
            row = await read_stage(connection, share=True)
            if row.managed and row.stage.authority is not Store.SUPABASE:
                raise AuthorityMovedError(
                    f"the cutover stands at {row.stage}, where writes go to PostgreSQL first; nothing was written"
                )
            ids = await self._insert_into(connection, note)
            await connection.commit()
        note.ids = ids

    async def _insert_into(self, connection: AsyncConnection, note: Note) -> dict[Key, int]:
        parameters = {
            "process": self._process,
            "table": note.table,
            "keys": encode(note.keys),
            "state": note.state,
            "attempts": note.attempts,
            "error": note.error,
        }
        result = await connection.execute(_INSERT, parameters)
        return {tuple(key): number for number, key in result.all()}

    async def _delete(self, note: Note) -> None:
        async with self._database.writer() as connection:
            await self.clear(connection, [note])
            await connection.commit()

    async def _leave(self, note: Note) -> bool:
        ids = list(note.ids.values())
        parameters = {"ids": ids, "state": note.state, "attempts": note.attempts, "error": note.error}
        async with self._database.writer() as connection:
            there = set((await connection.execute(_LEAVE, parameters)).scalars())
            missing = [key for key, number in note.ids.items() if number not in there]
            if missing and not note.left:
                # A sync took the process for dead while the write went on: it does not know the outcome.
                again = Note(note.model, missing, note.state, attempts=note.attempts, error=note.error)
                note.ids |= await self._insert_into(connection, again)
            elif missing:
                note.keys = [key for key in note.keys if note.ids[key] in there]
                note.ids = {key: note.ids[key] for key in note.keys}
            await connection.execute(_LEFT)
            await connection.commit()
        note.left = True
        return bool(note.keys)

    async def _bring_in_left(self, left: Left) -> None:
        if left.unreadable:
            logger.error("the spool file of process %s holds %d lines that are no notes", left.process, left.unreadable)
        async with self._database.writer() as connection:
            for table, keys in left.writes:
                parameters = {"process": left.process, "table": table, "keys": encode(keys)}
                await connection.execute(_INSERT, {**parameters, "state": "unknown", "attempts": 0, "error": None})
            await connection.execute(_LEFT)
            await connection.commit()
        logger.warning("%d notes of process %s, which has ended, wait for a sync", len(left.writes), left.process)

    async def _not_elsewhere(self, note: Note) -> None:
        if note in self._elsewhere:
            self._elsewhere.remove(note)
        if note.line is not None:
            line, note.line = note.line, None
            with suppress(OSError):
                await line
                await self._spool.settle()

    def _end_beside(self, note: Note, inserting: asyncio.Task[None] | None = None) -> None:
        async def end() -> None:
            with suppress(StoreError):
                if inserting is not None:
                    await inserting
                await self.drop(note)

        task = asyncio.create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _is_down(self, error: StoreError) -> None:
        if not self._breaker.is_open:
            logger.warning("PostgreSQL takes no notes (%s); they go to the spool until it does", error)
        self._breaker.failed()

    def _look_at_the_spool(self, note: Note) -> None:
        assert note.line is not None
        failure = note.line.exception() if note.line.done() else None
        if note.line.done() and failure is None:
            return
        why = (failure.strerror if isinstance(failure, OSError) else None) or "it does not answer"
        if self.problem is None:
            logger.error(
                "The spool cannot be written (%s), and PostgreSQL takes no notes: notes are kept in this process's "
                "memory alone, so let it run until they are mirrored",
                why,
            )
        self.problem = f"notes are in memory alone, since the spool cannot be written ({why})"
