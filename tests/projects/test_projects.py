"""The projects load, can be made again from pg_dump, and go through the engine over a connection, row by row."""

from __future__ import annotations

import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import MetaData, Table, create_engine

from app.embedded import EmbeddedPostgres
from app.migration.tables.copy_table import select_tables
from app.migration.verify.verifier import VerifyOptions
from app.stores.postgres.database_url import sqlalchemy_url
from tests.migration.engine import copy_from, verify_from
from tests.projects import PROJECTS, SUPABASE, load, restore, schema_of

# It has no column.
_NOT_MOVED = {"public.nothing"}
# Triggers of the target write to these while other tables are copied.
_WRITTEN_BY_TRIGGERS = {"private.counters", "stock.levels"}

_RELATIONS = """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = ANY (%(kinds)s) AND relispopulated
        AND nspname <> 'information_schema' AND nspname !~ '^(pg_|botdata$)'
        AND (relkind = 'p' OR NOT relispartition OR %(partitions)s)
    ORDER BY 1, 2
"""
_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE schemaname <> 'botdata' ORDER BY 1, 2"
_AS_TEXT = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 1; SET search_path = ''"

MakeDatabase = Callable[[EmbeddedPostgres], str]


@dataclass(frozen=True)
class _Source:
    """A database that rows are copied from."""

    url: str
    service_key: str = ""


@pytest.fixture
def make_database() -> Iterator[MakeDatabase]:
    """Makes an empty database on a server, dropped after the test."""
    made: list[tuple[EmbeddedPostgres, str]] = []

    def make(server: EmbeddedPostgres) -> str:
        made.append((server, f"project_{uuid.uuid4().hex[:12]}"))
        return server.create_database(made[-1][1])

    yield make
    for server, name in made:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _relations(connection: psycopg.Connection, kinds: str, *, partitions: bool) -> list[tuple[str, str]]:
    return connection.execute(_RELATIONS, {"kinds": list(kinds), "partitions": partitions}).fetchall()


def _own_tables(url: str) -> list[str]:
    """The project's tables, without Supabase's; a partitioned one counts once."""
    with psycopg.connect(url) as connection:
        found = _relations(connection, "rp", partitions=False)
    return [f"{schema}.{name}" for schema, name in found if schema not in SUPABASE]


def _rows(url: str) -> dict[str, list[str]]:
    """The rows of each table itself, and of each filled materialized view, as text; and how far sequences are."""
    statement = sql.SQL('SELECT t::text COLLATE "C" FROM ONLY {} t ORDER BY 1')
    with psycopg.connect(url) as connection:
        connection.execute(_AS_TEXT)
        found = {
            f"{schema}.{name}": [text for (text,) in connection.execute(statement.format(sql.Identifier(schema, name)))]
            for schema, name in _relations(connection, "rm", partitions=True)
        }
        return found | {"sequences": [str(row) for row in connection.execute(_SEQUENCES)]}


def _differences(source: str, target: str) -> dict[str, set[str]]:
    """By relation what only one side has, or has more often; a view that the source never filled is left out."""
    expected, found = _rows(source), _rows(target)
    return {
        name: set((Counter(rows) - Counter(found.get(name, ()))) + (Counter(found.get(name, ())) - Counter(rows)))
        for name, rows in expected.items()
        if rows != found.get(name)
    }


def _reflected(url: str) -> list[Table]:
    """The models of all schemas, as SQLAlchemy makes them; types that it does not know are left to the engine."""
    metadata = MetaData()
    engine = create_engine(sqlalchemy_url(url))
    with psycopg.connect(url) as connection:
        schemas = {schema for schema, _ in _relations(connection, "rp", partitions=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for schema in sorted(schemas):
            # Named without its schema, as the foreign keys of others name it.
            metadata.reflect(engine, schema=None if schema == "public" else schema)
    engine.dispose()
    return [table for table in select_tables(metadata) if f"{table.schema or 'public'}.{table.name}" not in _NOT_MOVED]


async def _moves(server: EmbeddedPostgres, project: str, make_database: MakeDatabase) -> None:
    """A project's schema is made in a target, and its rows are copied there and verified."""
    source, target = make_database(server), make_database(server)
    load(server, project, source)
    schema = schema_of(server, source)
    restore(server, schema, target)
    assert schema_of(server, target) == schema

    tables = _reflected(source)
    copied = await copy_from(_Source(source), target, tables)
    assert not copied.broken
    assert not any(table.refused or table.missing or table.went or table.disagreement for table in copied.tables)
    assert {table.table for table in copied.tables if table.differ} <= _WRITTEN_BY_TRIGGERS
    assert _differences(source, target).keys() <= _NOT_MOVED | _WRITTEN_BY_TRIGGERS
    verified = await verify_from(_Source(source), target, tables, options=VerifyOptions(fix=True, pause=0.01))
    assert verified.clean or (await verify_from(_Source(source), target, tables)).clean
    assert _differences(source, target).keys() <= _NOT_MOVED
    assert schema_of(server, target) == schema


@pytest.mark.parametrize("project", PROJECTS)
async def test_a_project_is_moved(project: str, project_server: EmbeddedPostgres, make_database: MakeDatabase) -> None:
    await _moves(project_server, project, make_database)


async def test_a_project_of_debians_extensions_is_moved(
    debian_server: EmbeddedPostgres, make_database: MakeDatabase
) -> None:
    await _moves(debian_server, "contrib", make_database)


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_is_as_large_as_it_says(
    project: str, older_server: EmbeddedPostgres, make_database: MakeDatabase
) -> None:
    url, again = make_database(older_server), make_database(older_server)
    load(older_server, project, url)
    tables = _own_tables(url)
    assert len(tables) >= 30
    # A parent's rows are its heirs', too.
    with psycopg.connect(url) as connection:
        empty = [
            name
            for name in tables
            if connection.execute(
                sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(*name.split(".", 1)))
            ).fetchone()
            is None
        ]
    assert empty in ([], ["public.nothing"])
    schema = schema_of(older_server, url)
    restore(older_server, schema, again)
    assert schema_of(older_server, again) == schema
