"""Replaces a schema that no revision made: backup, drop and upgrade in one transaction; the session tables stay."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection as EngineConnection
from sqlalchemy.schema import CreateIndex

from app.errors import MigrationError
from app.migration.target.target_session import explained, open_target
from app.models import Base
from app.next_step import Command, NextStep
from app.schema import revisions
from app.schema.backup import STEP, Backup, back_up, make_directory
from app.schema.pg_dump import find_pg_dump
from app.schema.plan import ReplacePlan, read_plan
from app.schema.transaction import commit, revisions_transaction
from app.state.fetching import fetch_row, fetch_rows

_WITHOUT_PG_DUMP = NextStep(Command(STEP, "--pg-dump none"), ", which writes COPY files")
_NOTHING = "everything; nothing was changed"


@dataclass(frozen=True, slots=True)
class Replaced:
    """What was done.

    Attributes:
        notices: what the upgrade said.
    """

    plan: ReplacePlan
    backup: Backup
    revision: str
    notices: tuple[revisions.Notice, ...]


@dataclass(frozen=True, slots=True)
class ReplaceOptions:
    """How to replace.

    Attributes:
        pg_dump: see `find_pg_dump`.
        keep: tables that stay although they are not known.
        lock_timeout: seconds to wait for each lock.
    """

    backup_directory: Path
    pg_dump: str | None = None
    keep: frozenset[str] = frozenset()
    lock_timeout: float = 5.0


def refuse_blocked(plan: ReplacePlan) -> None:
    """Stop where the plan cannot be carried out; MigrationError names everything in the way."""
    reasons: list[str] = []
    remedies: list[NextStep] = []
    if plan.unknown:
        reasons.append(f"schema public holds tables that are not known: {', '.join(plan.unknown)}")
        keep = " ".join(f"--keep {name}" for name in plan.unknown)
        remedies.append(
            NextStep(Command(STEP, keep), ", if they may stay where they are; else move them to another schema")
        )
    if plan.dependents:
        reasons.append(f"other objects stand on what would be dropped: {'; '.join(plan.dependents)}")
        remedies.append(NextStep("drop those objects, or move them away, then: ", Command(STEP)))
    if plan.not_owned:
        reasons.append(f"the role does not own {', '.join(plan.not_owned)}")
        remedies.append(NextStep("let their owner run: ", Command(STEP)))
    if reasons:
        parts = [part for remedy in remedies for part in ("; ", *remedy)]
        raise MigrationError("; ".join(reasons), step=STEP, pending=_NOTHING, next_step=NextStep(*parts[1:]))


async def look(url: str, keep: Collection[str] = ()) -> ReplacePlan:
    """The plan; nothing is locked or written.

    Raises:
        MigrationError: the target cannot be reached or examined.
    """
    async with open_target(url, step=STEP) as connection:
        with explained(STEP, pending=_NOTHING):
            await connection.execute("SET default_transaction_read_only = on")
            return await read_plan(connection, keep)


async def replace(url: str, plan: ReplacePlan, options: ReplaceOptions) -> Replaced:
    """Carry out what was shown.

    Raises:
        MigrationError: it stopped, and nothing was changed in the database, or only indexes were added to the session
            tables; says where the backup is.
    """
    refuse_blocked(plan)
    async with open_target(url, step=STEP, exclusive=True) as guard:
        with explained(STEP, pending=_NOTHING):
            pg_dump = await find_pg_dump(
                options.pg_dump, guard.info.server_version // 10000, step=STEP, otherwise=_WITHOUT_PG_DUMP
            )
            make_directory(options.backup_directory)
            await make_session_indexes(guard, plan.indexes, options.lock_timeout)
        async with revisions_transaction(url, step=STEP) as (engine_connection, connection):
            with _named_leftovers(options.backup_directory), explained(STEP, pending=_NOTHING):
                await _lock(connection, guard, plan, options)
                plan = await _same_plan(connection, plan, options)
                before = await _session_rows(connection, plan)
                backup = await back_up(connection, url, plan, options.backup_directory, pg_dump)
            kept = f"a backup in {backup.directory}, which can be deleted when all is done"
            try:
                with explained(STEP, pending="the replacement; nothing was changed in the database"):
                    await _drop(connection, plan)
                    notices = await _upgrade(engine_connection, url)
                    after = await _session_rows(connection, plan)
                    _refuse_touched(before, after)
                    which = NextStep(Command(STEP), ", which says which of the two")
                    await commit(engine_connection, step=STEP, next_step=which)
            except MigrationError as error:
                error.done = error.done or kept
                raise
    return Replaced(plan, backup, revisions.head(), tuple(notices))


async def _same_plan(connection: AsyncConnection, shown: ReplacePlan, options: ReplaceOptions) -> ReplacePlan:
    """The plan as it is now that nobody can write to the tables: of the same names as the one that was shown."""
    plan = await read_plan(connection, options.keep)
    if plan.names != shown.names:
        raise MigrationError(
            "the schema has changed since it was shown", step=STEP, pending=_NOTHING, next_step=NextStep(Command(STEP))
        )
    refuse_blocked(plan)
    return plan


@contextmanager
def _named_leftovers(directory: Path) -> Iterator[None]:
    """Say in an error what is left of the backup; an empty directory is removed."""
    try:
        yield
    except MigrationError as error:
        try:
            directory.rmdir()
        except OSError:
            error.done = error.done or f"an unfinished backup in {directory}, which can be deleted"
        raise


async def _lock(
    connection: AsyncConnection, guard: AsyncConnection, plan: ReplacePlan, options: ReplaceOptions
) -> None:
    """Keep writers off the tables, before the snapshot is taken: what the backup holds is then all there is."""
    await connection.execute(
        f"SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; "
        f"SET LOCAL lock_timeout = {max(1, round(options.lock_timeout * 1000))}; SET LOCAL row_security = off"
    )
    roots = sql.SQL(", ").join(
        sql.Identifier("public", table.name) for table in plan.tables if table.partition_of is None
    )
    try:
        await connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(roots))
    except psycopg.errors.LockNotAvailable as error:
        raise await _in_use(guard, plan) from error
    # Everything is named with its schema from here on; the upgrade sets its own.
    await connection.execute("SELECT set_config('search_path', '', true)")


_HOLDERS = """
SELECT DISTINCT format('%%s (%%sprocess %%s)', coalesce(nullif(a.application_name, ''), a.backend_type),
    a.usename || ', ', a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation
WHERE l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
    AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s)
"""


async def _in_use(guard: AsyncConnection, plan: ReplacePlan) -> MigrationError:
    names = [table.name for table in plan.tables]
    holders = await fetch_rows(guard, _HOLDERS, [names])
    who = f": {', '.join(name for (name,) in holders)}" if holders else ""
    return MigrationError(
        f"the tables to be dropped are in use{who}",
        step=STEP,
        pending=_NOTHING,
        next_step=NextStep("stop what uses them (not the WhatsApp login), then: ", Command(STEP)),
    )


async def _session_rows(connection: AsyncConnection, plan: ReplacePlan) -> dict[str, tuple[Any, ...]]:
    """Count and hash of every row of the session tables, in whatever order; the snapshot hides what others write."""
    rows = {}
    for table in plan.kept:
        query = sql.SQL(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text, "
            "coalesce(sum(hashtextextended(t::text, 1)::numeric), 0)::text FROM {} t"
        ).format(sql.Identifier("public", table.name))
        rows[table.name] = await fetch_row(connection, query)
    return rows


def _refuse_touched(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = sorted(name for name in before if before[name] != after[name])
    if changed:
        raise MigrationError(
            f"the rows of {', '.join(changed)} were changed by the replacement, so it was rolled back",
            step=STEP,
            table=changed[0],
            pending="the replacement; nothing was changed in the database",
            next_step=NextStep(
                "find what changes them (a trigger, an event trigger, a rule), then: ", Command("schema replace")
            ),
        )


async def _drop(connection: AsyncConnection, plan: ReplacePlan) -> None:
    """By name and without CASCADE: PostgreSQL refuses where something else still stands on it."""
    tables = [table.name for table in plan.tables if table.partition_of is None]
    await connection.execute(_statement("DROP TABLE {} RESTRICT", tables))
    if plan.sequences:
        await connection.execute(_statement("DROP SEQUENCE {} RESTRICT", plan.sequences))
    if plan.functions:
        listed = ", ".join(f"public.{signature}" for signature in plan.functions)
        await connection.execute(f"DROP FUNCTION {listed} RESTRICT")


def _statement(text: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(text).format(sql.SQL(", ").join(sql.Identifier("public", name) for name in names))


async def _upgrade(connection: EngineConnection, url: str) -> list[revisions.Notice]:
    notices: list[revisions.Notice] = []
    try:
        await connection.run_sync(lambda shared: revisions.upgrade_on(shared, url, notices))
    except MigrationError as error:
        error.step, error.next_step = STEP, NextStep("put right what it names, then: ", Command(STEP))
        error.pending = "the replacement; nothing was changed in the database"
        raise
    return notices


async def make_session_indexes(connection: AsyncConnection, names: Sequence[str], lock_timeout: float) -> None:
    """Make indexes that the session tables lack, as the models have them, while the login goes on writing.

    The upgrade would make them too, inside its transaction: until that ends, it would keep the login from writing.

    Args:
        connection: in autocommit.
        lock_timeout: seconds to wait for each transaction that is in the way.

    Raises:
        psycopg.Error: the server refuses; no half-made index is left.
    """
    if not names:
        return
    await connection.execute(f"SET lock_timeout = {max(1, round(lock_timeout * 1000))}")
    indexes = {str(index.name): index for table in Base.metadata.tables.values() for index in table.indexes}
    for name in names:
        # What a killed start left half made is in the way by its name.
        await _drop_index(connection, name)
        statement = str(CreateIndex(indexes[name]).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
        try:
            await connection.execute(statement.replace("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1))
        except psycopg.errors.ProgramLimitExceeded:
            await _drop_index(connection, name)  # a row is too large for it; the upgrade says so
        except psycopg.Error:
            await _drop_index(connection, name)
            raise


async def _drop_index(connection: AsyncConnection, name: str) -> None:
    await connection.execute(
        sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier("public", name)).as_string(connection)
    )
