"""Up, down and up again; and a downgrade loses no row unless it is told to."""

import psycopg
import pytest
from alembic.script import ScriptDirectory

from app.schema import revisions
from app.schema.revision_files import known_revisions, scripts
from tests.fixtures.schema import OtherRole
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import run_alembic


def count(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])


def insert(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


LOGIN = "INSERT INTO whatsapp_auth (company_id, creds) VALUES ('1', '{}')"
CLIENT = "INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 1, '79000000000')"


def test_each_revision_is_known_by_its_files_name() -> None:
    walked = ScriptDirectory(str(scripts())).walk_revisions()
    assert known_revisions() == [revision.revision for revision in walked][::-1]


def test_up_down_and_up_again(fresh_database: str) -> None:
    run_alembic("upgrade", "head", url=fresh_database)
    assert revisions.current(fresh_database) == revisions.head()
    run_alembic("downgrade", "base", url=fresh_database)
    assert revisions.current(fresh_database) is None
    assert read_catalog(fresh_database) == {"tables": {}, "functions": []}
    run_alembic("upgrade", "head", url=fresh_database)
    assert differences(expected_catalog(), read_catalog(fresh_database)) == []


def test_step_by_step(fresh_database: str) -> None:
    for step in ("0001", "0002"):
        run_alembic("upgrade", "+1", url=fresh_database)
        assert revisions.current(fresh_database) == step
    run_alembic("downgrade", "-1", url=fresh_database)
    assert sorted(expected_catalog()["tables"].keys() - read_catalog(fresh_database)["tables"].keys()) == [
        "whatsapp_auth",
        "whatsapp_keys",
    ]


def test_upgrade_of_a_database_at_head_changes_nothing(database_url: str) -> None:
    upgrade = revisions.upgrade(database_url)
    assert (upgrade.before, upgrade.after, upgrade.notices) == (revisions.head(), revisions.head(), ())


def test_baileys_tables_with_rows_survive_a_downgrade_and_are_adopted_again(database_url: str) -> None:
    insert(database_url, LOGIN)
    run = run_alembic("downgrade", "base", url=database_url)
    assert "kept whatsapp_auth and whatsapp_keys, with all that belongs to them: they hold rows" in run.stderr
    expected = expected_catalog()
    expected["tables"] = {name: t for name, t in expected["tables"].items() if name.startswith("whatsapp")}
    assert differences(expected, read_catalog(database_url)) == []
    assert count(database_url, "whatsapp_auth") == 1

    assert [notice.text for notice in revisions.upgrade(database_url).notices] == [
        "adopted table whatsapp_auth as it is",
        "adopted table whatsapp_keys as it is",
    ]
    assert differences(expected_catalog(), read_catalog(database_url)) == []
    assert count(database_url, "whatsapp_auth") == 1


def test_keys_alone_keep_both_tables(database_url: str) -> None:
    insert(
        database_url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) VALUES ('1', 'session', '1', '{}')",
    )
    run_alembic("-x", "allow-data-loss=yes", "downgrade", "base", url=database_url)
    assert count(database_url, "whatsapp_keys") == 1
    assert count(database_url, "whatsapp_auth") == 0


@pytest.mark.separate_server
def test_rows_hidden_by_a_policy_are_not_taken_for_none(database_url: str, other_role: OtherRole) -> None:
    insert(
        database_url,
        LOGIN
        + """;
        ALTER POLICY "Allow service role full access to whatsapp_auth" ON whatsapp_auth USING (false);
        ALTER TABLE whatsapp_auth FORCE ROW LEVEL SECURITY;
        """,
    )
    tables = ("whatsapp_auth", "whatsapp_keys", "alembic_version")
    functions = [f"{function['name']}()" for function in read_catalog(database_url)["functions"]]
    for item in [f"TABLE {table}" for table in tables] + [f"FUNCTION {function}" for function in functions]:
        insert(database_url, f"ALTER {item} OWNER TO {other_role.name}")
    assert count(other_role.url, "whatsapp_auth") == 0
    run = run_alembic("downgrade", "0001", url=other_role.url, fails=True)
    assert "FAILED: the role has no right to do this [SQLSTATE 42501]" in run.stdout
    assert count(database_url, "whatsapp_auth") == 1


def test_business_tables_with_rows_are_dropped_only_when_told_to(database_url: str) -> None:
    insert(database_url, CLIENT)
    run = run_alembic("downgrade", "base", url=database_url, fails=True)
    assert run.stdout.strip().endswith(
        "FAILED: these tables hold rows, which the downgrade would drop: clients; nothing was changed. "
        "To drop them with their rows: alembic -x allow-data-loss=yes downgrade ..."
    )
    assert count(database_url, "clients") == 1
    assert differences(expected_catalog(), read_catalog(database_url)) == []

    run_alembic("-x", "allow-data-loss=yes", "downgrade", "base", url=database_url)
    assert read_catalog(database_url)["tables"] == {}


def test_tables_of_another_schema_stop_the_upgrade(fresh_database: str) -> None:
    insert(fresh_database, "CREATE TABLE clients (id int); CREATE TABLE bookings (id int); CREATE TABLE own ()")
    run = run_alembic("upgrade", "head", url=fresh_database, fails=True)
    assert run.stdout.strip().endswith(
        "FAILED: the database already has tables of these names, which no revision made (bookings, clients); "
        "nothing was changed"
    )
    assert sorted(read_catalog(fresh_database)["tables"]) == ["bookings", "clients", "own"]
