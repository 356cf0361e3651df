"""Baileys tables that exist already, with a live login: adopted, and not a row or column touched."""

import psycopg
import pytest

from app.errors import MigrationError
from app.schema import revisions
from tests.fixtures.schema import OtherRole
from tests.schema.catalog import differences, expected_catalog, read_catalog
from tests.schema.commands import run_alembic

BAILEYS = ("whatsapp_auth", "whatsapp_keys")
BARE = """
CREATE TABLE whatsapp_auth (company_id text PRIMARY KEY, creds jsonb NOT NULL,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE whatsapp_keys (company_id text, key_type text, key_id text, value jsonb NOT NULL,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(), expires_at timestamptz,
    PRIMARY KEY (company_id, key_type, key_id));
INSERT INTO whatsapp_auth VALUES ('1', '{}');
"""


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements)


def physical_rows(url: str) -> list[tuple[object, ...]]:
    """Every row as text, with where it lies, who wrote it, and the files and columns of its table."""
    with psycopg.connect(url) as connection:
        rows: list[tuple[object, ...]] = []
        for table in BAILEYS:
            rows += connection.execute(
                f"SELECT ctid::text, xmin::text, xmax::text, row::text FROM {table} AS row ORDER BY ctid"
            ).fetchall()
        rows += connection.execute(
            "SELECT attrelid, relfilenode, attname, attnum, atttypid, atttypmod, attnotnull, atthasdef"
            " FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
            " WHERE relname = ANY (%s) AND relnamespace = 'public'::regnamespace ORDER BY attrelid, attnum",
            (list(BAILEYS),),
        ).fetchall()
        return rows


def test_live_tables_are_adopted_untouched(live_baileys_database: str) -> None:
    before = physical_rows(live_baileys_database)
    upgrade = revisions.upgrade(live_baileys_database)
    assert physical_rows(live_baileys_database) == before
    assert differences(expected_catalog(), read_catalog(live_baileys_database)) == [
        "indexes of whatsapp_keys: idx_whatsapp_keys_company_type: not expected"
    ]
    assert [notice.text for notice in upgrade.notices] == [
        "adopted table whatsapp_auth as it is",
        "adopted table whatsapp_keys as it is",
        "added function cleanup_expired_whatsapp_keys",
        "added function get_whatsapp_auth_stats",
        "added index idx_whatsapp_keys_company_type_id of whatsapp_keys",
        "added index idx_whatsapp_keys_expires_cleanup of whatsapp_keys",
        "added index idx_whatsapp_keys_type_company of whatsapp_keys",
        "kept index idx_whatsapp_keys_company_type of whatsapp_keys, which is not in this schema",
    ]
    assert not any(notice.warning for notice in upgrade.notices)


def test_command_says_what_it_kept(live_baileys_database: str) -> None:
    run = run_alembic("upgrade", "head", url=live_baileys_database)
    assert "kept index idx_whatsapp_keys_company_type of whatsapp_keys" in run.stderr
    run_alembic("check", url=live_baileys_database)


def test_bare_tables_get_everything_around_them(fresh_database: str) -> None:
    execute(fresh_database, BARE)
    before = physical_rows(fresh_database)
    upgrade = revisions.upgrade(fresh_database)
    assert physical_rows(fresh_database) == before
    assert differences(expected_catalog(), read_catalog(fresh_database)) == []
    assert {notice.text for notice in upgrade.notices} >= {
        "added trigger trigger_whatsapp_auth_updated_at of whatsapp_auth",
        "added policy Allow service role full access to whatsapp_keys of whatsapp_keys",
        "added row-level security of whatsapp_keys",
    }


def test_one_table_of_the_two(fresh_database: str) -> None:
    execute(fresh_database, BARE + "DROP TABLE whatsapp_auth")
    revisions.upgrade(fresh_database)
    assert differences(expected_catalog(), read_catalog(fresh_database)) == []


def test_new_tables_need_no_notice(fresh_database: str) -> None:
    assert revisions.upgrade(fresh_database).notices == ()


@pytest.mark.separate_server
def test_complete_tables_need_no_rights_on_them(database_url: str, other_role: OtherRole) -> None:
    """Nothing is done to a table that lacks nothing, so its owner may be another role."""
    execute(
        database_url,
        f"UPDATE alembic_version SET version_num = '0001';GRANT UPDATE, SELECT ON alembic_version TO {other_role.name}",
    )
    with psycopg.connect(other_role.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("ALTER TABLE whatsapp_keys ENABLE ROW LEVEL SECURITY")
    upgrade = revisions.upgrade(other_role.url)
    assert (upgrade.before, upgrade.after) == ("0001", "0002")
    assert [notice.text for notice in upgrade.notices] == [
        "adopted table whatsapp_auth as it is",
        "adopted table whatsapp_keys as it is",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("ALTER TABLE whatsapp_keys DROP expires_at", "whatsapp_keys.expires_at is missing"),
        (
            "ALTER TABLE whatsapp_auth ALTER company_id TYPE integer USING 1",
            "whatsapp_auth.company_id is of type integer, not text",
        ),
        (
            "ALTER TABLE whatsapp_auth ALTER creds TYPE json",
            "whatsapp_auth.creds is of type json, not jsonb",
        ),
        (
            "ALTER TABLE whatsapp_keys DROP CONSTRAINT whatsapp_keys_pkey",
            "whatsapp_keys lacks PRIMARY KEY (company_id, key_type, key_id)",
        ),
        (
            "ALTER TABLE whatsapp_auth RENAME TO other; CREATE VIEW whatsapp_auth AS TABLE other",
            "whatsapp_auth is not an ordinary table",
        ),
    ],
)
def test_tables_that_cannot_be_adopted_stop_the_upgrade(live_baileys_database: str, change: str, problem: str) -> None:
    execute(live_baileys_database, change)
    before = read_catalog(live_baileys_database)
    with pytest.raises(MigrationError) as stopped:
        revisions.upgrade(live_baileys_database)
    assert problem in str(stopped.value)
    assert "nothing was changed" in str(stopped.value)
    assert differences(before, read_catalog(live_baileys_database)) == []
    assert revisions.current(live_baileys_database) is None


def test_every_problem_is_named_at_once(live_baileys_database: str) -> None:
    execute(
        live_baileys_database,
        "ALTER TABLE whatsapp_keys DROP expires_at; ALTER TABLE whatsapp_auth ALTER creds TYPE text",
    )
    run = run_alembic("upgrade", "head", url=live_baileys_database, fails=True)
    assert run.stdout.strip().endswith(
        "FAILED: the WhatsApp session tables that exist cannot be adopted: whatsapp_auth.creds is of type text, not"
        " jsonb; whatsapp_keys.expires_at is missing; nothing was changed"
    )
    assert "Traceback" not in run.stdout + run.stderr


def test_what_is_there_besides_is_kept_and_said(live_baileys_database: str) -> None:
    execute(
        live_baileys_database,
        """
        ALTER TABLE whatsapp_auth ADD own text, ADD CONSTRAINT own_check CHECK (company_id <> '');
        CREATE TRIGGER own_trigger AFTER DELETE ON whatsapp_auth
            FOR EACH ROW EXECUTE FUNCTION update_whatsapp_auth_updated_at();
        DROP INDEX idx_whatsapp_keys_type;
        CREATE INDEX idx_whatsapp_keys_type ON whatsapp_keys (key_id);
        CREATE FUNCTION cleanup_expired_whatsapp_keys() RETURNS integer LANGUAGE sql AS 'SELECT 1';
        """,
    )
    upgrade = revisions.upgrade(live_baileys_database)
    said = {(notice.warning, notice.text) for notice in upgrade.notices}
    kept = "of whatsapp_auth, which is not in this schema"
    assert said >= {
        (False, f"kept column own {kept}"),
        (False, f"kept constraint own_check {kept}"),
        (False, f"kept trigger own_trigger {kept}"),
        (
            True,
            "kept index idx_whatsapp_keys_type of whatsapp_keys as it is: CREATE INDEX idx_whatsapp_keys_type ON"
            " public.whatsapp_keys USING btree (key_id), where this schema has: CREATE INDEX"
            " idx_whatsapp_keys_type ON public.whatsapp_keys USING btree (key_type)",
        ),
        (
            True,
            "kept function cleanup_expired_whatsapp_keys as it is: integer, where this schema has:"
            " TABLE(deleted_count bigint)",
        ),
    }
    with psycopg.connect(live_baileys_database) as connection:
        assert connection.execute("SELECT cleanup_expired_whatsapp_keys()").fetchone() == (1,)


def test_index_that_a_row_is_too_large_for_is_left_out_and_said(live_baileys_database: str) -> None:
    execute(
        live_baileys_database,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) SELECT '1', 'session', 'large',"
        " to_jsonb(string_agg(md5(n::text), '')) FROM generate_series(1, 300) AS n",
    )
    before = physical_rows(live_baileys_database)
    upgrade = revisions.upgrade(live_baileys_database)
    assert physical_rows(live_baileys_database) == before
    assert [notice.text for notice in upgrade.notices if notice.warning] == [
        "index idx_whatsapp_keys_company_type_id of whatsapp_keys was not added: a row is too large for it"
    ]
    assert differences(expected_catalog(), read_catalog(live_baileys_database)) == [
        "indexes of whatsapp_keys: idx_whatsapp_keys_company_type: not expected",
        "indexes of whatsapp_keys: idx_whatsapp_keys_company_type_id: missing",
    ]


@pytest.mark.parametrize("switched_on", [True, False])
def test_policies_of_the_users_own_are_not_opened(fresh_database: str, switched_on: bool) -> None:
    """A policy that allows everything, beside one that allows little, would allow everything."""
    execute(fresh_database, BARE + "CREATE POLICY own ON whatsapp_auth USING (company_id = '1')")
    if switched_on:
        execute(fresh_database, "ALTER TABLE whatsapp_auth ENABLE ROW LEVEL SECURITY")
    upgrade = revisions.upgrade(fresh_database)
    own = "of whatsapp_auth was not added: the table has policies of its own"
    warnings = {notice.text for notice in upgrade.notices if notice.warning}
    assert warnings == {f"policy Allow service role full access to whatsapp_auth {own}"} | (
        set() if switched_on else {f"row-level security {own}"}
    )
    table = read_catalog(fresh_database)["tables"]["whatsapp_auth"]
    assert [policy["name"] for policy in table["policies"]] == ["own"]
    assert table["row_level_security"] is switched_on
