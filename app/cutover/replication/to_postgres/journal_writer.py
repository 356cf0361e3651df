"""Writes while Supabase is the authority: noted, written there, and mirrored to PostgreSQL by key."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from app.common.background import BackgroundTasks, end_all, end_task
from app.common.breaker import Breaker
from app.common.metrics import Metrics
from app.common.quiet import Calls
from app.cutover.replication.authority_writer import AuthorityWriter
from app.cutover.replication.to_postgres.applier import PostgresApplier
from app.cutover.replication.to_postgres.journal import Notes
from app.cutover.replication.to_postgres.mirrors import Mirrors
from app.cutover.replication.to_postgres.note import Note
from app.cutover.replication.write_queue import ENDING
from app.cutover.stages import Stage
from app.errors import DataError, OutcomeUnknownError, StoreError, UnavailableError, UnrepresentableValueError
from app.models import Base
from app.settings import Settings
from app.stores.backend import Backend
from app.stores.codec.json_rows import Values
from app.stores.codec.rows import key_of, table_of
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest

logger = logging.getLogger("app.data_layer.mirrors")

_LOOK = 0.25  # seconds between looks for mirrors that are due, and for PostgreSQL while it is down
_LOOK_FOR_THE_DEAD = 10.0
_NOTES_TRIED = 3


class JournalWriter(AuthorityWriter):
    """The writer for the stages whose authority is Supabase.

    Args:
        supabase: the backend that answers.
        rest: for what mirrors read.
        database: connections for notes and mirrors, beside the callers' own.
        process: the name of this process.
        calls: for the end of which mirrors wait a little, unless callers wait for them.
    """

    def __init__(
        self,
        supabase: Backend,
        rest: SupabaseRest,
        database: Database,
        settings: Settings,
        process: str,
        metrics: Metrics,
        calls: Calls | None = None,
    ) -> None:
        super().__init__(supabase)
        self._settings = settings
        self._metrics = metrics
        self._breaker = Breaker(longest_pause=2.0)
        self._spool = database.schemas.directory(settings.cutover_spool)
        self._notes = Notes(database, self._spool, process, self._breaker, settings)
        applier = PostgresApplier(rest, database, timeout=settings.mirror_timeout)
        waits_for = None if settings.mirror_wait else calls
        self._mirrors = Mirrors(applier, self._notes, self._breaker, metrics, settings, waits_for)
        self._beside = BackgroundTasks()
        self._background: asyncio.Task[None] | None = None
        self._problem: str | None = None

    @property
    def pending(self) -> int:
        """Writes whose mirror is to come, and notes that are being taken away."""
        return self._mirrors.pending + len(self._beside)

    @property
    def spooled(self) -> int:
        return self._notes.elsewhere

    @property
    def problem(self) -> str | None:
        if self._notes.problem is None and self._breaker.is_open:
            return "PostgreSQL does not answer this process; notes go to the spool"
        return self._notes.problem or self._problem

    async def start(self) -> None:
        """Begin to look after mirrors that failed and notes in the spool, also those of processes that have ended."""
        if self._background is None:
            if self._settings.outcome_settles_after < self._settings.query_timeout:
                logger.warning(
                    "OUTCOME_SETTLES_AFTER (%g s) is shorter than QUERY_TIMEOUT (%g s): should a process be killed "
                    "during a slow write, `botdata sync` could take its note for settled before it lands; make it "
                    "longer, for the bot and for the commands",
                    self._settings.outcome_settles_after,
                    self._settings.query_timeout,
                )
            self._background = asyncio.create_task(self._look_after())

    async def upsert(self, stage: Stage, model: type[Base], rows: Sequence[Values], write: OutgoingWrite) -> list[Any]:
        if not stage.mirrors:
            return await self._authority.upsert(model, rows, write)
        table = table_of(model)
        note = await self._taken(model, [key_of(table, row) for row in rows])
        self._metrics.count("notes", place="postgres" if note.ids else "spool")
        try:
            answer = await self._authority.upsert(model, rows, write)
        except UnrepresentableValueError:
            self._is_written(note)  # only the answer cannot be given
            raise
        except OutcomeUnknownError:
            self._beside.start(self._leave(note))
            raise
        except DataError:
            self._beside.start(self._drop(note))
            raise
        except BaseException:  # cancelled above all: the request may be on its way
            self._beside.start(self._drop(note) if write.give_up() else self._leave(note))
            raise
        self._is_written(note)
        if self._settings.mirror_wait and not self._breaker.is_open:
            await note.wait(self._settings.mirror_wait)
        return answer

    async def close(self) -> None:
        """Wait for mirrors within CLOSE_TIMEOUT; what is left is noted in PostgreSQL or in the spool file."""
        background = [partial(end_task, self._background)] if self._background is not None else []
        deadline = time.monotonic() + self._settings.close_timeout
        await end_all(
            *background,
            lambda: self._beside.wait(self._settings.close_timeout),
            lambda: self._mirrors.finish(deadline - time.monotonic()),
            lambda: self._beside.end(ENDING),  # after the mirrors, which are brought meanwhile
            self._tell_what_is_left,
            self._notes.close,
        )

    async def _tell_what_is_left(self) -> None:
        if self._mirrors.pending:
            logger.warning(
                "closed with %d mirrors to PostgreSQL left; `botdata sync` brings them over", self._mirrors.pending
            )
        if self.spooled:
            logger.warning("closed with %d notes left in the spool file of this process", self.spooled)

    async def _taken(self, model: type[Base], keys: list[tuple[str, ...]]) -> Note:
        """A note, taken so short a time ago that no sync can have taken this process for dead.

        Raises:
            UnavailableError: notes take so long, again and again.
        """
        for _ in range(_NOTES_TRIED):
            began = time.monotonic()
            note = await self._notes.take(model, keys)
            if time.monotonic() - began < self._settings.outcome_settles_after / 2:
                return note
            self._beside.start(self._drop(note))
        raise UnavailableError(
            "a note takes longer than half of OUTCOME_SETTLES_AFTER; nothing was written. Make that longer"
        )

    def _is_written(self, note: Note) -> None:
        note.state = "written"
        self._mirror_later(note)

    async def _drop(self, note: Note) -> None:
        try:
            await self._notes.drop(note)
        except StoreError:
            self._mirrors.add(note)  # a mirror is right whether there was a write or not, and takes the note away

    async def _leave(self, note: Note) -> None:
        note.state = "unknown"
        with suppress(StoreError):
            await self._notes.leave(note)
        await self._set_aside_or_mirror(note)

    def _mirror_later(self, note: Note) -> None:
        if note.ids:
            self._mirrors.add(note)
        else:
            self._beside.start(self._set_aside_or_mirror(note))

    async def _set_aside_or_mirror(self, note: Note) -> None:
        if not await self._notes.set_aside(note):
            self._mirrors.add(note)

    async def _look_after(self) -> None:
        next_look = 0.0  # for the dead
        while True:
            try:
                due = time.monotonic() >= next_look or self._notes.has_overflow
                if (self._notes.elsewhere or self._breaker.is_open or due) and self._breaker.allows():
                    await self._look_at_postgres()
                    if due:
                        await self._bring_in_of_the_dead()
                        next_look = time.monotonic() + _LOOK_FOR_THE_DEAD
                self._notes.write_again()
                self._mirrors.pump()
            except StoreError as error:
                logger.debug("notes wait on: %s", error)
            except Exception as error:
                logger.error("notes cannot be looked after: %s", type(error).__name__)
            await asyncio.sleep(_LOOK)

    async def _look_at_postgres(self) -> None:
        try:
            await self._notes.probe()
            brought = await self._notes.bring_in()
        except StoreError:
            if self._breaker.is_open:  # else a write finds out: a look that was slow once sends no notes to the spool
                self._breaker.failed()
            raise
        if self._breaker.is_open:
            logger.warning("PostgreSQL takes notes again; %d were brought in", brought)
        self._breaker.succeeded()

    async def _bring_in_of_the_dead(self) -> None:
        try:
            await self._notes.bring_in_of_the_dead()
        except OSError as error:
            problem = f"spool files of processes that have ended cannot be read ({error.strerror})"
            if self._problem is None:
                logger.error("%s; their notes wait in %s", problem, self._spool)
            self._problem = problem
        else:
            self._problem = None
