"""Two upgrades at once do not race; and no upgrade waits without end, or makes the bot wait for long."""

import time

import psycopg
import pytest
from alembic import command
from sqlalchemy import NullPool, create_engine

from app.errors import MigrationError
from app.schema import revisions
from app.stores.postgres.database_url import sqlalchemy_url
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import SECONDS, start_alembic

WAITING = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
WAITING_FOR_LOGIN = """
SELECT count(*) FROM pg_locks
WHERE relation = 'whatsapp_auth'::regclass AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def test_two_upgrades_at_once(fresh_database: str) -> None:
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (revisions.UPGRADE_LOCK,))
        upgrades = [start_alembic("upgrade", "head", url=fresh_database) for _ in range(2)]
        try:
            deadline = time.monotonic() + SECONDS
            # Both are at the door before either may enter.
            while connection.execute(WAITING).fetchone() != (2,):
                assert time.monotonic() < deadline
                assert all(upgrade.poll() is None for upgrade in upgrades)
                time.sleep(0.05)
            connection.execute("SELECT pg_advisory_unlock(%s)", (revisions.UPGRADE_LOCK,))
            logs = [upgrade.communicate(timeout=SECONDS)[1] for upgrade in upgrades]
        finally:
            for upgrade in upgrades:
                upgrade.kill()
                upgrade.communicate()
    assert [upgrade.returncode for upgrade in upgrades] == [0, 0], logs
    assert sorted("Running upgrade  -> 0001" in log for log in logs) == [False, True]
    assert differences(expected_catalog(), read_catalog(fresh_database)) == []


def test_lock_held_by_the_bot_stops_the_upgrade_in_time(
    live_baileys_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_catalog(live_baileys_database)
    monkeypatch.setenv("LOCK_TIMEOUT", "0.2")
    monkeypatch.setenv("STATEMENT_TIMEOUT", "20")
    with psycopg.connect(live_baileys_database) as bot:
        bot.execute("UPDATE whatsapp_keys SET value = '{}' WHERE key_id = '1'")
        with pytest.raises(MigrationError, match=r"a lock was not granted in time \[SQLSTATE 55P03\]"):
            revisions.upgrade(live_baileys_database)
        bot.rollback()
    assert differences(before, read_catalog(live_baileys_database)) == []
    assert revisions.upgrade(live_baileys_database).after == revisions.head()


def test_wait_for_another_upgrade_is_bounded(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEMENT_TIMEOUT", "0.2")
    with psycopg.connect(fresh_database) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (revisions.UPGRADE_LOCK,))
        with pytest.raises(MigrationError, match=r"took too long and was cancelled \[SQLSTATE 57014\]"):
            revisions.upgrade(fresh_database)
    assert read_catalog(fresh_database)["tables"] == {}


def test_a_login_that_is_being_made_is_not_dropped(database_url: str) -> None:
    """The downgrade does not see it yet; it waits for its end, and looks again."""
    with psycopg.connect(database_url) as bot, psycopg.connect(database_url, autocommit=True) as connection:
        bot.execute("INSERT INTO whatsapp_auth (company_id, creds) VALUES ('1', '{}')")
        with start_alembic("downgrade", "0001", url=database_url, LOCK_TIMEOUT=str(SECONDS)) as downgrade:
            try:
                deadline = time.monotonic() + SECONDS
                while connection.execute(WAITING_FOR_LOGIN).fetchone() != (1,):
                    assert time.monotonic() < deadline
                    assert downgrade.poll() is None
                    time.sleep(0.05)
                bot.commit()
                log = downgrade.communicate(timeout=SECONDS)[1]
            finally:
                downgrade.kill()
        assert downgrade.returncode == 0, log
        assert "kept whatsapp_auth and whatsapp_keys, with all that belongs to them: they hold rows" in log
        assert connection.execute("SELECT count(*) FROM whatsapp_auth").fetchone() == (1,)


def test_shared_connection_leaves_the_transaction_to_the_caller(fresh_database: str) -> None:
    engine = create_engine(sqlalchemy_url(fresh_database), poolclass=NullPool)
    config = revisions.alembic_config(fresh_database)
    with engine.connect() as connection, connection.begin() as transaction:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("lock_timeout", "statement_timeout", "search_path")
        ]
        transaction.rollback()
    assert shown == ["5s", "5min", "public"]
    assert read_catalog(fresh_database)["tables"] == {}
