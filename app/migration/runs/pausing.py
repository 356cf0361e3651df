"""Asking for a pause of whatever reads the source for this target, and ending it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from app.migration.runs.status import require_installed
from app.migration.target.target_session import explained, open_target
from app.state.cutover.moves import who
from app.state.pace import Pause, WorkingPace, ask_for_pause, end_pause, read_paces, read_pause

_EVERY = 0.5  # seconds between looks


@dataclass(frozen=True, slots=True)
class Paused:
    """What came of a request for a pause.

    Attributes:
        pause: the one that holds now.
        is_new: it was not asked for before.
        paces: the commands at work.
    """

    pause: Pause
    is_new: bool
    paces: tuple[WorkingPace, ...]

    @property
    def has_taken_hold(self) -> bool:
        """Whether no command asks the source for anything."""
        return all(one.is_held for one in self.paces)


async def pause(target_url: str, reason: str | None, patience: float, tell: Callable[[str], None]) -> Paused:
    """Ask for a pause, and wait until it has taken hold.

    Args:
        reason: masked.
        patience: seconds to wait at most.
        tell: told for what it waits.

    Raises:
        MigrationError: the target cannot be written, or nothing was ever run there.
    """
    async with open_target(target_url, step="pause") as connection:
        with explained("pause", pending="the pause; nothing was asked for"):
            await require_installed(connection, step="pause")
            is_new = await ask_for_pause(connection, who(), reason)
        with explained("pause", done="the pause is asked for", pending="to see whether it has taken hold"):
            began, told = monotonic(), ""
            while True:
                asked = await read_pause(connection)
                paces = await read_paces(connection)
                if asked is None:  # somebody has ended it meanwhile
                    is_new = await ask_for_pause(connection, who(), reason)
                    continue
                found = Paused(asked, is_new, paces)
                if found.has_taken_hold or monotonic() - began > patience:
                    return found
                busy = ", ".join(sorted({one.command for one in paces if not one.is_held}))
                if busy != told:
                    tell(f"waiting for {busy} to come to the end of what it has begun")
                    told = busy
                await asyncio.sleep(_EVERY)


async def resume(target_url: str) -> tuple[Pause | None, tuple[WorkingPace, ...]]:
    """End the pause; gives the one that held, and the commands that go on.

    Raises:
        MigrationError: the target cannot be written, or nothing was ever run there.
    """
    async with open_target(target_url, step="resume") as connection:
        with explained("resume", pending="the end of the pause"):
            await require_installed(connection, step="resume")
            ended = await read_pause(connection)
            await end_pause(connection)
            return ended, await read_paces(connection)
