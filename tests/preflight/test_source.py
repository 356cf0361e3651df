"""The source against the models, over REST with and without a root document, and over a connection."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.types import UserDefinedType

from app.embedded.supabase_roles import prepare_supabase_roles
from app.migration.preflight import run
from app.migration.preflight.findings import PreflightReport
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.preflight.sources.postgres_source import see_postgres
from app.schema import revisions
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, execute
from tests.preflight.looking import codes, look
from tests.support.faults import JSON, Answer, Fault, Request, status
from tests.support.page_server import PageServer
from tests.support.supabase import SupabaseServers

PHONE = "79000000001"


def _found(report: PreflightReport, code: str) -> str:
    (message,) = [one.message for one in report.findings if one.code == code]
    return message


async def test_a_clean_pair(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 30)
    report = await look(source, database_url)
    assert (codes(report), report.clear, str(report.next_step)) == ([], True, "botdata copy")
    rows = {one.table: (one.source_rows, one.target_rows) for one in report.tables}
    assert (rows["clients"], rows["staff"]) == ((30, 0), (0, 0))
    over_connection = source.url.startswith("postgresql")
    assert ("source-row-cap" in codes(report, "notice")) is not over_connection
    if not over_connection:
        assert _found(report, "source-row-cap").startswith("the server gives 7 rows at a time (clients has 30)")


@pytest.mark.parametrize("rows", [0, 3])
async def test_all_that_is_missing_and_all_that_is_more(pages: PageServer, database_url: str, rows: int) -> None:
    database = pages._database_url
    add_clients(database, rows)
    execute(
        database,
        "ALTER TABLE clients DROP notes, DROP tags, ADD own text, ADD other integer; DROP TABLE messages",
    )
    named = [f"source-column-missing clients.{name}" for name in ("notes", "tags")]
    unknown = [f"source-column-unknown clients.{name}" for name in ("other", "own")]
    over_rest = await look(pages, database_url)
    assert sorted(codes(over_rest)) == sorted([*named, *(unknown if rows else []), "source-table-missing messages"])
    assert ("clients" in _found(over_rest, "source-columns-unseen")) is (rows == 0)
    connected = await look(Source(database, "", database, is_lite=False), database_url)
    assert sorted(codes(connected)) == sorted([*named, *unknown, "source-table-missing messages"])
    ignoring = await look(
        Source(database, "", database, is_lite=False), database_url, "clients", ignored=["clients.own", "clients.other"]
    )
    assert sorted(codes(ignoring, "error")) == named
    assert sorted(codes(ignoring, "warning")) == unknown


class Pairing(UserDefinedType[str]):
    """A composite type of the source's."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pairing"


@pytest.mark.parametrize("rows", [0, 1, 2])
async def test_a_key_by_which_rows_cannot_be_asked_for(pages: PageServer, database_url: str, rows: int) -> None:
    source = pages._database_url
    for url in (source, database_url):
        execute(url, "CREATE TYPE pairing AS (a integer, b text); CREATE TABLE things (id pairing PRIMARY KEY)")
    execute(source, f"INSERT INTO things SELECT (n, 'x')::pairing FROM generate_series(1, {rows}) n")
    things = Table("things", MetaData(), Column("id", Pairing, primary_key=True))
    examine = examine_against([things])
    over_rest = await look(pages, database_url, tables=[things], examine=examine)
    assert codes(over_rest, "error") == ["source-key-unusable things"] * bool(rows)
    connected = Source(source, "", source, is_lite=False)
    assert codes(await look(connected, database_url, tables=[things], examine=examine), "error") == []


async def test_a_server_that_describes_nothing_is_asked_column_by_column(
    supabase_server_factory: SupabaseServers, database_url: str
) -> None:
    def prepare(url: str) -> None:
        revisions.upgrade(url)
        execute(url, "ALTER TABLE staff DROP position, DROP email, ADD own text; DROP TABLE messages")
        execute(url, "ALTER TABLE services DROP title, ADD own text; INSERT INTO services (yclients_id) VALUES (1)")

    report = await look(supabase_server_factory(prepare), database_url)
    assert sorted(codes(report)) == [
        "source-column-missing services.title",
        "source-column-missing staff.email",
        "source-column-missing staff.position",
        "source-column-unknown services.own",
        "source-table-missing messages",
    ]
    assert "source-types-unseen" in codes(report, "notice")


def _root(change: dict[str, dict[str, object]]) -> object:
    document = json.loads((Path(__file__).parent / "openapi.json").read_text(encoding="utf-8"))
    for table, properties in change.items():
        document["definitions"].setdefault(table, {"properties": {}})["properties"].update(properties)
    return document


async def test_the_root_document_tells_types_and_other_tables(pages: PageServer, database_url: str) -> None:
    document = _root(
        {
            "clients": {"name": {"format": "text", "type": "string"}, "created_at": {"format": "date"}},
            "own_notes": {"id": {"format": "int32"}},
        }
    )

    def describe(request: Request) -> Fault | None:
        answer = Answer(200, JSON, json.dumps(document).encode())
        return (lambda _answer: answer) if request.table == "" else None

    pages.hook = describe
    report = await look(pages, database_url)
    assert codes(report, "error") == ["source-type-differs clients.created_at"]
    assert codes(report, "warning") == ["source-type-differs clients.name"]
    assert set(codes(report, "notice")) == {
        f"source-table-not-copied {name}" for name in ("own_notes", "whatsapp_auth", "whatsapp_keys")
    }
    accepted = await look(pages, database_url, accept=["source-type-differs:clients.created_at"])
    assert accepted.clear
    pages.hook = lambda request: (lambda answer: replace(answer, status=401)) if request.table == "" else None
    assert "source-types-unseen" in codes(await look(pages, database_url), "notice")


async def test_types_over_a_connection(source_database: str, database_url: str) -> None:
    execute(
        source_database,
        "ALTER TABLE clients ALTER total_spent TYPE numeric(14,4), ALTER name TYPE text, "
        "ALTER first_visit_date TYPE timestamp, ALTER visit_count TYPE bigint, ALTER visit_history TYPE json, "
        "ALTER last_sync_at TYPE timestamptz, ADD doubled integer GENERATED ALWAYS AS (id * 2) STORED",
    )
    report = await look(Source(source_database, "", source_database, is_lite=False), database_url, "clients")
    changed = ("total_spent", "first_visit_date", "visit_history", "last_sync_at")
    assert sorted(codes(report, "error")) == sorted(f"source-type-differs clients.{name}" for name in changed)
    assert sorted(codes(report, "warning")) == [
        f"source-type-differs clients.{name}" for name in ("name", "visit_count")
    ]
    (one,) = [found for found in report.findings if found.column == "total_spent"]
    assert (one.found, one.expected) == ("numeric(14,4)", "numeric(12,2)")


@pytest.mark.parametrize("over_rest", [True, False])
async def test_duplicates_are_named_by_key_with_ids(
    pages: PageServer, source_database: str, database_url: str, over_rest: bool
) -> None:
    pages.max_rows = 7
    source = Source(*((pages.url, pages.service_key) if over_rest else (source_database, "")), source_database, False)
    execute(source.database_url, "ALTER TABLE clients DROP CONSTRAINT clients_yclients_company_unique")
    execute(source.database_url, "ALTER TABLE dialog_contexts DROP CONSTRAINT dialog_contexts_user_id_unique")
    add_clients(source.database_url, 40)
    execute(source.database_url, "UPDATE clients SET yclients_id = 5 WHERE id IN (9, 31)")
    execute(source.database_url, "UPDATE clients SET company_id = NULL, yclients_id = 6 WHERE id IN (11, 12)")
    execute(source.database_url, f"INSERT INTO dialog_contexts (user_id) VALUES ('{PHONE}'), ('{PHONE}'), ('x')")
    report = await look(source, database_url)
    assert sorted(codes(report)) == ["source-duplicates clients", "source-duplicates dialog_contexts"]
    of_clients, of_contexts = sorted(one.message for one in report.errors)
    assert "1 values of (yclients_id, company_id) more than once" in of_clients
    ids = of_clients.partition("(5, 1): ids ")[2]
    assert sorted(ids.split("; ")) == ["31", "5", "9"]
    assert "(7900***0001): ids" in of_contexts
    assert PHONE not in str(report)


async def test_rows_of_tables_that_inherit_are_left_out(source_database: str, database_url: str) -> None:
    """At both ends: they are neither counted as the parent's nor have its keys twice."""
    execute(source_database, "ALTER TABLE clients DROP CONSTRAINT clients_yclients_company_unique")
    add_clients(source_database, 40)
    add_clients(database_url, 10)
    for url in (source_database, database_url):
        execute(url, "CREATE TABLE clients_old () INHERITS (clients); INSERT INTO clients_old SELECT * FROM clients")
    report = await look(Source(source_database, "", source_database, is_lite=False), database_url, "clients")
    (seen,) = report.tables
    assert (seen.source_rows, seen.target_rows) == (40, 10)
    assert not [code for code in codes(report) if code.startswith("source-duplicates")]


async def test_no_more_than_twenty_duplicates_are_named(source_database: str, database_url: str) -> None:
    execute(source_database, "ALTER TABLE clients DROP CONSTRAINT clients_yclients_company_unique")
    add_clients(source_database, 60)
    execute(source_database, "UPDATE clients SET yclients_id = (id + 1) / 2")
    with PageServer(source_database) as server:
        for source in (server, Source(source_database, "", source_database, is_lite=False)):
            (one,) = (await look(source, database_url, "clients")).errors
            assert one.message.count(": ids ") == 20
            assert "has 30 values of" in one.message
            assert one.message.endswith("; and 10 more")


@pytest.mark.separate_server
async def test_rows_hidden_from_the_role(pages: PageServer, source_database: str, database_url: str) -> None:
    prepare_supabase_roles(source_database)
    report = await look(replace(Source(pages.url, pages.anon_key, "", is_lite=False)), database_url)
    assert "source-key-role" in codes(report, "error")
    role = "preflight_reader"
    execute(
        source_database,
        f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; GRANT SELECT ON clients TO {role}; "
        "ALTER TABLE clients ENABLE ROW LEVEL SECURITY",
    )
    try:
        url = (
            f"{source_database}&options=-crole%3D{role}"
            if "?" in source_database
            else (f"{source_database}?options=-crole%3D{role}")
        )
        found = await look(Source(url, "", "", is_lite=False), database_url, "clients", "staff")
        assert codes(found) == ["source-rows-hidden clients", "source-privilege-missing staff"]
    finally:
        execute(source_database, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("url", ["postgresql://x@127.0.0.1:9/x", "http://127.0.0.1:9"])
async def test_an_end_that_is_not_reached_leaves_the_other(pages: PageServer, database_url: str, url: str) -> None:
    nobody = Source(url, "sb_secret_x", "", is_lite=False)
    told: list[str] = []
    assert codes(await look(nobody, database_url, told=told.append)) == ["source-unreachable"]
    assert len(told) == 3  # what was not reached in four tries is not asked for each of ten tables besides
    lost = await look(pages, "postgresql://x@127.0.0.1:9/x")
    assert codes(lost) == ["target-unreachable"]
    assert lost.tables[0].source_rows == 0
    assert codes(await look(nobody, "postgresql://x@127.0.0.1:9/x")) == ["target-unreachable", "source-unreachable"]


async def test_what_passes_is_asked_for_again(pages: PageServer, database_url: str) -> None:
    """Each first request for a table, and for the root document, meets a gateway's error."""
    add_clients(pages._database_url, 30)
    seen: set[str] = set()

    def fail_once(request: Request) -> Fault | None:
        if request.table in seen:
            return None
        seen.add(request.table)
        return status(503) if len(seen) % 2 else status(500)

    pages.hook = fail_once
    told: list[str] = []
    report = await look(pages, database_url, told=told.append)
    assert (codes(report), report.tables[0].source_rows is not None) == ([], True)
    assert len(told) == len(seen) > 8
    assert "trying again (1 of 3)" in told[0]
    pages.hook = lambda request: status(500)
    told.clear()
    lost = await look(pages, database_url, told=told.append)
    assert len(told) <= 3 * 5  # the root document's, and those of the four tables that are looked at at once
    assert codes(lost, "error") == ["source-unreachable"]
    assert str(lost.next_step) == "put the errors right, then: botdata preflight"


async def test_a_connection_that_is_lost_is_made_again(
    source_database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_clients(source_database, 30)
    looks = 0

    async def lost_at_first(connection: AsyncConnection, *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 1:
            with psycopg.connect(source_database, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        return await see_postgres(connection, *arguments)

    monkeypatch.setattr(run, "see_postgres", lost_at_first)
    told: list[str] = []
    report = await look(Source(source_database, "", "", is_lite=False), database_url, "clients", told=told.append)
    assert (codes(report), report.tables[0].source_rows, looks, len(told)) == ([], 30, 2, 1)


async def test_trouble_at_the_source_comes_before_the_upgrade(fresh_database: str) -> None:
    nobody = Source("http://127.0.0.1:9", "sb_secret_x", "", is_lite=False)
    report = await look(nobody, fresh_database)
    assert codes(report, "error") == ["source-unreachable"]
    assert str(report.next_step) == "put the errors right, then: botdata preflight"
