"""A made-up salon to be moved, and a look at databases in SQL of the tests' own: rows, objects, what is left behind."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

import psycopg
from psycopg import sql

from app.embedded.salon import fill_salon
from app.schema import revisions
from tests.chaos.transcript import PHONES

TABLES = (
    "companies", "clients", "services", "staff", "staff_schedules", "bookings", "dialog_contexts", "messages",
    "actions", "company_sync_status", "whatsapp_auth", "whatsapp_keys",
)  # fmt: skip
# What the target refuses, in addition to what the source does.
REFUSED = "visit_count = 777"
REFUSING = f"ALTER TABLE clients ADD CONSTRAINT refused CHECK (({REFUSED}) IS NOT TRUE)"
_upgrading = Lock()  # Alembic's context is one for the whole process
_KEYS = {"whatsapp_auth": "{company_id}", "whatsapp_keys": "{company_id,key_type,key_id}"}
_NOTICED = 15.0  # seconds until a server has noticed that a client is gone
_PLANT = f"""
UPDATE clients SET phone = '{PHONES}' || lpad((id % 10000)::text, 4, '0'), raw_phone = '+7 (900) 555-' ||
    lpad((id % 10000 / 100)::text, 2, '0') || '-' || lpad((id % 100)::text, 2, '0'),
    visit_count = CASE WHEN id % 20 = 7 THEN 777 ELSE id % 50 END;
UPDATE bookings SET client_phone = '{PHONES}' || lpad((yclients_record_id % 10000)::text, 4, '0');
UPDATE dialog_contexts SET user_id = '{PHONES}' || right(user_id, 4);
"""
# What a source and its target differ by when a sync begins, either way; rows come to be refused, and come to be taken.
CHANGES = f"""
UPDATE clients SET notes = 'changed' WHERE id % 3 = 1 AND ai_context IS DISTINCT FROM 'null'; -- which REST cannot write
UPDATE clients SET visit_count = 777 WHERE id % 40 = 3;
UPDATE clients SET visit_count = 1 WHERE id % 100 = 7;
DELETE FROM clients WHERE id % 31 = 4;
INSERT INTO clients (yclients_id, company_id, phone, name) SELECT 900000 + n, 962302,
    '{PHONES}' || lpad(n::text, 4, '0'), 'new ' || n FROM generate_series(1, 150) n;
UPDATE whatsapp_keys SET value = '{{"changed": 1.10}}' WHERE key_id LIKE '%3%';
DELETE FROM bookings WHERE yclients_record_id % 5 = 0;
UPDATE services SET title = title || ' ё' WHERE id % 2 = 0;
"""

Rows = dict[str, Counter[str]]


class Postgres(Protocol):
    """A server: the URL of a database for looks at it, and its address for commands, with a password."""

    def url(self, database: str = "postgres") -> str: ...

    def address(self, database: str) -> str: ...


def fill(url: str, clients: int) -> None:
    """A salon in a database at head, with the planted phone numbers and rows that a target refuses."""
    fill_salon(url, clients=clients, bookings=200, dialog_contexts=60, baileys_keys=300, hard_values=True)
    with psycopg.connect(url) as connection:
        connection.execute(_PLANT)


def migrated(server: Postgres, name: str) -> str:
    """The URL of a new database at head."""
    url = clone(server, "template0", name)
    with _upgrading:
        revisions.upgrade(url)
    return url


def clone(server: Postgres, template: str, name: str, tablespace: str = "pg_default") -> str:
    """The URL of a copy of a database."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} TABLESPACE {}")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(statement.format(*map(sql.Identifier, (name, template, tablespace))))
    return server.url(name)


def drop(server: Postgres, name: str) -> None:
    """Drop a database with whatever is connected to it."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def texts(url: str) -> Rows:
    """Every row of every table as PostgreSQL's own text."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET extra_float_digits = 1")
        return {
            table: Counter(text for (text,) in connection.execute(f"SELECT t::text FROM {table} t".encode()))
            for table in TABLES
        }


def refused_keys(url: str) -> set[str]:
    """The ids of the clients that a target with `REFUSING` does not take."""
    with psycopg.connect(url) as connection:
        return {str(key) for (key,) in connection.execute(f"SELECT id FROM clients WHERE {REFUSED}".encode())}


def without(rows: Rows, keys: set[str]) -> Rows:
    """The same rows without the clients of these ids."""
    kept = Counter({text: n for text, n in rows["clients"].items() if text[1:].partition(",")[0] not in keys})
    return {**rows, "clients": kept}


@dataclass
class Difference:
    """Rows that are on one side only, by table; no values."""

    missing: Counter[str] = field(default_factory=Counter)
    extra: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)

    def __str__(self) -> str:
        return f"missing {dict(self.missing)}, extra {dict(self.extra)}"


def difference(expected: Rows, found: Rows) -> Difference:
    """What is missing from `found`, and what it has beside."""
    told = Difference()
    for table in TABLES:
        told.missing += Counter({table: (expected[table] - found[table]).total()})
        told.extra += Counter({table: (found[table] - expected[table]).total()})
    return told


def quarantined(url: str) -> list[tuple[str, str]]:
    """Table and key of each row in quarantine, in order."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('botdata.quarantine') IS NULL").fetchone() == (True,):
            return []
        return connection.execute(
            "SELECT table_name, array_to_string(key, ',') FROM botdata.quarantine ORDER BY 1, 2"
        ).fetchall()


def miscounted(url: str) -> list[str]:
    """Tables of which the copies' checkpoints count other rows than were copied into the empty target."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('botdata.checkpoints') IS NULL").fetchone() == (True,):
            return []
        counted = connection.execute(
            "SELECT table_name, sum(inserted)::int, sum(updated)::int FROM botdata.checkpoints GROUP BY 1"
        ).fetchall()
        found = []
        for table, inserted, updated in counted:
            rows = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            if rows != (inserted,) or updated:
                found.append(f"{table}: {inserted} inserted and {updated} updated by the checkpoints, {rows} there")
        return found


def catalog(url: str) -> list[tuple[str, str, str]]:
    """Every object of the database's own: its kind, name and definition."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            """
            WITH own AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN
                ('information_schema', 'botdata'))
            SELECT 'relation', nspname || '.' || relname, relkind::text || relpersistence::text ||
                coalesce(array_to_string(reloptions, ','), '') FROM pg_class JOIN own ON own.oid = relnamespace
            UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname,
                pg_get_constraintdef(c.oid) || convalidated::text
                FROM pg_constraint c JOIN own ON own.oid = connamespace
            UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) ||
                (indisvalid AND indisready)::text
                FROM pg_index JOIN pg_class k ON k.oid = indexrelid JOIN own ON own.oid = k.relnamespace
            UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(t.oid) || tgenabled::text
                FROM pg_trigger t JOIN pg_class k ON k.oid = tgrelid JOIN own ON own.oid = k.relnamespace
                WHERE NOT tgisinternal
            UNION ALL SELECT 'function', p.oid::regprocedure::text, md5(prosrc)
                FROM pg_proc p JOIN own ON own.oid = pronamespace
            ORDER BY 1, 2, 3
            """
        ).fetchall()


def sessions(url: str) -> int:
    """How many sessions of botdata the database has."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
            "application_name LIKE 'botdata%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def wait_for_end(url: str) -> bool:
    """Wait until the server has noticed that botdata's sessions are gone; whether it has in time."""
    deadline = time.monotonic() + _NOTICED
    while sessions(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def left_behind(url: str, *, sequences: bool = True) -> list[str]:
    """What no command may leave: sessions, locks, transactions, unended runs, low sequences."""
    found = [] if wait_for_end(url) else ["sessions of botdata"]
    with psycopg.connect(url, autocommit=True) as connection:
        for what, query in {
            "advisory locks": "pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' "
            "AND datname = current_database()",
            "transactions": "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND xact_start IS NOT NULL AND backend_type = 'client backend'",
            "prepared transactions": "pg_prepared_xacts WHERE database = current_database()",
        }.items():
            row = connection.execute(f"SELECT count(*) FROM {query}".encode()).fetchone()
            if row != (0,):
                found.append(f"{what}: {row}")
        if connection.execute("SELECT to_regclass('botdata.runs') IS NULL").fetchone() == (False,):
            running = connection.execute("SELECT id, command FROM botdata.runs WHERE state = 'running'").fetchall()
            found += [f"runs that are not ended: {running}"] if running else []
        if sequences and connection.execute("SELECT to_regclass('clients_id_seq') IS NULL").fetchone() == (False,):
            low = connection.execute(
                "SELECT max(id), max(s.last_value) FROM clients, clients_id_seq s HAVING max(id) > max(s.last_value)"
            ).fetchall()
            found += [f"a sequence below the highest id: {low}"] if low else []
    return found
