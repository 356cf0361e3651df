"""One standby: a small pool of its own, reads that come with the position they were made at, and how it is.

The position is asked before the statement and after it, in one transaction at READ COMMITTED, where each statement sees
what is committed when it begins. All of it is one pipeline, and one round trip.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Select

from app.common.background import BackgroundTasks, end_all, end_task
from app.common.deadlines import happens
from app.common.schemas import Schemas
from app.errors import StoreError, UnavailableError
from app.state.wal import SYSTEM, WalPlace, lsn_as_number
from app.stores.postgres.connection_pool import Driver
from app.stores.postgres.database import Database
from app.stores.postgres.keepalives import hang_up
from app.stores.postgres.translated_errors import fetched, translated_errors

T = TypeVar("T")

logger = logging.getLogger("app.data_layer")

# A standby that crossed to a timeline has it in its control file after its next restartpoint. Before that its receiver
# tells of it, to roles that may read all statistics. Either is proof; neither ever tells of a later timeline than the
# standby will come to.
_PLACE = (
    f"pg_is_in_recovery(), {lsn_as_number('pg_last_wal_replay_lsn()')}, greatest("  # noqa: S608 - constants
    "(SELECT timeline_id FROM pg_control_checkpoint()), (SELECT received_tli FROM pg_stat_wal_receiver))"
)
_WHERE = f"SELECT {_PLACE}".encode()
_WHERE_AND_WHOSE = f"SELECT {_PLACE}, {SYSTEM}".encode()
_WHERE_AFTERWARDS = (
    f"SELECT pg_is_in_recovery(), {lsn_as_number('pg_last_wal_replay_lsn()')}, "  # noqa: S608
    "pg_last_wal_replay_lsn() IS NOT DISTINCT FROM pg_last_wal_receive_lsn()"
).encode()
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
_LOOK = 0.5  # seconds between looks
_LONGEST_PAUSE = 5.0  # seconds between looks at one that is away
_LOOK_TIMEOUT = 0.7
_PATIENCE = 0.3  # seconds that a read waits before the standby is asked whether it is still there


class StandbyState(StrEnum):
    """Whether a standby is asked, and why not."""

    ANSWERS = "answers"
    AWAY = "away"
    BEHIND = "behind"  # so far that it is left alone, whatever the mark
    NO_STANDBY = "no standby"  # a primary
    OTHER_SERVER = "other server"  # a standby of another primary
    OTHER_TIMELINE = "other timeline"


@dataclass(frozen=True, slots=True)
class StandbyAnswer:
    """What a standby gave.

    Attributes:
        before, after: where it was before and after the statement.
        is_all: it had received nothing past `after`.
    """

    rows: list[tuple[Any, ...]]
    before: WalPlace
    after: WalPlace
    is_all: bool


class NoStandbyError(Exception):
    """The server is in no recovery, and its answer is not to be taken for a standby's."""


class Standby:
    """One host of DATABASE_READ_URL.

    Args:
        name: host and port.
        url: of this host alone.
        judge: says of a position, and the number of the system that it is in, how the standby is.
        pool_size, pool_timeout, statement_timeout: as of `Database`.
    """

    def __init__(
        self,
        name: str,
        url: str,
        judge: Callable[[WalPlace, int], StandbyState],
        *,
        pool_size: int,
        pool_timeout: float,
        statement_timeout: float,
    ) -> None:
        self.name = name
        self.running = 0  # reads
        self.state = StandbyState.AWAY
        self.at: WalPlace | None = None  # where it was last seen
        self.seen = float("-inf")  # when, by the monotonic clock
        self.system: int | None = None  # see `app.state.wal.SYSTEM`
        self._judge = judge
        self._pool_size = pool_size
        # In all less than a call may take, so that another server can answer it.
        self._patience = min(_PATIENCE, statement_timeout / 6)
        self._look_timeout = min(_LOOK_TIMEOUT, statement_timeout / 2)
        self._reads = Database(url, pool_size=pool_size, pool_timeout=pool_timeout, statement_timeout=statement_timeout)
        timeout = self._look_timeout
        self._looks = Database(url, pool_size=1, pool_timeout=timeout, statement_timeout=timeout)
        self._limit = f"SET LOCAL statement_timeout = {max(1, int(statement_timeout * 1000))}".encode()
        self._hurry = asyncio.Event()
        self._begun = BackgroundTasks()
        self._watching: asyncio.Task[None] | None = None

    @property
    def answers(self) -> bool:
        """Whether it is to be asked."""
        return self.state is StandbyState.ANSWERS

    def start(self) -> None:
        """Begin to look at it, again and again."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """End what runs."""
        watching = [partial(end_task, self._watching)] if self._watching is not None else []
        await end_all(*watching, lambda: self._begun.end(_LOOK_TIMEOUT), self._reads.close, self._looks.close)

    def look_soon(self) -> None:
        """Ask it at once how it is."""
        self._hurry.set()

    async def read(
        self, statement: Select[Any], parameters: Mapping[str, object] | None, schemas: Schemas
    ) -> StandbyAnswer:
        """The answer to a statement that is kept; a standby that hangs is found out, and the read given up.

        Args:
            schemas: whose tables are meant.

        Raises:
            NoStandbyError: it is none.
            UnavailableError: it is away, or hangs.
            StoreError: one of its kinds.
        """
        self.running += 1
        held: list[Driver] = []
        try:
            answer = await self._while(self._is_there, self._read((statement, parameters, schemas), held), held)
        except NoStandbyError:
            self.state = StandbyState.NO_STANDBY
            raise
        except UnavailableError:
            if self.running <= self._pool_size:  # else the pool may have had no connection
                self.state = StandbyState.AWAY
            self.look_soon()
            raise
        finally:
            self.running -= 1
        self.at, self.seen = answer.after, monotonic()  # what its own answer has raised the mark to
        return answer

    def _is_there(self) -> bool:
        self.look_soon()
        return self.answers

    async def _while(self, may_wait: Callable[[], bool], call: Coroutine[Any, Any, T], held: list[Driver]) -> T:
        """The value of a call, given up when it takes long and may not be waited for any more."""
        calling = self._begun.start(call)
        calling.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody asks
        try:
            await asyncio.wait({calling}, timeout=self._patience)
            while not calling.done() and may_wait():
                await asyncio.wait({calling}, timeout=self._patience)
        finally:
            if not calling.done():
                for driver in held:
                    hang_up(driver)  # ends what waits for the answer; a cancelled driver would ask its server first
                if not held:
                    calling.cancel()
        if not calling.done():
            raise UnavailableError("the standby does not answer")
        return calling.result()

    async def _read(
        self, asked: tuple[Select[Any], Mapping[str, object] | None, Schemas], held: list[Driver]
    ) -> StandbyAnswer:
        with translated_errors(writing=False):
            async with self._reads.driver() as driver:
                held.append(driver)
                query, values = self._reads.compiled(*asked)
                is_pooled = self._reads.is_pooled

                def execute(query: bytes, values: Any = None, **options: Any) -> Awaitable[psycopg.AsyncCursor[Any]]:
                    # Not the connection's own cursor: through a pooler that one begins transactions by itself.
                    return psycopg.AsyncCursor(driver).execute(query, values, **options)

                try:
                    async with driver.pipeline():
                        await execute(_BEGIN)
                        if is_pooled:
                            await execute(self._limit)
                        where = await execute(_WHERE)
                        found = await execute(query, values, binary=is_pooled)
                        afterwards = await execute(_WHERE_AFTERWARDS)
                        if not is_pooled:
                            await execute(b"COMMIT")
                    if is_pooled:  # a pipeline ends amid a transaction there; see `pooled_connection`
                        await execute(b"COMMIT")
                except psycopg.Error:
                    with suppress(psycopg.Error):
                        await driver.rollback()
                    raise
                before = _position(await where.fetchone())
                rows = await fetched(found)
                last: Any = await afterwards.fetchone()
        after = _position((*last[:2], before.timeline))
        return StandbyAnswer(rows, before, after, last[2])

    async def _watch(self) -> None:
        pause, told = _LOOK, None
        while True:
            self._hurry.clear()
            try:
                await self._look()
            except NoStandbyError:
                self.state = StandbyState.NO_STANDBY
            except (StoreError, psycopg.Error):
                self.state = StandbyState.AWAY
            if self.state is not told:
                logger.log(logging.INFO if self.answers else logging.WARNING, "standby %s: %s", self.name, self.state)
                told = self.state
            pause = min(2 * pause, _LONGEST_PAUSE) if self.state is StandbyState.AWAY else _LOOK
            await happens(self._hurry, pause)

    async def _look(self) -> None:
        until = monotonic() + self._look_timeout
        held: list[Driver] = []

        async def ask() -> tuple[WalPlace, int]:
            async with self._looks.driver() as driver:
                held.append(driver)
                found: Any = await (await driver.execute(_WHERE_AND_WHOSE)).fetchone()
                return _position(found[:3]), found[3]

        at, system = await self._while(lambda: monotonic() < until, ask(), held)
        self.at, self.seen = at, monotonic()
        self.system, self.state = system, self._judge(at, system)


def _position(row: Any) -> WalPlace:
    is_standby, lsn, timeline = row
    if not is_standby or lsn is None:
        raise NoStandbyError
    return WalPlace(timeline, lsn)
