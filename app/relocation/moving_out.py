"""Moves a salon out: holds its tables still, archives them and the tool's state from one snapshot, and marks it moved.

The fence comes before the snapshot, so that no write is lost between the two. Where the archive fails, it is taken away
again; where the command was killed, the next start goes on, or `cancel` takes it away.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import AsyncConnection

from app.cutover.moves.stage_row import kept, lock_stage_row, open_cutover, require_standby
from app.errors import INSTALL_NEWER, MigrationError
from app.migration.sources.source import Progress
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.relocation.archive import Archive, ArchiveWriter, Manifest, MemberWriter, SequenceState, TableRows
from app.relocation.conditions import Obstacle, SalonCatalog, objections, read_salon
from app.relocation.rows import copy_out, hold_shape, read_sequences, schema_name, tables_of
from app.schema.revision_files import known_revisions
from app.state.cutover.moves import record
from app.state.cutover.processes import read_processes
from app.state.cutover.stage import StageRow, read_stage_row
from app.state.fetching import fetch_rows, fetch_value
from app.state.relocation.contents import TAKEN
from app.state.relocation.mark import archive_kept, keep_archive, mark_moved_out, unmark_moved_out
from app.state.tool_schema import newest_version
from app.stores.postgres.database_url import schemas_of_url

STEP = "schema move-out"
_NOTHING = "everything; nothing was changed, and the salon is where it was"


@dataclass(frozen=True, slots=True)
class Leaving:
    """What moving out would do.

    Attributes:
        against: why it cannot be done now.
        processes: those of the bot that will answer `unavailable` until they are started at the new place.
        rows: by table, as the planner estimates them.
        begun: an earlier start was killed, and the salon is held still.
    """

    revision: str
    row: StageRow
    catalog: SalonCatalog
    against: tuple[Obstacle, ...]
    processes: tuple[str, ...]
    rows: dict[str, int]
    begun: bool

    def untold(self, leave: Collection[str]) -> list[str]:
        """Objects of the user's own that were not said to stay behind."""
        return [one for one in self.catalog.own if one not in leave]


@dataclass(frozen=True, slots=True)
class MovedOut:
    """What was done."""

    path: Path
    manifest: Manifest
    processes: tuple[str, ...]


async def look(url: str) -> Leaving:
    """What there is to move; nothing is changed.

    Raises:
        MigrationError: the target cannot be used, has no such salon, or has moved out already.
    """
    async with open_target(url, step=STEP) as connection:
        revision = await _revision(connection)  # a name that is wrong is told before what its schema lacks
    async with open_cutover(url, STEP, pending=_NOTHING) as connection:
        row = await read_stage_row(connection)
        await _refuse_moved(connection, row)
        against = tuple(await objections(connection, row))
        processes = tuple(process.name for process in await read_processes(connection))
        rows = await _estimates(connection)
    catalog = await read_salon(url, revision, step=STEP)
    return Leaving(revision, row, catalog, against, processes, rows, row.moved_out is not None)


async def _refuse_moved(connection: AsyncConnection, row: StageRow) -> None:
    if row.moved_out and await archive_kept(connection):
        name = schema_name(connection, "data")
        raise MigrationError(
            row.moved_out,
            step=STEP,
            pending="nothing",
            next_step=NextStep(
                "where it was moved in: ", Command("schema drop", f"{name} --moved-in RECEIPT"),
                "; where it was not, and is to live here again: ", Command(STEP, f"{name} --cancel"),
            ),
        )  # fmt: skip


def refuse(leaving: Leaving, leave: Collection[str]) -> None:
    """Stop where it cannot be done.

    Raises:
        MigrationError: names everything in the way.
    """
    reasons = [objection.why for objection in leaving.against]
    remedies = [objection.remedy for objection in leaving.against]
    if own := leaving.untold(leave):
        reasons.append(f"the schema holds what its revisions do not make: {', '.join(own)}")
        options = " ".join(f"--leave '{one}'" for one in own)
        remedies.append(NextStep("move it away, or leave it behind: ", Command(STEP, f"NAME {options}")))
    if reasons:
        parts = [part for remedy in remedies for part in ("; ", *remedy)]
        raise MigrationError("; ".join(reasons), step=STEP, pending=_NOTHING, next_step=NextStep(*parts[1:]))


async def move_out(url: str, leaving: Leaving, path: Path, leave: Collection[str], progress: Progress) -> MovedOut:
    """Carry out what `look` showed.

    Raises:
        MigrationError: it stopped, and the salon goes on where it was, unless it says otherwise.
    """
    refuse(leaving, leave)
    name = schemas_of_url(url).data
    async with open_target(url, step=STEP, exclusive=True) as connection:
        await _refuse_moved(connection, await read_stage_row(connection))
        writer = ArchiveWriter(path, step=STEP)
        try:
            await _hold_still(url, connection, tuple(leaving.catalog.tables))
            try:
                with explained(STEP, pending="the archive"):
                    manifest = await _write(connection, leaving, leave, writer, progress)
            except OSError as error:
                raise writer.failed(error) from error
            Archive(path, step=STEP)
            async with kept(url, connection, step=STEP):
                await keep_archive(connection, manifest.checksum)
        except BaseException as error:
            writer.give_up()
            if isinstance(error, MigrationError):
                error.pending = _NOTHING
            if not await asyncio.shield(_let_go(url)) and isinstance(error, MigrationError):
                error.pending = "everything; the salon is held still, and takes no writes"
                error.next_step = NextStep(Command(STEP, f"{name} --cancel"))
            raise
    return MovedOut(path, manifest, leaving.processes)


async def cancel(url: str) -> bool:
    """Let a salon that has moved out, or was about to, live here again; False where it had not.

    Raises:
        MigrationError: the target cannot be used.
    """
    async with open_target(url, step=STEP, exclusive=True) as connection:
        return await _take_mark_away(url, connection)


async def _revision(connection: AsyncConnection) -> str:
    name = schema_name(connection, "data")
    revision = None
    if await fetch_value(connection, "SELECT to_regclass(format('%I.alembic_version', '<data schema>'))") is not None:
        revision = await fetch_value(connection, "SELECT version_num FROM <data schema>.alembic_version")
    if revision is None:
        raise MigrationError(
            f"no revision has made the schema {name}",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep("correct the name, or DATABASE_URL, then: ", Command(STEP, "NAME")),
        )
    if revision not in known_revisions():
        raise MigrationError(
            f"the schema {name} is at revision {revision}, which this botdata does not know",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(INSTALL_NEWER),
        )
    return str(revision)


async def _estimates(connection: AsyncConnection) -> dict[str, int]:
    statement = "SELECT relname, greatest(reltuples, 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = "
    return dict(await fetch_rows(connection, f"{statement}'<data schema>'::regnamespace"))


async def _hold_still(url: str, connection: AsyncConnection, tables: Sequence[str]) -> None:
    """Fence the salon: after the writes in flight, and before any that comes later."""
    with explained(STEP, pending=_NOTHING):
        await require_standby(connection, step=STEP)
        async with kept(url, connection, step=STEP):
            row = await lock_stage_row(connection, "FOR UPDATE", step=STEP, although_moved_out=True)
            if late := await objections(connection, row):
                raise MigrationError(
                    "; ".join(one.why for one in late), step=STEP, pending=_NOTHING, next_step=late[0].remedy
                )
            if row.moved_out:
                await unmark_moved_out(connection)  # of one that was killed
            await mark_moved_out(connection, tables)
            await record(connection, "move-out")


async def _write(
    connection: AsyncConnection, leaving: Leaving, leave: Collection[str], writer: ArchiveWriter, progress: Progress
) -> Manifest:
    """Archive both schemas from one snapshot."""
    async with connection.transaction():
        await connection.execute(
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL row_security = off"
        )
        # No upgrade changes them from here on: to a snapshot, a table that is rewritten after it is empty.
        await hold_shape(connection, ["alembic_version", *leaving.catalog.tables])
        if (revision := await _revision(connection)) != leaving.revision:
            raise MigrationError(
                f"the schema was brought from revision {leaving.revision} to {revision} meanwhile",
                step=STEP,
                pending=_NOTHING,
                next_step=NextStep(Command(STEP, schema_name(connection, "data"))),
            )
        state = await tables_of(connection, schema_name(connection, "tool"))
        tables = [TableRows("data", name, columns) for name, columns in leaving.catalog.tables.items()]
        tables += [TableRows("tool", name, state[name]) for name in TAKEN]
        written = []
        for table in tables:
            member = writer.table(table)
            if table.of == "data":
                progress.begin(table.name, leaving.rows.get(table.name, 0), 0)

            def take(block: bytes, table: TableRows = table, member: MemberWriter = member) -> None:
                rows = member.write(block)
                if table.of == "data":
                    progress.advance(table.name, rows)

            await copy_out(connection, table, take)
            written.append(member.close())
        row = await read_stage_row(connection)
        sequences: list[SequenceState] = await read_sequences(connection, "data")
        sequences += await read_sequences(connection, "tool")
    manifest = Manifest(
        schema=schema_name(connection, "data"),
        made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        revision=leaving.revision,
        state_version=newest_version(),
        stage=str(row.stage),
        left=tuple(one for one in leaving.catalog.own if one in leave),
        grants=leaving.catalog.grants,
        tables=tuple(written),
        sequences=tuple(_of_tables(sequences, leaving, leave)),
    )
    writer.finish(manifest)
    return manifest


def _of_tables(sequences: Sequence[SequenceState], leaving: Leaving, leave: Collection[str]) -> list[SequenceState]:
    """Those that the new place will have."""
    left = {one.removeprefix("sequence ") for one in leaving.catalog.own if one in leave}
    return [one for one in sequences if one.of == "tool" or one.name not in left]


async def _let_go(url: str) -> bool:
    """After a failure: let the salon go on; False where the target does not answer."""
    try:
        async with asyncio.timeout(10), open_target(url, step=STEP) as connection:
            await _take_mark_away(url, connection)
    except (MigrationError, psycopg.Error, TimeoutError):
        return False
    return True


async def _take_mark_away(url: str, connection: AsyncConnection) -> bool:
    with explained(STEP, pending="the cancellation"):
        async with kept(url, connection, step=STEP):
            row = await lock_stage_row(connection, "FOR UPDATE", step=STEP, although_moved_out=True)
            if row.moved_out is None:
                return False
            await unmark_moved_out(connection)
            await record(connection, "cancel", subject="move-out")
    return True
