"""Writes while PostgreSQL is the authority: each leaves its keys in the outbox, which are sent to Supabase at once."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from app.common.background import end_all
from app.common.deadlines import cancel
from app.common.keys import Key
from app.common.metrics import Metrics
from app.cutover.replication.authority_writer import AuthorityWriter
from app.cutover.replication.to_supabase.relay import Relay
from app.cutover.replication.to_supabase.sender import Sender
from app.cutover.replication.write_queue import MOST_KEYS, WaitingWrite, WriteQueue
from app.cutover.stages import Stage
from app.errors import OutcomeUnknownError, StoreError, UnrepresentableValueError
from app.models import Base
from app.settings import Settings
from app.stores.backend import Backend
from app.stores.codec.rows import key_of, table_of
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest

logger = logging.getLogger("app.data_layer")

_AT_ONCE = 2
_BESIDE_SENDING = 10.0  # seconds for PostgreSQL, which may fall silent
_CLOSING_SECONDS = 2.0
_HELD_BY_ANOTHER = 0.05  # seconds until a key that another process sends is looked at again


class OutboxWriter(AuthorityWriter):
    """The writer for the stages whose authority is PostgreSQL.

    Args:
        postgres: the authority; its transactions leave the entries.
        rest: Supabase.
        database: the pool for mirrors, apart from the callers'.
        process: the name under which the entries are recorded.
    """

    def __init__(
        self,
        postgres: Backend,
        rest: SupabaseRest,
        database: Database,
        settings: Settings,
        process: str,
        metrics: Metrics,
    ) -> None:
        super().__init__(postgres)
        self._settings = settings
        self._metrics = metrics
        self._queue = WriteQueue(self._send, at_once=_AT_ONCE, may_bring=lambda: True)
        self._relay: asyncio.Task[None] | None = None
        self._sender = Sender(database, rest, settings, process)
        self._is_told = False  # why first sends fail, since the last that went well

    @property
    def pending(self) -> int:
        """Keys that wait for their first send, or are being sent."""
        return len({(write.table, key) for write in self._queue.pending for key in write.keys})

    @property
    def problem(self) -> str | None:
        """Why mirrors stay in the outbox, where this process knows."""
        return "Supabase cannot be reached; mirrors wait in the outbox" if self._sender.breaker.is_open else None

    async def start(self) -> None:
        """Begin to send in the background."""
        self._relay = asyncio.create_task(Relay(self._sender, self._queue.holds).run())

    async def upsert(
        self, stage: Stage, model: type[Base], rows: Sequence[Mapping[str, Any]], write: OutgoingWrite
    ) -> list[Any]:
        """PostgreSQL's answer; Supabase is waited for MIRROR_WAIT at most, and not while it is down."""
        table = table_of(model)
        keys = [key_of(table, row) for row in rows]
        sends = stage.mirrors and self._relay is not None
        try:
            answer = await self._authority.upsert(model, rows, write)
        except (OutcomeUnknownError, UnrepresentableValueError, asyncio.CancelledError):
            if sends:  # the rows may be written: then the entries are there, too
                self._queue.add(WaitingWrite(table.name, keys))
            raise
        if sends:
            write_waiting = WaitingWrite(table.name, keys)
            self._queue.add(write_waiting)
            if self._settings.mirror_wait and not self._sender.breaker.is_open:
                await write_waiting.wait(self._settings.mirror_wait)
        return answer

    async def close(self) -> None:
        """Wait for pending mirrors, CLOSE_TIMEOUT at most; the entries of those that are left stay in the outbox."""
        if self._relay is not None:
            relay = {self._relay}  # a driver may wait for a silent server's word
            finish = partial(self._queue.finish, self._settings.close_timeout)
            await end_all(finish, lambda: cancel(relay, _CLOSING_SECONDS))
            self._relay = None
        if self.pending:
            logger.warning("closed with %d mirrors to Supabase left in the outbox", self.pending)

    async def _send(self, writes: list[WaitingWrite]) -> None:
        table, keys = writes[0].table, sorted({key for write in writes for key in write.keys})
        held: list[Key] = []
        try:
            if self._sender.breaker.allows():
                for first in range(0, len(keys), MOST_KEYS):  # one write may have more
                    held += await self._send_first(table, keys[first : first + MOST_KEYS])
            else:
                async with asyncio.timeout(_BESIDE_SENDING):
                    await self._sender.leave(table, keys)
                self._metrics.count("mirrors", len(keys), store="supabase", outcome="left")
        except (StoreError, TimeoutError) as error:  # PostgreSQL's; the entries are the relay's
            self._tell(table, str(error) or "no answer in time")
        except Exception as error:  # whatever it is, later ones are to be sent
            self._tell(table, type(error).__name__)
        else:
            self._is_told = False
        for write in writes:
            write.keys = [key for key in write.keys if key in held]
            if write.keys:
                self._queue.add(write, _HELD_BY_ANOTHER)
            else:
                write.settled.set()

    async def _send_first(self, table: str, keys: list[Key]) -> list[Key]:
        """Make the first send of these keys; those that another sender holds are not sent."""
        began = time.monotonic()
        async with asyncio.timeout(2 * self._sender.timeout + _BESIDE_SENDING):
            sent = await self._sender.send(table, keys)
        self._metrics.count("mirrors", len(sent.done), store="supabase", outcome="sent")
        self._metrics.count("mirrors", len(sent.failed), store="supabase", outcome="failed")
        self._metrics.count("mirror_milliseconds", int((time.monotonic() - began) * 1000), store="supabase")
        return sent.held

    def _tell(self, table: str, why: str) -> None:
        """Log why a first send failed, once until one goes well: there is one for each write."""
        level = logging.DEBUG if self._is_told else logging.WARNING
        logger.log(level, "mirrors of %s are left to the outbox: %s", table, why)
        self._is_told = True
