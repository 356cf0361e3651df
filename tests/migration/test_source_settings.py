"""Settings that shape the text of values: over REST those of the API's role, over a connection those of a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from tests.fixtures.sources import Ends, Source
from tests.migration.engine import Told, copy_from, execute, query, row_texts, value, verify_from
from tests.migration.two_ends import sync_from
from tests.support.faults import Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

_PLAIN = ("day", "at", "moment", "span", "weight", "cost", "bytes")
_NESTED = ("birthday", "length", "lengths", "amount", "amounts", "point", "instant", "visit", "open")
_ALL = MetaData()
THINGS = Table(
    "things", _ALL, Column("id", Integer, primary_key=True), *(Column(name, Text) for name in _PLAIN + _NESTED)
)
_DDL = """
CREATE DOMAIN birthday AS date; CREATE DOMAIN length AS interval; CREATE DOMAIN amount AS double precision;
CREATE DOMAIN instant AS timestamptz;
CREATE TYPE point2 AS (x real, y double precision); CREATE TYPE visit AS (at timestamptz, by text);
CREATE TABLE things (
    id integer PRIMARY KEY, day date, at timestamp, moment timestamptz, span interval, weight double precision,
    cost money, bytes bytea, birthday birthday, length length, lengths interval[], amount amount,
    amounts double precision[], point point2, instant instant, visit visit, open tstzrange[]
);
"""
_DIGITS = "0.30000000000000004"
_SPAN = "1 year 2 mons -3 days 04:05:06"


@contextmanager
def served(database: str, **settings: str) -> Iterator[Source]:
    """The database over REST, by sessions with these settings."""
    with PageServer(database, settings=settings) as pages:
        yield Source(pages.url, pages.service_key, database, is_lite=False)


@pytest.fixture
def source(databases: PostgresServer, fresh_database: str) -> Iterator[str]:
    """The source's database; the target's has the same table."""
    url = databases.create_database()
    try:
        for database in (url, fresh_database):
            execute(database, _DDL)
        yield url
    finally:
        databases.drop_database(url)


# A setting, a value of it that the target would misread, a column, and a value that shows it.
_MISREAD = [
    ("DateStyle", "SQL, DMY", "day", "2026-03-04"),
    ("DateStyle", "German", "day", "2026-03-04"),
    ("DateStyle", "SQL, DMY", "moment", "2026-03-04 05:06:07+00"),
    ("DateStyle", "German", "birthday", "2026-03-04"),
    ("IntervalStyle", "iso_8601", "span", _SPAN),
    ("IntervalStyle", "sql_standard", "span", _SPAN),
    ("IntervalStyle", "postgres_verbose", "span", _SPAN),
    ("IntervalStyle", "sql_standard", "length", _SPAN),
    ("extra_float_digits", "-5", "weight", _DIGITS),
    ("extra_float_digits", "0", "weight", _DIGITS),
    ("extra_float_digits", "0", "amount", _DIGITS),
    ("extra_float_digits", "0", "amounts", f"{{1,{_DIGITS}}}"),
]


@pytest.mark.parametrize(("setting", "wrong", "column", "text"), _MISREAD)
async def test_commands_stop_before_anything_is_written(
    source: str, fresh_database: str, setting: str, wrong: str, column: str, text: str
) -> None:
    execute(source, f"INSERT INTO things (id, {column}) VALUES (1, %s)", [text])
    remedy = rf"ALTER ROLE authenticator SET {setting} = "
    with served(source, **{setting: wrong}) as bad:
        with pytest.raises(MigrationError, match=f"the source's {setting} is another one") as stopped:
            await copy_from(bad, fresh_database, [THINGS])
        assert remedy in str(stopped.value.next_step)
        assert row_texts(fresh_database, "things") == []
        assert value(fresh_database, "SELECT to_regnamespace('botdata')") is None
        with served(source) as good:
            assert (await copy_from(good, fresh_database, [THINGS])).complete
            assert row_texts(fresh_database, "things") == row_texts(source, "things")
        execute(fresh_database, f"UPDATE things SET {column} = NULL")
        before = _written(fresh_database)
        for command in (verify_from(bad, fresh_database, [THINGS]), sync_from(bad, fresh_database, [THINGS])):
            with pytest.raises(MigrationError, match=f"things.{column} comes as ") as stopped:
                await command
            assert remedy in str(stopped.value.next_step)
        assert _written(fresh_database) == before


_NEAR = "16777216"  # with one digit 2e+07


@pytest.mark.parametrize(
    ("digits", "type_name", "rounded"), [("0", "double precision", _DIGITS), ("-15", "real", _NEAR)]
)
async def test_a_rounded_number_among_others(
    source: str, fresh_database: str, digits: str, type_name: str, rounded: str
) -> None:
    """Neither the shortest nor the longest: those are the same under each setting."""
    for database in (source, fresh_database):
        execute(database, f"ALTER TABLE things ALTER weight TYPE {type_name}")
    others = ["1", "2", "3", "4", "5e-12", "6e-13", "-7e-14", "-8e-15"]
    for number, text in enumerate([*others, rounded]):
        execute(source, "INSERT INTO things (id, weight) VALUES (%s, %s)", [number, text])
    match = "the source's extra_float_digits is another one"
    with served(source, extra_float_digits=digits) as bad, pytest.raises(MigrationError, match=match):
        await copy_from(bad, fresh_database, [THINGS])


async def test_a_rounded_number_after_others(source: str, fresh_database: str) -> None:
    """Those that come first are alike under each setting, so the source is asked for others."""
    execute(source, "INSERT INTO things (id, weight) SELECT n, n % 7 FROM generate_series(1, 200) n")
    execute(source, "INSERT INTO things (id, weight) VALUES (201, %s)", [_DIGITS])
    match = "the source's extra_float_digits is another one"
    with served(source, extra_float_digits="0") as bad, pytest.raises(MigrationError, match=match):
        await copy_from(bad, fresh_database, [THINGS])


async def test_a_date_in_another_style_after_others(source: str, fresh_database: str) -> None:
    execute(source, "INSERT INTO things (id, day) SELECT n, 'infinity' FROM generate_series(1, 200) n")
    execute(source, "INSERT INTO things (id, day) VALUES (201, '2026-03-04')")
    match = "the source's DateStyle is another one"
    with served(source, DateStyle="SQL, DMY") as bad, pytest.raises(MigrationError, match=match):
        await copy_from(bad, fresh_database, [THINGS])


@pytest.mark.parametrize(("type_name", "text"), [("double precision", "12345678"), ("real", "1234.5")])
async def test_as_many_digits_as_any_setting_writes_tell_nothing(
    source: str, fresh_database: str, type_name: str, text: str
) -> None:
    for database in (source, fresh_database):
        execute(database, f"ALTER TABLE things ALTER weight TYPE {type_name}")
    execute(source, "INSERT INTO things (id, weight) VALUES (1, %s)", [text])
    told = Told()
    with served(source, extra_float_digits="0") as bad:
        assert (await copy_from(bad, fresh_database, [THINGS], told=told)).complete
    assert any("which extra_float_digits the source has could not be told" in notice for notice in told.notices)


def _written(target: str) -> list[Any]:
    """The rows, and what the tool remembers of them."""
    return [
        query(target, f"SELECT * FROM {table} ORDER BY 1")
        for table in ("things", "botdata.runs", "botdata.checkpoints", "botdata.verifications", "botdata.row_versions")
    ]


async def test_money_in_another_locale(source: str, fresh_database: str) -> None:
    locale = next((name for name in ("de_DE.UTF-8", "ru_RU.UTF-8", "en_GB.UTF-8") if _has_locale(source, name)), None)
    if locale is None:
        pytest.skip("the server's machine has no locale with another currency")
    execute(source, "INSERT INTO things (id, cost) VALUES (1, '1234.50')")
    match = "the source's lc_monetary is another one"
    with served(source, lc_monetary=locale) as bad, pytest.raises(MigrationError, match=match):
        await copy_from(bad, fresh_database, [THINGS])
    assert row_texts(fresh_database, "things") == []


def _has_locale(url: str, name: str) -> bool:
    try:
        execute(url, f"SET lc_monetary = '{name}'")
    except psycopg.Error:
        return False
    return True


@pytest.mark.parametrize(("column", "text"), [("id", "1"), ("weight", "1.5"), ("point", "(1,1.5)")])
async def test_where_nothing_tells_the_setting(source: str, fresh_database: str, column: str, text: str) -> None:
    """Neither NULLs do, nor a number of few digits, nor a composite, by whose text no row can be asked for."""
    execute(source, "INSERT INTO things (id) VALUES (1)")
    execute(source, f"UPDATE things SET {column} = %s", [text])
    told = Told()
    with served(source, IntervalStyle="sql_standard", extra_float_digits="0") as bad:
        assert (await copy_from(bad, fresh_database, [THINGS], told=told)).complete
    for setting in ("DateStyle", "IntervalStyle", "lc_monetary", "extra_float_digits"):
        assert any(f"which {setting} the source has could not be told" in notice for notice in told.notices), setting
    assert row_texts(fresh_database, "things") == row_texts(source, "things")


@pytest.mark.parametrize(
    ("digits", "number", "column", "text", "refused"),
    [
        ("0", 1, "point", f"(0.1,{_DIGITS})", True),
        ("0", 79684484488, "point", f"(0.1,{_DIGITS})", True),
        ("1", 1, "point", f"(0.1,{_DIGITS})", False),
        ("1", 1, "point", "(1.5,2)", True),
        ("1", 79684484488, "point", "(1.5,2)", False),
        ("-15", 79684484488, "circle", "<(1.4,2.4),0.3>", True),
        ("0", 1, "point", "(0,NaN)", False),
    ],
)
async def test_numbers_whose_row_cannot_be_asked_for(
    source: str, fresh_database: str, digits: str, number: int, column: str, text: str, refused: bool
) -> None:
    """Their own digits tell, or those that a whole number keeps as a float4; else they are not moved over REST."""
    for database in (source, fresh_database):
        execute(database, f"CREATE TABLE places (id bigint PRIMARY KEY, at {column})")
    execute(source, f"INSERT INTO places VALUES ({number}, '{text}')")
    places = Table("places", MetaData(), Column("id", BigInteger, primary_key=True), Column("at", Text))
    with served(source, extra_float_digits=digits) as api:
        if refused:
            with pytest.raises(MigrationError, match=r"places\.at with all its digits .* cannot be told"):
                await copy_from(api, fresh_database, [places])
        else:
            assert (await copy_from(api, fresh_database, [places])).complete
            assert row_texts(fresh_database, "places") == row_texts(source, "places")


@pytest.mark.parametrize("style", ["SQL, DMY", "SQL, MDY", "German", "Postgres, DMY"])
@pytest.mark.parametrize(
    ("column", "text"), [("visit", '("2026-03-04 20:06:07+00",me)'), ("open", '{"[2026-03-04 20:00:00+00,)"}')]
)
async def test_dates_inside_other_types_are_never_misread(
    source: str, fresh_database: str, style: str, column: str, text: str
) -> None:
    """The setting is not looked for in these; a text that does not say which date it is is refused."""
    execute(source, f"INSERT INTO things (id, {column}) VALUES (1, %s)", [text])
    told = Told()
    with served(source, DateStyle=style) as bad:
        report = await copy_from(bad, fresh_database, [THINGS], told=told)
    said_whole = style.startswith("Postgres")  # the month by its name
    assert (report.complete, len(report.tables[0].refused)) == (said_whole, 0 if said_whole else 1)
    assert row_texts(fresh_database, "things") == (row_texts(source, "things") if said_whole else [])
    assert any("which DateStyle the source has could not be told" in notice for notice in told.notices)


_ROWS = f"""
INSERT INTO things VALUES
    (1, '2026-03-04', '2026-03-04 05:06:07', '2026-03-04 05:06:07.000001+00', '{_SPAN}', {_DIGITS}, '1234.50',
     '\\x5c00ff41', '2026-03-04', '-1 mon', '{{1 year,-2 days}}', {_DIGITS}, '{{{_DIGITS},NaN}}', '(0.1,{_DIGITS})',
     '2026-03-04 20:06:07+00', '("2026-03-04 20:06:07+00",me)', '{{"[2026-03-04 20:00:00+00,)",empty}}'),
    (2, 'infinity', '-infinity', '0044-03-15 12:00:00+00 BC', '-1 days', '-Infinity', '-0.01',
     '\\x', NULL, NULL, '{{}}', 'NaN', '{{}}', '(,)', 'infinity', '(,)', '{{}}');
INSERT INTO things (id) VALUES (3);
"""


@pytest.mark.parametrize(
    "settings",
    [{"bytea_output": "escape"}, {"timezone": "Asia/Kolkata"}, {"DateStyle": "ISO, DMY"}, {"extra_float_digits": "3"}],
    ids=str,
)
async def test_settings_that_do_no_harm(source: str, fresh_database: str, settings: dict[str, str]) -> None:
    execute(source, _ROWS)
    told = Told()
    with served(source, **settings) as odd:
        assert (await copy_from(odd, fresh_database, [THINGS], told=told)).complete
        assert row_texts(fresh_database, "things") == row_texts(source, "things")
        assert (await verify_from(odd, fresh_database, [THINGS])).clean
        again = await copy_from(odd, fresh_database, [THINGS])
        assert (again.complete, again.tables[0].unchanged) == (True, 3)
        synced = await sync_from(odd, fresh_database, [THINGS])
        assert (synced.complete, synced.tables["things"].updated) == (True, 0)
    assert not [notice for notice in told.notices if "could not be told" in notice]
    assert row_texts(fresh_database, "things") == row_texts(source, "things")


_HOSTILE = {
    "datestyle": "'SQL, DMY'",
    "intervalstyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "timezone": "'Asia/Kolkata'",
    "search_path": "nowhere",
    "quote_all_identifiers": "on",
    "array_nulls": "off",
}


@pytest.mark.parametrize(
    ("ends", "end"), [("connection", "source"), ("connection", "target"), ("page server", "target")], indirect=["ends"]
)
async def test_defaults_of_a_database(ends: Ends, end: str) -> None:
    """Over a connection to either end the tool's session sets what matters."""
    ends.make(_DDL, _ROWS)
    execute(ends.source, "UPDATE things SET lengths = '{NULL,1 day}', amounts = '{NULL,1}' WHERE id = 3")
    database = ends.source if end == "source" else ends.target
    name = value(database, "SELECT current_database()")
    for setting, text in _HOSTILE.items():
        execute(database, f'ALTER DATABASE "{name}" SET {setting} = {text}')
    assert (await copy_from(ends.served, ends.target, [THINGS])).complete
    assert (await verify_from(ends.served, ends.target, [THINGS])).clean
    again = await copy_from(ends.served, ends.target, [THINGS])
    assert (again.complete, again.tables[0].unchanged) == (True, 3)
    execute(database, f'ALTER DATABASE "{name}" RESET ALL')
    assert row_texts(ends.target, "things") == row_texts(ends.source, "things")


async def test_a_number_that_is_written_meanwhile_tells_nothing(source: str, fresh_database: str) -> None:
    execute(source, f"INSERT INTO things (id, weight) VALUES (1, {_DIGITS})")
    written: list[str] = []

    def hook(request: Request) -> None:
        if (request.parameter("weight") or "").startswith("in.") and not written:
            written.append("1.5")
            execute(source, "UPDATE things SET weight = 1.5")

    with PageServer(source, hook=hook) as pages:
        served_now = Source(pages.url, pages.service_key, source, is_lite=False)
        assert (await copy_from(served_now, fresh_database, [THINGS])).complete
    assert written
    assert value(fresh_database, "SELECT weight FROM things") == 1.5
