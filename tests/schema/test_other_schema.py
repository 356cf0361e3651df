"""The revisions in schemas of other names: the same tables, each schema with its own version, functions and locks."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic import command

from app.common.schemas import Schemas, trouble_with_target
from app.schema import revisions
from app.schema.revisions import UPGRADE_LOCK, alembic_config
from tests.migration.engine import query
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import run_alembic
from tests.schema.test_functions import ROWS
from tests.support.other_schemas import in_schema, searching


def test_the_same_tables_and_models(fresh_database: str) -> None:
    address = in_schema(fresh_database, "t1")
    revisions.upgrade(address)
    assert differences(expected_catalog(), read_catalog(fresh_database, "t1")) == []
    assert read_catalog(fresh_database) == {"tables": {}, "functions": []}
    command.check(alembic_config(address))
    assert revisions.current(fresh_database) is None
    assert revisions.current(address) == revisions.head()


def test_a_script_makes_them_too(fresh_database: str) -> None:
    script = run_alembic("upgrade", "head", "--sql", url=None, DATABASE_SCHEMA="t1").stdout
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute(script.encode())
    assert differences(expected_catalog(), read_catalog(fresh_database, "t1")) == []
    assert read_catalog(fresh_database) == {"tables": {}, "functions": []}


def test_one_goes_down_and_the_other_stays(database_url: str) -> None:
    """Another salon's tables in public neither stop the upgrade nor are touched by the way down."""
    address = in_schema(database_url, "t1")
    revisions.upgrade(address)
    command.downgrade(alembic_config(address), "base")
    assert revisions.current(address) is None
    assert revisions.current(database_url) == revisions.head()
    assert differences(expected_catalog(), read_catalog(database_url)) == []
    assert read_catalog(database_url, "t1") == {"tables": {}, "functions": []}


@pytest.mark.parametrize("path", ["public", "t1", "''"])
def test_functions_keep_to_their_schema_whatever_the_path(database_url: str, path: str) -> None:
    revisions.upgrade(in_schema(database_url, "t1"))
    with psycopg.connect(database_url) as connection:
        for schema in ("public", "t1"):
            connection.execute(f"SET LOCAL search_path = {schema}; {ROWS}".encode())
        connection.execute("DELETE FROM t1.whatsapp_keys WHERE company_id = '2'")
        connection.execute(f"SET LOCAL search_path = {path}".encode())
        connection.execute("UPDATE t1.whatsapp_auth SET creds = '[]'")
        assert connection.execute("SELECT * FROM t1.cleanup_expired_whatsapp_keys()").fetchall() == [(1,)]
        assert connection.execute("SELECT total_keys FROM t1.get_whatsapp_auth_stats()").fetchall() == [(2,)]
        assert connection.execute("SELECT count(*) FROM public.whatsapp_keys").fetchall() == [(4,)]


def test_the_functions_of_public_are_as_they_were(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute(
            "SELECT DISTINCT proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchall() == [(None,)]


def test_an_upgrade_waits_for_none_of_another_schema(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATEMENT_TIMEOUT", "10")
    with psycopg.connect(fresh_database) as holding, ThreadPoolExecutor(1) as pool:
        for schema in ("public", "t2"):
            holding.execute("SELECT pg_advisory_xact_lock(%s)", [Schemas(schema).lock(UPGRADE_LOCK)])
        assert pool.submit(revisions.upgrade, in_schema(fresh_database, "t1")).result().after == revisions.head()


def test_locks_of_public_are_those_of_older_versions() -> None:
    assert Schemas().lock(UPGRADE_LOCK) == int.from_bytes(b"alembic", "big")
    assert Schemas().named("'<botdata schema> stage'") == "'botdata stage'"
    assert len({Schemas(name).lock(UPGRADE_LOCK) for name in ("public", "t1", "t2")}) == 3


def test_a_role_that_may_not_make_schemas_upgrades_one_that_is_there(fresh_database: str) -> None:
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS botdata_t1; CREATE ROLE botdata_t1")
        connection.execute("CREATE SCHEMA t1 AUTHORIZATION botdata_t1")
    address = in_schema(searching(fresh_database, "t1 -crole=botdata_t1"), "t1")
    try:
        assert revisions.upgrade(address).after == revisions.head()
    finally:
        with psycopg.connect(fresh_database, autocommit=True) as connection:
            connection.execute("DROP OWNED BY botdata_t1; DROP ROLE botdata_t1")


def test_no_word_that_has_to_be_quoted_is_a_name(fresh_database: str) -> None:
    words = query(fresh_database, "SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")
    assert len(words) > 80
    assert [word for (word,) in words if trouble_with_target(word) is None] == []
