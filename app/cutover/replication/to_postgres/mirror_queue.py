"""Mirrors of notes that wait, run and are tried again, a few at a time."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field

from app.common.breaker import Breaker
from app.common.deadlines import within
from app.common.metrics import Metrics
from app.cutover.replication.to_postgres.applier import AuthorityUnreadError, PostgresApplier
from app.cutover.replication.to_postgres.journal import Notes
from app.cutover.replication.to_postgres.note import Note
from app.errors import AuthorityMovedError, ConflictError, RejectedError, StoreError, UnavailableError

logger = logging.getLogger("app.data_layer.mirrors")

_MOST_KEYS = 200  # in one mirror of several notes; each is a lock, and PostgreSQL has room for some thousands
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_ENDING = 1.0  # seconds, for those that run at the end


@dataclass(eq=False, slots=True)
class _Waiting:
    note: Note
    due: float
    alone: bool = field(default=False)


class MirrorQueue:
    """Notes whose rows PostgreSQL does not have yet.

    Args:
        at_once: mirrors that run at a time; each holds a connection.
        timeout: seconds for one mirror.
        settles_after: seconds until a write of unknown outcome no longer lands.
    """

    def __init__(
        self,
        mirror: PostgresApplier,
        notes: Notes,
        breaker: Breaker,
        metrics: Metrics,
        *,
        at_once: int,
        timeout: float,
        settles_after: float,
    ) -> None:
        self._mirror = mirror
        self._notes = notes
        self._breaker = breaker
        self._metrics = metrics
        self._at_once = at_once
        self._timeout = timeout
        self._settles_after = settles_after
        self._waiting: list[_Waiting] = []
        self._running: dict[asyncio.Task[None], list[_Waiting]] = {}

    @property
    def pending(self) -> int:
        """Notes whose mirror is to come; those of unknown outcome that the target has are a sync's as well."""
        # A set: a mirror that has just failed waits already, while its task ends.
        notes = {one.note for batch in (self._waiting, *self._running.values()) for one in batch}
        return sum(not (note.settled.is_set() or (note.state == "unknown" and note.ids)) for note in notes)

    def add(self, note: Note) -> None:
        """Mirror a note as soon as may be: at once, or when its write's outcome has settled."""
        wait = self._settles_after if note.state == "unknown" else 0.0
        self._waiting.append(_Waiting(note, time.monotonic() + wait))
        self.pump()

    def pump(self) -> None:
        """Begin what is due."""
        while len(self._running) < self._at_once and not self._breaker.is_open and (batch := self._next()):
            task = asyncio.create_task(self._carry_out(batch))
            self._running[task] = batch
            task.add_done_callback(self._ended)

    async def finish(self, seconds: float) -> None:
        """Wait for what is pending, at most so long; then end it."""
        deadline = time.monotonic() + seconds
        while self.pending and not self._breaker.is_open and (rest := deadline - time.monotonic()) > 0:
            self.pump()
            await asyncio.sleep(min(rest, 0.02))
        self._at_once = 0
        left = [one.note for batch in (self._waiting, *self._running.values()) for one in batch]
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_ENDING)
        self._waiting = [_Waiting(note, time.monotonic()) for note in left if not note.settled.is_set()]
        if not self._breaker.is_open:
            with suppress(StoreError):  # they stay as they are: a sync takes longer to know what to make of them
                await within(_ENDING, self._leave_waiting())

    async def _leave_waiting(self) -> None:
        for one in self._waiting:
            if not one.note.left:
                await self._notes.leave(one.note, "its process ended before the mirror")

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a mirror ended with %s", type(error).__name__)
        self.pump()

    def _next(self) -> list[_Waiting]:
        """Notes that are due, of one table."""
        now = time.monotonic()
        due = [one for one in self._waiting if one.due <= now and one.note.ids]
        if not due:
            return []
        batch = [due[0]]
        keys = len(due[0].note.keys)
        for one in due[1:]:
            if due[0].alone or one.alone or one.note.model is not due[0].note.model:
                continue
            keys += len(one.note.keys)
            if keys > _MOST_KEYS:
                break
            batch.append(one)
        taken = set(map(id, batch))
        self._waiting = [one for one in self._waiting if id(one) not in taken]
        return batch

    async def _carry_out(self, batch: list[_Waiting]) -> None:
        notes = [one.note for one in batch]
        keys = sorted({key for note in notes for key in note.keys})
        try:
            await within(
                self._timeout,
                self._mirror.mirror(notes[0].model, keys, lambda connection: self._notes.clear(connection, notes)),
            )
        except AuthorityMovedError as error:
            logger.warning("%d mirrors are given up: %s", len(notes), error)
            await self._leave(batch, str(error), again=False)
        except (ConflictError, RejectedError) as error:
            if len(keys) == 1:
                await self._leave(batch, str(error))
            else:
                self._waiting += _parts(batch)
        except (AuthorityUnreadError, StoreError) as error:
            if isinstance(error, UnavailableError):
                self._breaker.failed()
            await self._leave(batch, str(error))
        except Exception as error:  # a mistake of ours must not lose the note; its text may hold values
            await self._leave(batch, type(error).__name__)
        else:
            self._metrics.count("mirrors", len(notes), store="postgres", outcome="sent")
            for note in notes:
                note.settle()

    async def _leave(self, batch: list[_Waiting], error: str, *, again: bool = True) -> None:
        self._metrics.count("mirrors", len(batch), store="postgres", outcome="failed")
        answers = not self._breaker.is_open
        for one in batch:
            note = one.note
            note.attempts += 1
            if note.attempts == 1:
                logger.warning("a mirror of %s failed and is tried again: %s", note.table, error)
            if answers:
                try:
                    await self._notes.leave(note, error)
                except StoreError:
                    answers = False
            if again and not note.settled.is_set():
                pause = min(_FIRST_PAUSE * 2 ** min(note.attempts - 1, 10), _LONGEST_PAUSE)
                self._waiting.append(_Waiting(note, time.monotonic() + pause, one.alone))


def _parts(batch: list[_Waiting]) -> list[_Waiting]:
    """What is tried in parts, since a row of it is refused: note by note, then halves of a note."""
    if len(batch) > 1:
        return [_Waiting(one.note, one.due, alone=True) for one in batch]
    return [_Waiting(half, batch[0].due, alone=True) for half in batch[0].note.halves()]
