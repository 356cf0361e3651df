"""This process among those of the cutover: it reports itself, follows the stage, and holds its writes for a move."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from time import monotonic

from app.common.background import end_task
from app.common.deadlines import happens, within
from app.common.schemas import Schemas
from app.cutover.fencing import NO_STAGE
from app.cutover.known_stage import KnownStage
from app.cutover.looks import Looks
from app.cutover.stages import Stage, Store
from app.errors import DataError, SchemaMismatchError, SettingsError, UnavailableError
from app.flags import Flags
from app.state.cutover import processes
from app.state.cutover.moves import GIVE_UP_EXPIRED
from app.state.cutover.processes import FOLLOWS, Report, StageReading, WriterCounts
from app.state.cutover.stage import StageRow, can_read_stage
from app.stores.postgres.database import Database
from app.stores.standbys.read_router import ReadRouter

logger = logging.getLogger("app.data_layer")

_INTERVAL = 0.5  # seconds between looks
_INTERVAL_HOLDING = 0.05
_INTERVAL_WITHOUT = 2.0  # while there has never been a row, and none is needed
_LOOK_TIMEOUT = 3.0
_FIRST_LOOK_TIMEOUT = 1.5  # where the stage is known without it
_GRACE = 1.5  # seconds past a hold's end, or for a registration, that a write waits for word


@dataclass
class _Hold:
    """A move that this process holds its writes for; `until` is when it is over, by the monotonic clock."""

    move: int
    until: float
    reported: bool = False  # perhaps the command knows: nothing is written before the move is known to have ended


class Membership:
    """Of a process with a target: at which stage it is, and whether it may write.

    Args:
        database: a pool for the reports alone, so that nothing can keep them waiting.
        process: this process's name.
        counts: what the writers have left to do; asked at each report.
        router: the way of reads to standbys, none of which may answer as of before the last move.
        looks: looks for it, as for the other salons of the process, while all is well; None: it looks by itself.
        at_stage: told each stage that this process comes to.
    """

    def __init__(
        self,
        database: Database,
        flags: Flags,
        process: str,
        counts: Callable[[], WriterCounts],
        router: ReadRouter | None = None,
        *,
        looks: Looks | None = None,
        at_stage: Callable[[Stage], None] = lambda _: None,
    ) -> None:
        self._looks = looks
        self._database = database
        self._flags = flags
        self._process = process
        self._counts = counts
        self._router = router
        self._known = KnownStage(flags, database.mark, at_stage)
        self._registered = False
        self._may_be_registered = False  # also where the answer was lost
        self._hold: _Hold | None = None
        self._in_flight: Counter[Stage] = Counter()
        self._began = monotonic()
        self._looking = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    @property
    def stage(self) -> Stage:
        """The stage whose authority is read; errors as of `KnownStage.readable`."""
        return self._known.readable()

    @property
    def row(self) -> StageRow | None:
        """The row as it was last read; None: never."""
        return self._known.row

    @property
    def schemas(self) -> Schemas:
        """Where the salon's rows are."""
        return self._database.schemas

    @property
    def is_settled(self) -> bool:
        """Whether its last look went well, and found it in the list of the processes, and no move."""
        return self._registered and self._known.lost is None and self._hold is None

    @property
    def is_idle(self) -> bool:
        """Whether no write is under way here, and none is held."""
        return self._hold is None and not +self._in_flight

    def look_now(self) -> None:
        """Look at once."""
        self._hurry.set()

    async def start(self) -> None:
        """Look once, and go on looking.

        Raises:
            SettingsError: the environment fixes a stage that contradicts the row or the processes that follow it.
        """
        if await self._try_to_look(_FIRST_LOOK_TIMEOUT if self._known.current else _LOOK_TIMEOUT):
            if contradiction := self._known.contradiction(strictly=True):
                raise SettingsError(contradiction)
            await self._refuse_beside_followers()
        if self._looks is not None:
            self._looks.follow(self)
        self._loop = asyncio.create_task(self._keep_looking())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Stage]:
        stage = await self._admitted()
        self._in_flight[stage] += 1  # nothing is awaited since the admission
        try:
            yield stage
        finally:
            self._in_flight[stage] -= 1
            if self._hold is not None:
                self._hurry.set()

    async def look_again(self, seen: Stage) -> None:
        if not await self._try_to_look():
            raise UnavailableError(f"the stage has moved and cannot be read: {self._known.lost}")
        if self._known.current is not None and self._known.current.authority is seen.authority:
            await asyncio.sleep(_INTERVAL_HOLDING)  # moved back meanwhile, or about to be moved

    async def close(self) -> None:
        if self._looks is not None:
            self._looks.leave(self)
        if self._loop is not None:
            await end_task(self._loop)
        if self._counts().spooled:
            # It counts as running: no gate may open before its notes are brought in and repaired.
            logger.warning("process %s has ended and left notes in its spool file; start it again here", self._process)
            await self._try_to_look()
        elif not await self.leave():
            name = self._process
            logger.warning("process %s has ended and could not say so: run `botdata cutover forget %s`", name, name)

    async def _admitted(self) -> Stage:
        """Wait until a write may begin."""
        asked = monotonic()
        while True:
            stage, row = self._known.writable(), self._known.row
            if self._hold is not None:
                until, obstacle = self._hold.until, "writes are held while the authority moves"
            elif not self._registered and row is not None and (self._flags.stage is None or row.managed):
                until, obstacle = asked, "this process could not report itself to the target"
            else:
                return stage
            seconds = until + _GRACE - monotonic()
            if seconds <= 0:
                raise UnavailableError(f"{obstacle}; nothing was written")
            await happens(self._changed, seconds)

    async def _refuse_beside_followers(self) -> None:
        fixed, row = self._flags.stage, self._known.row
        if fixed is None or fixed.authority is Store.SUPABASE or row is None or row.managed:
            return

        async def ask() -> list[str]:
            async with self._database.statements() as connection:
                return await processes.followers(connection, self._process)

        try:
            names = await within(_FIRST_LOOK_TIMEOUT, ask())
        except DataError as error:
            self._is_lost(str(error))
            return
        if names:
            raise SettingsError(
                f"{self._flags.chosen_by} makes PostgreSQL the authority, beside processes that follow the row, where "
                f"it is Supabase: {', '.join(names)}; end them, or `botdata cutover forget` those that have ended, or "
                f"set {FOLLOWS}"
            )

    async def _keep_looking(self) -> None:
        while True:
            is_needed = self._known.row is not None or self._known.current is None
            seconds: float | None = _INTERVAL if is_needed else _INTERVAL_WITHOUT
            if self._hold is not None:
                seconds = _INTERVAL_HOLDING
            elif self._looks is not None and self.is_settled:
                seconds = None
            await happens(self._hurry, seconds)
            self._hurry.clear()
            async with nullcontext() if self._looks is None or self._hold is not None else self._looks.turns:
                await self._try_to_look()

    async def _try_to_look(self, seconds: float | None = None) -> bool:
        """Report and read once; False, with the reason kept, when that could not be done in time."""
        async with self._looking:
            known = self._database.mark.row
            try:
                look = await within(seconds or _LOOK_TIMEOUT, self._look())
            except DataError as error:
                self._is_lost(str(error))
            except Exception as error:  # whatever it is, the next look must come
                self._is_lost(type(error).__name__)
            else:
                self._take(look, known)
                return True
            return False

    async def _look(self) -> StageReading:
        async with self._database.statements() as connection:
            if self._known.row is None and not await can_read_stage(connection):
                raise UnavailableError(NO_STAGE)
            look = await processes.report_and_read(connection, self.report())
            self._database.mark.see_server(look.row.server_timeline)
            if look.move is not None and look.move.seconds < 0:
                await connection.execute(GIVE_UP_EXPIRED, {"number": look.move.id, "said": "its time was up"})
        if not look.registered:
            self._registered = False  # it may have been forgotten, and is to write no more until it is back
            stage = self._known.stage_of(look.row)
            self._may_be_registered = True
            async with self._database.transaction() as connection:
                await processes.register(
                    connection, self._process, stage, self._flags.chosen_by, monotonic() - self._began
                )
            async with self._database.statements() as connection:
                look = await processes.report_and_read(connection, self.report(stage))
        return look

    def report(self, stage: Stage | None = None) -> Report:
        """What this process says of itself; the given stage where none is known."""
        counts = self._counts()
        in_flight = sum(self._in_flight.values())
        current = self._known.current or stage or Stage.OFF
        earlier = next((begun for begun, writes in self._in_flight.items() if writes and begun is not current), None)
        held = None
        if self._hold is not None and not in_flight and not counts.pending:
            held = self._hold.move
            self._hold.reported = True  # before it is sent, since its answer may be lost
        problem = self._known.went_back or self._known.contradiction(strictly=True) or counts.problem
        reads = self._router.report() if self._router is not None else None
        return Report(self._process, earlier or current, held, in_flight, counts._replace(problem=problem), reads)

    def _take(self, look: StageReading, known: StageRow | None) -> None:
        """Go by what was read; `known` was the newest row before."""
        self._registered = look.registered
        row = self._known.take(look.row, known)
        if self._router is not None and row is not None and row.place is not None:
            self._router.reach(row.place)  # before a read goes by the new stage
        if look.move is None:
            self._hold = None
        elif self._hold is None or self._hold.move != look.move.id:
            self._hold = _Hold(look.move.id, monotonic() + look.move.seconds)
            self._hurry.set()
        self._wake()

    def _is_lost(self, reason: str) -> None:
        self._known.lose(reason)
        hold = self._hold
        if hold is not None and not hold.reported and monotonic() > hold.until + _GRACE:
            self._hold = None  # the move could not be made without this process's word
            self._wake()

    def _wake(self) -> None:
        """Let the writes that wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def leave(self) -> bool:
        """Say goodbye to the list of processes; whether the target has heard it. No write may be under way."""

        async def leave() -> None:
            async with self._database.transaction() as connection:
                await connection.execute(processes.TAKE_AWAY, {"process": self._process})

        if self._may_be_registered:
            self._registered = False  # perhaps it is heard, and the answer lost
            try:
                with suppress(SchemaMismatchError):  # the list is gone with the salon
                    await within(_LOOK_TIMEOUT, leave())
            except DataError as error:
                logger.info("the target has not heard that process %s ends: %s", self._process, error)
                self.look_now()
                return False
            self._may_be_registered = False
        return True
