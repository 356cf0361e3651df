"""Rights that the source's role lacks: each table and column is named with its GRANT, and the others are judged too."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Numeric, Table, Text

from app.errors import MigrationError
from app.migration.preflight.findings import PreflightReport
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.tables.grants import grant_select
from tests.fixtures.sources import Source
from tests.migration.engine import copy_from, execute
from tests.preflight.looking import codes, look
from tests.support import faults
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.separate_server  # it makes roles

_METADATA = MetaData()
TABLES = [
    Table("Open", _METADATA, Column("id", Integer, primary_key=True, autoincrement=False), Column("gone", Text)),
    Table(
        "people",
        _METADATA,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", Text),
        Column("salary", Numeric),
    ),
    Table("secrets", _METADATA, Column("id", Integer, primary_key=True, autoincrement=False), Column("word", Text)),
]
_DDL = """
CREATE TABLE people (id integer PRIMARY KEY, name text, salary numeric);
CREATE TABLE secrets (id integer PRIMARY KEY, word text);
CREATE TABLE "Open" (id integer PRIMARY KEY{});
"""
ROLE = "rights_reader"


@pytest.fixture
def source_url(databases: PostgresServer) -> Iterator[str]:
    url = databases.create_database()
    execute(url, _DDL.format(""))
    execute(
        url,
        "INSERT INTO people VALUES (1, 'Ann', 10), (2, 'Ben', 20); INSERT INTO secrets VALUES (1, 'x'); "
        "INSERT INTO \"Open\" VALUES (1), (2), (3); DO $$ BEGIN IF to_regrole('rights_reader') IS NULL THEN "
        "CREATE ROLE rights_reader LOGIN PASSWORD 'rights' BYPASSRLS; END IF; END $$; "
        'GRANT SELECT ON "Open" TO rights_reader; GRANT SELECT (id, name) ON people TO rights_reader',
    )
    yield url
    execute(url, "DROP OWNED BY rights_reader")
    databases.drop_database(url)


@pytest.fixture(params=["over REST", "over a connection"])
def source(request: pytest.FixtureRequest, source_url: str) -> Iterator[Source]:
    if request.param == "over a connection":
        parts = psycopg.conninfo.conninfo_to_dict(source_url)
        url = f"postgresql://{ROLE}:rights@{parts.get('host')}:{parts.get('port')}/{parts['dbname']}"
        if str(parts.get("host", "")).startswith("/"):
            url = f"postgresql://{ROLE}:rights@/{parts['dbname']}?host={parts['host']}&port={parts.get('port')}"
        yield Source(url, "", source_url, is_lite=False)
        return
    with PageServer(source_url) as pages:
        pages.roles[pages.service_key] = ROLE
        pages.hook = lambda request: _signed_in
        yield Source(pages.url, pages.service_key, source_url, is_lite=False)


def _signed_in(answer: faults.Answer) -> faults.Answer:
    """PostgREST says 403, and not 401, to a role that has signed in."""
    headers = {name: value for name, value in answer.headers.items() if name != "WWW-Authenticate"}
    return faults.Answer(403, headers, answer.body) if answer.status == 401 else answer


async def _look(source: Source, target: str) -> PreflightReport:
    execute(target, _DDL.format(", gone text"))
    return await look(source, target, tables=TABLES, examine=examine_against(TABLES))


async def test_every_right_is_named_and_other_tables_are_judged(source: Source, fresh_database: str) -> None:
    report = await _look(source, fresh_database)
    assert sorted(codes(report, "error")) == [
        "source-column-missing Open.gone",
        "source-privilege-missing people.salary",
        "source-privilege-missing secrets",
    ]
    assert all("people" not in one.message for one in report.findings if one.message.startswith("empty"))
    role = ROLE if source.url.startswith("postgresql") else "service_role"
    remedies = {one.place: one.remedy for one in report.findings if one.code == "source-privilege-missing"}
    assert [remedy.replace("public.", "") for _, remedy in sorted(remedies.items())] == [
        f"GRANT SELECT ON people TO {role}",
        f"GRANT SELECT ON secrets TO {role}",
    ]
    assert {one.table: one.source_rows for one in report.tables} == {"Open": 3, "people": 2, "secrets": None}
    for remedy in remedies.values():
        execute(source.database_url, remedy.replace(role, ROLE))
    report = await look(source, fresh_database, tables=TABLES, examine=examine_against(TABLES))
    assert codes(report, "error") == ["source-column-missing Open.gone"]


async def test_a_column_that_is_not_wanted_may_be_closed(source: Source, fresh_database: str) -> None:
    execute(source.database_url, f'GRANT SELECT ON secrets TO {ROLE}; ALTER TABLE "Open" ADD gone text')
    execute(fresh_database, _DDL.format(", gone text"))
    people = Table(
        "people", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), Column("name", Text)
    )
    tables = [TABLES[0], people, TABLES[2]]
    report = await look(source, fresh_database, tables=tables, examine=examine_against(tables))
    over_connection = source.url.startswith("postgresql")
    assert codes(report, "error") == (["source-column-unknown people.salary"] if over_connection else [])
    assert codes(report, "warning") == ([] if over_connection else ["source-columns-unseen people"])
    assert {one.table: one.source_rows for one in report.tables} == {"Open": 3, "people": 2, "secrets": 1}


async def test_no_right_on_the_schema(source: Source, fresh_database: str) -> None:
    execute(source.database_url, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    report = await _look(source, fresh_database)
    errors = [one for one in report.errors if one.code == "source-privilege-missing"]
    assert sorted(one.place for one in errors) == ["Open", "people", "secrets"]
    role = ROLE if source.url.startswith("postgresql") else "service_role"
    assert all(one.remedy.startswith(f"GRANT USAGE ON SCHEMA public TO {role}; ") for one in errors)


async def test_a_copy_without_the_right_names_the_grant(source: Source, fresh_database: str) -> None:
    execute(fresh_database, _DDL.format(""))
    with pytest.raises(MigrationError, match=r"permission denied for table secrets") as stopped:
        await copy_from(source, fresh_database, TABLES[2:])
    assert stopped.value.next_step is not None
    if not source.url.startswith("postgresql"):
        assert str(stopped.value.next_step).startswith("GRANT SELECT ON public.secrets TO service_role")
    assert "SUPABASE_KEY" not in str(stopped.value.next_step)


def _not_exposed(request: Request) -> Fault | None:
    profile = request.headers.get("Accept-Profile") or request.headers.get("Content-Profile") or "public"
    if profile == "public":
        return None
    return faults.postgrest(406, "PGRST106", "The schema must be one of the following: public, graphql_public")


async def test_a_schema_that_is_not_exposed_is_named(source_url: str, fresh_database: str) -> None:
    table = Table(
        "invoices", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), schema="billing"
    )
    execute(fresh_database, "CREATE SCHEMA billing; CREATE TABLE billing.invoices (id integer PRIMARY KEY)")
    execute(fresh_database, _DDL.format(""))
    with PageServer(source_url) as pages:
        pages.hook = _not_exposed
        tables = [table, TABLES[2]]
        report = await look(pages, fresh_database, tables=tables, examine=examine_against(tables))
        assert codes(report, "error") == ["source-schema-not-exposed billing.invoices"]
        (error,) = report.errors
        assert error.message.startswith("the API does not expose the schema billing")
        assert "Exposed schemas" in error.remedy
        assert "--source" in error.remedy
        assert {one.table: one.source_rows for one in report.tables} == {"billing.invoices": None, "secrets": 1}
        with pytest.raises(MigrationError, match="does not expose the schema billing") as stopped:
            await copy_from(pages, fresh_database, [table])
        assert stopped.value.next_step is not None
        assert "Exposed schemas" in str(stopped.value.next_step)


@pytest.mark.parametrize(("fault", "asked"), [(faults.statement_timeout(), 1), (faults.status(504), 2)])
async def test_a_count_that_takes_too_long_is_a_notice(
    source_url: str, fresh_database: str, fault: Fault, asked: int
) -> None:
    execute(fresh_database, _DDL.format(""))
    with PageServer(source_url) as pages:
        late = lambda request: "count=exact" in request.headers.get("Prefer", "")  # noqa: E731
        pages.hook = lambda request: fault if late(request) else None
        tables = [TABLES[1], TABLES[2]]
        report = await look(pages, fresh_database, tables=tables, examine=examine_against(tables))
        assert (report.clear, codes(report)) == (True, [])
        assert [one for one in codes(report, "notice") if one.startswith("source-count")] == [
            "source-count-unknown people", "source-count-unknown secrets",
        ]  # fmt: skip
        assert sum(late(seen.request) for seen in pages.exchanges) == 2 * asked


async def test_long_names_of_an_empty_table_are_asked_for_in_short_addresses(
    source_url: str, fresh_database: str
) -> None:
    names = [f"{number:03d} Как вы узнали о нашем салоне" for number in range(80)]
    ddl = "CREATE TABLE wide (id integer PRIMARY KEY, {})"
    execute(source_url, ddl.format(", ".join(f'"{name}" text' for name in names[:-1])))
    execute(fresh_database, ddl.format(", ".join(f'"{name}" text' for name in names)))
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    wide = [Table("wide", MetaData(), key, *(Column(name, Text) for name in names))]
    with PageServer(source_url) as pages:
        report = await look(pages, fresh_database, tables=wide, examine=examine_against(wide))
        assert codes(report) == [f"source-column-missing wide.{names[-1]}"]
        assert max(len(seen.request.target) for seen in pages.exchanges) <= 3000


def test_a_name_that_is_a_reserved_word_is_quoted() -> None:
    assert grant_select("public", "order") == 'GRANT SELECT ON public."order" TO service_role'
