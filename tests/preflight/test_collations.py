"""Collations whose version is another one than that in which their indexes were made."""

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.preflight.findings import PreflightReport
from app.migration.preflight.schemas.target_schema import examine_against
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import execute, query, value
from tests.preflight.looking import codes, look

METADATA = MetaData()
_WORDS = Table("words", METADATA, Column("id", Integer, primary_key=True), Column("word", Text))
_TABLE = 'CREATE TABLE words (id integer PRIMARY KEY, word text); CREATE INDEX by_word ON words (word COLLATE "{}");'
_CODES = ("source-collation-version", "target-collation-version")


def _versioned(url: str) -> str:
    """A collation of the server that has a version."""
    found = query(
        url,
        "SELECT collname FROM pg_collation WHERE collprovider <> 'd' AND collencoding IN (-1, 6) "
        "AND pg_collation_actual_version(oid) IS NOT NULL ORDER BY collprovider, collname LIMIT 1",
    )
    if not found:
        pytest.skip("no collation of this server has a version")
    return str(found[0][0])


def _shown(url: str, name: str) -> str:
    return str(value(url, "SELECT quote_ident(%s)", [name]))


def _make_old(url: str, name: str) -> None:
    """The catalog says that the collation was made in another version of its library."""
    execute(url, "UPDATE pg_collation SET collversion = 'old' WHERE collname = %s", [name])


def _make_database_old(url: str) -> None:
    if value(url, "SELECT current_setting('server_version_num')::integer") < 150000:
        pytest.skip("the database's own collation has a version from PostgreSQL 15 on")
    if value(
        url,
        "SELECT pg_database_collation_actual_version(oid) IS NULL FROM pg_database WHERE datname = current_database()",
    ):
        pytest.skip("the collation of this database has no version")
    execute(url, "UPDATE pg_database SET datcollversion = 'old' WHERE datname = current_database()")


async def _look(source: Source, target: str) -> PreflightReport:
    return await look(source, target, tables=[_WORDS], examine=examine_against([_WORDS]))


def _told(report: PreflightReport) -> list[tuple[str, str]]:
    return [(one.code, one.message) for one in report.findings if one.code in _CODES]


async def test_equal_versions_are_not_told(make_source: MakeSource, fresh_database: str) -> None:
    script = _TABLE.format(_versioned(fresh_database))
    source = make_source(script)
    execute(fresh_database, script)
    assert _told(await _look(source, fresh_database)) == []


async def test_an_old_collation_of_an_index_at_the_target(make_source: MakeSource, fresh_database: str) -> None:
    name = _versioned(fresh_database)
    source = make_source(_TABLE.format(name))
    execute(fresh_database, _TABLE.format(name))
    now = value(fresh_database, "SELECT pg_collation_actual_version(oid) FROM pg_collation WHERE collname = %s", [name])
    _make_old(fresh_database, name)
    report = await _look(source, fresh_database)
    ((code, message),) = _told(report)
    shown = _shown(fresh_database, name)
    assert code == "target-collation-version"
    assert message.startswith(f"collation {shown} of the target was made with version old of its library, which is ")
    assert f"which is {now} now: indexes of words may be in another order" in message
    (found,) = (one for one in report.findings if one.code == code)
    assert (found.severity, found.remedy) == (
        "warning",
        f"REINDEX them, then: ALTER COLLATION {shown} REFRESH VERSION; "
        "a copy counts, and stops where rows are left out",
    )
    assert codes(report, "error") == []
    execute(fresh_database, f'ALTER COLLATION "{name}" REFRESH VERSION')
    assert _told(await _look(source, fresh_database)) == []


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_an_old_collation_of_an_index_at_the_source(make_source: MakeSource, fresh_database: str) -> None:
    name = _versioned(fresh_database)
    source = make_source(_TABLE.format(name))
    execute(fresh_database, _TABLE.format(name))
    _make_old(source.database_url, name)
    ((code, message),) = _told(await _look(source, fresh_database))
    assert code == "source-collation-version"
    assert message.startswith(
        f"collation {_shown(fresh_database, name)} of the source was made with version old of its library"
    )


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_an_old_collation_of_the_database(make_source: MakeSource, fresh_database: str) -> None:
    script = _TABLE.format("default")
    source = make_source(script)
    execute(fresh_database, script)
    for url in (source.database_url, fresh_database):
        _make_database_old(url)
    told = dict(_told(await _look(source, fresh_database)))
    assert sorted(told) == sorted(_CODES)
    names = [url.rpartition("/")[2].partition("?")[0] for url in (source.database_url, fresh_database)]
    for code, name in zip(_CODES, names, strict=True):
        end = code.partition("-")[0]
        assert told[code].startswith(f"database {name} of the {end} was made with version old of its library, which is")
        assert "indexes on texts may be in another order" in told[code]
    for url, name in zip((source.database_url, fresh_database), names, strict=True):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} REFRESH COLLATION VERSION").format(sql.Identifier(name)))
    assert _told(await _look(source, fresh_database)) == []


async def test_an_old_collation_of_no_index(make_source: MakeSource, fresh_database: str) -> None:
    """The column's order alone is that of the present version: only an index keeps an older one."""
    name = _versioned(fresh_database)
    script = f'CREATE TABLE words (id integer PRIMARY KEY, word text COLLATE "{name}");'
    source = make_source(script)
    execute(fresh_database, script)
    for url in (source.database_url, fresh_database):
        _make_old(url, name)
    assert _told(await _look(source, fresh_database)) == []
