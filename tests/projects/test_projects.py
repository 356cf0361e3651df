"""The projects load, can be made again from pg_dump, and go through the engine over a connection, row by row."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import MetaData, Table, create_engine

from app.embedded import EmbeddedPostgres
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from app.stores.postgres.database_url import sqlalchemy_url
from tests.fixtures.projects import MakeDatabase
from tests.migration.engine import copy_from, verify_from
from tests.projects import PROJECTS, SUPABASE, load, restore, schema_of
from tests.projects.rows import differences, relations

# It has no column.
_NOT_MOVED = {"public.nothing"}
# Triggers of the target write to these while other tables are copied.
_WRITTEN_BY_TRIGGERS = {"private.counters", "stock.levels"}


@dataclass(frozen=True)
class _Source:
    """A database that rows are copied from."""

    url: str
    service_key: str = ""


def _own_tables(url: str) -> list[str]:
    """The project's tables, without Supabase's; a partitioned one counts once."""
    with psycopg.connect(url) as connection:
        found = relations(connection, "rp", partitions=False)
    return [f"{schema}.{name}" for schema, name in found if schema not in SUPABASE]


def _reflected(url: str) -> list[Table]:
    """The models of all schemas, as SQLAlchemy makes them; types that it does not know are left to the engine."""
    metadata = MetaData()
    engine = create_engine(sqlalchemy_url(url))
    with psycopg.connect(url) as connection:
        schemas = {schema for schema, _ in relations(connection, "rp", partitions=True)}
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
    assert differences(source, target).keys() <= _NOT_MOVED | _WRITTEN_BY_TRIGGERS
    verified = await verify_from(_Source(source), target, tables, options=VerifyOptions(fix=True, pause=0.01))
    assert verified.clean or (await verify_from(_Source(source), target, tables)).clean
    assert differences(source, target).keys() <= _NOT_MOVED
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
