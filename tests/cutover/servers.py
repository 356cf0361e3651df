"""Both stores of a cutover on servers that can be killed and started again, each behind a relay that can misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg

from app.cutover.stages import Store
from app.embedded import EmbeddedPostgres, SupabaseLite
from app.embedded.salon import fill_salon
from app.schema import revisions
from tests.contract.stores import TABLES
from tests.cutover.history import Tokens, tokens_statement
from tests.support.in_process import Said, run_here
from tests.support.relay import Relay

BOTDATA = Path(sys.executable).with_name("botdata")
_MODULES = Path(__file__).parents[2]
# Connections for nine processes on one server, and time enough where a machine has much else to do.
_SETTINGS = {
    "CUTOVER_STAGE": "database",
    "CUTOVER_HOLD": "10",
    "DATABASE_POOL_SIZE": "4",
    "MIRROR_CONNECTIONS": "4",
    "MIRROR_TIMEOUT": "10",
    "NOTE_TIMEOUT": "8",
    "QUERY_TIMEOUT": "20",
    "OUTCOME_SETTLES_AFTER": "20",
}


class Servers:
    """A Supabase with a made-up salon, and a PostgreSQL that it was moved to, both at the stage `off`.

    Attributes:
        relays: the relay before each store, which its URL in `environment` leads to.
        directory: for the servers, logs and spool files.
        settings: of the bots and the commands, beside the addresses.
    """

    def __init__(self, directory: Path) -> None:
        """Start the servers, which takes some seconds; `reset` makes what is in them."""
        self.directory = directory
        self.settings = dict(_SETTINGS)
        self._clean_up = ExitStack()
        with ExitStack() as clean_up:
            self._source = clean_up.enter_context(EmbeddedPostgres.start(directory / "source", durable=False))
            self._source.create_database("supabase")
            revisions.upgrade(self._source.url("supabase"))
            self._lite = clean_up.enter_context(SupabaseLite.start(self._source, "supabase", directory / "lite"))
            # Durable: what was committed is to be there after a kill.
            self._target = EmbeddedPostgres.start(directory / "target")
            clean_up.callback(lambda: self._target.stop())
            address = urlsplit(self._lite.url)
            assert address.hostname
            assert address.port
            self.relays = {
                Store.SUPABASE: clean_up.enter_context(Relay((address.hostname, address.port))),
                Store.POSTGRES: clean_up.enter_context(Relay(str(self._target.socket_directory / ".s.PGSQL.5432"))),
            }
            self._clean_up = clean_up.pop_all()

    def close(self) -> None:
        """Stop everything."""
        self._clean_up.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def reset(self) -> None:
        """The salon anew in Supabase, and moved to a new target."""
        self.heal()
        self.settings = dict(_SETTINGS)
        self.ask(Store.SUPABASE, f"TRUNCATE {', '.join(TABLES)}, whatsapp_auth, whatsapp_keys RESTART IDENTITY")
        sizes = {"clients": 40, "services": 12, "staff": 4, "schedules": 12, "bookings": 20, "dialog_contexts": 5}
        fill_salon(self.url(Store.SUPABASE), **sizes, baileys_keys=0)
        with psycopg.connect(self._target.url(), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS target WITH (FORCE)")
            made = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'migrated'").fetchone()
            connection.execute(f"CREATE DATABASE target TEMPLATE {'migrated' if made else 'template0'}")
            if not made:
                self.botdata("migrate")
                connection.execute("CREATE DATABASE migrated TEMPLATE target")
            # The copy of a sequence is in the log as it was; what it gives out is logged from the next checkpoint on.
            connection.execute("CHECKPOINT")

    def url(self, store: Store) -> str:
        """The database behind a store, as a libpq URL past the relay."""
        return self._source.url("supabase") if store is Store.SUPABASE else self._target.url("target")

    def database_url(self, relay: Relay | None = None) -> str:
        """The target's URL by way of a relay, as in DATABASE_URL."""
        return f"postgresql://postgres@127.0.0.1:{(relay or self.relays[Store.POSTGRES]).port}/target"

    def environment(self, **given: str) -> dict[str, str]:
        """The environment of a bot's process, or of a command."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(_MODULES),
            "HOME": str(self.directory),
            "SUPABASE_URL": f"http://127.0.0.1:{self.relays[Store.SUPABASE].port}",
            "SUPABASE_KEY": self._lite.service_key,
            "DATABASE_URL": self.database_url(),
            "CUTOVER_SPOOL": str(self.directory / "spool"),
            **self.settings,
            **given,
        }

    def botdata(self, *words: str, seconds: float = 120, refusable: bool = False, **given: str) -> Said:
        """Run a command in this process; AssertionError where it fails, unless it may be refused."""
        said = run_here(list(words), self.directory, self.environment(**given), seconds, longest_pause=None)
        assert "Traceback" not in said.text, said.text
        assert said.code == 0 or refusable, f"botdata {' '.join(words)}: exit code {said.code}\n{said.text}"
        return said

    def start_botdata(self, *words: str, **given: str) -> subprocess.Popen[str]:
        """Start a command as its user does, in a process of its own."""
        return subprocess.Popen(
            [BOTDATA, *words],
            env=self.environment(**given),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, store: Store, statement: str) -> list[Any]:
        """The rows of a statement on the database behind a store, past the relay; [] where it gives none."""
        with psycopg.connect(self.url(store), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []

    @property
    def stage(self) -> str:
        """The stage in the row."""
        stage: str = self.ask(Store.POSTGRES, "SELECT stage FROM botdata.stage")[0][0]
        return stage

    def tokens(self, store: Store) -> Tokens:
        """What a store holds of the rows that a load wrote."""
        held: Tokens = {}
        for table in ("clients", "dialog_contexts", "services", "staff_schedules", "companies"):
            held |= {(table, tuple(key)): token for key, token in self.ask(store, tokens_statement(table))}
        return held

    def differing(self) -> list[str]:
        """The rows of the business tables that one store has and the other has not, as text."""
        found = []
        for table in TABLES:
            rows = {s: {r[0] for r in self.ask(s, f"SELECT t::text FROM {table} t")} for s in Store}
            for store in Store:
                found += [f"only in {store}: {table} {row[:300]}" for row in rows[store] - rows[store.other]]
        return found

    def kill(self, store: Store) -> None:
        """Kill a store's server, as `kill -9`; it keeps its data."""
        if store is Store.SUPABASE:
            os.killpg(self._lite._process._process.pid, signal.SIGKILL)
        else:
            postmaster = (self.directory / "target" / "data" / "postmaster.pid").read_text().split()[0]
            os.kill(int(postmaster), signal.SIGKILL)

    def start_again(self, store: Store) -> None:
        """Start a killed server where it was."""
        if store is Store.SUPABASE:
            self._lite.reload_schema()
        else:
            self._target.stop()
            self._target = EmbeddedPostgres.start(self.directory / "target")

    def another_way(self, store: Store) -> Relay:
        """One more relay before a store, until the servers are closed."""
        relay = Relay(self.relays[store].server)
        self._clean_up.callback(relay.close)
        return relay

    def another_supabase(self, name: str) -> SupabaseLite:
        """One more project, without rows, until the servers are closed."""
        revisions.upgrade(self._source.create_database(name, replace=True))
        return self._clean_up.enter_context(SupabaseLite.start(self._source, name, self.directory / name))

    def another_url(self, name: str) -> str:
        """The database of such a project, as a libpq URL."""
        return self._source.url(name)

    def heal(self) -> None:
        """End the relays' trouble."""
        for relay in self.relays.values():
            relay.heal()
