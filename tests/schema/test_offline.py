"""`--sql`: the script that Alembic writes instead of running does the same, adoption included."""

import psycopg
import pytest

from app.schema import revisions
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import run_alembic


def apply(url: str, script: str) -> list[str]:
    """Run a script, which has its own BEGIN and COMMIT, and return the server's notices."""
    notices: list[str] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        connection.execute(script)
    return notices


@pytest.fixture(scope="module")
def upgrade_script() -> str:
    """Written without a database."""
    return run_alembic("upgrade", "head", "--sql", url=None).stdout


@pytest.fixture(scope="module")
def downgrade_script() -> str:
    return run_alembic("downgrade", "head:base", "--sql", url=None).stdout


def test_script_makes_the_same_database(fresh_database: str, upgrade_script: str, downgrade_script: str) -> None:
    apply(fresh_database, upgrade_script)
    assert differences(expected_catalog(), read_catalog(fresh_database)) == []
    run_alembic("check", url=fresh_database)
    apply(fresh_database, downgrade_script)
    assert read_catalog(fresh_database) == {"tables": {}, "functions": []}


def test_script_is_one_transaction_with_the_lock_and_the_timeouts(upgrade_script: str) -> None:
    lines = [line for line in upgrade_script.splitlines() if line]
    assert lines[:6] == [
        "BEGIN;",
        "SET LOCAL statement_timeout = 300000;",
        f"SELECT pg_advisory_xact_lock({revisions.UPGRADE_LOCK});",
        "SET LOCAL lock_timeout = 5000;",
        "SET LOCAL search_path = public;",
        "SET LOCAL client_min_messages = notice;",
    ]
    assert lines[-1] == "COMMIT;"
    assert lines.count("BEGIN;") == lines.count("COMMIT;") == 1


def test_script_adopts_live_tables(live_baileys_database: str, upgrade_script: str) -> None:
    notices = apply(live_baileys_database, upgrade_script)
    assert "kept index idx_whatsapp_keys_company_type of whatsapp_keys, which is not in this schema" in notices
    assert differences(expected_catalog(), read_catalog(live_baileys_database)) == [
        "indexes of whatsapp_keys: idx_whatsapp_keys_company_type: not expected"
    ]


def test_script_stops_at_tables_that_cannot_be_adopted(live_baileys_database: str, upgrade_script: str) -> None:
    with psycopg.connect(live_baileys_database) as connection:
        connection.execute("ALTER TABLE whatsapp_keys DROP expires_at")
    before = read_catalog(live_baileys_database)
    with pytest.raises(psycopg.Error) as stopped:
        apply(live_baileys_database, upgrade_script)
    assert stopped.value.sqlstate == "BD001"
    assert differences(before, read_catalog(live_baileys_database)) == []


def test_downgrade_script_keeps_rows(
    database_url: str, downgrade_script: str, live_baileys_database: str, upgrade_script: str
) -> None:
    apply(live_baileys_database, upgrade_script)
    notices = apply(live_baileys_database, downgrade_script)
    assert "kept whatsapp_auth and whatsapp_keys, with all that belongs to them: they hold rows" in notices
    assert sorted(read_catalog(live_baileys_database)["tables"]) == ["whatsapp_auth", "whatsapp_keys"]

    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO staff (yclients_id, name) VALUES (1, 'Мария')")
    with pytest.raises(psycopg.Error) as stopped:
        apply(database_url, downgrade_script)
    assert stopped.value.sqlstate == "BD001"
    assert differences(expected_catalog(), read_catalog(database_url)) == []
