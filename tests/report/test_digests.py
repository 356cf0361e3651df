"""The digest of a table: HMAC-SHA-256 of its rows in buckets, the same for the same rows on whichever side."""

import hmac
from collections import defaultdict

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.tables.described_table import describe
from app.migration.tables.metadata import select_tables
from app.migration.target.target_session import open_target
from app.report.hashing import digest_source, digest_target, with_columns
from app.state.digests import Bucket, KeptDigest, ensure_key
from app.state.tool_schema import ensure_tool_schema
from tests.fixtures.sources import Ends, Source
from tests.migration.engine import Served, Told, add_clients, execute, query, source_of, tables
from tests.migration.test_whole_tables import LOG, PLAIN, ROWS
from tests.support.page_server import PageServer

_HARD = (
    "UPDATE clients SET name = '', last_visit_date = NULL WHERE id = 2; "
    "UPDATE clients SET name = 'a,\"b\\' || chr(10) || 'ё' WHERE id = 3; UPDATE clients SET notes = '' WHERE id = 4"
)


async def both(target: str, served: Served, chosen: object = None, *names: str) -> tuple[KeptDigest, KeptDigest]:
    """Digests of the source and of the target."""
    async with open_target(target, step="test") as connection, source_of(served) as source:
        await ensure_tool_schema(connection)
        await ensure_key(connection)
        (model,) = chosen or tables("clients")  # type: ignore[misc]
        table = await describe(connection, model, step="test", reads=True)
        if names:
            table = with_columns(table, names)
        theirs = await digest_source(connection, source, table, Told())
        return theirs, await digest_target(connection, table, source.label, Told())


async def test_it_is_hmac_sha_256_of_key_and_row_as_text(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 300)
    execute(source_database, _HARD)
    theirs, ours = await both(database_url, pages)
    ((pad,),) = query(database_url, "SELECT inner_pad FROM botdata.digest_key")
    key = bytes(byte ^ 0x36 for byte in pad)
    record = ", ".join(f'"{name}"::text' for name in theirs.columns)
    expected: dict[int, list[int]] = defaultdict(list)
    for number, row in query(source_database, f"SELECT ROW(id)::text, ROW({record})::text FROM clients"):
        bucket = hmac.digest(key, f"key clients\n{number}".encode(), "sha256")[0]
        expected[bucket].append(int.from_bytes(hmac.digest(key, f"row clients\n{row}".encode(), "sha256")))
    assert list(theirs.columns) == sorted(tables("clients")[0].columns.keys())
    assert theirs.buckets == {n: Bucket(len(rows), sum(rows) % 2**256) for n, rows in expected.items()}
    assert (theirs.rows, theirs.counted, ours.rows, ours.counted) == (300, 300, 0, 0)


def same_clients(*urls: str) -> None:
    """The same rows on both sides."""
    for url in urls:
        add_clients(url, 20)
        execute(url, _HARD)
        execute(url, "UPDATE clients SET last_visit_date = '2025-03-04', created_at = '2025-03-04 05:06:07.5+02'")
        execute(url, "UPDATE clients SET updated_at = '2025-03-04 05:06:07.5+02'")


async def test_equal_rows_have_equal_digests(source: Source, database_url: str) -> None:
    same_clients(source.database_url, database_url)
    theirs, ours = await both(database_url, source)
    assert theirs.buckets == ours.buckets
    assert theirs.total == ours.total != 0
    execute(database_url, "UPDATE clients SET notes = NULL WHERE id = 4")
    _, now = await both(database_url, source)
    assert sum(ours.buckets[number] != now.buckets[number] for number in ours.buckets) == 1
    assert (await both(database_url, source, None, "name"))[0].columns == ("id", "name")


async def test_the_session_of_the_source_is_of_no_matter(source_database: str, database_url: str) -> None:
    columns = {"at": "timestamptz", "span": "interval", "raw": "bytea", "spans": "interval[]", "moments": "tstzrange"}
    metadata = MetaData()
    Table("styled", metadata, Column("id", Integer, primary_key=True), *(Column(name, Text) for name in columns))
    for url in (source_database, database_url):
        types = ", ".join(f"{name} {type_name}" for name, type_name in columns.items())
        execute(url, f"CREATE TABLE styled (id integer PRIMARY KEY, {types})")
        execute(
            url,
            "INSERT INTO styled VALUES (1, '2025-03-04 05:06:07+00', '1 day -2 hours', '\\x5c00ff', '{1 mon}', "
            "'[2025-03-04 05:06:07+00,)'), (2, 'infinity', NULL, '', '{}', 'empty')",
        )
    settings = {"timezone": "Asia/Kolkata", "intervalstyle": "iso_8601", "bytea_output": "escape"}
    with PageServer(source_database, settings=settings) as pages:
        theirs, ours = await both(database_url, pages, select_tables(metadata))
    assert (theirs.rows, theirs.buckets) == (2, ours.buckets)


@pytest.mark.parametrize("ends", ["connection"], indirect=True)
async def test_a_table_without_a_key_is_hashed_by_its_rows(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    execute(ends.target, ROWS)
    theirs, ours = await both(ends.target, ends.served, LOG)
    assert theirs.buckets == ours.buckets
    assert theirs.rows == 5
    execute(ends.target, "DELETE FROM log WHERE b = ''; INSERT INTO log VALUES (NULL, NULL)")
    assert (await both(ends.target, ends.served, LOG))[1].total != theirs.total


async def test_a_text_that_the_target_refuses_is_hashed_as_it_is(ends: Ends) -> None:
    """A source with a wider type: the rows that go in are equal, the one that does not is not."""
    metadata = MetaData()
    Table("dated", metadata, Column("id", Integer, primary_key=True), Column("at", Text))
    ends.make(
        "CREATE TABLE dated (id integer PRIMARY KEY, at text)",
        "INSERT INTO dated SELECT n, '2025-01-01 00:00:00+00' FROM generate_series(1, 9) n; "
        "INSERT INTO dated VALUES (10, 'some day')",
        target="CREATE TABLE dated (id integer PRIMARY KEY, at timestamptz)",
    )
    execute(ends.target, "INSERT INTO dated SELECT n, '2025-01-01 00:00:00+00' FROM generate_series(1, 10) n")
    theirs, ours = await both(ends.target, ends.served, select_tables(metadata))
    differing = {number for number in theirs.buckets if theirs.buckets[number] != ours.buckets.get(number)}
    assert len(differing) == 1


def test_the_key_is_the_owner_s_alone(fresh_database: str) -> None:
    import asyncio

    execute(fresh_database, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, pg_monitor")

    async def make() -> tuple[str, str]:
        async with open_target(fresh_database, step="test") as connection:
            await ensure_tool_schema(connection)
            return await ensure_key(connection), await ensure_key(connection)

    first, second = asyncio.run(make())
    assert first == second
    grants = "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relname = %s AND grantee <> relowner"
    assert query(fresh_database, grants, ["digest_key"]) == [(0,)]
    assert query(fresh_database, grants, ["digests"])[0][0] > 0
