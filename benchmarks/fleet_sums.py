"""What many salons in one database come to: catalog, files, memory, locks, dumps and commands, by their number.

    python -m benchmarks.fleet_sums [--salons 100 300 1000] [--filled 20] [--output FILE]

Prints a table in Markdown, a column for each number, of which docs/scale-out.md has the last. It takes about fifteen
minutes and 3 GB of disk for a thousand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import psycopg

from app.common.schemas import Schemas
from app.embedded import EmbeddedPostgres
from app.embedded.salon import fill_salon
from benchmarks import machine
from benchmarks.servers import run
from tests.support.other_schemas import searching
from tests.support.result_tables import markdown_table

_CATALOGS = ("pg_class", "pg_attribute", "pg_depend", "pg_statistic")
_KINDS = {"r": "tables", "i": "indexes", "S": "sequences", "t": "TOAST tables"}
_OF_SALONS = "relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^t[0-9]')"
_MEGABYTE = 1 << 20


class Sums:
    """A server that salons are added to."""

    def __init__(self, server: EmbeddedPostgres, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._url = server.create_database("salons")
        self._names: list[str] = []

    def column(self, salons: int, filled: int) -> dict[str, str]:
        """What is measured at a number of salons, by its name."""
        figures: dict[str, str] = {}
        figures["`fleet upgrade` that makes them, killed once"] = self._grow(salons)
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE pg_class, pg_attribute, pg_depend, pg_type, pg_index, pg_namespace")
            self._fill(connection, filled)
            figures |= dict(self._catalog(connection))
        figures["`fleet upgrade` of all at the head"] = self._botdata("upgrade")
        figures["`fleet status`"] = self._botdata("status")
        figures |= dict(self._sessions())
        figures |= dict(self._dumps())
        return figures

    def _grow(self, salons: int) -> str:
        new = [f"t{number}" for number in range(len(self._names), salons)]
        self._names += new
        file = self._directory / "names"
        file.write_text("\n".join(new))
        command = self._fleet("upgrade", "--create-from", str(file))
        began = perf_counter()
        with subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL) as process:
            while self._made() < salons - len(new) // 2:
                sleep(0.1)
                if process.poll() is not None:
                    sys.exit("it ended before it could be killed")
            process.kill()
        run(command, self._environment)
        return f"{(perf_counter() - began) / len(new) * 1000:,.0f} ms a salon"

    def _made(self) -> int:
        with psycopg.connect(self._url) as connection:
            (count,) = _one(connection, "SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'")
        return int(count)

    def _botdata(self, command: str) -> str:
        return f"{run(self._fleet(command), self._environment).seconds:,.1f} s"

    def _fleet(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "app.cli.main", "fleet", *words]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DATABASE_URL": self._url}

    def _fill(self, connection: psycopg.Connection, filled: int) -> None:
        """Put a whole salon's rows into the first ones."""
        (there,) = _one(connection, "SELECT EXISTS (SELECT FROM t0.clients)")
        for name in self._names[:filled] if not there else ():
            fill_salon(searching(self._url, name))
        for name in self._names[:filled] if not there else ():
            connection.execute(f"VACUUM ANALYZE {name}.clients")

    def _catalog(self, connection: psycopg.Connection) -> Iterator[tuple[str, str]]:
        for kind, told in _KINDS.items():
            (count,) = _one(connection, f"SELECT count(*) FROM pg_class WHERE relkind = '{kind}' AND {_OF_KIND[kind]}")
            yield told, f"{count:,}"
        for name in _CATALOGS:
            rows, size = _one(connection, f"SELECT count(*), pg_total_relation_size('{name}') FROM {name}")
            yield f"`{name}`", f"{rows:,} rows, {size / _MEGABYTE:,.0f} MB"
        (size,) = _one(
            connection,
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'",
        )
        yield "all of the catalog", f"{size / _MEGABYTE:,.0f} MB"
        (oid,) = _one(connection, "SELECT oid FROM pg_database WHERE datname = current_database()")
        files = list((self._server.socket_directory / "data" / "base" / str(oid)).iterdir())
        blocks = sum(file.stat().st_blocks for file in files) * 512
        yield "files of the database", f"{len(files):,}, {blocks / _MEGABYTE:,.0f} MB"
        (empty, full) = (_salon_size(connection, self._names[at]) for at in (-1, 0))
        yield "a salon, empty; filled", f"{empty / _MEGABYTE:.1f} MB; {full / _MEGABYTE:.1f} MB"

    def _sessions(self) -> Iterator[tuple[str, str]]:
        began = perf_counter()
        for _ in range(20):
            psycopg.connect(self._url).close()
        yield "a connection, opened and closed", f"{(perf_counter() - began) / 20 * 1000:.1f} ms"
        with psycopg.connect(self._url, autocommit=True) as connection:
            before = _cache_size(connection)
            for what, tables in (
                ("`clients`", lambda name: [f"{name}.clients"]),
                ("each table of rows", lambda name: _tables(connection, name)),
                ("each table, the tool's too,", lambda name: _tables(connection, name, Schemas(name).tool)),
            ):
                for name in self._names:
                    for table in tables(name):
                        connection.execute(f"SELECT FROM {table} LIMIT 0")
                size = (_cache_size(connection) - before) / _MEGABYTE
                yield f"memory of a session that reads {what} of every salon", f"{size:,.1f} MB"
            began = perf_counter()
            connection.execute(
                "SELECT count(pg_stat_get_mod_since_analyze(oid)) FROM pg_class WHERE relkind IN ('r', 'm', 't')"
            )
            yield "what autovacuum reads at each look", f"{(perf_counter() - began) * 1000:,.0f} ms"
        yield "tables that one transaction locks", self._locked()

    def _locked(self) -> str:
        """How many salons' tables a transaction locks until there is no room, at PostgreSQL's own settings."""
        with psycopg.connect(self._url) as connection:
            tables = 0
            for number, name in enumerate(self._names, start=1):
                found = _tables(connection, name, Schemas(name).tool)
                try:
                    connection.execute(f"LOCK TABLE {', '.join(found)} IN ACCESS SHARE MODE")
                except psycopg.errors.OutOfMemory:
                    return f"{tables:,}, of {number - 1:,} salons; more: out of shared memory"
                tables += len(found)
        return f"{tables:,}"

    def _dumps(self) -> Iterator[tuple[str, str]]:
        for what, options in (
            ("`pg_dump` of one salon", ["--schema=t0", "--schema=t0_botdata"]),
            ("`pg_dump` of all", []),
        ):
            began = perf_counter()
            done = subprocess.run(
                [self._server.binary("pg_dump"), "-Fc", *options, "-f", self._directory / "dump", self._url],
                env=self._server.environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            seconds = perf_counter() - began
            failed = "fails: out of shared memory" if "out of shared memory" in done.stderr else done.stderr[:200]
            yield what, f"{seconds:,.1f} s" if done.returncode == 0 else failed


_OF_KIND = {"r": _OF_SALONS, "i": _OF_SALONS, "S": _OF_SALONS, "t": "true"}


def _one(connection: psycopg.Connection, statement: str) -> tuple[Any, ...]:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row


def _tables(connection: psycopg.Connection, *schemas: str) -> list[str]:
    statement = "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = ANY (%s)"
    return [table for (table,) in connection.execute(statement, [list(schemas)]).fetchall()]


def _cache_size(connection: psycopg.Connection) -> int:
    """Bytes that the session's process has allotted."""
    (size,) = _one(connection, "SELECT sum(total_bytes) FROM pg_backend_memory_contexts")
    return int(size)


def _salon_size(connection: psycopg.Connection, name: str) -> int:
    (size,) = _one(
        connection,
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        f"WHERE nspname IN ('{name}', '{name}_botdata') AND relkind = 'r'",
    )
    return int(size)


def main(numbers: list[int], filled: int, output: Path | None) -> None:
    """Measure at each number of salons, and print a table."""
    with (
        tempfile.TemporaryDirectory(prefix="botdata-sums-") as directory,
        EmbeddedPostgres.start(durable=False) as server,
    ):
        Path(directory).chmod(0o755)
        sums = Sums(server, Path(directory))
        columns = []
        for number in numbers:
            columns.append(sums.column(number, filled))
            print(f"{number:,} salons: {columns[-1]}", flush=True)
    names = list(columns[-1])
    table = markdown_table(
        ["", *(f"{number:,} salons" for number in numbers)], [[name, *(one[name] for one in columns)] for name in names]
    )
    text = f"{table}\n\nMeasured on {machine.describe()}.\n"
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_sums", description=__doc__.partition("\n")[0])
    parser.add_argument("--salons", nargs="+", type=int, default=[100, 300, 1000], metavar="N")
    parser.add_argument("--filled", type=int, default=20, help="so many of them hold rows", metavar="N")
    parser.add_argument("--output", type=Path, help="where the table is written to")
    given = parser.parse_args()
    main(given.salons, given.filled, given.output)
