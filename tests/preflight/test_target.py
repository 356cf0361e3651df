"""The target against the newest revision, and what surrounds it; nothing is written."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from sqlalchemy.engine import make_url

from app.migration.preflight.findings import CODES
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.schemas.target_schema import TargetState, examine_against
from app.migration.preflight.surroundings import travels_openly
from app.migration.tables.metadata import select_tables
from app.schema import revisions
from app.schema.plan import examine_against_revisions
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, execute, query, value
from tests.migration.test_foreign_schema import METADATA
from tests.preflight.looking import codes, look
from tests.schema import phase08
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer


async def test_not_there_yet(connected: Source, fresh_database: str) -> None:
    report = await look(connected, fresh_database)
    assert (codes(report), str(report.next_step)) == ([], "botdata migrate")
    assert "target-empty" in codes(report, "notice")
    strict = await look(connected, fresh_database, examine=examine_against_revisions(upgrades=False))
    assert codes(strict, "error") == ["target-empty"]
    assert report.differences == ()


@pytest.mark.parametrize(
    ("revision", "code", "following"),
    [("0001", "target-behind", "botdata upgrade"), ("9999", "target-ahead", "pip install --upgrade WHEEL_OR_CHECKOUT")],
)
async def test_behind_and_ahead(connected: Source, database_url: str, revision: str, code: str, following: str) -> None:
    execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    report = await look(connected, database_url, examine=examine_against_revisions(upgrades=False))
    assert (codes(report, "error"), str(report.next_step)) == ([code], following)


async def test_drifted_by_hand_every_difference_at_once(connected: Source, database_url: str) -> None:
    execute(
        database_url,
        """
        ALTER TABLE clients DROP notes, ADD own text, ALTER name TYPE text, ALTER company_id SET NOT NULL,
            ALTER phone DROP NOT NULL, ALTER visit_count SET DEFAULT 7, DROP CONSTRAINT clients_yclients_company_unique,
            ADD CONSTRAINT own CHECK (id > 0);
        ALTER TABLE staff ADD needed integer NOT NULL;
        DROP INDEX idx_clients_phone; CREATE INDEX idx_own ON clients (email);
        DROP INDEX idx_staff_is_active; CREATE INDEX idx_staff_is_active ON staff (name);
        DROP TABLE messages; DROP INDEX idx_whatsapp_keys_type;
        """,
    )
    report = await look(connected, database_url)
    assert sorted(codes(report, "error")) == sorted(
        [
            "target-column-extra staff.needed",
            "target-column-missing clients.notes",
            "target-constraint-missing clients",
            "target-nullability-differs clients.company_id",
            "target-table-missing messages",
            "target-type-differs clients.name",
        ]
    )
    assert sorted(codes(report, "warning")) == sorted(
        [
            "target-column-extra clients.own",
            "target-constraint-extra clients",
            "target-default-differs clients.visit_count",
            "target-index-differs staff",
            "target-index-missing clients",
            "target-nullability-differs clients.phone",
            "source-type-differs clients.name",
        ]
    )
    assert {"target-index-extra clients", "target-index-missing whatsapp_keys"} <= set(codes(report, "notice"))
    listed = {(one.table, one.item): (one.found, one.expected) for one in report.differences}
    assert listed["clients", "column name"] == ("text", "character varying(255)")
    assert listed["clients", "column notes"] == (None, "text")
    assert listed["messages", "table"] == (None, "a table")
    assert str(report.next_step) == "put the errors right, then: botdata preflight"


async def test_phase08_is_recognised_with_every_difference(connected: Source, fresh_database: str) -> None:
    phase08.fill(fresh_database)
    report = await look(connected, fresh_database)
    assert (codes(report), str(report.next_step)) == (["target-phase08"], "botdata schema replace")
    listed = {(one.table, one.item): (one.found, one.expected) for one in report.differences}
    assert listed["companies", "column title"] == ("name character varying(255)", "character varying(255)")
    assert listed["companies", "column company_id"] == ("yclients_company_id integer", "integer")
    assert listed["actions", "table"] == (None, "a table")
    assert {"bookings", "clients", "companies", "messages", "staff_schedules"} <= {name for name, _ in listed}
    execute(fresh_database, "ALTER TABLE companies RENAME yclients_company_id TO other_id")
    other = await look(connected, fresh_database)
    assert (codes(other), str(other.next_step)) == (["target-incompatible"], "botdata schema replace")


@pytest.mark.first_command
async def test_it_writes_nothing(connected: Source, pages: PageServer, database_url: str) -> None:
    """Its sessions are read-only at the target, and no schema of the tool's is made."""
    add_clients(connected.database_url, 3)
    seen: list[str] = []

    async def examine(connection: AsyncConnection, catalog: dict[str, CatalogTable]) -> TargetState:
        row = await (await connection.execute("SHOW default_transaction_read_only")).fetchone()
        seen.append(row[0] if row else "")
        return await examine_against_revisions(upgrades=True)(connection, catalog)

    def counters() -> list[tuple[object, ...]]:
        return query(
            database_url,
            "SELECT relname, relfilenode, xmin::text FROM pg_class WHERE relnamespace = 'public'::regnamespace",
        )

    before = counters()
    for source in (connected, pages):
        await look(source, database_url, examine=examine)
    assert seen == ["on", "on"]
    assert counters() == before
    assert value(database_url, "SELECT to_regnamespace('botdata') IS NULL")


@pytest.mark.separate_server
@pytest.mark.first_command
async def test_triggers_foreign_keys_and_rights(connected: Source, database_url: str) -> None:
    execute(
        database_url,
        """
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER before_insert BEFORE INSERT OR UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION stamp();
        CREATE TRIGGER after_insert AFTER INSERT ON staff FOR EACH ROW EXECUTE FUNCTION stamp();
        CREATE TRIGGER on_update BEFORE UPDATE ON services FOR EACH ROW EXECUTE FUNCTION stamp();
        ALTER TABLE clients ENABLE ALWAYS TRIGGER before_insert;
        ALTER TABLE staff ENABLE ALWAYS TRIGGER after_insert;
        ALTER TABLE services ENABLE ALWAYS TRIGGER on_update;
        ALTER TABLE bookings ADD CONSTRAINT own_fk FOREIGN KEY (company_id) REFERENCES companies (company_id);
        """,
    )
    report = await look(connected, database_url)
    assert codes(report) == ["target-trigger-on-insert clients", "target-trigger-on-insert staff"]
    assert {"target-trigger-on-update services", "target-foreign-key bookings"} <= set(codes(report, "notice"))
    assert (await look(connected, database_url, accept=["target-trigger-on-insert"])).clear
    assert not (await look(connected, database_url, accept=["target-trigger-on-insert:staff"])).clear
    named = ["target-trigger-on-insert:staff.after_insert", "target-trigger-on-insert:clients.before_insert"]
    assert (await look(connected, database_url, accept=named)).clear
    assert not (await look(connected, database_url, accept=[named[0], f"{named[1]}_too"])).clear
    execute(database_url, "DROP ROLE IF EXISTS preflight_bot; CREATE ROLE preflight_bot")
    try:
        execute(
            database_url,
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO preflight_bot; GRANT INSERT ON staff TO preflight_bot",
        )
        url = make_url(database_url).update_query_dict({"options": "-crole=preflight_bot"})
        found = await look(connected, url.render_as_string(hide_password=False), "staff", "bookings")
        lacking = [one.message for one in found.errors if one.code == "target-privilege-missing"]
        assert (len(lacking), len(found.errors)) == (4, 5)
        assert "may not make the schema botdata" in lacking[0]
        assert any(message.endswith("UPDATE, DELETE on staff") for message in lacking)
        assert any(message.endswith("INSERT, UPDATE, DELETE on bookings") for message in lacking)
        assert any("take the foreign keys of bookings away" in message for message in lacking)
    finally:
        execute(database_url, "DROP OWNED BY preflight_bot; DROP ROLE preflight_bot")


async def test_a_proposed_statement_does_what_it_says_and_no_more(connected: Source, database_url: str) -> None:
    execute(
        database_url,
        """
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER "x; DROP TABLE messages; --" BEFORE INSERT ON clients FOR EACH ROW EXECUTE FUNCTION stamp();
        ALTER TABLE clients ENABLE ALWAYS TRIGGER "x; DROP TABLE messages; --";
        """,
    )
    (found,) = (await look(connected, database_url)).errors
    said, _, accept = found.remedy.partition("; or, if it is harmless: ")
    assert accept == "--accept 'target-trigger-on-insert:clients.x; DROP TABLE messages; --'"
    before, after = (part.rpartition(": ")[2] for part in said.split("; after it"))
    execute(database_url, before)
    assert value(database_url, "SELECT tgenabled::text FROM pg_trigger WHERE tgname LIKE 'x;%'") == "D"
    assert value(database_url, "SELECT count(*) FROM messages") == 0
    assert (await look(connected, database_url)).clear
    execute(database_url, after)
    assert value(database_url, "SELECT tgenabled::text FROM pg_trigger WHERE tgname LIKE 'x;%'") == "A"


async def test_a_database_in_locale_c_an_odd_time_zone_and_too_few_connections(
    connected: Source, databases: PostgresServer
) -> None:
    url = databases.create_database()
    name = make_url(url).database
    databases.drop_database(url)
    execute_alone(
        databases.admin_url,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'",
    )
    try:
        revisions.upgrade(url)
        execute_alone(url, f"ALTER DATABASE {name} SET timezone = 'Europe/Moscow'")
        report = await look(connected, url)
        assert codes(report) == ["target-case-mapping"]
        assert "target-time-zone" in codes(report, "notice")
        crowded = await look(connected, url, connections=100_000)
        assert "target-connections-few" in codes(crowded, "error")
        execute_alone(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        assert "target-read-only" in codes(await look(connected, url), "error")
    finally:
        databases.drop_database(url)


def execute_alone(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


async def test_tables_of_another_project(databases: PostgresServer, fresh_database: str) -> None:
    tables = select_tables(METADATA, names=["only_keys"])
    ddl = "CREATE TABLE only_keys (a integer, b text, PRIMARY KEY (a, b))"
    source = databases.create_database()
    try:
        execute(source, ddl)
        served = Source(source, "", source, is_lite=False)
        missing = await look(served, fresh_database, tables=tables, examine=examine_against(tables))
        assert codes(missing) == ["target-table-missing only_keys"]
        execute(fresh_database, ddl)
        assert (await look(served, fresh_database, tables=tables, examine=examine_against(tables))).clear
    finally:
        databases.drop_database(source)


def test_every_code_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "preflight.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|notice)(, final)? \|", text, re.MULTILINE)
    assert [(code, severity, not final) for code, severity, final in listed] == [
        (code, kind.severity, kind.acceptable or kind.severity != "error") for code, kind in CODES.items()
    ]


@pytest.mark.parametrize(
    ("address", "encrypted", "openly"),
    [
        ("", False, False),  # a socket
        ("127.0.0.1", False, False),  # a tunnel, or a container of this machine
        ("::1", False, False),
        ("203.0.113.7", True, False),
        ("203.0.113.7", False, True),
        ("fe80::1%eth0", False, True),
    ],
)
def test_a_connection_that_others_can_read(address: str, encrypted: bool, openly: bool) -> None:
    assert travels_openly(address, encrypted=encrypted) is openly
