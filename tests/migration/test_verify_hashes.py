"""Verify over a database connection: by hashes, cheap where all is equal, exact whatever the hashes say."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, Table, Text

from app.common.keys import Key
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Page
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.metadata import select_tables
from app.migration.verify import hash_comparison as compare_hashes
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, copy_from, execute, query, tables, value, verify_from
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer


@pytest.fixture
def connected(source_database: str) -> Source:
    """The source over a database connection."""
    return Source(source_database, "", source_database, is_lite=False)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What came from the source: rows of queries, pieces of streams, pages of rows by key; other pages never."""
    seen: list[Any] = []
    whole, stream, by_key = PostgresSource.fetch, PostgresSource.stream, PostgresSource.rows_by_key

    async def fetch(self: PostgresSource, asked: sql.Composed) -> list[tuple[Any, ...]]:
        rows = await whole(self, asked)
        seen.extend(rows)
        return rows

    async def streamed(self: PostgresSource, asked: sql.Composed) -> AsyncIterator[bytes | bytearray | memoryview]:
        async for piece in stream(self, asked):
            seen.append(bytes(piece))
            yield piece

    async def rows_by_key(
        self: PostgresSource, table: CopyTable, keys: Sequence[Key], *, versions: bool = False, listed: bool = False
    ) -> AsyncIterator[Page]:
        async for page in by_key(self, table, keys, versions=versions, listed=listed):
            seen.append(page)
            yield page

    def no_pages(self: PostgresSource, table: CopyTable, **options: Any) -> AsyncIterator[Page]:
        raise AssertionError("pages of rows were asked for")

    monkeypatch.setattr(PostgresSource, "fetch", fetch)
    monkeypatch.setattr(PostgresSource, "stream", streamed)
    monkeypatch.setattr(PostgresSource, "rows_by_key", rows_by_key)
    monkeypatch.setattr(PostgresSource, "pages", no_pages)
    return seen


def _clients_on_both(source: str, target: str, count: int) -> None:
    for url in (source, target):
        add_clients(url, count)
        execute(url, "UPDATE clients SET created_at = '2026-01-01', updated_at = '2026-01-01'")


async def test_equal_rows_stay_where_they_are(connected: Source, database_url: str, fetched: list[Any]) -> None:
    _clients_on_both(connected.database_url, database_url, 20_000)
    report = await verify_from(connected, database_url, tables("clients"))
    assert report.clean
    assert (report.tables[0].source_rows, report.tables[0].target_rows, report.tables[0].equal) == (20_000,) * 3
    assert all(isinstance(row, tuple) for row in fetched)
    assert len(repr(fetched)) < 8_000  # bytes, the types of the columns included


@pytest.mark.parametrize("few", [5_000, 50_000])
async def test_only_ranges_that_differ_are_looked_into(
    connected: Source, database_url: str, fetched: list[Any], monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """A table of few rows is one range; a larger one is split first."""
    monkeypatch.setattr(compare_hashes, "_FEW_ROWS", few)
    _clients_on_both(connected.database_url, database_url, 20_000)
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id = 777; DELETE FROM clients WHERE id = 15000")
    execute(connected.database_url, "DELETE FROM clients WHERE id = 9")
    report = await verify_from(connected, database_url, tables("clients"))
    assert [(found.kind, found.key, found.column) for found in report.differences] == [
        ("missing", ("15000",), None),
        ("different", ("777",), "name"),
        ("extra", ("9",), None),
    ]
    assert (report.tables[0].source_rows, report.tables[0].equal) == (19_999, 19_997)
    assert {page.rows for page in fetched if isinstance(page, Page)} == {2}
    hashed = sum(piece.count(b"\n") for piece in fetched if isinstance(piece, bytes))
    assert 2 <= hashed < 60 if few == 5_000 else hashed == 19_999


async def test_all_rows_differ(connected: Source, database_url: str) -> None:
    """All are counted, no more are kept than asked for."""
    _clients_on_both(connected.database_url, database_url, 5_000)
    execute(database_url, "UPDATE clients SET notes = 'x', email = 'y'")
    options = VerifyOptions(pause=0.01, most_differences=100)
    (clients,) = (await verify_from(connected, database_url, tables("clients"), options=options)).tables
    assert (clients.different, clients.equal, len(clients.differences), clients.cut) == (5_000, 0, 100, True)
    (whole,) = (await verify_from(connected, database_url, tables("clients"))).tables
    assert (len(whole.differences), whole.cut) == (10_000, False)


async def test_nothing_on_one_side(connected: Source, database_url: str) -> None:
    add_clients(connected.database_url, 700)
    report = await verify_from(connected, database_url, tables("clients"))
    assert (report.tables[0].missing, report.clean) == (700, False)
    execute(connected.database_url, "TRUNCATE clients")
    add_clients(database_url, 700)
    report = await verify_from(connected, database_url, tables("clients"))
    assert (report.tables[0].extra, report.tables[0].missing, report.clean) == (700, 0, False)


async def test_servers_that_hash_otherwise_cost_time_and_nothing_else(
    connected: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stream = PostgresSource.fetch, PostgresSource.stream

    def other_seed(asked: sql.Composed) -> sql.Composed:
        return sql.Composed([sql.SQL(asked.as_string(None).replace('COLLATE "C", 0)', 'COLLATE "C", 1)'))])  # type: ignore[arg-type]

    async def fetch(self: PostgresSource, asked: sql.Composed) -> list[tuple[Any, ...]]:
        return await whole(self, other_seed(asked))

    def streamed(self: PostgresSource, asked: sql.Composed) -> AsyncIterator[bytes | bytearray | memoryview]:
        return stream(self, other_seed(asked))

    monkeypatch.setattr(PostgresSource, "fetch", fetch)
    monkeypatch.setattr(PostgresSource, "stream", streamed)
    _clients_on_both(connected.database_url, database_url, 3_000)
    report = await verify_from(connected, database_url, tables("clients"))
    assert (report.clean, report.tables[0].equal, report.tables[0].changed) == (True, 3_000, 0)
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id = 7; DELETE FROM clients WHERE id = 8")
    report = await verify_from(connected, database_url, tables("clients"))
    assert {(found.kind, found.key) for found in report.differences} == {("different", ("7",)), ("missing", ("8",))}


_TYPED = MetaData()
Table(
    "typed",
    _TYPED,
    Column("number", Integer, primary_key=True),
    Column("word", Text, primary_key=True),
    Column("moment", DateTime(timezone=True)),
    Column("flag", Boolean),
    Column("said", Text),
    Column("amount", Integer),
)
_TARGET = """CREATE TABLE typed (moment timestamptz, number smallint, word text COLLATE "C", flag boolean, said text,
amount integer, PRIMARY KEY (number, word))"""
_SOURCE = """CREATE TABLE typed (amount bigint, said boolean, flag text, word varchar(9), number bigint,
moment timestamptz, left_out json, PRIMARY KEY (number, word))"""


@pytest.fixture
def foreign(databases: PostgresServer, fresh_database: str) -> Iterator[tuple[Source, str]]:
    """A source and a target without tables."""
    url = databases.create_database()
    yield Source(url, "", url, is_lite=False), fresh_database
    databases.drop_database(url)


async def test_types_and_places_of_columns_may_differ(foreign: tuple[Source, str]) -> None:
    """Columns are compared as a cast to text writes them, whatever their types: a boolean's is not `t`."""
    source, target = foreign
    execute(source.database_url, _SOURCE)
    execute(target, _TARGET)
    rows = "SELECT n, '2026-01-01'::timestamp + n * interval '1 s', 'w' || n, {}, {}, n FROM generate_series(1, 50) n"
    columns = "INSERT INTO typed (number, moment, word, flag, said, amount) "
    execute(source.database_url, columns + rows.format("'true'", "true"))
    execute(target, columns + rows.format("true", "'true'"))
    chosen = select_tables(_TYPED)
    report = await verify_from(source, target, chosen)
    assert (report.clean, report.tables[0].equal) == (True, 50)
    for url in (source.database_url, target):  # nothing else differs in the text of the row
        execute(url, "UPDATE typed SET moment = NULL, said = NULL WHERE number = 7")
        execute(url, "UPDATE typed SET moment = NULL, flag = NULL WHERE number = 8")
    execute(source.database_url, "UPDATE typed SET flag = 't' WHERE word = 'w7'")
    execute(target, "UPDATE typed SET said = 't' WHERE word = 'w8'")
    found = {
        (one.key[1], one.column, one.source, one.target)
        for one in (await verify_from(source, target, chosen)).differences
    }
    assert found == {("w7", "flag", "t", "true"), ("w8", "said", "true", "t")}


async def test_a_time_without_a_zone_is_another_value(foreign: tuple[Source, str]) -> None:
    """Which moment it is, no one can tell: the target took its own zone. NULL and infinity are the same."""
    source, target = foreign
    execute(source.database_url, _SOURCE.replace("timestamptz", "timestamp"))
    execute(target, _TARGET)
    rows = (
        "INSERT INTO typed (number, word, moment) VALUES (1, 'a', '2026-01-01'), (2, 'b', NULL), (3, 'c', 'infinity')"
    )
    for url in (source.database_url, target):
        execute(url, f"SET TimeZone = 'UTC'; {rows}")
    with PageServer(source.database_url) as pages:
        for served in (source, Source(pages.url, pages.service_key, source.database_url, is_lite=False)):
            report = await verify_from(served, target, select_tables(_TYPED))
            found = [(one.key, one.column, one.source, one.target) for one in report.differences]
            assert found == [(("1", "a"), "moment", "2026-01-01 00:00:00", "2026-01-01 00:00:00+00")]


_WORDS = MetaData()
Table("words", _WORDS, Column("a", Text, primary_key=True), Column("b", Text, primary_key=True), Column("said", Text))
_PAIRS = [
    (a, b)
    for a in ("", "a", "A", "b", "B", "ё", "е", "Ё", "é", "e\u0301", "a b", "a-b", "ab", "a,b", '"', "(", "\\", "NULL")
    for b in ("", "z", "Z", "я", "Я", " ", "1", "10", "9", "\n")
]


@pytest.mark.parametrize("hook", ["few", "split"])
async def test_composite_text_keys_under_other_collations(
    foreign: tuple[Source, str], monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    if hook == "split":
        monkeypatch.setattr(compare_hashes, "_FEW_ROWS", 0)
    source, target = foreign
    names = [name for (name,) in query(
        target, "SELECT collname FROM pg_collation WHERE collencoding IN (-1, 6) AND collname NOT IN ('C', 'POSIX', "
        "'default', 'ucs_basic') ORDER BY collname LIKE 'en%%' DESC, collname LIMIT 1",
    )]  # fmt: skip
    other = names[0] if names else "POSIX"
    ddl = "CREATE TABLE words (a text COLLATE {0}, b text COLLATE {0}, said text, PRIMARY KEY (a, b))"
    execute(source.database_url, ddl.format(f'"{other}"'))
    execute(target, ddl.format('"C"'))
    for url in (source.database_url, target):
        with psycopg.connect(url) as connection:
            connection.cursor().executemany("INSERT INTO words VALUES (%s, %s, %s)", [(a, b, a + b) for a, b in _PAIRS])
    chosen = select_tables(_WORDS)
    assert (await verify_from(source, target, chosen)).clean
    execute(target, "UPDATE words SET said = 'x' WHERE a = 'ё' AND b = 'Я'; DELETE FROM words WHERE a = 'A' AND b = ''")
    execute(target, "INSERT INTO words VALUES ('e', 'Я', ''); UPDATE words SET a = '((' WHERE a = '(' AND b = ' '")
    report = await verify_from(source, target, chosen)
    assert {(one.kind, one.key, one.column) for one in report.differences} == {
        ("different", ("ё", "Я"), "said"),
        ("missing", ("A", ""), None),
        ("extra", ("e", "Я"), None),
        ("missing", ("(", " "), None),
        ("extra", ("((", " "), None),
    }


async def test_a_clean_pair_with_values_of_every_kind(connected: Source, database_url: str) -> None:
    execute(
        connected.database_url,
        "INSERT INTO clients (id, yclients_id, phone, name, email, total_spent, preferences, tags, branch_ids, notes, "
        "last_sync_at, first_visit_date, discount) VALUES "
        "(1, 1, '7', 'Ё', '', 1234567890.10, '{\"price\": 1.10}', '{}', '[0:1]={1,2}', 'blank ', 'infinity', "
        "'0044-03-15 BC', 'NaN'), (2, 2, '7', 'e\u0301', NULL, NULL, 'null', '{NULL,\"NULL\"}', '{{1},{2}}', "
        "E'\\r\\n', '2026-01-02 03:04:05.000001', '9999-12-31', 0.00)",
    )
    await copy_from(connected, database_url, tables("clients"))
    report = await verify_from(connected, database_url, tables("clients"))
    assert (report.clean, report.tables[0].equal) == (True, 2)
    assert value(database_url, "SELECT to_regclass('source_hashes') IS NULL") is True
