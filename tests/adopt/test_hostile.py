"""A schema full of what is taken for something else is adopted like any other."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from sqlalchemy.engine import make_url

from app.adopt.proof import Difference, differences, read_catalog, without_rewordings
from app.adopt.scratch import Scratch, ScratchPlaces, scratch_database
from app.errors import MigrationError
from tests.adopt.adopting import adopt, check, run
from tests.adopt.conftest import Project, load
from tests.cli.command import start, wait_beside
from tests.migration.engine import execute
from tests.support.postgres import PostgresServer, amid_a_copy

_SCHEMAS = ["public", 'Odd: %s "Schema".x']
_CONFIGURED = "from sqlalchemy.orm import configure_mappers; import models; configure_mappers()"


@pytest.fixture(scope="module")
def hostile(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    source = postgres_server.create_database()
    load(source, (Path(__file__).parent / "hostile.sql").read_text("utf-8"))
    directory = tmp_path_factory.mktemp("adopt") / "hostile"
    yield Project(directory, source, adopt(source, directory, target=postgres_server.admin_url))
    postgres_server.drop_database(source)


def test_it_is_proved_and_its_models_are_clean(hostile: Project) -> None:
    assert hostile.adopted.document["differences"] == []
    assert hostile.adopted.code == 0, hostile.adopted.said
    assert "span_multirange" not in hostile.adopted.said  # a cast that comes with its type
    imported = run(hostile.directory, "python", "-W", "error", "-c", _CONFIGURED)
    assert imported.returncode == 0, imported.stderr
    linted = run(hostile.directory, "ruff", "check", "--no-cache", ".")
    assert linted.returncode == 0, linted.stdout
    typed = run(hostile.directory, "mypy", "--strict", ".", f"--cache-dir={hostile.directory.parent / 'mypy'}")
    assert typed.returncode == 0, typed.stdout


async def test_the_script_makes_the_same_and_only_a_drift_is_found(hostile: Project, fresh_database: str) -> None:
    script = run(hostile.directory, "alembic", "upgrade", "head", "--sql")
    assert script.returncode == 0, script.stderr
    load(fresh_database, script.stdout)
    assert check(hostile.directory, fresh_database) == ""
    async with (
        await AsyncConnection.connect(hostile.source, autocommit=True) as source,
        await AsyncConnection.connect(fresh_database, autocommit=True) as target,
    ):
        found = differences(await read_catalog(source, _SCHEMAS), await read_catalog(target, _SCHEMAS))
        assert len(found) > 15  # as PostgreSQL words them
        assert await without_rewordings(target, found, _SCHEMAS, ()) == []
        await target.execute("ALTER TABLE orders ALTER tags SET DEFAULT ARRAY['y']::varchar[]::text[]")
        await target.execute("ALTER DOMAIN moody SET DEFAULT E'b\\r\\n\\t'")
        await target.execute("ALTER TABLE orders DROP CONSTRAINT orders_status_check")
        await target.execute("ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN ('a', 'c'))")
        found = differences(await read_catalog(source, _SCHEMAS), await read_catalog(target, _SCHEMAS))
        left = await without_rewordings(target, found, _SCHEMAS, ())
    assert [(one.kind, one.name) for one in left] == [
        ("type", "public.moody"), ("column", "public.orders.tags"), ("column", "public.heirs.tags"),
        ("constraint", "orders_status_check on public.orders"), ("constraint", "orders_status_check on public.heirs"),
    ]  # fmt: skip
    assert "modify_default" in check(hostile.directory, fresh_database)


async def test_a_difference_in_more_than_words_stays(fresh_database: str) -> None:
    execute(fresh_database, "CREATE TABLE t (id int DEFAULT 1)")
    async with await AsyncConnection.connect(fresh_database, autocommit=True) as connection:
        (item,) = [text for (kind, _), text in (await read_catalog(connection, ["public"])).items() if kind == "column"]
        other = item.replace('"not null": false', '"not null": true')
        found = [Difference("column", "public.t.id", other, item)]
        assert await without_rewordings(connection, found, ["public"], ()) == found


_OUTSIDE = """
CREATE SCHEMA "other one"; CREATE SCHEMA app;
CREATE TABLE "other one".base (id int PRIMARY KEY, k text, v text, unused text);
CREATE FUNCTION "other one".twice(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a * 2';
CREATE TABLE app.child (id int PRIMARY KEY, base int REFERENCES "other one".base, n int DEFAULT "other one".twice(1));
CREATE VIEW app.named AS SELECT id, v FROM "other one".base;
CREATE POLICY seen ON app.child USING (EXISTS (SELECT FROM "other one".base WHERE k = 'x'));
"""


def test_what_the_schemas_need_from_outside(
    fresh_database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    load(fresh_database, _OUTSIDE)
    directory = tmp_path / "app"
    adopted = adopt(fresh_database, directory, "--schemas", "app", target=postgres_server.admin_url)
    assert adopted.code == 0, adopted.said
    assert "look at: other one.base is read by a view" in adopted.said
    assert 'look at: the function "other one".twice(integer) is called, and comes along' in adopted.said
    assert '("id" integer NOT NULL, "k" text, "v" text, UNIQUE ("id"))' in (
        directory / "alembic/versions/0001_schema.sql"
    ).read_text("utf-8")
    load(fresh_database, 'CREATE TYPE "other one".mood AS ENUM (\'x\'); ALTER TABLE app.child ADD m "other one".mood')
    refused = adopt(fresh_database, tmp_path / "new", "--schemas", "app", target=postgres_server.admin_url)
    assert refused.code == 1
    assert 'needs the type "other one".mood, which does not come along' in refused.said
    assert "--schemas app,other one" in refused.said
    assert not (tmp_path / "new").exists()


def test_a_revision_that_cannot_be_run_is_made_anew(
    fresh_database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    # No dump has the cast that the view needs: it lies in no schema.
    load(
        fresh_database,
        "CREATE TYPE point2 AS (x int); CREATE FUNCTION number(point2) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE CAST (point2 AS int) WITH FUNCTION number(point2) AS IMPLICIT;"
        "CREATE TABLE points (id int PRIMARY KEY, p point2); CREATE VIEW sums AS SELECT abs(p) FROM points;",
    )
    directory = tmp_path / "points"
    first = adopt(fresh_database, directory, target=postgres_server.admin_url)
    assert first.code == 1
    assert "the revisions cannot be run: 0001_schema.sql, line" in first.said
    load(fresh_database, "DROP VIEW sums")
    second = adopt(fresh_database, directory, target=postgres_server.admin_url)
    assert (second.code, second.document["revision"], second.document["beside"]) == (0, "0001", []), second.said
    assert sorted(path.name for path in (directory / "alembic/versions").glob("0*")) == [
        "0001_schema.py",
        "0001_schema.sql",
    ]


_SCRATCHES = "SELECT datname FROM pg_database WHERE datname LIKE 'botdata_scratch%'"


@pytest.mark.separate_server  # the tests of other workers make such databases too
def test_one_that_is_stopped_leaves_nothing_behind(
    fresh_database: str, databases: PostgresServer, tmp_path: Path, programs: Path
) -> None:
    load(fresh_database, "CREATE TABLE held (id int PRIMARY KEY)")
    hanging, reached = tmp_path / "pg_dump", tmp_path / "reached"
    hanging.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {programs / "pg_dump"} --version\ntouch {reached}; exec sleep 60\n'
    )
    hanging.chmod(0o700)
    (tmp_path / "pg_restore").symlink_to(programs / "pg_restore")
    with psycopg.connect(fresh_database, autocommit=True) as looking:
        before = set(looking.execute(_SCRATCHES).fetchall())
        process = start(
            *("adopt", str(tmp_path / "new"), "--source", fresh_database, "--pg-dump", str(hanging)),
            directory=tmp_path,
            DATABASE_URL=databases.admin_url,
        )
        wait_beside(process, reached.exists)
        made = set(looking.execute(_SCRATCHES).fetchall()) - before
        assert len(made) == 1
        process.send_signal(signal.SIGTERM)
        assert process.communicate()[1].endswith("Stopped.\n")
        assert process.returncode == 130
        assert made.isdisjoint(looking.execute(_SCRATCHES).fetchall())
    assert adopt(fresh_database, tmp_path / "new", target=databases.admin_url).code == 0


async def test_a_scratch_database_goes_where_the_stop_comes_as_it_is_made(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    async def stopped(self: AsyncConnection, query: sql.Composed | str, *arguments: object) -> object:
        cursor = await execute_really(self, query, *arguments)  # type: ignore[arg-type]
        if isinstance(query, sql.Composed) and query.as_string(None).startswith("CREATE DATABASE"):
            made.append(query.as_string(None).split('"')[1])
            raise asyncio.CancelledError
        return cursor

    execute_really = AsyncConnection.execute
    monkeypatch.setattr(AsyncConnection, "execute", stopped)
    with pytest.raises(asyncio.CancelledError):
        async with scratch_database(ScratchPlaces(None, postgres_server.admin_url, None), [], []):
            pass
    (name,) = made
    with psycopg.connect(postgres_server.admin_url) as looking:
        assert looking.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall() == []


async def test_a_scratch_database_that_another_clients_copy_keeps_is_named(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ScratchPlaces(None, postgres_server.admin_url, None)
    with amid_a_copy(postgres_server.admin_url) as process, monkeypatch.context() as hurried:
        hurried.setattr("app.migration.target.database_drop._PATIENCE", 0.2)
        with pytest.raises(MigrationError, match=rf"{process} \(.*") as left:
            async with asyncio.timeout(30), scratch_database(places, [], []) as scratch:
                assert isinstance(scratch, Scratch)
    name = str(make_url(scratch.url).database)
    assert f"DROP DATABASE {name}; then: " in str(left.value.next_step)
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as tidying:
        tidying.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
