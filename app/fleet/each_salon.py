"""The same work for each salon: a few at a time, going on after one that fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from psycopg import AsyncConnection

from app.common.schemas import Schemas
from app.errors import BotdataError
from app.fleet.outcome import Outcome, SalonResult, failed
from app.migration.sources.source import Progress
from app.migration.target.target_session import connect_target, explained
from app.state.fleet.salons import Salon
from app.stores.postgres.cursors import turn_to

Work = Callable[[AsyncConnection, Salon], Awaitable[Outcome]]
# A server process remembers each table that it has seen, and gives that memory back only as it ends.
SALONS_OF_A_SESSION = 200


@dataclass
class Fleet:
    """Work on salons, and what came of it so far.

    Attributes:
        url: of the database, which names no schema.
        step: the command, such as "fleet upgrade".
        jobs: how many salons at a time.
        to_its_end: a stop lets the work on a salon end that has begun; else it is broken off.
        outcomes: by the salon's name; a stop leaves some that are `NOT_DONE`.
    """

    url: str
    step: str
    salons: Sequence[Salon]
    jobs: int
    progress: Progress
    to_its_end: bool
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    async def run(self, work: Work) -> None:
        """Do the work for all of them.

        Args:
            work: gets a connection whose statements mean the salon's schema.

        Raises:
            MigrationError: the database cannot be reached; what was done is in `outcomes`.
            CancelledError: it was stopped; likewise.
        """
        for salon in self.salons:
            self.outcomes[salon.name] = Outcome(salon.name, SalonResult.NOT_DONE, reason="not begun")
        self.progress.begin("", len(self.salons), 0)
        waiting = iter(self.salons)

        async def worker() -> None:
            connection, seen = None, 0
            try:
                for salon in waiting:
                    if connection is not None and (seen >= SALONS_OF_A_SESSION or connection.closed):
                        await connection.close()
                        connection, seen = None, 0
                    if connection is None:
                        with explained(self.step, pending=f"{self._left:,} of {len(self.salons):,} salons"):
                            connection = await connect_target(self.url, step=self.step)
                    turn_to(connection, Schemas(salon.name))
                    seen += 1
                    await self._one(work, connection, salon)
            finally:
                if connection is not None:
                    await connection.close()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.jobs, len(self.salons))):
                    group.create_task(worker())
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None  # each worker says the same: the database is away

    @property
    def _left(self) -> int:
        return sum(one.result is SalonResult.NOT_DONE for one in self.outcomes.values())

    async def _one(self, work: Work, connection: AsyncConnection, salon: Salon) -> None:
        task = asyncio.create_task(self._kept(work, connection, salon))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if self.to_its_end:
                self.progress.notice(f"stopping: {salon.name} is brought to its end")
            else:
                task.cancel()
            await asyncio.wait({task})
            raise

    async def _kept(self, work: Work, connection: AsyncConnection, salon: Salon) -> None:
        self.outcomes[salon.name] = Outcome(salon.name, SalonResult.NOT_DONE, reason="stopped before its end")
        began = monotonic()
        try:
            with explained(self.step, pending="the rest of this salon"):
                outcome = await work(connection, salon)
        except BotdataError as error:
            outcome = failed(salon.name, error)
        self.outcomes[salon.name] = replace(outcome, seconds=monotonic() - began)
        self.progress.advance("", 1)
