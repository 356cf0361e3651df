"""Looks at the stages of many salons for all their memberships at once, and writes their reports.

A membership that is alone looks twice a second, and writes its report with each look. A thousand of them would keep
their server busy with nothing else. So one statement sees whether anything is new in a hundred schemas. Where it is,
the membership looks by itself, as ever: what it does about it does not depend on this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from time import monotonic
from typing import Any, Protocol

from app.common.background import end_task
from app.common.bisection import in_halves
from app.common.deadlines import within
from app.common.schemas import Schemas
from app.errors import DataError, StoreTimeoutError, UnavailableError
from app.state.cutover import processes
from app.state.cutover.processes import LOCK_TIMEOUT, Report
from app.state.cutover.stage import StageRow
from app.stores.postgres.database import Database

logger = logging.getLogger("app.data_layer")

_INTERVAL = 0.5  # seconds between looks
_REPORT_EVERY = 2.0  # seconds; past `processes.SILENT_AFTER` a process counts as silent
_SEEN_AT_ONCE = 100  # schemas
_REPORTS_AT_ONCE = 25
_TIMEOUT = 3.0
_SHARE = 0.5  # of the time that is spent with this at most


class Member(Protocol):
    """A membership, of one salon."""

    @property
    def schemas(self) -> Schemas: ...

    @property
    def row(self) -> StageRow | None: ...

    @property
    def is_settled(self) -> bool:
        """Whether its last look went well, and found it in the list of the processes; else it looks by itself."""

    def report(self) -> Report:
        """What it says of itself now."""
        ...

    def look_now(self) -> None:
        """There is something new."""
        ...


class Looks:
    """Those of one process.

    Args:
        database: the pool for reports.
        process: this process's name.

    Attributes:
        turns: of memberships that look by themselves, so that a thousand at once do not wait for a connection in vain.
    """

    def __init__(self, database: Database, process: str) -> None:
        self.turns = asyncio.Semaphore(2)
        self._database = database
        self._process = process
        self._members: dict[Schemas, Member] = {}
        self._seen: dict[str, processes.Sight] = {}
        self._statements: dict[tuple[Schemas, ...], str] = {}
        self._told = monotonic()
        self._is_away = False
        self._late: Exception | None = None
        self._loop: asyncio.Task[None] | None = None

    def follow(self, member: Member) -> None:
        """Begin to look for a membership."""
        self._members[member.schemas] = member
        if self._loop is None:
            self._loop = asyncio.create_task(self._keep_looking())

    def leave(self, member: Member) -> None:
        """It has ended."""
        if self._members.pop(member.schemas, None) is not None:
            self._seen.pop(member.schemas.data, None)

    async def close(self) -> None:
        """End."""
        if self._loop is not None:
            await end_task(self._loop)

    async def _keep_looking(self) -> None:
        while True:
            began = monotonic()
            try:
                self._late = None
                await self._look()
                self._say(self._late)
            except Exception as error:  # whatever it is, the next look must come
                self._say(error)
            took = monotonic() - began
            await asyncio.sleep(max(_INTERVAL - took, took * (1 / _SHARE - 1)))

    def _say(self, error: Exception | None) -> None:
        if error is not None and not self._is_away:
            why = str(error) if isinstance(error, DataError) else type(error).__name__
            logger.warning("the stages of %d salons cannot be looked at: %s", len(self._members), why)
        self._is_away = error is not None

    async def _look(self) -> None:
        settled = [schemas for schemas, member in self._members.items() if member.is_settled]
        known, self._statements = self._statements, {}
        for first in range(0, len(settled), _SEEN_AT_ONCE):
            group = tuple(settled[first : first + _SEEN_AT_ONCE])
            self._statements[group] = known.get(group) or processes.seeing(group)
            await in_halves(group, partial(self._attempt, self._see))
        if monotonic() - self._told >= _REPORT_EVERY:
            self._told = monotonic()
            for first in range(0, len(settled), _REPORTS_AT_ONCE):
                await in_halves(settled[first : first + _REPORTS_AT_ONCE], partial(self._attempt, self._report))

    async def _attempt(
        self, ask: Callable[[Sequence[Schemas]], Coroutine[Any, Any, None]], group: Sequence[Schemas]
    ) -> Sequence[Schemas]:
        """Ask of a group; all of it, to be asked in halves, where one of its schemas is gone or locked.

        Raises:
            UnavailableError: PostgreSQL is away; nobody has to look for that.
        """
        try:
            await within(_TIMEOUT, ask(group))
        except UnavailableError:
            raise
        except DataError as error:
            if isinstance(error, StoreTimeoutError) and error.sqlstate != LOCK_TIMEOUT:
                self._late = error  # the next look may come through
                return ()
            if len(group) > 1:
                return group
            self._tell(group[0])  # it finds out for itself
        return ()

    async def _see(self, group: Sequence[Schemas]) -> None:
        statement = self._statements.get(tuple(group)) or processes.seeing(group)
        async with self._database.transaction() as connection:
            found = await processes.see(connection, statement, self._process)
        for schemas in group:
            if (sight := found.get(schemas.data)) is None:  # the row of its stage is gone
                self._tell(schemas)
                continue
            member, known = self._members.get(schemas), self._seen.get(schemas.data)
            self._seen[schemas.data] = sight
            if sight != known and not (known is None and member is not None and sight.is_quiet(member.row)):
                self._tell(schemas)

    async def _report(self, group: Sequence[Schemas]) -> None:
        reports = {schemas: member.report() for schemas in group if (member := self._members.get(schemas))}
        if not reports:
            return
        async with self._database.transaction() as connection:
            told = await processes.report_all(connection, reports)
        for schemas in reports:
            if schemas.data not in told:
                self._tell(schemas)

    def _tell(self, schemas: Schemas) -> None:
        if member := self._members.get(schemas):
            member.look_now()
