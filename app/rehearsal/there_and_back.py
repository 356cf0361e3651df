"""The cutover there and back, between the copy and a stand-in source that is filled from it, with processes at work."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import psycopg
from sqlalchemy import Table

from app.cutover.moves.gates.thresholds import Thresholds
from app.cutover.moves.steps import Sending, advance, back
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.migration.copy.copier import copy
from app.migration.runs.report import VerifyReport
from app.migration.sources.opening import Supabase, open_source
from app.migration.sources.source import Progress, Source
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.target.target_session import open_target
from app.migration.verify.verifier import verify
from app.next_step import Command, NextStep
from app.rehearsal.example_process import COMPANY, USERS
from app.rehearsal.places import STEP
from app.rehearsal.steps import RehearsedStep, Steps
from app.schema import revisions
from app.settings import Settings
from app.state.tool_schema import drop_tool_schema

_PROCESSES = 2
_STARTING, _ENDING, _MOVING = 60.0, 30.0, 120.0  # seconds
_BETWEEN_TRIES = 0.5
_WRITTEN = (
    "SELECT 'dialog_contexts', user_id::text, state FROM dialog_contexts WHERE user_id LIKE %(users)s "
    "UNION ALL SELECT 'clients', yclients_id::text, name FROM clients WHERE company_id = %(company)s"
)


@dataclass(frozen=True, slots=True)
class RehearsedCutover:
    """What the cutover is rehearsed with.

    Attributes:
        settings: of the processes and the moves: the copy, the stand-in, and CUTOVER_STAGE=database.
        stand_in: the URL of the stand-in's database.
        tables: that both hold.
        directory: for the processes' logs.
        thresholds: of the gates.
        sending: makes what sends to the source what was recorded at `complete`.
    """

    settings: Settings
    stand_in: str
    tables: Sequence[Table]
    directory: Path
    thresholds: Thresholds
    sending: Callable[[Settings], Sending]


async def fill_stand_in(database_url: str, copied: str, tables: Sequence[Table], progress: Progress) -> int:
    """Make the schema of a stand-in source, and copy the rows of the copy into it; gives how many.

    Raises:
        MigrationError: not every row arrived.
    """
    revisions.upgrade(database_url)
    async with open_source(copied, progress.notice, step=STEP) as source:
        report = await copy(source, database_url, tables, progress)
    if not report.complete:
        raise _stopped("not every row of the copy could be copied into the stand-in source")
    async with open_target(database_url, step=STEP) as connection:
        await drop_tool_schema(connection)  # a source has none
    return sum(table.copied for table in report.tables)


async def there_and_back(cutover: RehearsedCutover, steps: Steps, progress: Progress) -> None:
    """All stages on and back again, each a step, and then a look whether any write is lost.

    Raises:
        MigrationError: a step failed.
    """
    with steps.step("cutover: the stand-in taken for the source") as step:
        step.rows = await _synced(cutover, progress, adopt=True)
    async with _processes(cutover, steps) as processes:
        order = list(Stage)
        for kind, to in [*(("advance", to) for to in order[1:]), *(("back", to) for to in reversed(order[:-1]))]:
            with steps.step(f"cutover {kind}: {to}") as step:
                await _move(cutover, kind, to, progress)
                processes.require_alive()
    with steps.step("cutover: no write lost") as step:
        await _nothing_lost(cutover, processes, step, progress)


async def _move(cutover: RehearsedCutover, kind: str, to: Stage, progress: Progress) -> None:
    """One move as the owner makes it: with what the gate asks for before, and again where it has to wait."""
    deadline = monotonic() + _MOVING
    while True:
        if kind == "advance" and to in {Stage.SHADOW, Stage.LIVE}:
            await _synced(cutover, progress)
            await _verified(cutover, progress)
        if kind == "advance":
            outcome = await advance(cutover.settings, thresholds=cutover.thresholds)
        else:
            outcome = await back(cutover.settings, send=cutover.sending(cutover.settings))
        if outcome.ok:
            return
        if outcome.moved:
            raise _stopped(f"processes do not follow to {to}: {', '.join(one.name for one in outcome.behind)}")
        if monotonic() > deadline:
            against = [*(one.what for one in outcome.objections), *(late.what for late in outcome.late)]
            raise _stopped(f"the step to {to} was refused for {_MOVING:.0f} s: {'; '.join(against)}")
        await asyncio.sleep(_BETWEEN_TRIES)


async def _synced(cutover: RehearsedCutover, progress: Progress, *, adopt: bool = False) -> int:
    """A sync from the stand-in; gives the rows that it changed. The first one takes the copy's rows for its own."""
    options = SyncOptions(overwrite=adopt, settles_after=cutover.settings.outcome_settles_after)
    opening = partial(_source, cutover, progress)
    report = await Sync(opening, cutover.settings.require_database_url(), cutover.tables, progress, options).run()
    if not report.complete:
        raise _stopped("the sync from the stand-in source is not complete")
    return sum(table.changed for table in report.tables.values())


async def _verified(cutover: RehearsedCutover, progress: Progress) -> VerifyReport:
    async with _source(cutover, progress) as source:
        return await verify(source, cutover.settings.require_database_url(), cutover.tables, progress)


def _source(cutover: RehearsedCutover, progress: Progress) -> AbstractAsyncContextManager[Source]:
    return open_source(Supabase(*cutover.settings.require_supabase()), progress.notice, step=STEP)


async def _nothing_lost(
    cutover: RehearsedCutover, processes: "_Processes", step: RehearsedStep, progress: Progress
) -> None:
    """Every write that was acknowledged is in the stand-in, the authority again, and after a sync no row differs."""
    written, failed = processes.logged()
    step.rows = sum(count for count, _ in written.values())
    async with await psycopg.AsyncConnection.connect(cutover.stand_in) as connection:
        found = await connection.execute(_WRITTEN, {"users": f"{USERS}%", "company": COMPANY})
        held = {(table, key): int(number) for table, key, number in await found.fetchall()}
    lost = {key for key, (_, last) in written.items() if held.get(key, -1) < last}
    if lost:
        raise _stopped(f"{len(lost):,} rows do not hold the last write that was acknowledged")
    if not written:
        raise _stopped("the processes have written nothing")
    if failed:
        raise _stopped(f"calls of the processes failed: {', '.join(sorted(failed))}")
    await _synced(cutover, progress)  # at `off` nothing mirrors
    if not (await _verified(cutover, progress)).clean:
        raise _stopped("the copy and the stand-in source differ at the end")


class _Processes:
    """The example processes that run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[asyncio.subprocess.Process] = []

    def _log(self, number: int) -> Path:
        return self._directory / f"process-{number}.log"

    def _lines(self, number: int) -> list[list[object]]:
        log = self._log(number)
        return [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []

    async def start(self, environment: dict[str, str]) -> None:
        """Start them, and wait until each has opened its data layer."""
        for number in range(1, _PROCESSES + 1):
            with self._log(number).with_suffix(".err").open("wb") as errors:
                self._running.append(
                    await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "app.rehearsal.example_process", str(number), self._log(number)),
                        cwd=self._directory,
                        env=environment,
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.DEVNULL,
                        stderr=errors,
                        start_new_session=True,  # Ctrl-C reaches this program alone, which then ends them
                    )
                )
        deadline = monotonic() + _STARTING
        while not all(self._lines(number) for number in range(1, _PROCESSES + 1)):
            self.require_alive()
            if monotonic() > deadline:
                raise _stopped("the example processes do not start")
            await asyncio.sleep(_BETWEEN_TRIES)

    def require_alive(self) -> None:
        """Stop where one has ended by itself."""
        if any(one.returncode is not None for one in self._running):
            raise _stopped("an example process has ended by itself")

    async def end(self) -> None:
        """Let each finish what it is at; one that does not end is killed."""
        for one in self._running:
            assert one.stdin is not None
            one.stdin.close()
        try:
            if self._running:
                await asyncio.wait([asyncio.create_task(one.wait()) for one in self._running], timeout=_ENDING)
        finally:
            left = [one for one in self._running if one.returncode is None]
            for one in left:
                one.kill()
            for one in left:
                await one.wait()

    def logged(self) -> tuple[dict[tuple[str, str], tuple[int, int]], set[str]]:
        """By table and key, how many writes were acknowledged and the number of the last; and the calls that failed."""
        written: dict[tuple[str, str], tuple[int, int]] = {}
        failed = set()
        for number in range(1, _PROCESSES + 1):
            for kind, *rest in self._lines(number):
                if kind == "write":
                    table, key, count = rest
                    assert isinstance(count, int)
                    before, _ = written.get((str(table), str(key)), (0, 0))
                    written[str(table), str(key)] = before + 1, count
                elif kind == "failed":
                    failed.add(f"{rest[0]} ({rest[1]})")
        return written, failed


@asynccontextmanager
async def _processes(cutover: RehearsedCutover, steps: Steps) -> AsyncIterator[_Processes]:
    """The processes at work for as long as the context lasts."""
    url, key = cutover.settings.require_supabase()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(cutover.directory),
        "SUPABASE_URL": url,
        "SUPABASE_KEY": key,
        "DATABASE_URL": cutover.settings.require_database_url(),
        "CUTOVER_STAGE": "database",
        "CUTOVER_SPOOL": str(cutover.settings.cutover_spool),
        "DATABASE_POOL_SIZE": "3",
        "MIRROR_CONNECTIONS": "3",
    }
    processes = _Processes(cutover.directory)
    async with AsyncExitStack() as ending:
        ending.push_async_callback(processes.end)
        with steps.step(f"cutover: {_PROCESSES} example processes started"):
            await processes.start(environment)
        yield processes


def _stopped(message: str) -> MigrationError:
    return MigrationError(message, step=STEP, pending="the rest of the rehearsal", next_step=NextStep(Command(STEP)))
