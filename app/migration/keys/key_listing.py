"""The keys that a source holds, all of them, in a temporary table of the target; and counts of rows and keys there."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.load.statements import aliases, key_array, listed, names_of, same_key_text
from app.migration.sources.moved_tables import known_count
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import VERSION, Source, ahead
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import as_json, dropped_after
from app.next_step import Command, NextStep
from app.privacy import mask_phones
from app.state.fetching import fetch_column, fetch_value
from app.stores.postgres.cursors import rendered

_LISTINGS = 3  # of the keys of a table over REST, where fewer came than the source counts
_MOST_GONE = 10_000  # keys that are asked for, where the walks differ


@dataclass(frozen=True, slots=True)
class KeyListing:
    """What a listing of a source's keys gave.

    Attributes:
        counted: the rows that the source counts; of two walks over REST, the lower of its counts, and the highest of
            these where only several walks together may have given so many keys. None where it could not count them in
            time: walks from either end then had to agree.
        rows: the rows whose keys came, in the last walk.
        keys: how many different keys there are in `source_keys`.
        twice: a key that several rows have, where there is one; phones masked.
        agreed: the walks agreed: two in a row, one from either end, gave all of these keys; or, of three, each gave
            every row that was there all the time.
    """

    counted: int | None
    rows: int
    keys: int
    twice: str | None = None
    agreed: bool = False

    @property
    def whole(self) -> bool:
        """Whether no row is missing in it, and each has a key of its own."""
        enough = self.agreed if self.counted is None else self.keys >= self.counted
        return enough and self.rows <= self.keys


@asynccontextmanager
async def source_keys(
    connection: AsyncConnection, source: Source, table: CopyTable, *, versions: bool = False
) -> AsyncIterator[KeyListing]:
    """A temporary table `source_keys` in the target with every key that the source holds now.

    Over a connection it is one statement, which no order and no index can make incomplete. Over REST the keys come in
    pages that follow the order of the key, so that the count has to prove them.

    Args:
        versions: with a column VERSION for the rows' versions; it is NULL where the table has none. The keys count as
            rows for the rate then, since this is how changes are found; else they are listed as a proof.

    Yields:
        How many there are. It may not be whole: see `require_whole`.
    """
    async with dropped_after(connection, "source_keys"):
        await connection.execute(create_source_keys(table))
        if versions:
            column = sql.SQL("ALTER TABLE pg_temp.source_keys ADD COLUMN {} text").format(sql.Identifier(VERSION))
            await connection.execute(column)
        if isinstance(source, PostgresSource):
            listing = await _pipe(connection, source, table, versions=versions)
        else:
            assert isinstance(source, RestSource)
            listing = await _walk(connection, source, table, versions=versions)
        await connection.execute("ANALYZE source_keys")
        yield listing


def require_whole(listing: KeyListing, source: Source, table: CopyTable, *, step: str, pending: str) -> None:
    """Stop where the listing is not whole: what is missing in it would count as deleted.

    Raises:
        MigrationError: names the figures and the likely causes.
    """
    if not listing.whole:
        raise MigrationError(
            f"{table.name}: {figures(listing)}; {causes(listing, source)}",
            step=step,
            table=table.name,
            pending=pending,
            next_step=NextStep("mend that at the source, then: ", Command(step)),
        )


def figures(listing: KeyListing) -> str:
    """The listing in words."""
    different = f", with {listing.keys:,} different keys" if listing.keys != listing.rows else ""
    counted = "could not count its rows in time" if listing.counted is None else f"counts {listing.counted:,} rows"
    return f"the source {counted}, and {listing.rows:,} came{different}"


def causes(listing: KeyListing, source: Source) -> str:
    """What makes such figures."""
    twice = f"several rows have one key, such as ({listing.twice}), and cannot be told apart" if listing.twice else None
    if isinstance(source, PostgresSource):
        return twice or "likely rows that came and went meanwhile"
    return f"{twice}; or, where no key is there twice, " * bool(twice) + (
        "likely an index in the order of another collation version (REINDEX it), operators of the key's type that the "
        "API's search path lacks, or rows that came and went meanwhile; --source postgresql://... reads the keys "
        "without an order"
    )


async def _pipe(connection: AsyncConnection, source: PostgresSource, table: CopyTable, *, versions: bool) -> KeyListing:
    own = await source.own(table)
    names = [sql.Identifier(column.name) for column in table.key]
    values: list[sql.Composable] = [sql.SQL("{}::text").format(name) for name in names]
    if versions and table.version:
        names.append(sql.Identifier(VERSION))
        values.append(sql.SQL("{}::text").format(sql.Identifier(table.version)))
    query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(values), own.rows)
    into = sql.SQL("COPY pg_temp.source_keys ({}) FROM STDIN").format(sql.SQL(", ").join(names))

    async def begin() -> None:
        await connection.execute("TRUNCATE pg_temp.source_keys")

    rows = await source.pipe(query, connection, into, begin, as_rows=versions)
    return await _listing(connection, table, rows, rows)


async def _walk(connection: AsyncConnection, source: RestSource, table: CopyTable, *, versions: bool) -> KeyListing:
    """Walk again while fewer keys came than the source counts, keeping those that came before: rows may be moving.

    Among those that are kept, rows that have gone since do not stand for rows that are left out. Each key says which
    walk gave it.
    """
    await connection.execute("ALTER TABLE pg_temp.source_keys ADD COLUMN botdata_walk smallint")
    with_versions = versions and bool(table.version)
    add = rendered(add_source_keys(table, versions=versions))
    listing, most = KeyListing(1, 0, 0), 0
    before: int | None = None
    for number in range(_LISTINGS):
        await connection.execute(f"ALTER TABLE pg_temp.source_keys ALTER botdata_walk SET DEFAULT {number}")
        rows, last = 0, listing
        backwards = bool(number % 2) and last.counted is None
        walk = source.key_pages(table, versions=with_versions, as_rows=versions, backwards=backwards)
        async with aclosing(ahead(walk)) as pages:
            async for page in pages:
                await connection.execute(add, [as_json(page.body)])
                rows += page.rows
        after = await known_count(source, table)
        counted = after if after is None or before is None else min(before, after)
        before = after
        if counted is None:
            counted = most or None  # a count that fails now does not take back an earlier one
        else:
            most = max(most, counted)
            counted = most if rows < counted else counted
        listing = await _listing(connection, table, counted, rows, first=number == 0)
        listing = replace(listing, twice=listing.twice or last.twice)
        if counted is None:
            agreed = number > 0 and listing.keys == last.keys == rows == last.rows
            if number == _LISTINGS - 1 and not (agreed or listing.twice):
                agreed = await _explained(connection, source, table)
            listing = replace(listing, agreed=agreed)
        if listing.whole:
            break
    return listing


async def _explained(connection: AsyncConnection, source: RestSource, table: CopyTable) -> bool:
    """Whether rows that came and went explain all in which the three walks differ.

    A row that the last one did not give must be gone by now, and so must one that only the walk between passed by: the
    source is asked for these.
    """
    gone = await fetch_column(
        connection,
        sql.SQL(
            "SELECT {key} FROM source_keys s GROUP BY 1 HAVING NOT bool_or(botdata_walk = 2) "
            "OR (bool_or(botdata_walk = 0) AND NOT bool_or(botdata_walk = 1)) LIMIT {most}"
        ).format(key=key_array(table, "s"), most=sql.Literal(_MOST_GONE + 1)),
    )
    left = [tuple(key) for key in gone]
    if len(left) > _MOST_GONE:
        return False
    there = [page async for page in source.rows_by_key(replace(table, columns=table.key, made=()), left)]
    return not there


async def _listing(
    connection: AsyncConnection, table: CopyTable, counted: int | None, rows: int, *, first: bool = True
) -> KeyListing:
    """Count the different keys.

    Args:
        first: the table holds one walk's keys, so that a key is there twice only where rows share it.
    """
    keys = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
    query = sql.SQL("SELECT count(*) FROM (SELECT DISTINCT {} FROM source_keys) k").format(keys)
    different = int(await fetch_value(connection, query))
    twice = None
    if different < rows and first:
        twice_there = sql.SQL("SELECT {} FROM source_keys s GROUP BY 1 HAVING count(*) > 1 LIMIT 1")
        if key := await fetch_value(connection, twice_there.format(key_array(table, "s"))):
            shown = ", ".join("NULL" if part is None else part for part in key)
            twice = mask_phones(shown) if table.key_holds_phone else shown
    return KeyListing(counted, rows, different, twice)


async def count_target(connection: AsyncConnection, table: CopyTable) -> int:
    """Rows in the target's table."""
    return int(await fetch_value(connection, sql.SQL("SELECT count(*) FROM {}").format(table.rows)))


async def count_keys(connection: AsyncConnection, query: sql.Composed) -> int:
    """How many different keys (text[]) a query returns."""
    counted = sql.SQL("SELECT count(DISTINCT k.key) FROM ({}) k (key)").format(query)
    return int(await fetch_value(connection, counted))


async def select_keys(connection: AsyncConnection, query: str) -> set[Key]:
    """The keys (text[]) that a query returns."""
    return set(map(tuple, await fetch_column(connection, query)))


def create_source_keys(table: CopyTable, name: str = "source_keys") -> sql.Composed:
    """A temporary table for the keys that the source holds: as text, since the target's types may not hold them."""
    return sql.SQL("CREATE TEMP TABLE {} ({})").format(
        sql.Identifier(name),
        listed(
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type if column.zoned else "text"))
            for column in table.key
        ),
    )


def add_source_keys(table: CopyTable, name: str = "source_keys", *, versions: bool) -> sql.Composed:
    """Add the keys of a page, which is parameter 1, and (`versions`) its rows' versions."""
    version = sql.SQL(", {}").format(sql.Identifier(VERSION)) if versions else sql.SQL("")
    return sql.SQL(
        "WITH p ({}{version}) AS (SELECT * FROM json_to_recordset(%s::json) AS x ({}{typed})) "
        "INSERT INTO {} SELECT {}{version} FROM p"
    ).format(
        names_of(table.key),
        aliases(table.key),
        sql.Identifier(name),
        listed(
            sql.SQL("{}::{}").format(sql.Identifier(column.name), sql.SQL(column.type if column.zoned else "text"))
            for column in table.key
        ),
        version=version,
        typed=sql.SQL("{} text").format(version) if versions else version,
    )


def missing_keys(table: CopyTable) -> sql.Composed:
    """Keys of the source (text[]) that the target does not hold."""
    return sql.SQL(
        "SELECT DISTINCT {key} FROM source_keys s WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same})"
    ).format(key=key_array(table, "s"), table=table.rows, same=same_source_key(table))


def extra_keys(table: CopyTable) -> sql.Composed:
    """Keys of the target (text[]) that the source does not hold."""
    return sql.SQL("SELECT {key} FROM {table} t WHERE NOT EXISTS (SELECT FROM source_keys s WHERE {same})").format(
        key=key_array(table, "t"), table=table.rows, same=same_source_key(table)
    )


def same_source_key(table: CopyTable) -> sql.Composed:
    """The target's row `t` has the key of the row `s` of `source_keys`."""
    return same_key_text(table, "s", typed=lambda column: column.zoned)
