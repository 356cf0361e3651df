"""What no command tells by itself: moves, silent processes, limits that are passed, gates that broke.

Several processes may look at a time: each change is told once.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from app.cutover.moves.gates.objections import gates
from app.cutover.stages import Stage, Store
from app.cutover.tables import METHODS_TABLES, OWN_AUTHORITY
from app.notify.event import Event, document_of
from app.settings import Settings
from app.state import notifications
from app.state.cutover import backlog
from app.state.cutover.moves import PastMove, read_moves
from app.state.cutover.processes import read_processes
from app.state.cutover.proofs import synced_ages
from app.state.cutover.stage import StageRow
from app.state.cutover.table_authority import read_authorities
from app.state.runs.runs import is_unfinished

_MOVES_SEEN = 20  # the newest
_MOVES_FROM = timedelta(hours=1)
_GATES_TIME = 60.0  # seconds that they may take


class Look:
    """A look at the target; each method notes what has changed in its matter.

    Args:
        channels: those by which an event is told.
    """

    def __init__(self, connection: AsyncConnection, settings: Settings, channels: Sequence[str]) -> None:
        self._connection = connection
        self._settings = settings
        self._channels = channels

    async def moves(self) -> None:
        """The moves of the last hour, by whichever process they were made."""
        since = datetime.now(UTC) - _MOVES_FROM
        for move in reversed(await read_moves(self._connection, _MOVES_SEEN)):
            if move.state == "done" and move.ended_at and datetime.fromisoformat(move.ended_at) > since:
                await self._add(_moved(move))

    async def processes(self) -> None:
        """Processes of the bot that fell silent, and those that report again."""
        found = await read_processes(self._connection)
        await notifications.forget_others(self._connection, "process", [one.name for one in found])
        for one in found:
            facts = {"process": one.name, "seconds": round(one.age, 1), "stage": one.stage.value}
            silent = Event(
                "process_silent",
                f"process {one.name} last reported {one.age:,.0f} s ago.",
                facts,
                next=f"bring it back, or stop it; if it has ended: botdata cutover forget {one.name}",
            )
            again = Event("process_back", f"process {one.name} reports again.", facts)
            await self._turn("process", one.name, again if one.age <= self._settings.notify_silence else silent)

    async def limits(self, row: StageRow) -> None:
        """What waits in outbox and journal, and how old the state is that a sync brought."""
        drained = row.stage is not Stage.COMPLETE  # there the outbox is kept for the way back, and nobody sends it
        await self._backlog(
            "outbox", await backlog.entries(self._connection) if drained else (), "botdata mirror status"
        )
        await self._backlog("journal", await backlog.notes(self._connection), "botdata cutover status")
        lag = await self._lag(row)
        most = self._settings.notify_lag
        facts = {"limit": "lag", "seconds": None if lag is None else round(lag, 1), "most_seconds": most}
        if lag is None or lag <= most:
            await self._turn("limit", "lag", Event("limit_back", "the sync is up to date again.", facts))
        else:
            told = f"the sync last looked at the source {lag:,.0f} s ago; {most:,.0f} s are allowed."
            await self._turn("limit", "lag", Event("limit_passed", told, facts, next="botdata status"))

    async def gates(self, row: StageRow) -> None:
        """Gates of the next stage that held, and do not any more; and those that hold again."""
        to = row.stage.next
        if to is None:
            await notifications.forget_others(self._connection, "gate", [])
            return
        async with asyncio.timeout(_GATES_TIME):
            found = await gates(self._settings, to)
        names = {f"{to}: {name}": objections for name, objections in found.items()}
        await notifications.forget_others(self._connection, "gate", list(names))
        for gate, objections in names.items():
            facts = {"gate": gate.partition(": ")[2], "stage": to.value, "objections": [one.what for one in objections]}
            if objections:
                told = f"a gate of {gate} held, and does not any more: {objections[0].what}."
                event = Event("gate_broke", told, facts, next=objections[0].remedy)
            else:
                event = Event("gate_holds", f"the gate of {gate} holds again.", facts)
            await self._turn("gate", gate, event, tell_first=False)

    async def _backlog(self, name: str, waiting: Sequence[backlog.Waiting], next_step: str) -> None:
        count, oldest = sum(one.count for one in waiting), max((one.oldest for one in waiting), default=0.0)
        most, longest = self._settings.notify_waiting, self._settings.notify_age
        facts = {"limit": name, "waiting": count, "seconds": round(oldest, 1), "most": most, "most_seconds": longest}
        told = f"{count:,} wait in the {name}, the oldest for {oldest:,.0f} s"
        if count <= most and oldest <= longest:
            await self._turn("limit", name, Event("limit_back", f"{told}: within its limits again.", facts))
        else:
            allowed = f"{most:,} and {longest:,.0f} s are allowed"
            await self._turn("limit", name, Event("limit_passed", f"{told}; {allowed}.", facts, next=next_step))

    async def _lag(self, row: StageRow) -> float | None:
        """Seconds since the newest look of a sync that has not ended; None: no sync has anything to bring."""
        if not await is_unfinished(self._connection, "sync"):
            return None
        authorities = dict.fromkeys(METHODS_TABLES, row.stage.authority)
        authorities |= await read_authorities(self._connection, OWN_AUTHORITY)
        ages = await synced_ages(self._connection)
        return min((age for table, age in ages.items() if authorities.get(table) is not Store.POSTGRES), default=None)

    async def _turn(self, topic: str, name: str, event: Event, *, tell_first: bool = True) -> None:
        """Tell the event if it is a change; `tell_first`: trouble that is there at the first look is one."""
        is_well = event.kind in {"process_back", "limit_back", "gate_holds"}
        async with self._connection.transaction():
            turned = await notifications.turned(self._connection, topic, name, is_well=is_well)
            if turned or (turned is None and tell_first and not is_well):
                await self._add(event)

    async def _add(self, event: Event) -> None:
        document = document_of(event, self._settings)
        await notifications.add(self._connection, document, self._channels, event.cause)


def _moved(move: PastMove) -> Event:
    facts: dict[str, Any] = {
        "move": move.kind, "from": move.from_stage, "to": move.to_stage, "subject": move.subject, "by": move.done_by,
        "forced": move.is_forced, "reason": move.reason, "said": move.said,
    }  # fmt: skip
    forced = f"{', by force' if move.is_forced else ''}: {move.reason}" if move.reason is not None else ""
    if move.to_stage is None:
        return Event("cutover_changed", f"{move.label}, by {move.done_by}{forced}.", facts, cause=f"move {move.number}")
    summary = f"the stage moved from {move.from_stage} to {move.to_stage}, by {move.done_by}{forced}."
    return Event("stage_moved", summary, facts, next="botdata cutover status", cause=f"move {move.number}")
