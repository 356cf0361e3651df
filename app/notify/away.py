"""A target that does not answer: nothing can be written there, so each process that looks tells it past the target."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

from app.migration.target.target_session import open_target
from app.notify.channels import Channel, channels_of
from app.notify.delivery import STEP, TO_WRITE, TROUBLE
from app.notify.event import Event, document_of
from app.settings import Settings
from app.state import notifications


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
