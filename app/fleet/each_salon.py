"""Which salons of a database are meant, and the same work for each: a few at a time, going on after one that fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from time import monotonic

from psycopg import AsyncConnection

from app.common.schemas import Schemas, address_in, schema_in, trouble_with_target
from app.errors import BotdataError, MigrationError, SettingsError
from app.fleet.outcome import Outcome, SalonResult, failed
from app.migration.sources.source import Progress
from app.migration.target.target_session import connect_target, explained, open_target
from app.next_step import Command, NextStep
from app.settings import Settings
from app.state.fetching import fetch_value
from app.state.fleet.salons import Salon, filled_schemas, find_salons
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


@dataclass(frozen=True, slots=True)
class Chosen:
    """The salons that are meant.

    Attributes:
        salons: by their names, those to be created among them.
        new: names of those that are to be created.
        filled: of these, the ones whose schemas are there already and hold something that is no salon.
        began_at: when the database was asked, by its clock.
    """

    salons: tuple[Salon, ...]
    new: frozenset[str]
    filled: frozenset[str]
    began_at: datetime


def database_of(settings: Settings) -> str:
    """The address of the database, whose salons are all meant.

    Raises:
        SettingsError: DATABASE_URL is not set, or the settings name one salon.
    """
    url = settings.require_database_url()
    if settings.schema_of_target != "public":
        raise SettingsError(
            f"botdata fleet works on all salons of DATABASE_URL; the settings name {settings.schema_of_target} alone: "
            "take its name out of them, or give it with --only"
        )
    return url


def address_of(url: str, salon: str) -> str:
    """The address of a salon of the database."""
    return url if salon == "public" and schema_in(url) is None else address_in(url, salon)


def checked_names(names: Sequence[str]) -> list[str]:
    """Names of salons to be created, each once.

    Raises:
        SettingsError: no schema can be named so.
    """
    for name in names:
        if name != "public" and (trouble := trouble_with_target(name)) is not None:
            raise SettingsError(f"no salon can be named {name!r}: it {trouble}")
    return list(dict.fromkeys(names))


async def choose(url: str, only: Sequence[str], create: Sequence[str] = (), *, step: str) -> Chosen:
    """The salons that are there, and those to be created, as far as one of the patterns `only` matches their names.

    Args:
        only: shell patterns; none: all.
        create: names of salons that are to be there.

    Raises:
        MigrationError: the database cannot be read, has no salon, or a pattern matches none.
    """
    async with open_target(url, step=step) as connection:
        with explained(step, pending="everything; nothing was changed"):
            there = {salon.name: salon for salon in await find_salons(connection)}
            new = [name for name in create if name not in there]
            began_at = await fetch_value(connection, "SELECT clock_timestamp()")
            filled = await filled_schemas(connection, [name for name in new if name != "public"]) if new else set()
    known = {**there, **{name: Salon(name) for name in new}}
    idle = [pattern for pattern in only if not any(fnmatchcase(name, pattern) for name in known)]
    if idle or not known:
        what = f"no salon's name matches {', '.join(idle)}" if idle else "the database has no salon"
        raise MigrationError(
            f"{what}; a salon is a schema with the table alembic_version, or with its NAME_botdata beside it",
            step=step,
            pending="everything; nothing was changed",
            next_step=NextStep(Command("fleet status"), ", which lists all")
            if known
            else NextStep(Command("fleet upgrade", "--create NAME"), ", which makes one"),
        )
    chosen = [known[name] for name in sorted(known) if not only or any(fnmatchcase(name, one) for one in only)]
    names = {salon.name for salon in chosen}
    return Chosen(tuple(chosen), frozenset(names.intersection(new)), frozenset(filled & names), began_at)
