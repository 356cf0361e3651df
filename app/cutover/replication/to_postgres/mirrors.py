"""Mirrors: the rows of noted writes are brought to PostgreSQL, and tried again where that fails."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext, suppress

from app.common.bisection import in_halves
from app.common.breaker import Breaker
from app.common.deadlines import within
from app.common.keys import Key
from app.common.metrics import Metrics
from app.common.quiet import Calls
from app.cutover.replication.to_postgres.applier import AuthorityUnreadError, PostgresApplier
from app.cutover.replication.to_postgres.journal import Notes
from app.cutover.replication.to_postgres.note import Note
from app.cutover.replication.write_queue import ENDING, WriteQueue
from app.errors import AuthorityMovedError, ConflictError, RejectedError, StoreError, UnavailableError
from app.settings import Settings

logger = logging.getLogger("app.data_layer.mirrors")

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class Mirrors:
    """Notes whose rows PostgreSQL does not have yet.

    Args:
        breaker: open while PostgreSQL is known to be down.
        calls: for the end of which mirrors wait a little; None: they do not wait.
    """

    def __init__(
        self,
        applier: PostgresApplier,
        notes: Notes,
        breaker: Breaker,
        metrics: Metrics,
        settings: Settings,
        calls: Calls | None,
    ) -> None:
        self._applier = applier
        self._notes = notes
        self._breaker = breaker
        self._metrics = metrics
        self._timeout = settings.mirror_timeout
        self._settles_after = settings.outcome_settles_after
        at_once = max(1, settings.mirror_connections // 3)  # each holds a connection
        self._calls = calls
        self._queue = WriteQueue(self._bring, at_once=at_once, may_bring=lambda: not breaker.is_open, calls=calls)

    @property
    def pending(self) -> int:
        """Notes whose mirror is to come."""
        return len(self._queue.pending)

    def add(self, note: Note) -> None:
        """Mirror a note as soon as may be: at once, or when its write's outcome has settled."""
        self._queue.add(note, self._settles_after if note.state == "unknown" else 0.0)

    def pump(self) -> None:
        """Begin what is due."""
        self._queue.pump()

    async def finish(self, seconds: float) -> None:
        """Wait for what is pending, at most so long; then end it, and leave the notes to be repaired."""
        await self._queue.finish(seconds)
        if not self._breaker.is_open:
            with suppress(StoreError):  # they stay as they are: a sync takes longer to know what to make of them
                await within(ENDING, self._leave_pending())

    async def _leave_pending(self) -> None:
        for note in self._queue.pending:
            if not note.left:
                await self._notes.leave(note, "its process ended before the mirror")

    async def _bring(self, notes: list[Note]) -> None:
        # A comparison that waits for it too finds its rows, and need not ask again.
        with nullcontext() if self._calls is None else self._calls.answering():
            await self._bring_batch(notes)

    async def _bring_batch(self, notes: list[Note]) -> None:
        refused: dict[Key, str] = {}

        async def attempt(keys: Sequence[Key]) -> Sequence[Key]:
            model = notes[0].model
            clear = self._applier.mirror(model, keys, lambda done: self._notes.clear(done, notes, keys))
            try:
                await within(self._timeout, clear)
            except (ConflictError, RejectedError) as error:
                if len(keys) > 1:
                    return keys
                refused[keys[0]] = str(error)
            else:
                for note in notes:
                    note.drop_keys(keys)
            return ()

        failure, again = "", True
        try:
            await in_halves(sorted({key for note in notes for key in note.keys}), attempt)
        except AuthorityMovedError as error:
            failure, again = str(error), False
            logger.warning("%d mirrors are given up: %s", len(notes), error)
        except (AuthorityUnreadError, StoreError) as error:
            failure = str(error)
            if isinstance(error, UnavailableError):
                self._breaker.failed()
        except Exception as error:  # a mistake of ours must not lose the note; its text may hold values
            failure = type(error).__name__
        left = [note for note in notes if note.keys]
        for outcome, number in (("sent", len(notes) - len(left)), ("failed", len(left))):
            if number:
                self._metrics.count("mirrors", number, store="postgres", outcome=outcome)
        answers = not self._breaker.is_open
        for note in left:
            reasons = [refused[key] for key in note.keys if key in refused]
            note.is_alone |= bool(reasons)
            said = failure or "; ".join(reasons[:1])
            note.attempts += 1
            if note.attempts == 1:
                logger.warning("a mirror of %s failed and is tried again: %s", note.table, said)
            if answers:
                try:
                    await self._notes.leave(note, said)
                except StoreError:
                    answers = False  # the other notes are not to wait as long, one after the other
            if again and not note.settled.is_set():
                self._queue.add(note, min(_FIRST_PAUSE * 2 ** min(note.attempts - 1, 10), _LONGEST_PAUSE))
