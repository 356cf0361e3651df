"""Sends what first sends left in the outbox: those that failed, and those of processes that died in between."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from app.common.keys import Key
from app.cutover.replication.to_supabase import locked_rows
from app.cutover.replication.to_supabase.sender import Sender
from app.errors import StoreError
from app.state.cutover import outbox
from app.state.cutover.outbox import Entry

logger = logging.getLogger("app.data_layer")

_AT_ONCE = 200  # entries; each key is a lock, and PostgreSQL has room for some thousands
_PAUSE = 0.5  # seconds between looks
_PAUSE_WITHOUT_POSTGRES = 2.0
_TABLES_AT_ONCE = 5  # the bot writes no more
_HELD = 0.5  # seconds until a key that another sender holds is looked at again
_BESIDE_SENDING = 10.0  # seconds that a claim lasts beside the sending itself


class Relay:
    """Looks for due entries, whosever they are.

    Args:
        is_busy: whether this process is about to send a key itself.
        last: the id of the last entry to look at.
    """

    def __init__(self, sender: Sender, is_busy: Callable[[str, Key], bool], *, last: int = outbox.LAST) -> None:
        self._sender = sender
        self._is_busy = is_busy
        self._last = last
        self._said = ""
        self._at_once = _AT_ONCE

    async def run(self) -> None:
        """Drain until cancelled."""
        while True:
            pause = _PAUSE
            try:
                async with asyncio.timeout(_BESIDE_SENDING):
                    await self._sender.record_lost()
                if not self._sender.breaker.is_open:
                    await self._drain()
                elif self._sender.breaker.allows():
                    await self._step(1)  # asks whether Supabase is back, at the price of one entry
                self._said = ""
            except (StoreError, TimeoutError) as error:  # PostgreSQL's
                pause = _PAUSE_WITHOUT_POSTGRES
                self._cannot(str(error) or "no answer in time")
            except Exception as error:  # whatever it is, the others are to be sent
                self._at_once = 1
                self._cannot(type(error).__name__)
            await asyncio.sleep(pause)

    def _cannot(self, said: str) -> None:
        if said != self._said:
            self._said = said
            logger.warning("the outbox cannot be drained: %s", said)

    async def _drain(self) -> None:
        """One row, then two, and so on after a batch without an answer: a row may be what Supabase cannot bear."""
        is_more = True
        while is_more:
            is_more = await self._step(self._at_once) >= self._at_once
            if self._sender.breaker.is_open:
                self._at_once = 1
                return
            self._at_once = min(_AT_ONCE, self._at_once * 2)

    async def _step(self, most: int) -> int:
        """One step, with an end where PostgreSQL falls silent."""
        async with asyncio.timeout(_TABLES_AT_ONCE * (2 * self._sender.timeout + _BESIDE_SENDING)):
            return await self.step(most)

    async def step(self, most: int) -> int:
        """See to due entries, up to so many of each table; the most entries of a table that there were.

        Raises:
            StoreError: PostgreSQL's.
        """
        async with self._sender.database.statements() as connection:
            tables = [name for name in await outbox.tables_due(connection, self._last) if self._sender.mirror.has(name)]
        largest = 0
        for table in tables:
            to_send, to_read_back = await self._claim(table, most)
            await self._read_back(table, to_read_back)
            if to_send:
                await self._sender.send(table, _keys(to_send), {entry.id: entry for entry in to_send})
            largest = max(largest, len(to_send) + len(to_read_back))
        return largest

    async def _claim(self, table: str, most: int) -> tuple[list[Entry], list[Entry]]:
        """The entries to be sent, and to be read back.

        They are claimed before anything is done: the process that comes after a kill is to know.
        """
        lasts = self._sender.timeout + _BESIDE_SENDING
        async with self._sender.database.transaction() as connection:
            if not await self._sender.enter(connection):
                return [], []
            due = await outbox.due(connection, table, most, self._last)
            keys = [key for key in _keys(due) if not self._is_busy(table, key)]
            free = set(await locked_rows.lock_keys(connection, table, keys))
            await outbox.wait(connection, [entry.id for entry in due if entry.key not in free], _HELD)
            to_send = [entry for entry in due if entry.key in free and not entry.sent]
            to_read_back = [entry for entry in due if entry.key in free and entry.sent]
            await outbox.claim(connection, [entry.id for entry in to_send], lasts)
            await outbox.wait(connection, [entry.id for entry in to_read_back], lasts)
        return to_send, to_read_back

    async def _read_back(self, table: str, entries: Sequence[Entry]) -> None:
        """Nothing of these entries can land any more: they are done where both rows are equal, else to be sent."""
        if not entries:
            return
        async with self._sender.database.transaction() as connection:
            if not await self._sender.enter(connection):
                return
            free = await locked_rows.lock_keys(connection, table, _keys(entries))
            ours = await locked_rows.rows_as_text(connection, self._sender.mirror.table(table), free)
            ids = {entry.id: entry.key for entry in entries if entry.key in ours}
            try:
                differing = set(await self._sender.mirror.differing(table, ours))
            except StoreError as error:
                self._sender.breaker.failed()
                await outbox.put_off(connection, ids, unsure=True, error=str(error), longest=_PAUSE_WITHOUT_POSTGRES)
            else:
                self._sender.breaker.succeeded()
                await outbox.delete(connection, [id_ for id_, key in ids.items() if key not in differing])
                await outbox.send_again(connection, [id_ for id_, key in ids.items() if key in differing])


def _keys(entries: Sequence[Entry]) -> list[Key]:
    return sorted({entry.key for entry in entries})
