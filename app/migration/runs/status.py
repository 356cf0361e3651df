"""What the tool's schema remembers of the runs on a target: read, and never written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import AsyncConnection

from app.common.schemas import schemas_of
from app.errors import INSTALL_NEWER, MigrationError
from app.migration.target.target_session import explained, open_target, run_lock_holder
from app.next_step import Command, NextStep
from app.state.notifications import Undelivered, undelivered
from app.state.pace import Pause, WorkingPace, read_paces, read_pause
from app.state.runs import checkpoints, foreign_keys, quarantine, runs
from app.state.runs.foreign_keys import KeptForeignKey
from app.state.runs.inventory import KeptInventory, last_inventory
from app.state.streams import Stream, read_streams
from app.state.tool_schema import OlderSchemaError, newest_version, version


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run.

    Attributes:
        command: "copy", "sync" and so on.
        source: its label, see `Source.label`.
        state: "running", "stopped" (it can go on), "complete" or "abandoned" (a later run took over).
        begun_at, finished_at: ISO 8601, in UTC; None where it has not finished.
    """

    number: int
    command: str
    source: str
    state: str
    begun_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class TableStatus:
    """A table of a run.

    Attributes:
        state: "copying" or "complete".
        rows: rows of the source that are in the target.
        source_rows: rows in the source when the run came to the table.
        refused: rows of the table in quarantine.
        rows_per_second: of the last start; None where no time has passed.
    """

    table: str
    state: str
    rows: int
    source_rows: int
    refused: int
    rows_per_second: float | None

    @property
    def left(self) -> int:
        """Rows still to come."""
        return 0 if self.state == "complete" else max(0, self.source_rows - self.rows - self.refused)


@dataclass(frozen=True, slots=True)
class Status:
    """What a target remembers.

    Attributes:
        installed: the tool's schema is there.
        holder: who is at work on the target now, in words.
        runs: the newest first.
        shown: the run whose tables are listed.
        in_quarantine: rows of all tables.
        foreign_keys: those that a run took away or left unchecked, and that are not validated or proved yet.
        inventory: the last one; None where none was taken.
        undelivered: what people were to be told, and were not.
        pause: who asked that nothing be read; None where nobody did.
        paces: of the commands that read the source now.
        streams: change streams, as far as the target knows them; those of the way back too.
        next_step: what to do next.
    """

    installed: bool
    holder: str | None
    runs: tuple[RunStatus, ...]
    shown: RunStatus | None
    tables: tuple[TableStatus, ...]
    in_quarantine: int
    foreign_keys: tuple[KeptForeignKey, ...]
    inventory: KeptInventory | None = None
    undelivered: Undelivered = field(default_factory=Undelivered)
    pause: Pause | None = None
    paces: tuple[WorkingPace, ...] = ()
    streams: Sequence[Stream] = ()

    @property
    def next_step(self) -> NextStep:
        """What to do next, by the newest run and by what is in quarantine."""
        if self.pause is not None:
            return NextStep(Command("resume"), ", when the source may be read again")
        if self.holder is not None:
            return NextStep(Command("status"), ", when that run has ended")
        newest = self.runs[0] if self.runs else None
        if newest is None:
            return NextStep(Command("copy"))
        if newest.state == "stopped":
            return NextStep(Command(newest.command), ", with the same source and tables: it goes on from there")
        if any(key.state != "not valid" for key in self.foreign_keys):
            does = "it puts the foreign keys back, and proves those that are there"
            return NextStep(Command("sync"), f", with the same source and tables: {does}")
        if self.foreign_keys and not self.in_quarantine:  # a run has compared their rows
            return NextStep("the statements of the foreign keys, once all rows keep them; then: ", Command("verify"))
        return NextStep(Command("quarantine list" if self.in_quarantine else "verify"))


async def read_status(target_url: str, run: int | None = None) -> Status:
    """The runs, and the tables of one of them: of the newest that has any, where none is chosen.

    Raises:
        MigrationError: the target cannot be read, or there is no such run.
    """
    async with open_target(target_url, step="status") as connection:
        with explained("status", pending="nothing is changed by it"):
            return await status_of(connection, run)


async def status_of(connection: AsyncConnection, run: int | None = None) -> Status:
    """The same, of a connection that is there.

    Raises:
        MigrationError: there is no such run, or another version of the tool made its schema.
        psycopg.Error: the target cannot be read.
    """
    holder = await run_lock_holder(connection)
    if not await _is_installed(connection, "status"):
        return Status(False, holder, (), None, (), 0, ())
    known = await _runs(connection, holder)
    newest = await checkpoints.newest_run(connection)
    shown = next((one for one in known if one.number == newest), None) if run is None else _chosen(known, run)
    return Status(
        True,
        holder,
        known,
        shown,
        await _tables(connection, shown.number) if shown else (),
        await quarantine.count_rows(connection),
        tuple(await foreign_keys.away(connection)),
        await last_inventory(connection),
        await undelivered(connection),
        await read_pause(connection),
        await read_paces(connection),
        await read_streams(connection, reverse=None),
    )


async def require_installed(connection: AsyncConnection, *, step: str) -> None:
    """Stop where the tool's schema is not there.

    Raises:
        MigrationError: it is not, or another version of the tool made it.
    """
    if not await _is_installed(connection, step):
        raise MigrationError(
            f"the target has no schema {schemas_of(connection).tool}: no run has begun there",
            step=step,
            pending="nothing is changed by it",
            next_step=NextStep(Command("upgrade"), ", which makes it; then: ", Command(step)),
        )


async def _is_installed(connection: AsyncConnection, step: str) -> bool:
    there, newest = await version(connection), newest_version()
    if not there:
        return False
    if there < newest:
        raise OlderSchemaError(step, pending="nothing is changed by it")
    if there > newest:
        raise MigrationError(
            "the tool's schema in the target was made by a newer botdata",
            step=step,
            pending="nothing is changed by it",
            next_step=NextStep(INSTALL_NEWER),
        )
    return True


async def _runs(connection: AsyncConnection, holder: str | None) -> tuple[RunStatus, ...]:
    known = []
    working = holder.partition(",")[0] if holder else None  # "botdata copy", as the session calls itself
    for number, command, source, state, begun_at, finished_at in await runs.newest_first(connection):
        names = (f"botdata {command.partition(' --')[0]}", "botdata migrate")  # without --reverse or --fix
        if state == "running" and working in names:
            working = None  # the newest of this command is the one at work
        elif state == "running":
            state = "stopped"
        known.append(RunStatus(number, command, source, state, begun_at, finished_at))
    return tuple(known)


def _chosen(known: tuple[RunStatus, ...], number: int) -> RunStatus:
    for run in known:
        if run.number == number:
            return run
    newest = ", ".join(str(run.number) for run in known[:20]) or "none"
    raise MigrationError(
        f"there is no run {number}; the newest are: {newest}",
        step="status",
        pending="nothing is changed by it",
        next_step=NextStep(Command("status")),
    )


async def _tables(connection: AsyncConnection, run: int) -> tuple[TableStatus, ...]:
    return tuple(
        TableStatus(table, state, rows, source_rows, refused, max(0.0, rate) if rate is not None else None)
        for table, state, rows, source_rows, refused, rate in await checkpoints.tables_of(connection, run)
    )
