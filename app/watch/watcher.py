"""The watcher: reads the target again and again over one connection, outlasts outages, knows the facts of a moment."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic

from psycopg import AsyncConnection

from app.common.deadlines import happens
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.status import Cutover, ask_gate, see
from app.cutover.stages import Stage
from app.errors import BotdataError, MigrationError
from app.migration.runs.status import Status, status_of
from app.migration.target.target_session import explained, open_target
from app.settings import Settings
from app.state.cutover.proofs import synced_ages
from app.state.sync_progress import SyncProgress, read_progress
from app.watch.compared import Compared

_RUNS = 20  # the newest
NOT_YET = "it is being read"


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate of the stage after `stage` said, as `app.cutover.moves.status.ask_gate` tells it."""

    stage: Stage
    objections: tuple[Objection, ...] | None
    unasked: str | None
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is shown.

    Attributes:
        seen_at: when the target was read, by this machine's clock; None: it never was.
        trouble: why it cannot be read now; what is here is then of `seen_at`.
        status: the runs; None: it was never read.
        cutover: None where the target has no such tables, or the tables are not the bot's.
        synced: seconds since the last sync began at each table that had one.
        syncing: how far the sync that is at work has come.
        gate_asked_at: when the gate of the next stage answered; None: it has not yet.
        compared: answers compared in the last hour.
    """

    seen_at: datetime | None = None
    trouble: str | None = NOT_YET
    status: Status | None = None
    cutover: Cutover | None = None
    synced: dict[str, float] = field(default_factory=dict)
    syncing: tuple[SyncProgress, ...] = ()
    gate_asked_at: datetime | None = None
    compared: Compared = field(default_factory=Compared)

    @property
    def ok(self) -> bool:
        """Whether the target can be read and nothing is wrong with the stage that it is at."""
        return self.trouble is None and not (self.cutover and self.cutover.troubles)

    @property
    def stage(self) -> Stage | None:
        """Where the cutover stands; None where there is none."""
        return self.cutover.row.stage if self.cutover else None

    def with_gate(self, gate: Gate | None) -> "Facts":
        """The same, with what the gate said, if it was asked at this stage."""
        if self.cutover is None or gate is None or gate.stage is not self.stage:
            return self
        asked = replace(self.cutover, objections=gate.objections, unasked=gate.unasked)
        return replace(self, cutover=asked, gate_asked_at=gate.asked_at)


async def look(connection: AsyncConnection, compared: Compared, *, with_stages: bool) -> Facts:
    """Read it, in a few cheap statements; the gate is not asked.

    Args:
        compared: what was read before, which is brought up to date.
        with_stages: the tables are the bot's, whose stages can be moved.

    Raises:
        MigrationError: another version of the tool made its schema in the target.
        psycopg.Error: the target cannot be read.
    """
    status = await status_of(connection)
    cutover = None
    if status.installed and with_stages:
        cutover = await see(connection)
        await compared.update(connection)
    return Facts(
        seen_at=datetime.now(UTC),
        trouble=None,
        status=replace(status, runs=status.runs[:_RUNS]),
        cutover=cutover,
        synced=await synced_ages(connection) if status.installed else {},
        syncing=await read_progress(connection) if status.installed else (),
        compared=compared,
    )


_PAUSE = 1.0  # seconds between looks
_SHARE = 10  # ... and so many times as long as a look took: a busy target is asked less often
_LONGEST_PAUSE = 5.0
_SILENT = 15.0  # seconds without an answer after which the target counts as away
_AGAIN = 2.0  # seconds until the target is tried again
_PATIENCE = 10.0  # seconds for one look
_GATE_EVERY = 30.0  # seconds; a gate looks at Supabase, too
_GATE_PATIENCE = 60.0
_NOBODY = 30.0  # seconds since a person looked, after which no gate is asked
_STEP = "watch"
# Nothing that it asks may wait for others, or keep the server busy.
_SESSION = b"SET statement_timeout = '10s'; SET lock_timeout = '1s'; SET default_transaction_read_only = on"


class Watcher:
    """Keeps the newest facts.

    Args:
        thresholds: of the next stage's gate.
        with_stages: the tables are the bot's, whose stages can be moved.
    """

    def __init__(self, settings: Settings, thresholds: Thresholds | None = None, *, with_stages: bool = True) -> None:
        self._settings = settings
        self._url = settings.require_database_url()
        self._thresholds = thresholds
        self._with_stages = with_stages
        self._facts = Facts()
        self._compared = Compared()
        self._gate: Gate | None = None
        self._seen_at = self._wanted_at = float("-inf")  # by the monotonic clock
        self._wake = asyncio.Event()

    @property
    def facts(self) -> Facts:
        """The newest, with what the gate said last."""
        late = monotonic() - self._seen_at
        facts = self._facts.with_gate(self._gate)
        if facts.trouble is None and late > _SILENT:  # it is asked still, or to be told that nobody waits any more
            return replace(facts, trouble=f"the target has not answered for {late:.0f} s")
        return facts

    def show(self) -> Facts:
        """The same, for a person who looks: the gate is asked for a while."""
        self._wanted_at = monotonic()
        return self.facts

    def look_again(self) -> None:
        """Look at once, and ask the gate: something was moved."""
        self._gate = None
        self._wake.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._look_on())
            both.create_task(self._ask_gates())

    async def once(self) -> Facts:
        """The facts and the gate, read once.

        Raises:
            MigrationError: the target cannot be read.
        """
        async with open_target(self._url, step=_STEP) as connection:
            with explained(_STEP, pending="nothing is changed by it"):
                await self._look(connection)
        if self._facts.stage is not None:
            await self._ask(self._facts.stage)
        return self._facts.with_gate(self._gate)

    async def _look_on(self) -> None:
        while True:
            try:
                await self._connected()
            except MigrationError as error:
                next_step = f". Next: {error.next_step}" if error.next_step else ""
                self._facts = replace(self._facts, trouble=f"{error.message}{next_step}")
            except BotdataError as error:
                self._facts = replace(self._facts, trouble=str(error))
            except TimeoutError:
                self._facts = replace(self._facts, trouble=f"the target did not answer within {_PATIENCE:g} s")
            await self._pause(_AGAIN)

    async def _connected(self) -> None:
        async with open_target(self._url, step=_STEP) as connection:
            with explained(_STEP, pending="nothing is changed by it"):
                await connection.execute(_SESSION)
                while True:
                    began = monotonic()
                    async with asyncio.timeout(_PATIENCE):
                        await self._look(connection)
                    await self._pause(min(max(_PAUSE, _SHARE * (monotonic() - began)), _LONGEST_PAUSE))

    async def _look(self, connection: AsyncConnection) -> None:
        self._facts = await look(connection, self._compared, with_stages=self._with_stages)
        self._seen_at = monotonic()

    async def _ask_gates(self) -> None:
        while True:
            stage = self._facts.stage
            wanted = monotonic() - self._wanted_at < _NOBODY and self._facts.trouble is None
            if stage is not None and wanted and self._is_due(stage):
                await self._ask(stage)
            await asyncio.sleep(_PAUSE / 4)

    def _is_due(self, stage: Stage) -> bool:
        gate = self._gate
        if gate is None or gate.stage is not stage:
            return True
        pause = _AGAIN if gate.objections is None else _GATE_EVERY
        return (datetime.now(UTC) - gate.asked_at).total_seconds() > pause

    async def _ask(self, stage: Stage) -> None:
        try:
            async with asyncio.timeout(_GATE_PATIENCE):
                objections, unasked = await ask_gate(self._settings, stage, self._thresholds)
        except TimeoutError:
            objections, unasked = None, f"it did not answer within {_GATE_PATIENCE:g} s"
        self._gate = Gate(stage, objections, unasked, datetime.now(UTC))

    async def _pause(self, seconds: float) -> None:
        await happens(self._wake, seconds)
        self._wake.clear()
