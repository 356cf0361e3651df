"""Foreign keys of the target: away while rows go in, in any order, and put back once all are there.

They are dropped and their definitions written down in one transaction, so a run that was killed still knows them.
Those that stay on their tables, and are not checked while triggers are silent, are proved at the end.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import MigrationError
from app.migration.retry import repeated
from app.migration.tables.copy_table import CopyTable, named
from app.migration.target.leftovers import BrokenForeignKey, mend
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value
from app.state.runs import foreign_keys
from app.state.runs.foreign_keys import KeptForeignKey
from app.state.tool_schema import may_read

_NOT_ON_PARTITIONED = "42809"  # before PostgreSQL 18, a partitioned table's cannot be added NOT VALID


@asynccontextmanager
async def without_foreign_keys(
    connection: AsyncConnection, run: int, tables: Sequence[CopyTable], *, step: str
) -> AsyncIterator[list[BrokenForeignKey]]:
    """The target without the foreign keys on or to these tables; at the end they are put back and validated.

    Where the work inside stops with an error they stay away, for the next run to put them back, whichever that is.

    Yields:
        A list that holds, after the end, those that not all rows keep: on these tables, or to them and kept before.

    Raises:
        MigrationError: the role does not own a table whose foreign key is to be dropped.
    """
    broken: list[BrokenForeignKey] = []
    with explained(step, pending="everything; nothing was written"):
        known = {(one.of_table, one.name) for one in await foreign_keys.away(connection) if one.state == "not valid"}
        await _drop(connection, run, tables, step)
    try:
        yield broken
    except MigrationError as error:
        await _say_what_is_away(connection, error)
        raise
    with explained(step, done="all rows", pending="the target's foreign keys, put back and validated"):
        broken.extend(await _restore(connection, _names(tables), known))


@asynccontextmanager
async def without_cascades(
    connection: AsyncConnection, run: int, tables: Sequence[CopyTable], *, step: str
) -> AsyncIterator[None]:
    """As `without_foreign_keys`, for rows that are loaded again into tables that are in use.

    Only tables whose rows are deleted and inserted need it: ON DELETE CASCADE would take the rows that refer to them.
    The foreign keys of the others stay; those that were not checked meanwhile are proved at the end.

    Raises:
        MigrationError: not all rows keep a foreign key afterwards, and it leads to a table that is loaded here too.
    """
    if replaced := [table for table in tables if table.replaces_rows]:
        async with without_foreign_keys(connection, run, replaced, step=step) as broken:
            yield
    else:
        try:
            yield
        except MigrationError as error:
            await _say_what_is_away(connection, error)
            raise
        with explained(step, done="all rows that could go in", pending="to prove the target's foreign keys"):
            broken = await prove(connection, tables)
    if held_up := [one for one in broken if one.holds_up]:
        raise MigrationError(
            "; ".join(one.sentence for one in held_up),
            step=step,
            done="all rows that could go in",
            pending="the foreign keys, for as long as not all rows keep them",
            next_step=mend(held_up),
        )


async def prove(connection: AsyncConnection, tables: Sequence[CopyTable] | None = None) -> list[BrokenForeignKey]:
    """Prove what any run left unproved; gives those that stay so: not all rows keep them.

    Args:
        tables: only keys on or to these are given; None: all.
    """
    if not await may_read(connection, "foreign_keys"):
        return []
    await foreign_keys.forget_settled(connection)
    broken = []
    for one in await foreign_keys.away(connection):
        if one.state == "unproved" and not await _prove(connection, one):
            names = {one.of_table, one.parent} if tables is None else _names(tables)
            if not names.isdisjoint({one.of_table, one.parent}):
                broken.append(await _count(connection, one, moved=one.parent in names))
    return broken


def _names(tables: Sequence[CopyTable]) -> set[str]:
    """Those of their partitions too, which may have keys of their own."""
    return {name for table in tables for name in (table.name, *table.family)}


async def unproved_keys(connection: AsyncConnection) -> list[str]:
    """The foreign keys that no run has proved yet, in words."""
    away = await foreign_keys.away(connection) if await may_read(connection, "foreign_keys") else []
    return [f"{one.name} of {one.of_table}" for one in away if one.state == "unproved"]


async def describe_away(connection: AsyncConnection) -> str | None:
    """A sentence on the foreign keys that a stopped run left away, or NOT VALID; None where there is none."""
    away = await foreign_keys.away(connection) if await may_read(connection, "foreign_keys") else []
    named = ", ".join(f"{one.name} on {one.of_table} ({one.state})" for one in away if one.state != "unproved")
    return (
        f"foreign keys of the target that a run took away: {named}; botdata sync puts back those that all rows keep, "
        "and botdata status shows the statements"
        if named
        else None
    )


async def put_back(connection: AsyncConnection, *, step: str) -> list[BrokenForeignKey]:
    """Put back what stopped runs left away, before what is known of it goes; gives those that stay NOT VALID.

    Raises:
        MigrationError: one cannot be put back; its definition is known to the tool's schema alone.
    """
    broken = await _restore(connection) if await may_read(connection, "foreign_keys") else []
    if lost := [f"{one.key.name} of {one.key.of_table}" for one in broken if one.key.state == "dropped"]:
        raise MigrationError(
            f"foreign keys that a run took away cannot be put back, since rows lack the row they refer to: "
            f"{', '.join(lost)}",
            step=step,
            pending="everything; nothing was dropped",
            next_step=NextStep(Command("copy"), ", to its end; then: ", Command(step)),
        )
    return broken


async def _drop(connection: AsyncConnection, run: int, tables: Sequence[CopyTable], step: str) -> None:
    async with connection.transaction():
        await connection.execute("SELECT set_config('search_path', '', true)")  # names are written with their schemas
        names = [named(connection, table.identifier) for table in tables]
        found = await foreign_keys.find_foreign_keys(connection, names)
        if foreign := [f"{key.name} on {key.table} (owner {owner})" for key, owned, owner in found if not owned]:
            raise MigrationError(
                f"foreign keys that would stand in the way cannot be dropped by this role: {', '.join(foreign)}",
                step=step,
                pending="everything; nothing was written",
                next_step=NextStep("let the tables' owner run it, then: ", Command(step)),
            )
        for key, *_ in found:
            await foreign_keys.keep(connection, run, key)
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(key.identifier, sql.Identifier(key.name))
            await connection.execute(drop)


async def _restore(
    connection: AsyncConnection, tables: Collection[str] | None = None, known: Collection[tuple[str, str]] = ()
) -> list[BrokenForeignKey]:
    """Put all back that any run took away, then validate or prove each: a killed run finds it where it was.

    Args:
        tables: names of those that a run is about; None: all.
        known: tables and names of keys that not all rows kept before it began.

    Returns:
        Those that not all rows keep: of the keys on these tables, and of those to them that their rows kept before.
    """
    await foreign_keys.forget_settled(connection)
    for one in await foreign_keys.away(connection):
        if one.state == "dropped":
            await _add(connection, one)
    broken = []
    for one in await foreign_keys.away(connection):
        new = (one.of_table, one.name) not in known
        concerns = tables is None or one.of_table in tables or (new and one.parent in tables)
        if not await _validate(connection, one) and concerns:
            broken.append(await _count(connection, one, moved=tables is None or one.parent in tables))
    return broken


async def _add(connection: AsyncConnection, one: KeptForeignKey) -> None:
    try:
        async with connection.transaction():
            await connection.execute(f"{one.statement} NOT VALID".encode())
            await _say_again(connection, one)
            await foreign_keys.note_state(connection, one, "not valid" if one.was_valid else "validated")
    except psycopg.Error as error:
        if error.sqlstate != _NOT_ON_PARTITIONED:
            raise


async def _say_again(connection: AsyncConnection, one: KeptForeignKey) -> None:
    if one.comment is not None:
        name, comment = sql.Identifier(one.name), sql.Literal(one.comment)
        said = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(name, one.identifier, comment)
        await connection.execute(said)


async def _validate(connection: AsyncConnection, one: KeptForeignKey) -> bool:
    if one.state == "unproved":
        return await _prove(connection, one)
    try:
        async with connection.transaction():
            await connection.execute(one.statement.encode())
            if one.state == "dropped":
                await _say_again(connection, one)
            await foreign_keys.note_state(connection, one, "validated")
    except psycopg.Error as error:
        if error.sqlstate != "23503":
            raise
        return False
    return True


async def _prove(connection: AsyncConnection, one: KeptForeignKey) -> bool:
    """Look for orphans. The lock waits for those who write at the moment: they have not seen all of our rows."""

    async def in_one_transaction() -> bool:
        async with connection.transaction():
            tables = f"{one.identifier.as_string(None)}, {one.referenced}"
            await connection.execute(f"LOCK TABLE {tables} IN SHARE MODE".encode())
            if await fetch_value(connection, f"SELECT EXISTS ({one.orphans})"):
                return False
            await foreign_keys.note_state(connection, one, "validated")
        return True

    try:
        return await repeated(in_one_transaction)
    except psycopg.errors.InsufficientPrivilege:
        return False


async def _count(connection: AsyncConnection, one: KeptForeignKey, *, moved: bool) -> BrokenForeignKey:
    orphans: int | None = None
    with suppress(psycopg.errors.InsufficientPrivilege):
        orphans = await fetch_value(connection, f"SELECT count(*) FROM ({one.orphans}) o")  # noqa: S608
    return BrokenForeignKey(one, orphans, moved)


async def _say_what_is_away(connection: AsyncConnection, error: MigrationError) -> None:
    away: list[KeptForeignKey] = []
    if not (connection.broken or connection.closed):
        with suppress(psycopg.Error):  # the error at hand says more
            away = await foreign_keys.away(connection)
    for verb, unproved in (("put back", False), ("prove", True)):
        if named := [f"{one.name} on {one.of_table}" for one in away if (one.state == "unproved") is unproved]:
            kept = f"the foreign keys that the run will {verb} at its end: {', '.join(named)}"
            error.pending = f"{error.pending}; {kept}" if error.pending else kept
