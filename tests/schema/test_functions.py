"""The functions and triggers of the Baileys tables do what they say."""

from datetime import datetime

import psycopg

ROWS = """
INSERT INTO whatsapp_auth (company_id, creds) VALUES ('1', '{}'), ('2', '{}');
INSERT INTO whatsapp_keys (company_id, key_type, key_id, value, expires_at) VALUES
    ('1', 'session', 'a', '{}', NULL),
    ('1', 'session', 'b', '{}', now() - interval '1 second'),
    ('1', 'session', 'c', '{}', now() + interval '1 hour'),
    ('2', 'session', 'a', '{}', '-infinity');
"""


def test_cleanup_deletes_the_expired_keys_and_counts_them(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(ROWS)
        assert connection.execute("SELECT deleted_count FROM cleanup_expired_whatsapp_keys()").fetchall() == [(2,)]
        assert connection.execute("SELECT company_id, key_id FROM whatsapp_keys ORDER BY 1, 2").fetchall() == [
            ("1", "a"),
            ("1", "c"),
        ]
        assert connection.execute("SELECT deleted_count FROM cleanup_expired_whatsapp_keys()").fetchall() == [(0,)]


def test_statistics_count_companies_keys_and_bytes(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(ROWS)
        assert connection.execute(
            "SELECT total_companies, total_keys, expired_keys, active_keys, db_size_bytes"
            " = pg_total_relation_size('whatsapp_auth') + pg_total_relation_size('whatsapp_keys'),"
            " db_size_bytes > 0 FROM get_whatsapp_auth_stats()"
        ).fetchall() == [(2, 4, 2, 2, True, True)]


def test_statistics_of_empty_tables(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute(
            "SELECT total_companies, total_keys, expired_keys, active_keys FROM get_whatsapp_auth_stats()"
        ).fetchall() == [(0, 0, 0, 0)]


def test_triggers_keep_updated_at_current(database_url: str) -> None:
    long_ago = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
    with psycopg.connect(database_url) as connection:
        connection.execute(ROWS)
        for table in ("whatsapp_auth", "whatsapp_keys"):
            # An insert is left as it is; an update is dated, whatever it says itself.
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            connection.execute(f"UPDATE {table} SET updated_at = %s", (long_ago,))
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            connection.execute(f"UPDATE {table} SET updated_at = %s WHERE company_id = '1'", (long_ago,))
            assert connection.execute(
                f"SELECT DISTINCT company_id, updated_at = now(), updated_at = %s FROM {table} ORDER BY 1",
                (long_ago,),
            ).fetchall() == [("1", True, False), ("2", False, True)]
