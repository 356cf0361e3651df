"""Empties the outbox from the command line: what is left, and why."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from app.cutover.replication.to_supabase.outbox_status import OutboxState, read_state
from app.cutover.replication.to_supabase.relay import Relay
from app.cutover.replication.to_supabase.sender import Sender
from app.cutover.stages import Stage
from app.errors import AccessDeniedError, MigrationError, StoreError, UnavailableError
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.cutover import outbox
from app.state.cutover.stage import read_stage_row, refuse_moved_out
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest

_CONNECTIONS = 3
_AT_ONCE = 200
_PAUSE = 0.2
_REMEDIES: dict[type[StoreError], str] = {
    AccessDeniedError: "correct the role in DATABASE_URL, or its rights (docs/rights.md), then: ",
    UnavailableError: "correct DATABASE_URL, or wait until the server is back and takes writes, then: ",
}
_WITHOUT_PROGRESS = 30.0  # seconds beside those that a request of unknown outcome may take


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the entries that there were at the start.

    Attributes:
        entries: how many there were.
        absent: entries that were asked for and are not in the outbox.
        left: those that are still there.
        is_away: it ended since Supabase cannot be reached.
    """

    entries: int
    left: OutboxState
    is_away: bool
    absent: tuple[int, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return self.left.entries == 0

    @property
    def reason(self) -> str | None:
        """Why something is left, in words; None where nothing is."""
        left = self.left
        if self.complete:
            return None
        if left.is_finished:
            return "the way back was ended by botdata cutover finish; nothing is sent any more"
        if left.stage is Stage.COMPLETE:
            return "at the stage complete mirrors are recorded and not sent; botdata cutover back sends them"
        if not left.sends:
            return f"at the stage {left.stage} nothing is sent to Supabase from the outbox"
        if self.is_away:
            return "Supabase cannot be reached"
        if left.in_error:
            return f"{left.in_error:,} entries are refused by Supabase, or their outcome is not known"
        return "other processes are still sending them, or hold their keys"


DrainProgress = Callable[[int, int], None]


async def outbox_state(settings: Settings, step: str, most: int) -> OutboxState:
    """The outbox as it is, with so many of the entries in error at most; raises as `drain`."""
    async with _target(settings, step) as database, database.statements() as connection:
        return await read_state(connection, fixed=settings.flags.stage, step=step, most=most)


async def drain(
    settings: Settings,
    *,
    step: str = "mirror drain",
    sends_recorded: bool = False,
    numbers: Sequence[int] | None = None,
    only_failed: bool = False,
    on_progress: DrainProgress = lambda _left, _entries: None,
) -> DrainReport:
    """Send what is in the outbox now, the entries in error too, and wait for what is to be read back.

    Args:
        step: the command, for errors.
        sends_recorded: at the stage `complete` too, which sends nothing by itself.
        numbers: go on for these entries only.
        only_failed: go on for those only that are in error at the start.
        on_progress: told how many of how many entries are left.

    Raises:
        MigrationError: PostgreSQL's failure, or the target has no outbox.
        SettingsError: a URL or key is missing or none.
    """
    async with _opened(settings, step, sends_recorded) as sender:
        state, last, ids = await _begin(sender, settings, step, numbers, only_failed)
        entries = state.entries if ids is None else len(ids)
        is_sending = state.sends or (sends_recorded and state.stage is Stage.COMPLETE and not state.is_finished)
        if is_sending:
            await _send(sender, last, ids, settings.outcome_settles_after, lambda left: on_progress(left, entries))
        async with sender.database.statements() as connection:
            left = await read_state(connection, fixed=settings.flags.stage, step=step, most=20, last=last)
        absent = tuple(sorted(set(numbers or ()) - set(ids or ())))
        return DrainReport(entries, left, sender.breaker.is_open, absent)


async def _begin(
    sender: Sender, settings: Settings, step: str, numbers: Sequence[int] | None, only_failed: bool
) -> tuple[OutboxState, int, list[int] | None]:
    async with sender.database.transaction() as connection:
        state = await read_state(connection, fixed=settings.flags.stage, step=step, most=0)
        row = await read_stage_row(connection)
        refuse_moved_out(row, sender.database.schemas, step=step, pending="all of it; nothing was sent")
        last = await outbox.last_id(connection)
        ids = await outbox.those_there(connection, numbers) if numbers else None
        if ids is None and only_failed:
            ids = [entry.number for entry in await outbox.failed_entries(connection, last)]
        await outbox.hurry(connection, last, ids)
    return state, last, ids


async def _send(
    sender: Sender, last: int, ids: list[int] | None, settles_after: float, on_progress: Callable[[int], None]
) -> None:
    relay = Relay(sender, lambda _table, _key: False, last=last)
    fewest, since = -1, monotonic()
    while True:
        async with sender.database.statements() as connection:
            left = await outbox.count_to_do(connection, last, ids)
        on_progress(left)
        if fewest < 0 or left < fewest:
            fewest, since = left, monotonic()
        if not left or monotonic() - since > settles_after + sender.timeout + _WITHOUT_PROGRESS:
            return
        sent = await relay.step(_AT_ONCE)
        if sender.breaker.is_open:
            return
        if not sent:
            await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def _opened(settings: Settings, step: str, sends_recorded: bool) -> AsyncIterator[Sender]:
    _, url, key = settings.require_stores()
    async with (
        _target(settings, step) as database,
        await SupabaseRest.open(url, key, request_timeout=settings.mirror_timeout) as rest,
    ):
        yield Sender(database, rest, settings, "botdata mirror", sends_recorded=sends_recorded)


@asynccontextmanager
async def _target(settings: Settings, step: str) -> AsyncIterator[Database]:
    database = Database(
        settings.require_database_url(),
        pool_size=_CONNECTIONS,
        pool_timeout=settings.mirror_timeout,
        statement_timeout=settings.statement_timeout,
    )
    try:
        yield database
    except StoreError as error:
        raise MigrationError(
            f"the target (DATABASE_URL): {error}",
            step=step,
            pending="what is in the outbox: it stays there",
            next_step=NextStep(_REMEDIES.get(type(error), ""), Command(step)),
        ) from error
    finally:
        await database.close()
