"""Runs the engine against a server under test, and looks at what came of it with SQL of the tests' own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol
from unittest.mock import patch

import psycopg
from psycopg import sql
from sqlalchemy import Table

from app.migration.copy.copier import CopyOptions, copy
from app.migration.retry import Limits
from app.migration.runs.report import CopyReport, VerifyReport
from app.migration.sources.postgres.postgres_source import open_postgres_source
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.described_table import describe
from app.migration.tables.metadata import select_tables
from app.migration.target.target_session import open_target
from app.migration.verify.options import VerifyOptions
from app.migration.verify.verifier import verify
from app.models import Base
from app.stores.supabase.client import SupabaseRest
from tests.support.faults import Answer, Fault, Hook, Request, agreeing
from tests.support.page_server import Exchange, PageServer

QUICK = Limits(wait_initial=0.01, wait_max=0.05)

# Both sides are read in sessions with these settings, so that equal values have equal texts.
_AS_TEXT = "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET extra_float_digits = 1; SET bytea_output = 'hex'"


class Served(Protocol):
    """A server that rows are copied from."""

    @property
    def url(self) -> str: ...

    @property
    def service_key(self) -> str: ...


@dataclass
class Told:
    """A Progress that keeps what it was told."""

    began: list[tuple[str, int, int]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def begin(self, table: str, total: int, done: int) -> None:
        self.began.append((table, total, done))

    def advance(self, table: str, rows: int) -> None:
        self.rows.append(rows)

    def notice(self, message: str) -> None:
        self.notices.append(message)


def tables(*names: str) -> list[Table]:
    """The project's tables of these names."""
    return select_tables(Base.metadata, names=names)


async def described(url: str, table: Table) -> CopyTable:
    """A table as the engine sees it."""
    async with open_target(url, step="test") as connection:
        return await describe(connection, table, step="test")


@asynccontextmanager
async def source_of(
    server: Served, limits: Limits = QUICK, *, request_timeout: float = 20.0, told: Told | None = None
) -> AsyncIterator[Source]:
    """The server as a source; its `url` is a PostgreSQL's for one over a database connection."""
    if server.url.startswith("postgresql"):
        async with open_postgres_source(
            server.url, step="test", limits=limits, on_retry=(told or Told()).notice
        ) as source:
            yield source
        return
    rest = await SupabaseRest.open(server.url, server.service_key, request_timeout=request_timeout)
    try:
        yield RestSource(rest, server.url, limits=limits, on_retry=(told or Told()).notice)
    finally:
        await rest.close()


async def copy_from(
    server: Served,
    target: str,
    chosen: Sequence[Table],
    *,
    limits: Limits = QUICK,
    options: CopyOptions | None = None,
    told: Told | None = None,
    request_timeout: float = 20.0,
) -> CopyReport:
    """Copy tables from a server."""
    told = told or Told()
    # Nobody writes beside it: what it compares after the copy needs no second to come to rest.
    hurried = patch("app.migration.verify.verifier.VerifyOptions", partial(VerifyOptions, pause=0.01))
    async with source_of(server, limits, request_timeout=request_timeout, told=told) as source:
        with hurried:
            return await copy(source, target, chosen, told, options)


async def verify_from(
    server: Served,
    target: str,
    chosen: Sequence[Table],
    *,
    limits: Limits = QUICK,
    told: Told | None = None,
    options: VerifyOptions | None = None,
) -> VerifyReport:
    """Verify tables against a server."""
    told = told or Told()
    async with source_of(server, limits, told=told) as source:
        return await verify(source, target, chosen, told, options or VerifyOptions(pause=0.01))


def whole_rows(pages: PageServer, table: str) -> list[Exchange]:
    """The pages of whole rows that the server gave; not those of some columns alone, nor counts."""
    width = len(tables(table)[0].columns)
    return [seen for seen in pages.pages(table) if (seen.request.parameter("select") or "").count("::text") >= width]


# A trigger that changes what is written, without an error, and that is not silent for this program.
ROUNDING = (
    "CREATE FUNCTION rounded() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN new.{column} := round(new.{column}, 1); RETURN new; END $$; "
    "CREATE TRIGGER rounds BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION rounded(); "
    "ALTER TABLE {table} ENABLE ALWAYS TRIGGER rounds"
)

# A finished table that is not read again, since another one (`actions`) of its run is unfinished.
REOPEN = (
    "DELETE FROM botdata.checkpoints WHERE table_name = 'actions'; "
    "DELETE FROM botdata.ranges WHERE table_name = 'actions'; "
    "UPDATE botdata.runs SET state = 'running', finished_at = NULL"
)


def execute(url: str, statement: str, parameters: Sequence[object] | None = None) -> None:
    """Run a statement, or without parameters several, in one transaction."""
    with psycopg.connect(url) as connection:
        connection.execute(statement, parameters)  # type: ignore[call-overload]


def query(url: str, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query, in a session with the tests' settings."""
    with psycopg.connect(url) as connection:
        connection.execute(_AS_TEXT)
        return connection.execute(statement, parameters).fetchall()  # type: ignore[call-overload, no-any-return]


def value(url: str, statement: str, parameters: Sequence[object] | None = None) -> Any:
    """The one value of a query."""
    ((only,),) = query(url, statement, parameters)
    return only


def row_texts(url: str, table: str) -> list[str]:
    """Every row of a table as PostgreSQL's own text."""
    statement = sql.SQL('SELECT t::text COLLATE "C" FROM {} t ORDER BY 1').format(sql.Identifier(table))
    return [text for (text,) in query(url, statement.as_string(None))]


def add_clients(url: str, count: int, *, first: int = 1, name: str = "name") -> None:
    """Plain clients with ids from `first` on."""
    execute(
        url,
        "INSERT INTO clients (id, yclients_id, company_id, phone, name) SELECT n, n, 1, (79000000000 + n)::text, "
        "%s || n FROM generate_series(%s::integer, %s::integer) n",
        [name, first, first + count - 1],
    )


def hiding(*keys: str, also_by_key: bool = False) -> Hook:
    """A hook that leaves rows out of the middle of pages, and `also_by_key` of answers to a question for them."""

    def drop(answer: Answer) -> Answer:
        rows = answer.body[1:-1].split(b", \n ") if answer.rows else []
        kept = [row for row in rows if not any(row.startswith(f'{{"_0":"{key}"'.encode()) for key in keys)]
        return replace(answer, body=b"[" + b", \n ".join(kept) + b"]", rows=len(kept))

    def hook(request: Request) -> Fault | None:
        whole = request.method == "GET" and "," in (request.parameter("select") or "")
        by_key = (request.parameter("id") or "").startswith("in.")
        return agreeing(drop) if whole and (also_by_key or not by_key) else None

    return hook
