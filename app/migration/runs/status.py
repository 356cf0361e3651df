"""What the tool's schema remembers of the runs on a target: read, and never written."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.errors import INSTALL_NEWER, MigrationError
from app.migration.target.target_session import explained, open_target, run_lock_holder
from app.state.tool_schema import newest_version


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
class ForeignKeyStatus:
    """A foreign key that a run took away and that is not validated yet; `state` is "dropped" or "not valid"."""

    table: str
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Status:
    """What a target remembers.

    Attributes:
        installed: the tool's schema is there.
        holder: who is at work on the target now, in words.
        runs: the newest first.
        shown: the run whose tables are listed.
        in_quarantine: rows of all tables.
        next_command: what to run next.
    """

    installed: bool
    holder: str | None
    runs: tuple[RunStatus, ...]
    shown: RunStatus | None
    tables: tuple[TableStatus, ...]
    in_quarantine: int
    foreign_keys: tuple[ForeignKeyStatus, ...]

    @property
    def next_command(self) -> str:
        """What to run next, by the newest run and by what is in quarantine."""
        if self.holder is not None:
            return "botdata status, when that run has ended"
        newest = self.runs[0] if self.runs else None
        if newest is None:
            return "botdata copy"
        if newest.state == "stopped":
            return f"botdata {newest.command}, with the same source and tables: it goes on from there"
        if self.foreign_keys:
            return "botdata sync, with the same source and tables: it puts the foreign keys back"
        return "botdata quarantine list" if self.in_quarantine else "botdata verify"


async def read_status(target_url: str, run: int | None = None) -> Status:
    """The runs, and the tables of one of them: of the newest that has any, where none is chosen.

    Raises:
        MigrationError: the target cannot be read, or there is no such run.
    """
    async with open_target(target_url, step="status") as connection:
        with explained("status", pending="nothing is changed by it"):
            holder = await run_lock_holder(connection)
            if not await _is_installed(connection):
                return Status(False, holder, (), None, (), 0, ())
            runs = await _runs(connection, holder)
            shown = _chosen(runs, run) if run is not None else await _newest_with_tables(connection, runs)
            return Status(
                True,
                holder,
                runs,
                shown,
                await _tables(connection, shown.number) if shown else (),
                await _in_quarantine(connection),
                await _foreign_keys(connection),
            )


async def _is_installed(connection: AsyncConnection) -> bool:
    row = await (await connection.execute("SELECT to_regnamespace('botdata') IS NOT NULL")).fetchone()
    if not (row and row[0]):
        return False
    row = await (await connection.execute("SELECT max(version) FROM botdata.version")).fetchone()
    version = row[0] if row else None
    if version != newest_version():
        made_by = "an older" if (version or 0) < newest_version() else "a newer"
        raise MigrationError(
            f"the tool's schema in the target was made by {made_by} botdata",
            step="status",
            pending="nothing is changed by it",
            next_command="botdata upgrade, as the owner of the target's schema; then: botdata status"
            if made_by == "an older"
            else INSTALL_NEWER,
        )
    return True


async def _runs(connection: AsyncConnection, holder: str | None) -> tuple[RunStatus, ...]:
    cursor = await connection.execute(
        'SELECT id, command, source, state, to_char(started_at, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'), '
        'to_char(finished_at, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\') FROM botdata.runs ORDER BY id DESC'
    )
    runs = []
    working = holder.partition(",")[0] if holder else None  # "botdata copy", as the session calls itself
    for number, command, source, state, begun_at, finished_at in await cursor.fetchall():
        if state == "running" and working == f"botdata {command.partition(' --')[0]}":  # not with --reverse, --fix
            working = None  # the newest of this command is the one at work
        elif state == "running":
            state = "stopped"
        runs.append(RunStatus(number, command, source, state, begun_at, finished_at))
    return tuple(runs)


def _chosen(runs: tuple[RunStatus, ...], number: int) -> RunStatus:
    for run in runs:
        if run.number == number:
            return run
    known = ", ".join(str(run.number) for run in runs[:20]) or "none"
    raise MigrationError(
        f"there is no run {number}; the newest are: {known}",
        step="status",
        pending="nothing is changed by it",
        next_command="botdata status",
    )


async def _newest_with_tables(connection: AsyncConnection, runs: tuple[RunStatus, ...]) -> RunStatus | None:
    row = await (await connection.execute("SELECT max(run_id) FROM botdata.checkpoints")).fetchone()
    newest = row[0] if row else None
    return next((run for run in runs if run.number == newest), None)


async def _tables(connection: AsyncConnection, run: int) -> tuple[TableStatus, ...]:
    cursor = await connection.execute(
        "SELECT table_name, state, inserted + updated + unchanged, greatest(source_before, 0), "
        "(SELECT count(*) FROM botdata.quarantine q WHERE q.table_name = c.table_name AND q.run_id = c.run_id), "
        "((inserted + updated + unchanged - rows_before) / "
        "nullif(extract(epoch FROM changed_at - begun_at), 0))::double precision "
        "FROM botdata.checkpoints c WHERE run_id = %s ORDER BY begun_at, table_name",
        [run],
    )
    return tuple(
        TableStatus(table, state, rows, source_rows, refused, max(0.0, rate) if rate is not None else None)
        for table, state, rows, source_rows, refused, rate in await cursor.fetchall()
    )


async def _in_quarantine(connection: AsyncConnection) -> int:
    row = await (await connection.execute("SELECT count(*) FROM botdata.quarantine")).fetchone()
    return int(row[0]) if row else 0


async def _foreign_keys(connection: AsyncConnection) -> tuple[ForeignKeyStatus, ...]:
    cursor = await connection.execute(
        "SELECT table_name, name, state FROM botdata.foreign_keys WHERE state <> 'validated' ORDER BY table_name, name"
    )
    return tuple(ForeignKeyStatus(*row) for row in await cursor.fetchall())
