"""The catalog of a database at head is Supabase's, with the natural keys; and the comparison sees every difference."""

from copy import deepcopy

import psycopg
import pytest

from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import run_alembic


def test_catalog_at_head_is_supabases(database_url: str) -> None:
    assert differences(expected_catalog(), read_catalog(database_url)) == []


def test_serial_sequences_belong_to_their_columns(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            """
            SELECT table_name, pg_get_serial_sequence(table_name, 'id'), format_type(seqtypid, NULL)
            FROM information_schema.columns
            JOIN pg_sequence ON seqrelid = pg_get_serial_sequence(table_name, 'id')::regclass
            WHERE table_schema = 'public' AND column_name = 'id' AND data_type <> 'uuid'
            ORDER BY table_name
            """
        ).fetchall()
    assert found == [
        ("clients", "public.clients_id_seq", "integer"),
        ("companies", "public.companies_id_seq", "integer"),
        ("company_sync_status", "public.company_sync_status_id_seq", "integer"),
        ("services", "public.services_id_seq", "integer"),
        ("staff", "public.staff_id_seq", "integer"),
        ("staff_schedules", "public.staff_schedules_id_seq", "bigint"),
    ]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ("ALTER TABLE clients ALTER name TYPE text", ["columns of clients: name"]),
        ("ALTER TABLE clients ALTER name SET NOT NULL", ["columns of clients: name"]),
        ("ALTER TABLE clients ALTER visit_count DROP DEFAULT", ["columns of clients: visit_count"]),
        ("ALTER TABLE clients ADD more text", ["columns of clients: more", "order of the columns of clients"]),
        (
            "ALTER TABLE actions DROP status; ALTER TABLE actions ADD status varchar(50);"
            "CREATE INDEX idx_actions_status ON actions (status)",
            ["order of the columns of actions"],
        ),
        ("DROP TABLE actions", ["actions"]),
        ("CREATE TABLE more ()", ["table more", "order of the columns of more"]),
        ("DROP INDEX idx_clients_phone", ["indexes of clients: idx_clients_phone"]),
        (
            "ALTER TABLE clients DROP CONSTRAINT clients_yclients_company_unique",
            ["constraints of clients: clients_yclients", "indexes of clients: clients_yclients"],
        ),
        ("ALTER TABLE clients ADD CONSTRAINT c CHECK (id > 0)", ["constraints of clients: c"]),
        (
            "DROP TRIGGER trigger_whatsapp_keys_updated_at ON whatsapp_keys",
            ["triggers of whatsapp_keys: trigger_whatsapp_keys_updated_at"],
        ),
        (
            'DROP POLICY "Allow service role full access to whatsapp_keys" ON whatsapp_keys',
            ["policies of whatsapp_keys: Allow"],
        ),
        (
            'ALTER POLICY "Allow service role full access to whatsapp_keys" ON whatsapp_keys USING (false)',
            ["policies of whatsapp_keys: Allow"],
        ),
        ("ALTER TABLE whatsapp_auth DISABLE ROW LEVEL SECURITY", ["table whatsapp_auth"]),
        ("DROP FUNCTION get_whatsapp_auth_stats()", ["function get_whatsapp_auth_stats"]),
    ],
)
def test_comparison_reports_a_difference(database_url: str, change: str, reported: list[str]) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(change)
    lines = differences(expected_catalog(), read_catalog(database_url))
    assert lines
    assert all(any(part in line for part in reported) for line in lines), lines
    assert all(any(part in line for line in lines) for part in reported), lines


def test_comparison_of_equal_catalogs_is_empty() -> None:
    assert differences(expected_catalog(), deepcopy(expected_catalog())) == []


def test_alembic_check_finds_models_and_revisions_equal(database_url: str) -> None:
    run = run_alembic("check", url=database_url)
    assert "No new upgrade operations detected." in run.stdout


def test_alembic_check_leaves_the_users_own_tables_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE TABLE own (id int); CREATE SCHEMA botdata; CREATE TABLE botdata.runs (id int);"
            "CREATE INDEX own_index ON whatsapp_keys (created_at); ALTER TABLE whatsapp_auth ADD own text"
        )
    run_alembic("check", url=database_url)


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX idx_clients_phone",
        "CREATE INDEX idx_more ON clients (email)",
        "ALTER TABLE clients DROP email",
        "ALTER TABLE clients ALTER email TYPE text",
        "ALTER TABLE clients ALTER blacklisted SET DEFAULT true",
        "ALTER TABLE whatsapp_keys DROP expires_at",
        "ALTER TABLE staff DROP CONSTRAINT staff_yclients_company_unique",
    ],
)
def test_alembic_check_fails_where_they_differ(database_url: str, change: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(change)
    run = run_alembic("check", url=database_url, fails=True)
    assert "New upgrade operations detected" in run.stdout + run.stderr
