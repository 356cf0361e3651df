"""Columns that are narrower in the target: what does not fit is refused and kept, and nothing is cut or rounded."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.quarantine.replay import replay
from app.migration.runs.report import Refusal
from app.migration.sync.sync_report import SyncReport
from tests.fixtures.sources import BOTH, Ends, Routed, Source
from tests.migration.engine import copy_from, execute, query, row_texts, verify_from
from tests.migration.two_ends import sync_from
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = MetaData()
THINGS = Table("things", METADATA, Column("id", Integer, primary_key=True), Column("v", Text))


@dataclass(frozen=True)
class Pair:
    """A column's type in the source and in the target.

    Attributes:
        unfit: the text of a value that the target's type would change.
        fits: texts of values that it holds as they are.
        theirs, ours: statements that make the types in the source and in the target.
        place: what the refusal names; None where PostgreSQL refuses a part by itself, and names no column.
    """

    source: str
    target: str
    unfit: str
    fits: tuple[str, ...]
    theirs: str = ""
    ours: str = ""
    place: str | None = "v"

    def make(self, ends: Ends) -> None:
        """The table on both ends, and the values that fit in the source: ids from 1 on."""
        ends.make(
            f"{self.theirs}; CREATE TABLE things (id integer PRIMARY KEY, v {self.source})",
            "SELECT",
            target=f"{self.ours}; CREATE TABLE things (id integer PRIMARY KEY, v {self.target})",
        )
        for number, text in enumerate((*self.fits, None), start=1):
            execute(ends.source, "INSERT INTO things VALUES (%s, %s)", [number, text])

    def mend(self, ends: Ends) -> None:
        """Give the target's column the source's type."""
        execute(
            ends.target,
            f"CREATE SCHEMA mended; SET search_path = mended, public; {self.theirs}; "
            f"ALTER TABLE things ALTER v TYPE {self.source} USING v::text::{self.source}",
        )


def _types(template: str, source: str, target: str) -> tuple[str, str]:
    return template.format(source), template.format(target)


_SHORT = _types("CREATE DOMAIN short AS {}", "text", "varchar(3)")
_PRICE = _types("CREATE DOMAIN price AS {}", "numeric", "numeric(4,2)")
_MANY = _types("CREATE DOMAIN many AS {}[]", "text", "varchar(3)")
_PART = _types("CREATE TYPE part AS (a {}, b text)", "numeric", "numeric(4,2)")
_WORD = _types("CREATE TYPE part AS (a {}, b text)", "text", "varchar(3)")
_WHEN = _types("CREATE TYPE part AS (a {})", "timestamptz", "timestamptz(0)")
_LABEL = _types("CREATE DOMAIN label AS {}", "text", "name")
_TAGGED = _types("CREATE TYPE tagged AS (a {})", "text", "name")
_LONG = "x" * 64
_WIDE = "я" * 32  # 64 bytes

PAIRS = {
    "numeric(10,2)": Pair("numeric", "numeric(10,2)", "1.005", ("1.10", "-0.05", "12345678.90", "NaN")),
    "domain over numeric(4,2)": Pair("price", "price", "1.005", ("1.10", "-99.99"), *_PRICE),
    "varchar(3)": Pair("text", "varchar(3)", "abcd", ("abc", "", "a  ", "яя ")),
    "varchar(3), blanks": Pair("text", "varchar(3)", "abc ", ("abc", "   ")),
    "domain over varchar(3)": Pair("short", "short", "abc ", ("abc", "a  "), *_SHORT),
    "varchar(3)[]": Pair("text[]", "varchar(3)[]", '{abc,"abc "}', ("{abc,NULL,яяя}", "{}", '[2:3]={"a  ",b}')),
    "array of domains": Pair("short[]", "short[]", "{abc,abcd}", ("{abc,NULL}", "{}"), *_SHORT, place=None),
    "domain over an array": Pair("many", "many", "{abcd}", ("{abc,NULL}", "{}"), *_MANY),
    "char(3)": Pair("char(5)", "char(3)", "abcd", ("abc  ", "a", "")),
    "char(3) for a text": Pair("text", "char(3)", "abcd", ("abc", "a", "")),
    "bit(3)": Pair("bit varying", "bit(3)", "1010", ("101", "000")),
    "bit(3), filled up": Pair("bit varying", "bit(3)", "10", ("101", "000")),
    "bit varying(3)": Pair("bit varying", "bit varying(3)", "1010", ("101", "")),
    "timestamp(0)": Pair("timestamp", "timestamp(0)", "2024-02-03 04:05:06.5", ("2024-02-03 04:05:06", "infinity")),
    "timestamptz(0)": Pair("timestamptz", "timestamptz(0)", "2024-02-03 04:05:06.5+00", ("2024-02-03 04:05:06+00",)),
    "time(0)": Pair("time", "time(0)", "23:59:59.9", ("01:02:03", "24:00:00")),
    "interval(0)": Pair("interval", "interval(0)", "1 mon 00:00:01.5", ("1 mon 00:00:01", "-1 days")),
    "interval year to month": Pair("interval", "interval year to month", "1 year 2 days", ("1 year 2 mons", "-1 mons")),
    "composite, a number": Pair("part", "part", "(1.005,b)", ("(1.10,b)", "(,)"), *_PART),
    "composite, a word": Pair("part", "part", "(abcd,b)", ("(abc,b)", "(,)"), *_WORD, place=None),
    "composite, a time": Pair(
        "part", "part", '("2024-02-03 04:05:06.5+00")', ('("2024-02-03 04:05:06+00")',), *_WHEN
    ),
    "array of composites": Pair("part[]", "part[]", '{"(1.10,b)","(1.005,b)"}', ('{"(1.10,b)",NULL}', "{}"), *_PART),
    "name": Pair("text", "name", _LONG, ("x" * 63, "", " a  ")),
    "name, of other letters": Pair("text", "name", _WIDE, ("я" * 31,)),
    "name[]": Pair("text[]", "name[]", f"{{a,{_LONG}}}", ("{a,NULL}", "{}")),
    "domain over name": Pair("label", "label", _LONG, ("x" * 63,), *_LABEL),
    "composite, a name": Pair("tagged", "tagged", f"({_LONG})", ("(abc)",), *_TAGGED),
    "char": Pair("text", '"char"', "xy", ("x", "")),
    "char[]": Pair("text[]", '"char"[]', "{x,yz}", ("{x,NULL}",)),
}  # fmt: skip
each = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


@pytest.fixture(scope="module")
def pair_of_databases(postgres_server: PostgresServer) -> Iterator[tuple[str, str, PageServer]]:
    """A source, a target, and a page server on the source: for all pairs, one after the other."""
    source, target = postgres_server.create_database(), postgres_server.create_database()
    try:
        with PageServer(source) as pages:
            yield source, target, pages
    finally:
        postgres_server.drop_database(source)
        postgres_server.drop_database(target)


@pytest.fixture(params=BOTH)
def ends(request: pytest.FixtureRequest, pair_of_databases: tuple[str, str, PageServer]) -> Ends:
    """Both ends, emptied."""
    source, target, pages = pair_of_databases
    for url in (source, target):
        execute(url, "DROP SCHEMA IF EXISTS public, mended, botdata CASCADE; CREATE SCHEMA public")
    if request.param == "connection":
        return Ends(Source(source, "", source, is_lite=False), source, target)
    return Ends(Source(pages.url, pages.service_key, source, is_lite=False), source, target)


def _refused(pair: Pair, *keys: int) -> list[Refusal]:
    return [Refusal("things", (str(key),), "22001", pair.place) for key in keys]


async def _kinds(ends: Ends) -> list[tuple[str, str]]:
    """What verify says of which row."""
    report = await verify_from(ends.served, ends.target, [THINGS])
    return sorted((found.kind, found.key[0]) for found in report.differences)


def _kept(ends: Ends) -> list[tuple[str, str]]:
    return query(ends.target, "SELECT key[1], row_text ->> 'v' FROM botdata.quarantine ORDER BY key[1]::integer")


def _texts(url: str, but: int = 0) -> list[tuple[int, str | None]]:
    return query(url, "SELECT id, v::text FROM things WHERE id <> %s ORDER BY 1", [but])


@each
async def test_by_a_copy_and_by_a_second_one(ends: Ends, pair: Pair) -> None:
    pair.make(ends)
    execute(ends.source, "INSERT INTO things VALUES (99, %s)", [pair.unfit])
    ((_, unfit),) = query(ends.source, "SELECT id, v::text FROM things WHERE id = 99")
    first = await copy_from(ends.served, ends.target, [THINGS])
    assert (first.complete, list(first.tables[0].refused)) == (False, _refused(pair, 99))
    assert _texts(ends.target) == _texts(ends.source, but=99)
    assert _kept(ends) == [("99", unfit)]
    assert await _kinds(ends) == [("missing", "99")]
    execute(ends.source, "UPDATE things SET v = %s WHERE id = 1", [pair.unfit])
    second = await copy_from(ends.served, ends.target, [THINGS])
    assert (second.complete, sorted(second.tables[0].refused, key=lambda one: int(one.key[0]))) == (
        False,
        _refused(pair, 1, 99),
    )
    assert second.tables[0].unchanged == len(pair.fits)
    assert _kept(ends) == [("1", unfit), ("99", unfit)]
    assert _texts(ends.target, but=1) == [row for row in _texts(ends.source, but=1) if row[0] != 99]
    assert await _kinds(ends) == [("different", "1"), ("missing", "99")]


@each
async def test_by_a_sync_and_by_replay(ends: Ends, pair: Pair) -> None:
    pair.make(ends)
    assert (await copy_from(ends.served, ends.target, [THINGS])).complete
    before = _texts(ends.target)
    assert before == _texts(ends.source)
    assert await _kinds(ends) == []
    execute(ends.source, "INSERT INTO things VALUES (99, %s)", [pair.unfit])
    execute(ends.source, "INSERT INTO things SELECT 100, v FROM things WHERE id = 1")
    synced: SyncReport = await sync_from(ends.served, ends.target, [THINGS])
    assert (synced.complete, list(synced.tables["things"].refused)) == (False, _refused(pair, 99))
    assert _texts(ends.target) == [*before, (100, before[0][1])]
    assert await _kinds(ends) == [("missing", "99")]
    again = await replay(ends.target, METADATA)
    assert (again.loaded, again.tables[0].refused) == (0, _refused(pair, 99))
    pair.mend(ends)
    assert (await replay(ends.target, METADATA)).complete
    assert _texts(ends.target) == _texts(ends.source)
    assert await _kinds(ends) == []


@each
@pytest.mark.parametrize("ends", ["connection"], indirect=True)
async def test_where_both_ends_have_the_type(ends: Ends, pair: Pair, routes: list[Routed]) -> None:
    """Nothing is refused, and a COPY of a builtin type goes straight in."""
    both = f"{pair.ours}; CREATE TABLE things (id integer PRIMARY KEY, v {pair.target})"
    ends.make(both, "SELECT")
    for number, text in enumerate(pair.fits, start=1):
        execute(ends.source, "INSERT INTO things VALUES (%s, %s)", [number, text])
    assert (await copy_from(ends.served, ends.target, [THINGS])).complete
    assert row_texts(ends.target, "things") == row_texts(ends.source, "things")
    assert await _kinds(ends) == []
    if not pair.ours:
        assert [straight for _, _, straight, _ in routes] == [True]
