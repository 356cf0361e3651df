"""Reads of the bot's callers, from standbys that are new enough for this process, else from the primary."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, NamedTuple, Self

from sqlalchemy import BigInteger, Select, literal_column, select

from app.common.background import end_all, end_at_once, end_task
from app.common.deadlines import happens, within
from app.common.metrics import Metrics
from app.common.schemas import Schemas
from app.errors import DataError, OutcomeUnknownError, StoreError, StoreTimeoutError, UnavailableError
from app.state.cutover.standby_reads import StandbyReads, StandbyReport
from app.state.wal import INSERT_LSN, SYSTEM, TIMELINE, WalPlace, lsn_as_number
from app.stores.outgoing_write import OutgoingWrite
from app.stores.postgres.database import Database
from app.stores.postgres.database_url import hosts_of, sqlalchemy_url, uses_pgbouncer
from app.stores.postgres.translated_errors import UnreadableError
from app.stores.standbys.read_mark import Mark, ReadMark
from app.stores.standbys.standby import NoStandbyError, Standby, StandbyAnswer, StandbyState

# The insert LSN: a commit that was not flushed (synchronous_commit off) is before it, too.
_PRIMARY_IS_AT: Any = select(
    literal_column(TIMELINE, BigInteger),
    literal_column(lsn_as_number(INSERT_LSN), BigInteger),
    literal_column(SYSTEM, BigInteger),
)
_LOOK = 0.5  # seconds between looks at the primary
_LOOK_TIMEOUT = 2.0
_REMEMBERED = 120.0  # seconds of the primary's positions
_TOO_FAR_BEHIND = 30.0  # seconds
_FRESH = 0.02  # seconds for which a standby that was too old is not asked again
_STATEMENT_TIMEOUT = "57014"


class PrimarySeen(NamedTuple):
    """Where the primary was, when, and the number of its system, which is its standbys' too."""

    moment: float
    at: WalPlace
    system: int


class ReadRouter:
    """The way of the callers' reads.

    No read is older than the writes of this process that were answered before it began, nor than what a standby has
    answered before. A read from the primary may be newer than a later one from a standby.

    Args:
        primary: the callers' pool, whose commits raise the mark; not closed with this.
        url: DATABASE_READ_URL.
        pool_size: connections to each standby at most.
        timeouts: pool_timeout and statement_timeout, as of `Database`.

    Raises:
        SettingsError: not the URL of PostgreSQL.
    """

    def __init__(self, primary: Database, url: str, metrics: Metrics, *, pool_size: int, **timeouts: float) -> None:
        self._primary = primary
        primary.on_commit = self.reach
        self._metrics = metrics
        self._mark = ReadMark()
        self._standbys = [
            Standby(name, address, self._judge, pool_size=pool_size, **timeouts) for name, address in _each_host(url)
        ]
        self._is_shared = False
        self._turn = count()
        self._history: deque[PrimarySeen] = deque()  # the oldest first
        self._hurry = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def in_schema(self, primary: Database) -> Self:
        """The same way for the tables of another schema; the mark is one: a log has one place, whoever has written.

        Args:
            primary: the callers' pool, for the tables of that schema.
        """
        other = copy(self)
        other._primary = primary
        other._is_shared = True
        return other

    def start(self) -> None:
        """Begin to look at the servers; until the primary was asked once, it gives all answers."""
        if self._is_shared:
            return
        self._looking = asyncio.create_task(self._keep_looking())
        for standby in self._standbys:
            standby.start()

    async def close(self) -> None:
        """Close the connections to the standbys."""
        if self._is_shared:
            return
        looking = [partial(end_task, self._looking)] if self._looking is not None else []
        await end_all(*looking, lambda: end_at_once(*(standby.close for standby in self._standbys)))

    async def fetch(
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of a statement, as of `Database.fetch`."""
        mark = self._mark.current
        if mark is not None and mark.timeline < self._primary.mark.timeline:
            self._lose()  # another pool has met a new primary
        elif mark is not None:
            for standby in self._in_turn(mark):
                answer = await self._ask(standby, statement, parameters, self._primary.schemas)
                if answer is None or not mark.allows(answer.before, standby):
                    continue
                if self._mark.shown(answer.after, standby, is_all=answer.is_all):
                    self._metrics.count("reads", by="standby")
                    return answer.rows
        self._metrics.count("reads", by="primary")
        return await self._primary.fetch(statement, parameters)

    async def fetch_text(
        self, statement: Select[Any], parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """The same, as of `Database.fetch_text`: of the primary."""
        return await self._primary.fetch_text(statement, parameters)

    @contextmanager
    def writing(self, write: OutgoingWrite) -> Iterator[None]:
        """A write of this process: where its outcome is unknown, it may have landed, and nobody knows where."""
        try:
            yield
        except BaseException as error:
            is_settled = isinstance(error, DataError) and not isinstance(error, OutcomeUnknownError)
            if write.has_left and not is_settled:
                self._lose()
            raise

    def reach(self, place: WalPlace | None) -> None:
        """Let no read be older than this place of the primary's; None: one that is not known."""
        if place is None:
            self._lose()
        else:
            self._mark.reach(place)

    def report(self) -> StandbyReads:
        """What standbys and the primary have answered, and how the standbys are."""
        by_standbys, by_primary = (self._metrics.total("reads", by=by) for by in ("standby", "primary"))
        return StandbyReads(by_standbys, by_primary, tuple(self._report_of(standby) for standby in self._standbys))

    def _in_turn(self, mark: Mark) -> Sequence[Standby]:
        """Those to be asked, the least used first, and in turn where they are alike."""
        fresh, system = monotonic() - _FRESH, self._history[-1].system
        usable = [
            one
            for one in self._standbys
            if one.answers and one.system == system and (one.at is None or one.seen < fresh or mark.allows(one.at, one))
        ]
        if len(usable) > 1:
            first = next(self._turn) % len(usable)
            usable = sorted(usable[first:] + usable[:first], key=lambda one: one.running)
        return usable

    async def _ask(
        self, standby: Standby, statement: Select[Any], parameters: Mapping[str, object] | None, schemas: Schemas
    ) -> StandbyAnswer | None:
        try:
            return await standby.read(statement, parameters, schemas)
        except UnreadableError:
            raise
        except StoreTimeoutError as error:
            if error.sqlstate == _STATEMENT_TIMEOUT:  # it would take as long elsewhere
                raise
        except (StoreError, NoStandbyError):
            pass  # the primary says what is wrong, if anything is
        return None

    def _lose(self) -> None:
        self._mark.lose()
        self._hurry.set()

    async def _ask_primary(self) -> PrimarySeen:
        ((timeline, lsn, system),) = await self._primary.fetch(_PRIMARY_IS_AT)
        if timeline is None:
            raise UnavailableError("the server of DATABASE_URL is in recovery")
        return PrimarySeen(monotonic(), WalPlace(timeline, lsn), system)

    async def _keep_looking(self) -> None:
        while True:
            self._hurry.clear()
            times_lost = self._mark.times_lost
            with suppress(StoreError):
                seen = await within(_LOOK_TIMEOUT, self._ask_primary())
                self._mark.found(seen.at, times_lost)
                self._remember(seen)
            await happens(self._hurry, _LOOK)

    def _remember(self, seen: PrimarySeen) -> None:
        if self._history and self._history[-1].at.timeline != seen.at.timeline:
            self._history.clear()
        self._history.append(seen)
        while seen.moment - self._history[0].moment > _REMEMBERED:
            self._history.popleft()

    def _judge(self, at: WalPlace, system: int) -> StandbyState:
        if not self._history:
            return StandbyState.ANSWERS
        last = self._history[-1]
        if last.system != system:
            return StandbyState.OTHER_SERVER
        if at.timeline != last.at.timeline:
            if at.timeline > last.at.timeline:
                self._hurry.set()
            return StandbyState.OTHER_TIMELINE
        if (self._lag_seconds(at) or 0.0) > _TOO_FAR_BEHIND:
            return StandbyState.BEHIND
        return StandbyState.ANSWERS

    def _lag_seconds(self, at: WalPlace) -> float | None:
        """Since when the primary is past a position; to the time between two looks."""
        if not self._history:
            return None
        since = next((seen.moment for seen in self._history if seen.at.lsn > at.lsn), None)
        return 0.0 if since is None else monotonic() - since

    def _report_of(self, standby: Standby) -> StandbyReport:
        at = standby.at if standby.state in {StandbyState.ANSWERS, StandbyState.BEHIND} else None
        if at is None or not self._history:
            return StandbyReport(standby.name, standby.state, None, None)
        seconds = self._lag_seconds(at)
        ahead = max(0, self._history[-1].at.lsn - at.lsn)
        return StandbyReport(standby.name, standby.state, ahead, None if seconds is None else round(seconds, 1))


def _each_host(text: str) -> list[tuple[str, str]]:
    """Of the hosts in DATABASE_READ_URL, each one's name with its port, and the URL of it alone, password included."""
    url = sqlalchemy_url(text, name="DATABASE_READ_URL")
    # Each is taken as the standby that it is; libpq is to choose none.
    plain = url.difference_update_query(["host", "port", "target_session_attrs", "load_balance_hosts"])
    if uses_pgbouncer(text):
        plain = plain.update_query_dict({"pgbouncer": "true"})
    found = []
    for host, port in hosts_of(url):
        given = {name: value for name, value in (("host", host), ("port", port)) if value}
        alone = plain.set(host=None, port=None).update_query_dict(given)
        found.append((f"{host or 'localhost'}:{port or 5432}", alone.render_as_string(hide_password=False)))
    return found
