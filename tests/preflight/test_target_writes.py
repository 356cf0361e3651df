"""What the target makes of rows that are written: triggers, rules, a key without an index, row-level security."""

import re

import pytest
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.tables.metadata import select_tables
from app.models import Base
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, copy_from, execute, value, verify_from
from tests.migration.test_foreign_schema import METADATA
from tests.preflight.looking import codes, look
from tests.support.postgres import PostgresServer


async def test_triggers_and_rules_by_what_they_run_on(connected: Source, database_url: str) -> None:
    execute(
        database_url,
        """
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER one AFTER INSERT ON clients FOR EACH STATEMENT EXECUTE FUNCTION stamp();
        CREATE TRIGGER two BEFORE DELETE OR UPDATE ON staff FOR EACH ROW EXECUTE FUNCTION stamp();
        CREATE TRIGGER three AFTER UPDATE ON services FOR EACH STATEMENT EXECUTE FUNCTION stamp();
        ALTER TABLE clients ENABLE ALWAYS TRIGGER one; ALTER TABLE staff ENABLE ALWAYS TRIGGER two;
        ALTER TABLE services ENABLE ALWAYS TRIGGER three;
        CREATE TRIGGER always BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION stamp();
        CREATE TRIGGER of_replicas BEFORE INSERT ON companies FOR EACH ROW EXECUTE FUNCTION stamp();
        CREATE TRIGGER off BEFORE INSERT ON companies FOR EACH ROW EXECUTE FUNCTION stamp();
        ALTER TABLE messages ENABLE ALWAYS TRIGGER always; ALTER TABLE companies DISABLE TRIGGER off,
            ENABLE REPLICA TRIGGER of_replicas;
        CREATE RULE no AS ON DELETE TO bookings DO INSTEAD NOTHING; ALTER TABLE bookings ENABLE ALWAYS RULE no;
        """,
    )
    report = await look(connected, database_url)
    assert sorted(codes(report)) == [
        "target-rule bookings",
        "target-trigger-on-delete staff",
        "target-trigger-on-insert clients",
        "target-trigger-on-insert messages",
    ]
    assert codes(report, "notice").count("target-trigger-on-update services") == 1
    remedies = {one.table: one.remedy for one in report.errors}
    assert "ENABLE ALWAYS TRIGGER always; or, if it is harmless: --accept" in remedies["messages"]
    assert remedies["bookings"].endswith("ALTER TABLE public.bookings ENABLE ALWAYS RULE no")
    execute(database_url, re.findall(r"ALTER TABLE \S+ DISABLE [^;]+", remedies["bookings"])[0])
    accepted = await look(connected, database_url, accept=["target-trigger-on-insert", "target-trigger-on-delete"])
    assert accepted.clear


async def test_a_partition_with_a_trigger_of_its_own(databases: PostgresServer, fresh_database: str) -> None:
    ddl = """
    CREATE TABLE only_keys (a integer, b text, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
    CREATE TABLE ones PARTITION OF only_keys FOR VALUES IN (1); CREATE TABLE others PARTITION OF only_keys DEFAULT;
    """
    tables = select_tables(METADATA, names=["only_keys"])
    source = databases.create_database()
    try:
        execute(source, ddl)
        execute(
            fresh_database,
            ddl
            + """
            CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
            CREATE TRIGGER one AFTER INSERT ON ones FOR EACH ROW EXECUTE FUNCTION stamp();
            CREATE TRIGGER every AFTER INSERT ON only_keys FOR EACH ROW EXECUTE FUNCTION stamp();
            ALTER TABLE ones ENABLE ALWAYS TRIGGER one; ALTER TABLE only_keys ENABLE ALWAYS TRIGGER every;
            """,
        )
        served = Source(source, "", source, is_lite=False)
        report = await look(served, fresh_database, tables=tables, examine=examine_against(tables))
        assert codes(report) == ["target-trigger-on-insert only_keys"] * 2
        assert sorted(re.findall(r"^trigger (\w+) of the target's (\w+)", one.message)[0] for one in report.errors) == [
            ("every", "only_keys"),
            ("one", "ones"),
        ]
    finally:
        databases.drop_database(source)


@pytest.mark.parametrize(
    ("ddl", "helps"),
    [
        ("CREATE TABLE only_keys (a integer NOT NULL, b text NOT NULL)", True),
        ("CREATE TABLE only_keys (a integer, b text, CONSTRAINT k PRIMARY KEY (a, b) DEFERRABLE)", True),
        ("CREATE TABLE only_keys (a integer, b text); CREATE UNIQUE INDEX ON only_keys (a, b) WHERE a > 0", True),
        ("CREATE TABLE only_keys (a integer, b text); CREATE UNIQUE INDEX ON only_keys (b, a) INCLUDE (a)", False),
    ],
)
async def test_a_target_without_a_unique_index_on_the_key(
    databases: PostgresServer, fresh_database: str, ddl: str, helps: bool
) -> None:
    tables = select_tables(METADATA, names=["only_keys"])
    source = databases.create_database()
    try:
        execute(source, "CREATE TABLE only_keys (a integer, b text, PRIMARY KEY (a, b))")
        execute(fresh_database, ddl)
        served = Source(source, "", source, is_lite=False)
        report = await look(served, fresh_database, tables=tables, examine=examine_against(tables))
        assert codes(report) == (["target-key-missing only_keys"] if helps else [])
        for one in report.errors:
            execute(fresh_database, one.remedy)
        assert (await look(served, fresh_database, tables=tables, examine=examine_against(tables))).clear
    finally:
        databases.drop_database(source)


_OPEN = "CREATE POLICY all_rows ON clients FOR ALL USING (true)"


@pytest.mark.parametrize(
    ("policies", "hidden"),
    [
        ("", True),
        (_OPEN, False),
        (f"{_OPEN} WITH CHECK (name <> '')", True),
        (f"{_OPEN}; CREATE POLICY few ON clients AS RESTRICTIVE FOR SELECT USING (id < 3)", True),
        (f"{_OPEN}; CREATE POLICY few ON clients FOR SELECT USING (id < 3)", False),
        ("CREATE POLICY s ON clients FOR SELECT USING (true)", True),
        ("CREATE POLICY other ON clients TO pg_monitor USING (true)", True),
        ("ALTER TABLE clients NO FORCE ROW LEVEL SECURITY", False),
    ],
)
@pytest.mark.separate_server
@pytest.mark.first_command
async def test_row_level_security_of_the_target(
    connected: Source, database_url: str, policies: str, hidden: bool
) -> None:
    add_clients(connected.database_url, 3)
    database = value(database_url, "SELECT current_database()")
    role = f"owner_{database}"
    execute(
        database_url,
        f"""
        CREATE ROLE "{role}"; GRANT CREATE, TEMP ON DATABASE {database} TO "{role}";
        GRANT ALL ON SCHEMA public TO "{role}"; ALTER TABLE clients OWNER TO "{role}";
        GRANT SELECT ON alembic_version TO "{role}";
        ALTER TABLE clients ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; {policies}
        """,
    )
    url = make_url(database_url).update_query_dict({"options": f"-crole={role}"}).render_as_string(hide_password=False)
    try:
        report = await look(connected, url, "clients")
        assert codes(report) == (["target-rows-hidden clients"] if hidden else [])
        chosen = select_tables(Base.metadata, names=["clients"])
        if hidden:
            for run in (copy_from, verify_from):
                with pytest.raises(MigrationError, match="row-level security applies to the role"):
                    await run(connected, url, chosen)
            assert value(database_url, "SELECT count(*) FROM clients") == 0
            assert value(database_url, "SELECT to_regnamespace('botdata') IS NULL")
        else:
            assert (await copy_from(connected, url, chosen)).complete
            assert (await verify_from(connected, url, chosen)).clean
    finally:
        execute(database_url, f'REASSIGN OWNED BY "{role}" TO CURRENT_USER; DROP OWNED BY "{role}"; DROP ROLE "{role}"')
