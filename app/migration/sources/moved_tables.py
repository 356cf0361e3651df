"""Which of the chosen tables and rows a source can give, how many rows there are, and a sample of their keys."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.common.keys import Key
from app.errors import CountTimeoutError, MigrationError, StoreError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Progress, Source, key_of, records_of
from app.migration.tables.copy_table import CopyTable, identifier_of, key_columns, name_of, named, read_unique_indexes
from app.next_step import Command, NextStep
from app.state.fetching import fetch_rows, fetch_value

WITHOUT_KEY = "neither a primary key nor a unique key without NULLs tells its rows apart"
WITHOUT_KEY_REMEDY = "--source postgresql://... moves it, as a whole; or give it a primary key, at the source and here"
WITHOUT_COLUMNS = "the models give it no column, so that its rows hold nothing to be moved or compared"
WITHOUT_COLUMNS_REMEDY = "take it out of the models, or name the other tables with --tables"

# Partitions of one of the tables, whatever is between them.
_PARTITIONS = """
SELECT name FROM unnest(%(names)s::text[]) name WHERE EXISTS (SELECT FROM pg_partition_ancestors(to_regclass(name)) a
    WHERE a.relid <> to_regclass(name) AND a.relid IN (SELECT to_regclass(o) FROM unnest(%(names)s::text[]) o))
"""


class NotMoved(NamedTuple):
    """A table that was chosen and cannot be moved; what to do is a sentence."""

    table: str
    why: str
    remedy: str


async def partitions_among(connection: AsyncConnection, tables: Sequence[Table]) -> list[str]:
    """Names of the tables that are partitions, in the target, of others of them: their rows are those tables' rows."""
    quoted = {named(connection, identifier_of(table)): name_of(table) for table in tables}
    return [quoted[name] for (name,) in await fetch_rows(connection, _PARTITIONS, {"names": list(quoted)})]


async def choose_moved(
    connection: AsyncConnection, source: Source, tables: Sequence[Table], progress: Progress, *, step: str
) -> tuple[list[Table], tuple[NotMoved, ...]]:
    """The tables that can be moved from this source, in their order, and those that cannot; what is left out is told.

    Raises:
        MigrationError: none of them can be.
    """
    partitions = await partitions_among(connection, tables)
    if partitions:
        progress.notice(f"with the tables that they are partitions of: {', '.join(partitions)}")
    chosen, not_moved = [], []
    for table in tables:
        if name_of(table) in partitions:
            continue
        if not len(table.columns):
            not_moved.append(NotMoved(name_of(table), WITHOUT_COLUMNS, WITHOUT_COLUMNS_REMEDY))
        elif isinstance(source, PostgresSource) or await _has_key(connection, table):
            chosen.append(table)
        else:
            why = f"{WITHOUT_KEY}, which a REST source needs"
            not_moved.append(NotMoved(name_of(table), why, WITHOUT_KEY_REMEDY))
    if not_moved and not chosen:
        raise MigrationError(
            "; ".join(f"{one.table}: {one.why}" for one in not_moved),
            step=step,
            table=not_moved[0].table if len(not_moved) == 1 else None,
            pending="everything; nothing was read or written",
            next_step=NextStep(f"{'; '.join(dict.fromkeys(one.remedy for one in not_moved))}; then: ", Command(step)),
        )
    for one in not_moved:
        progress.notice(f"left out: {one.table}: {one.why}; {one.remedy}")
    return chosen, tuple(not_moved)


async def _has_key(connection: AsyncConnection, table: Table) -> bool:
    """Whether something tells its rows apart; also of a table that the target lacks, which is said elsewhere."""
    if key_columns(table):
        return True
    qualified = named(connection, identifier_of(table))
    if key_columns(table, await read_unique_indexes(connection, qualified)):
        return True
    return bool(await fetch_value(connection, "SELECT to_regclass(%s) IS NULL", [qualified]))


async def known_count(source: Source, table: CopyTable) -> int | None:
    """The exact number of rows; None where the source takes too long to count them: the keys decide then."""
    try:
        return await source.count(table)
    except CountTimeoutError:
        return None


async def shown_count(source: Source, table: CopyTable) -> int:
    """A number of rows for a progress bar: the exact one, else about how many, else 0."""
    rows = await known_count(source, table)
    if rows is None and isinstance(source, RestSource):
        try:
            rows = await source.estimate(table)
        except StoreError:
            return 0
    return rows or 0


async def exact_count(source: Source, table: CopyTable) -> int:
    """The exact number of rows, by a listing of the keys where the source takes too long to count them.

    Raises:
        StoreError: it cannot be had.
    """
    try:
        return await source.count(table)
    except CountTimeoutError:
        if not isinstance(source, RestSource):
            raise
        return sum([page.rows async for page in source.key_pages(table)])


async def pick_keys(source: Source, table: CopyTable, wanted: int) -> list[Key]:
    """The keys of `wanted` rows, each row being as likely as any other; of all rows where there are fewer."""
    if isinstance(source, PostgresSource):
        key = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.key)
        query = sql.SQL("SELECT {} FROM {} ORDER BY random() LIMIT {}").format(
            key, (await source.own(table)).rows, sql.Literal(wanted)
        )
        return sorted(map(tuple, await source.fetch(query)))
    assert isinstance(source, RestSource)
    picked: list[Key] = []
    seen = 0
    chance = random.Random()  # noqa: S311 - nothing secret depends on it
    async for page in source.key_pages(table):
        for record in records_of(page.body):
            seen += 1
            if len(picked) < wanted:
                picked.append(key_of(record, table))
            elif (place := chance.randrange(seen)) < wanted:
                picked[place] = key_of(record, table)
    return sorted(set(picked))


_MAY_BE_NULL = """
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass({}) AND NOT attnotnull AND attname = ANY ({})
"""


async def refuse_null_keys(source: PostgresSource, table: CopyTable, *, step: str) -> None:
    """Stop where the source has a row whose key is NULL in a column, as a view may: it cannot be read or compared.

    A primary key costs no look at the rows.

    Raises:
        MigrationError: there is one.
    """
    names = [column.name for column in table.key]
    query = sql.SQL(_MAY_BE_NULL).format(sql.Literal(table.identifier.as_string(None)), sql.Literal(names))
    if not (may_be := [name for (name,) in await source.fetch(query)]):
        return
    null = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in may_be)
    ((found,),) = await source.fetch(
        sql.SQL("SELECT count(*) FROM {} WHERE {}").format((await source.own(table)).rows, null)
    )
    if found:
        raise MigrationError(
            f"{found} rows of {table.name} in the source have NULL in their key ({', '.join(may_be)})",
            step=step,
            table=table.name,
            pending=f"{table.name} and the tables after it",
            next_step=NextStep("give them keys, or leave them out of what the source shows; then: ", Command(step)),
        )
