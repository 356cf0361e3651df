"""Finds the one server that takes writes, among the several hosts of an address, and leaves it when there is another.

libpq tries one host after the other, and waits two seconds at least for one that hangs: its kernel accepts connections
that nobody answers. So all hosts are asked side by side. Of several that take writes, the one on the highest timeline
is the primary: the others are old ones, from before a failover.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.common.background import BackgroundTasks
from app.common.driver_errors import without_values
from app.cutover.failover_mark import FailoverMark, StaleServerError
from app.errors import UnavailableError
from app.state.wal import TIMELINE
from app.stores.postgres.database_url import hosts_of, libpq_url, sqlalchemy_url
from app.stores.postgres.keepalives import hang_up

logger = logging.getLogger("app.data_layer")

Connection = psycopg.AsyncConnection[Any]
_ANSWER = 0.7  # seconds that a host may take to answer; more where none answers, and where the way to them is long
_LONGEST = 3.0
_PAUSE = 0.15  # seconds between two rounds without a primary
_SUSPICIOUS = 1.0  # seconds without an answer to a statement; perhaps its server hangs, and another has taken over
_ASK = f"SELECT {TIMELINE}".encode()
_MEANT = {"read-write", "primary"}


class Primary:
    """Where an address leads to now; one for all the pools of a process.

    Args:
        hosts: each host and its port.
        options: of libpq, for the connections by which hosts are asked.
        mark: what this process has seen of failovers.
        name: the setting or option that names them, for messages.
    """

    def __init__(
        self, hosts: list[tuple[str, str]], options: Mapping[str, Any], mark: FailoverMark, name: str = "DATABASE_URL"
    ) -> None:
        self._name = name
        self._hosts = hosts
        self._options = options
        self._mark = mark
        self._place: tuple[str, str] | None = None
        self._patience = _ANSWER
        self._failure: psycopg.Error | None = None
        self._round: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()
        self._timelines: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()

    @classmethod
    def of(cls, url: str, mark: FailoverMark | None = None, *, name: str = "DATABASE_URL") -> Self | None:
        """None where the URL names one host, or its `target_session_attrs` means another server than the primary.

        Raises:
            SettingsError: not a PostgreSQL URL.
        """
        address = sqlalchemy_url(url, name=name)
        hosts = hosts_of(address)
        is_meant = address.query.get("target_session_attrs") in _MEANT
        if len(hosts) == 1 or not is_meant:
            return None
        return cls(hosts, conninfo_to_dict(libpq_url(url, name=name)), mark or FailoverMark(), name)

    async def connect(
        self, options: Mapping[str, Any], *, seconds: float, kind: type[Connection] = psycopg.AsyncConnection
    ) -> Connection:
        """A new connection to the primary, which is waited for.

        Args:
            options: as `psycopg.AsyncConnection.connect` takes them; host and port are replaced.
            kind: of connection.

        Raises:
            UnavailableError: none was found in time.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if self._place is None:
                        await self._look()
                    if (place := self._place) is not None:
                        with suppress(psycopg.OperationalError, StaleServerError, TimeoutError):
                            return await self._connect(options, place, kind)
                        if self._place == place:
                            self._place = None
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise UnavailableError(f"none of the hosts in {self._name} takes writes") from (
                without_values(self._failure) if self._failure else None
            )

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """To be held while a statement is carried out: where it hangs and another primary is there, it is ended."""
        loop = asyncio.get_running_loop()

        def suspect() -> None:
            self._tasks.start(self._look())
            timers.append(loop.call_later(_SUSPICIOUS, suspect))

        timers = [loop.call_later(_SUSPICIOUS, suspect)]
        try:
            yield
        finally:
            timers[-1].cancel()

    async def close(self) -> None:
        """End what is at work."""
        await self._tasks.end(_ANSWER)

    async def _look(self) -> None:
        """Ask all hosts once; whoever comes meanwhile waits for the same answers."""
        if self._round is None or self._round.done():
            self._round = self._tasks.start(self._ask_all())
        await asyncio.wait({self._round})

    async def _ask_all(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = began + self._patience
        self._failure = None
        asked = [asyncio.create_task(self._timeline_of(place)) for place in self._hosts]
        waiting, highest = set(asked), 0
        try:
            while waiting and (left := until - loop.time()) > 0:
                answered, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not highest and (highest := max((task.result() for task in answered), default=0)):
                    self._patience = min(_LONGEST, max(_ANSWER, 2 * (loop.time() - began)))
                    until = min(until, loop.time() + self._patience)  # for others that take writes
        finally:
            for task in waiting:
                task.cancel()
        timelines = [0 if task in waiting else task.result() for task in asked]
        highest = max(timelines)
        if not highest:
            self._patience = min(_LONGEST, 2 * self._patience)
        elif highest >= self._mark.timeline:
            self._go_to(self._hosts[timelines.index(highest)], highest)

    def _go_to(self, place: tuple[str, str], timeline: int) -> None:
        if place != self._place:
            logger.info("the primary is %s:%s, on timeline %d", place[0], place[1] or "5432", timeline)
        self._place = place
        self._mark.see_server(timeline)
        for connection, known in list(self._timelines.items()):
            if known < timeline and not connection.closed:
                hang_up(connection)

    async def _timeline_of(self, place: tuple[str, str]) -> int:
        """Of a host that takes writes; 0 for another one."""
        try:
            async with await _log_in({**self._options, "autocommit": True}, place) as connection:
                return await _ask(connection) or 0
        except psycopg.Error as error:
            self._failure = error
            return 0

    async def _connect(self, options: Mapping[str, Any], place: tuple[str, str], kind: type[Connection]) -> Connection:
        async with asyncio.timeout(self._patience):
            connection = await _log_in(options, place, kind)
            try:
                autocommit = connection.autocommit
                await connection.set_autocommit(True)
                timeline = await _ask(connection)
                await connection.set_autocommit(autocommit)
                self._mark.see_server(timeline)
            except BaseException:
                await connection.close()
                raise
        if timeline:
            self._timelines[connection] = timeline
        return connection


async def _log_in(
    options: Mapping[str, Any], place: tuple[str, str], kind: type[Connection] = psycopg.AsyncConnection
) -> Connection:
    host, port = place
    return await kind.connect(**{**options, "host": host, "port": port or None, "target_session_attrs": "any"})


async def _ask(connection: Connection) -> int | None:
    row = await (await connection.execute(_ASK)).fetchone()
    return row[0] if row else None
