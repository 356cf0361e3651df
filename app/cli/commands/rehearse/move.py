"""The steps of a rehearsal, in their order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.cli.commands.copy import copy_options
from app.cli.commands.cutover.moves import send_recorded
from app.cli.commands.migration import upgrade_of
from app.cli.commands.preflight import are_types_unseen, examine
from app.cli.commands.rehearse.stand_in import StandIn, missing_extra, stand_in_source
from app.cli.progress import Notices, progress
from app.cli.render import complain
from app.cli.work import Work
from app.errors import BotdataError, MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.migrate import migrate
from app.migration.preflight.findings import Accepted, Finding
from app.migration.runs.report import CopyReport, Refusal
from app.migration.sources.source import Progress, Source
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.target.target_session import open_target
from app.next_step import Command, NextStep
from app.rehearsal.database import ThrowAway, disable_triggers, throw_away_database
from app.rehearsal.disk_room import table_bytes
from app.rehearsal.places import STEP, Places
from app.rehearsal.steps import FAILED, Steps
from app.schema.revisions import Upgrade
from app.settings import Settings
from app.state.fetching import fetch_value

_OF_MOVE = ("copy", "migrate", "preflight", "sync", "upgrade", "verify")
CUTOVER = "cutover there and back"
_COMPARISONS = 5  # of each method in use: the example processes work for seconds, not for days


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says, beside what is moved.

    Attributes:
        no_cutover: why the cutover is not wished for, in words; None: it is, where the models are the bot's.
    """

    key_role_ok: bool
    accepted: Accepted
    jobs: int
    no_cutover: str | None


@dataclass(slots=True)
class Rehearsal:
    """What came of it.

    Attributes:
        findings: of preflight.
        refused: rows that the target refused, of the last copy or sync.
        triggers: of the project's own, that were disabled.
        lacks_extra: the cutover was left out, though it was wished for.
        left: what could not be removed, in words.
        next_step: what the step that ended it says is to be done.
    """

    steps: Steps = field(default_factory=lambda: Steps(lambda name: complain(f"rehearse: {name}")))
    findings: tuple[Finding, ...] = ()
    refused: tuple[Refusal, ...] = ()
    triggers: int = 0
    lacks_extra: bool = False
    left: tuple[str, ...] = ()
    next_step: NextStep | None = None

    @property
    def ok(self) -> bool:
        """Whether every step that was wished for was taken and passed, and nothing is left of it."""
        return self.steps.all_passed and not self.lacks_extra and not self.left


def left_out(work: Work, wishes: Wishes) -> str | None:
    """Why the cutover is not rehearsed, in words; None: it is."""
    if work.given.foreign:
        return "the cutover by stages is for the bot's own models; other projects stop after the sync"
    return wishes.no_cutover or missing_extra()


def next_step_after(done: Rehearsal) -> NextStep:
    """What to do next: where a step's remedy ends in a command of the move, that is this one again."""

    def again(command: Command) -> Command:
        return Command(STEP) if command.name in _OF_MOVE else command

    if done.next_step is not None:
        return done.next_step.with_options(again)
    return NextStep(Command("migrate" if done.ok else STEP))


async def rehearse(work: Work, places: Places, wishes: Wishes) -> Rehearsal:
    """Make the throw-away target, take the steps, and remove all of it; a step that fails ends it."""
    done = Rehearsal()
    async with throw_away_database(places, complain, stand_in=left_out(work, wishes) is None) as made:
        try:
            await _take_steps(replace(work, target=made.url), made, wishes, done)
        except BotdataError as error:
            if not done.steps.done or done.steps.done[-1].state != FAILED:
                raise
            done.next_step = error.next_step if isinstance(error, MigrationError) else None
    done.left = tuple(made.left)
    return done


async def _take_steps(work: Work, made: ThrowAway, wishes: Wishes, done: Rehearsal) -> None:
    await _move(work, wishes, done)
    with done.steps.step("sync beside the living source") as step, progress("sync") as bars:
        options = SyncOptions(settles_after=work.settings.outcome_settles_after)
        synced = await Sync(lambda: work.open_source(bars.notice), work.target, work.tables, bars, options).run()
        step.rows = sum(table.changed for table in synced.tables.values())
        done.refused = tuple(one for table in synced.tables.values() for one in table.refused)
        if not synced.complete:
            step.fail("the sync is not complete")
    why = left_out(work, wishes)
    if why is None and not done.steps.all_passed:
        why = "a step before it failed"
    if why is not None:
        done.steps.leave_out(CUTOVER, why)
        done.lacks_extra = why == missing_extra()
        return
    assert made.directory is not None
    await _cutover(work, made.directory, wishes, done.steps, Notices(complain))


async def _move(work: Work, wishes: Wishes, done: Rehearsal) -> None:
    """Preflight, revisions, copy and verify, as `migrate` does them."""
    steps = done.steps
    upgrading = upgrade_of(work)
    assert upgrading is not None  # models without revisions are refused before

    async def look(options: CopyOptions) -> CopyOptions:
        with steps.step("preflight"):
            report = await examine(work, wishes.accepted, key_role_ok=wishes.key_role_ok, quick=False, upgrades=True)
            done.findings = report.findings
            if report.errors:
                raise MigrationError(
                    f"{len(report.errors)} errors", step=STEP, pending="the copy", next_step=report.next_step
                )
        return replace(options, types_unseen=are_types_unseen(report))

    async def upgrade() -> Upgrade:
        with steps.step("revisions") as step:
            upgraded = await upgrading()
            if work.given.foreign:
                async with open_target(work.target, step=STEP) as connection:
                    done.triggers = await disable_triggers(connection)
                step.said = f"{done.triggers} triggers of the project's disabled, so that none calls out"
        return upgraded

    @asynccontextmanager
    async def working(name: str) -> AsyncIterator[tuple[Source, Progress]]:
        with steps.step(name):
            async with work.working(name) as ends:
                yield ends

    def on_copy(report: CopyReport) -> None:
        step = steps.done[-1]
        step.rows = sum(table.copied for table in report.tables)
        done.refused = tuple(one for table in report.tables for one in table.refused)
        if not report.complete:
            step.fail("the copy is not complete")

    report = await migrate(
        work.target,
        work.tables,
        replace(
            copy_options(work, overwrite=False, restart=False, max_quarantine=1000, jobs=wishes.jobs),
            target_in_use=False,  # whatever the settings say of the real one
        ),
        upgrade=upgrade,
        look=look,
        working=working,
        on_upgrade=lambda upgraded: None,
        on_copy=on_copy,
    )
    verified = steps.done[-1]
    verified.rows = sum(table.equal for table in report.verified.tables)
    if not report.verified.clean:
        differ = sum(table.rows_that_differ for table in report.verified.tables)
        verified.fail(f"{differ:,} rows differ" if differ else "the comparison is not clean")
    async with open_target(work.target, step=STEP) as connection:
        taken = await fetch_value(connection, table_bytes(work.tables))
    for step in steps.done:
        if step.name == "copy":
            step.bytes = taken


async def _cutover(work: Work, directory: Path, wishes: Wishes, steps: Steps, bars: Progress) -> None:
    from app.cutover.moves.gates.thresholds import Thresholds
    from app.cutover.tables import BUSINESS_TABLES
    from app.migration.tables.copy_table import name_of
    from app.migration.tables.metadata import select_tables
    from app.rehearsal.there_and_back import RehearsedCutover, fill_stand_in, there_and_back

    tables = select_tables(work.metadata, groups={"business"})
    assert {name_of(table) for table in tables} >= set(BUSINESS_TABLES)
    async with AsyncExitStack() as running:
        with steps.step("cutover: stand-in source started and filled") as step:

            async def fill(database_url: str) -> None:
                step.rows = await fill_stand_in(database_url, work.target, tables, bars)

            stand_in = await running.enter_async_context(stand_in_source(directory, fill))
        cutover = RehearsedCutover(
            settings=_settings(work, stand_in, directory),
            stand_in=stand_in.database_url,
            tables=tables,
            directory=directory,
            thresholds=Thresholds(_COMPARISONS, accepted=wishes.accepted),
            sending=send_recorded,
        )
        await there_and_back(cutover, steps, bars)


def _settings(work: Work, stand_in: StandIn, directory: Path) -> Settings:
    """Of the moves: nothing of the owner's but the times, so that nothing of it reaches the real stores."""
    from pydantic import SecretStr

    from app.settings import Settings

    return Settings.model_construct(
        supabase_url=stand_in.url,
        supabase_key=SecretStr(stand_in.service_key),
        database_url=SecretStr(work.target),
        cutover_stage="database",
        cutover_spool=directory / "spool",
        cutover_hold=work.settings.cutover_hold,
        cutover_id_gap=work.settings.cutover_id_gap,
        outcome_settles_after=work.settings.outcome_settles_after,
    )
