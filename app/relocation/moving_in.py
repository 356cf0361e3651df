"""Moves a salon in: revisions, rows and the tool's state in one transaction, read back before it is committed."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import AsyncConnection

from app.common.schemas import schemas_of
from app.errors import INSTALL_NEWER, MigrationError
from app.migration.sources.source import Progress
from app.migration.target.target_session import explained, open_target
from app.next_step import Command, NextStep
from app.relocation.archive import Archive, SequenceState
from app.relocation.rows import copy_in, differing, read_sequences, set_sequence
from app.schema import revisions
from app.schema.revision_files import known_revisions
from app.schema.transaction import commit, revisions_transaction
from app.state.cutover.moves import record
from app.state.relocation.contents import relations_in_the_way, settle_in
from app.state.tool_schema import bring_to_version, ensure_tool_schema, newest_version

STEP = "schema move-in"
_NOTHING = "everything; nothing was written"


async def look(url: str, archive: Archive) -> None:
    """Whether the archive can be moved in; nothing is written.

    Raises:
        MigrationError: the target cannot be reached, or holds something of that name, or the archive is too new.
    """
    manifest = archive.manifest
    if manifest.revision not in known_revisions() or manifest.state_version > newest_version():
        raise MigrationError(
            f"the archive is of a newer botdata: revision {manifest.revision}, state {manifest.state_version}",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(INSTALL_NEWER),
        )
    async with open_target(url, step=STEP) as connection:
        with explained(STEP, pending=_NOTHING):
            await _refuse_held(connection)


async def move_in(url: str, archive: Archive, progress: Progress) -> None:
    """Carry it out.

    Raises:
        MigrationError: it stopped, and nothing was written.
    """
    manifest = archive.manifest
    async with (
        open_target(url, step=STEP, exclusive=True),
        revisions_transaction(url, step=STEP) as (engine_connection, connection),
    ):
        with explained(STEP, pending=_NOTHING), _as_step():
            await _refuse_held(connection)
            await engine_connection.run_sync(lambda shared: revisions.upgrade_on(shared, url, [], manifest.revision))
            await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL row_security = off")
            await bring_to_version(connection, manifest.state_version)
            await _fill(connection, archive, progress)
            await _refuse_other(connection, archive)
            await ensure_tool_schema(connection)
            await settle_in(connection)
            said = f"from the archive {manifest.checksum[:12]} of {manifest.made_at}"
            await record(connection, "move-in", said=said)
        there = NextStep(Command(STEP, "FILE"), ", which says that the tables are there if it was")
        await commit(engine_connection, step=STEP, next_step=there)
    data = [table.name for table in manifest.tables if table.of == "data"]
    async with open_target(url, step=STEP) as connection:
        with explained(STEP, pending="the tables' statistics, which autovacuum makes in time"):
            schema = schemas_of(connection).data
            await connection.execute(f"ANALYZE {', '.join(f'{schema}.{name}' for name in data)}")


async def _refuse_held(connection: AsyncConnection) -> None:
    if held := await relations_in_the_way(connection):
        schema = schemas_of(connection).data
        raise MigrationError(
            f"the target has {len(held)} relations in {schema} or in the tool's schema for it, such as {held[0]}",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(
                Command(STEP, "FILE --as ANOTHER_NAME"), "; where the name is right, and what is there is not wanted: ",
                Command("schema drop", schema),
            ),
        )  # fmt: skip


@contextmanager
def _as_step() -> Iterator[None]:
    """What stops the upgrade stops this command."""
    try:
        yield
    except MigrationError as error:
        error.step, error.pending = STEP, _NOTHING
        raise


async def _fill(connection: AsyncConnection, archive: Archive, progress: Progress) -> None:
    for table in archive.manifest.tables:
        name = table.name if table.of == "data" else None
        if name:
            progress.begin(name, table.rows, 0)

        def tell(rows: int, name: str | None = name) -> None:
            if name:
                progress.advance(name, rows)

        await copy_in(connection, table, archive.blocks(table), tell)
    for sequence in archive.manifest.sequences:
        await set_sequence(connection, sequence)


async def _refuse_other(connection: AsyncConnection, archive: Archive) -> None:
    """Read everything back, before it is committed."""
    manifest = archive.manifest
    wrong = await differing(connection, manifest.tables)
    standing: list[SequenceState] = []
    for of in ("data", "tool"):
        standing += await read_sequences(connection, of, {one.name for one in manifest.sequences if one.of == of})
    wrong += [one.name for one in set(manifest.sequences) - set(standing)]
    if wrong:
        raise MigrationError(
            f"read back, {', '.join(wrong)} is not as the archive has it; it was rolled back",
            step=STEP,
            pending=_NOTHING,
            next_step=NextStep(
                "find what changes it on this server (an event trigger, another encoding), then: ",
                Command(STEP, "FILE"),
            ),
        )
