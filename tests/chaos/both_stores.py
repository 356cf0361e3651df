"""Both stores of the data layer, with the same rows: a salon whose rows no call names, and one for each lane."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from app import models
from app.embedded import EmbeddedPostgres, SupabaseLite
from app.embedded.salon import fill_salon
from app.schema import revisions
from app.settings import Settings
from tests.chaos.call_inputs import BEYOND, Lane
from tests.chaos.transcript import KEY, PASSWORD, PHONES

_WRITTEN = ("clients", "companies", "dialog_contexts", "services", "staff_schedules")
_OTHERS = {  # of tables that the lanes have rows in from the beginning
    "clients": f"company_id < {Lane(0).company}",
    "staff_schedules": f"staff_id < {Lane(0).id(0)}",
    "dialog_contexts": f"user_id !~ '[{chr(0x4E00)}-{chr(0x4E3F)}]'",
}
_RANDOM = re.compile(r"^\\(un)?restrict .*$", re.MULTILINE)  # pg_dump's own, another each time
_ROW_CAP = 7
_STAFF = """
INSERT INTO staff (id, yclients_id, company_id, name, is_active, created_at, updated_at)
SELECT %(id)s + n, %(id)s + n, %(company)s, 'Али ' || n %% 2, n <> 3, '2026-01-01', '2026-01-01'
FROM generate_series(1, 6) n
"""
_BOOKINGS = """
INSERT INTO bookings (id, yclients_record_id, company_id, client_yclients_id, client_phone, datetime, cost, status,
    created_at, updated_at)
SELECT md5(%(id)s::text || n)::uuid, %(id)s + n, %(company)s, %(id)s + 1 + n %% 6, %(phone)s,
    '2026-11-21 09:30'::timestamp + (n - 9) * interval '5 hours', nullif(n %% 5, 0) * 1.5,
    (ARRAY[NULL, 'cancelled', 'deleted', 'confirmed', ''])[1 + n %% 5],
    '2026-01-01'::timestamp + n %% 3 * interval '1 day', '2026-01-01' FROM generate_series(1, 24) n
"""


def _insert(connection: psycopg.Connection, table: str, row: dict[str, Any]) -> None:
    stamped = row | ({"created_at": "2026-01-01"} if "created_at" in models.Base.metadata.tables[table].c else {})
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, stamped)),
            sql.SQL(", ").join([sql.Placeholder()] * len(stamped)),
        ),
        list(stamped.values()),
    )


@dataclass(frozen=True)
class BothStores:
    """The two databases on one server, the source's behind a Supabase, and the settings that lead to them."""

    postgres: EmbeddedPostgres
    settings: Settings

    @classmethod
    @contextmanager
    def start(cls, directory: Path, lanes: int) -> Iterator[Self]:
        """Both stores, until the end of the block."""
        with ExitStack() as exits:
            postgres = exits.enter_context(EmbeddedPostgres.start(directory / "postgres", durable=False))
            first = postgres.create_database("supabase")
            revisions.upgrade(first)
            fill_salon(first, clients=60, services=15, staff=5, schedules=20, bookings=60, dialog_contexts=10)
            with psycopg.connect(first) as connection:
                for number in range(lanes):
                    lane = Lane(number)
                    given = {"id": lane.id(0), "company": lane.company, "phone": f"{PHONES}{number:02}01"}
                    connection.execute(_STAFF, given)
                    connection.execute(_BOOKINGS, given)
                    for table, rows in lane.rows().items():
                        for row in rows:
                            _insert(connection, table, row)
                connection.execute("UPDATE companies SET api_key = %s, whatsapp_config = %s", (PASSWORD, f'"{KEY}"'))
            with psycopg.connect(postgres.url(), autocommit=True) as connection:
                connection.execute("CREATE DATABASE target TEMPLATE supabase")
            lite = exits.enter_context(
                SupabaseLite.start(postgres, "supabase", directory / "lite", max_rows=_ROW_CAP, service_key=KEY)
            )
            url = postgres.url("target").replace("postgres@", f"postgres:{PASSWORD}@", 1)
            settings = Settings(
                _env_file=None,
                supabase_url=lite.url,
                supabase_key=KEY,
                database_url=url,
                log_database_calls=True,
                query_timeout=60,
                health_check_timeout=60,
            )
            yield cls(postgres, settings)

    @property
    def urls(self) -> list[str]:
        """The two databases."""
        return [self.postgres.url(name) for name in ("supabase", "target")]

    def catalogs(self) -> list[str]:
        """All that is defined in either database, and the roles of their server."""
        dumps = []
        for url in self.urls:
            command = [self.postgres.binary("pg_dump"), "--schema-only", url]
            done = subprocess.run(command, env=self.postgres.environment, capture_output=True, text=True, check=True)
            with psycopg.connect(url) as connection:
                roles = connection.execute("SELECT rolname, rolsuper, rolconfig FROM pg_roles ORDER BY 1").fetchall()
                names = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
            dumps.append(f"{_RANDOM.sub('', done.stdout)}{roles}{names}")
        return dumps

    def bystanders(self) -> list[set[str]]:
        """Either store's rows, as text, but those that the lanes write: of no table is any to change."""
        found = []
        for url in self.urls:
            with psycopg.connect(url) as connection:
                rows: set[str] = set()
                for name in models.Base.metadata.tables:
                    statement = f"SELECT t::text FROM {name} t WHERE {_OTHERS.get(name, 'true')}"
                    rows |= {f"{name} {text}" for (text,) in connection.execute(statement.encode())}
                found.append(rows)
        return found

    def written(self) -> list[set[str]]:
        """Either store's rows of the tables that methods write, as text, without what a store makes up by itself."""
        found = []
        for url in self.urls:
            with psycopg.connect(url) as connection:
                rows: set[str] = set()
                for name in _WRITTEN:
                    table = models.Base.metadata.tables[name]
                    made_up = name == "dialog_contexts"
                    columns = [c.name for c in table.c if not (models.store_filled(c) and (made_up or c.name != "id"))]
                    both = f" WHERE company_id < {BEYOND}" if name == "clients" else ""
                    statement = f"SELECT ROW({', '.join(columns)})::text FROM {name}{both}"
                    rows |= {f"{name} {text}" for (text,) in connection.execute(statement.encode())}
                found.append(rows)
        return found
