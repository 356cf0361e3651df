"""The watcher: reads the target again and again over one connection, outlasts outages, keeps the newest facts."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

from psycopg import AsyncConnection

from app.common.deadlines import happens
from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.status import ask_gate
from app.cutover.stages import Stage
from app.errors import BotdataError, MigrationError
from app.migration.target.target_session import explained, open_target
from app.settings import Settings
from app.watch.compared import Compared
from app.watch.facts import Facts, Gate, look

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
