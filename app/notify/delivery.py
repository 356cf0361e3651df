"""Writes events down, and delivers them beside the work: no receiver delays it; also where the target is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection

from app.common.background import BackgroundTasks
from app.cutover.moves.stage_row import open_cutover
from app.errors import BotdataError, MigrationError
from app.migration.target.target_session import open_target
from app.next_step import Command, NextStep
from app.notify.channels import Channel, TryOutcome, channels_of
from app.notify.event import Event, document_of
from app.settings import Settings
from app.state import notifications
from app.state.cutover.processes import process_name

STEP = "notify"
# What a target that cannot be used gives: then nothing is written, and the event is sent as it is.
TROUBLE = (BotdataError, psycopg.Error, TimeoutError, OSError)
TO_WRITE = 3.0  # seconds to write an event down
_LEASE = 30.0  # seconds; a try takes five at most
_PAUSE = 10.0  # seconds before the second try
_AT_THE_END = 6.0  # seconds that a command waits for what is on its way


class Teller:
    """Tells of a command's events, in the background."""

    def __init__(self, settings: Settings, channels: Sequence[Channel]) -> None:
        self._settings = settings
        self._channels = channels
        self._turn = asyncio.Lock()  # events leave in their order
        self._background = BackgroundTasks()

    async def tell(self, event: Event) -> None:
        """Write an event down, and begin to deliver; where it cannot be written, it is sent once as it is."""
        document = document_of(event, self._settings)
        try:
            async with (
                asyncio.timeout(TO_WRITE),
                open_target(self._settings.require_database_url(), step=STEP) as connection,
            ):
                await notifications.add(connection, document, [one.name for one in self._channels], event.cause)
        except TROUBLE:
            self._background.start(self._send(document))
        else:
            self.deliver()

    def deliver(self) -> None:
        """Begin to deliver what is due."""
        self._background.start(self._deliver())

    async def _deliver(self) -> None:
        """A target that cannot be used is left to the next process."""
        async with self._turn:
            with suppress(*TROUBLE):
                async with open_target(self._settings.require_database_url(), step=STEP) as connection:
                    await deliver_on(connection, self._settings)

    async def _send(self, document: dict[str, Any]) -> None:
        async with self._turn:
            await asyncio.gather(*(channel.send(document) for channel in self._channels))

    async def end(self) -> None:
        """Wait a moment for what is on its way; the rest is left to the next process that looks."""
        await self._background.wait(_AT_THE_END)
        self._background.cancel()
        await self._background.wait()


@asynccontextmanager
async def telling(settings: Settings) -> AsyncIterator[Teller | None]:
    """Something to tell by, for as long as a command lasts; None where nobody wants to be told."""
    channels = channels_of(settings)
    if not channels:
        yield None
        return
    teller = Teller(settings, channels)
    try:
        yield teller
    finally:
        await teller.end()


async def deliver_on(connection: AsyncConnection, settings: Settings, *, at_once: bool = False) -> int:
    """Deliver what is due, whoever wrote it; a channel that fails is left alone from then on.

    Args:
        at_once: also what was tried a moment ago, or was given up.

    Returns:
        How many were delivered.

    Raises:
        TimeoutError: the target does not answer.
    """
    return sum([await _deliver_by(channel, connection, at_once=at_once) for channel in channels_of(settings)])


async def _deliver_by(channel: Channel, connection: AsyncConnection, *, at_once: bool) -> int:
    process = process_name()
    delivered = 0
    while True:
        async with asyncio.timeout(TO_WRITE):
            claimed = await notifications.claim(connection, process, channel.name, _LEASE, at_once=at_once)
        if claimed is None:
            return delivered
        answer = await channel.send(claimed.document)
        async with asyncio.timeout(TO_WRITE):
            await notifications.finish(connection, claimed.number, None if answer.ok else answer.code, pause=_PAUSE)
        if not answer.ok:
            return delivered
        delivered += 1


async def send_waiting(settings: Settings) -> tuple[int, notifications.Undelivered]:
    """Deliver all that waits, what was given up too; how many were delivered, and what is left.

    Raises:
        MigrationError: the target cannot be read, does not answer, or has no schema of this version.
    """
    async with open_cutover(settings.require_database_url(), STEP, pending="what waits") as connection:
        try:
            delivered = await deliver_on(connection, settings, at_once=True)
        except TimeoutError as error:
            raise MigrationError(
                "the target does not answer",
                step=STEP,
                pending="what waits",
                next_step=NextStep("wait until it answers, then: ", Command(STEP)),
            ) from error
        return delivered, await notifications.undelivered(connection)


async def try_channels(settings: Settings) -> dict[str, TryOutcome]:
    """Send a test event by each channel now; what came of it."""
    document: dict[str, Any] = document_of(Event("test", "This is a test of botdata's notifications."), settings)
    return {channel.name: await channel.send(document) for channel in channels_of(settings)}


class Away:
    """What a process remembers of a target that is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._since: float | None = None
        self._told = False
        self._unsent: list[tuple[Channel, dict[str, Any]]] = []

    async def note(self, *, answers: bool) -> None:
        """Tell that it is away, once that is so for NOTIFY_SILENCE, until it is taken; and that it is back."""
        if answers:
            if self._told:
                with suppress(*TROUBLE):
                    await self._write_back()
                    self._told = False
            self._since = None
            return
        self._since = self._since or monotonic()
        away = monotonic() - self._since
        if not self._told and away >= self._settings.notify_silence:
            summary = f"the target has not answered for {away:,.0f} s."
            document = document_of(Event("target_away", summary, {"seconds": round(away)}), self._settings)
            self._unsent = [(channel, document) for channel in channels_of(self._settings)]
            self._told = True
        self._unsent = [(channel, one) for channel, one in self._unsent if not (await channel.send(one)).ok]

    async def _write_back(self) -> None:
        """Write down that it is back, and what nobody has taken."""
        back = document_of(Event("target_back", "the target answers again."), self._settings)
        url = self._settings.require_database_url()
        async with asyncio.timeout(TO_WRITE), open_target(url, step=STEP) as connection:
            for channel, document in self._unsent:
                await notifications.add(connection, document, [channel.name])
            await notifications.add(connection, back, [one.name for one in channels_of(self._settings)])
        self._unsent = []
