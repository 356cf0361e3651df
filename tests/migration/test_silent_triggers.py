"""Triggers and rules of the target are silent in the program's own transactions, and fire for everybody else."""

from typing import Any

import pytest
from psycopg import AsyncConnection
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.engine import make_url

from app.migration.copy import range_loader
from app.migration.load import loader
from app.migration.preflight.findings import PreflightReport
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.tables.described_table import describe
from app.migration.tables.metadata import select_tables
from app.migration.target.interference import silenced
from app.migration.target.target_session import open_target
from app.state.runs.runs import begin
from app.state.tool_schema import ensure_tool_schema
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import Told, copy_from, execute, query, row_texts, value
from tests.migration.silent_tables import CHOSEN, METADATA, ROWS, STATES, TABLES, TARGET, TRIGGERS
from tests.migration.two_ends import sync_from
from tests.preflight.looking import codes, look


async def test_nothing_fires_in_a_copy_and_in_a_sync(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(TABLES + ROWS)
    execute(fresh_database, TARGET)
    told = Told()
    report = await copy_from(source, fresh_database, CHOSEN, told=told)
    assert (report.complete, report.broken) == (True, ())
    assert [one for one in told.notices if "compared" in one] == []
    execute(
        source.database_url,
        "INSERT INTO users VALUES (10, 'ten'); INSERT INTO posts VALUES (10, 10, 'ten'); "
        "UPDATE posts SET body = 'changed' WHERE id = 2; DELETE FROM posts WHERE id = 3; "
        "DELETE FROM users WHERE id = 3",
    )
    synced = await sync_from(source, fresh_database, CHOSEN)
    assert (synced.complete, synced.tables["posts"].deleted) == (True, 1)
    for table in ("users", "posts"):
        assert row_texts(fresh_database, table) == row_texts(source.database_url, table)
    assert query(fresh_database, "SELECT * FROM profiles") == []
    assert query(fresh_database, STATES) == [("posts_author", "validated")]
    assert value(fresh_database, "SELECT convalidated FROM pg_constraint WHERE conname = 'posts_author'")
    # For everybody else nothing has changed.
    assert query(fresh_database, "SELECT DISTINCT tgenabled::text FROM pg_trigger") == [("O",)]
    execute(fresh_database, "INSERT INTO users VALUES (11, 'eleven')")
    assert query(fresh_database, "SELECT id FROM profiles") == [(11,)]


async def test_they_fire_for_others_meanwhile_and_what_the_tool_remembers_is_checked(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(TABLES + ROWS)
    execute(fresh_database, TARGET)
    roles = []

    async def record(connection: Any, run: int, table: str, loaded: Any, **more: Any) -> None:
        if table == "users" and not query(fresh_database, "SELECT FROM profiles"):
            execute(fresh_database, "INSERT INTO users VALUES (100, 'of the application')")
        cursor = await connection.execute("SHOW session_replication_role")
        roles.append((await cursor.fetchone())[0])
        await original(connection, run, table, loaded, **more)

    original = loader.record_loaded
    for module in (loader, range_loader):
        monkeypatch.setattr(module, "record_loaded", record)
    await copy_from(source, fresh_database, CHOSEN)
    assert query(fresh_database, "SELECT id FROM profiles") == [(100,)]
    assert set(roles) == {"replica"}


async def test_only_the_part_that_writes_is_silent(fresh_database: str) -> None:
    """What the same transaction does afterwards is checked, and a part that is rolled back leaves nothing either."""
    execute(fresh_database, TARGET)

    async def role(connection: AsyncConnection) -> object:
        row = await (await connection.execute("SHOW session_replication_role")).fetchone()
        return row and row[0]

    async with open_target(fresh_database, step="test") as connection:
        await ensure_tool_schema(connection)
        run = await begin(connection, "copy", "s")
        table = await describe(connection, METADATA.tables["posts"], step="test")
        async with connection.transaction():
            async with silenced(connection, run, table):
                assert await role(connection) == "replica"
            assert await role(connection) == "origin"
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction(), silenced(connection, run, table):
                    raise ZeroDivisionError
            assert await role(connection) == "origin"
        assert await role(connection) == "origin"


async def _look(source: Source, target: str, *accept: str) -> PreflightReport:
    return await look(source, target, tables=CHOSEN, examine=examine_against(CHOSEN), accept=accept)


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_what_cannot_be_silent_is_named(make_source: MakeSource, fresh_database: str) -> None:
    """A deferrable unique constraint is kept by a trigger of PostgreSQL's own, which would be silent too."""
    source = make_source(TABLES + ROWS)
    execute(fresh_database, TARGET)
    silent = await _look(source, fresh_database)
    assert codes(silent) == []
    assert sorted(code for code in codes(silent, "notice") if "silent" in code) == [
        "target-rule-silent posts", "target-trigger-silent posts", "target-trigger-silent users",
    ]  # fmt: skip
    execute(fresh_database, "ALTER TABLE users ADD position integer UNIQUE DEFERRABLE")
    execute(fresh_database, "ALTER TABLE posts ENABLE REPLICA TRIGGER touch")
    seen = await _look(source, fresh_database)
    assert [(one.accepted_as, "a deferrable constraint" in one.remedy) for one in seen.errors] == [
        ("target-trigger-on-insert:posts.touch", False),
        ("target-trigger-on-insert:users.on_user_created", True),
    ]
    assert "ENABLE REPLICA TRIGGER touch" in seen.errors[0].remedy
    assert (await _look(source, fresh_database, *(one.accepted_as for one in seen.errors))).clear
    await copy_from(source, fresh_database, CHOSEN)
    assert len(query(fresh_database, "SELECT FROM profiles")) == 9
    assert query(fresh_database, "SELECT DISTINCT body FROM posts") == [("touched",)]


@pytest.mark.separate_server
@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_role_needs_the_grant(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(TABLES + ROWS)
    name = value(fresh_database, "SELECT current_database()")
    role = f"mover_{name}"
    execute(fresh_database, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'mover'")
    try:
        execute(
            fresh_database, f'GRANT CREATE ON DATABASE "{name}" TO "{role}"; GRANT ALL ON SCHEMA public TO "{role}"'
        )
        target = make_url(fresh_database).set(username=role, password="mover").render_as_string(hide_password=False)
        execute(target, TARGET.replace("CREATE RULE keep AS ON DELETE TO posts DO INSTEAD NOTHING;", ""))
        refused = await _look(source, target)
        assert codes(refused) == ["target-trigger-on-insert posts", "target-trigger-on-insert users"]
        if value(target, "SELECT current_setting('server_version_num')::integer") < 150000:
            assert "GRANT" not in refused.errors[0].remedy
            return
        grant = f"GRANT SET ON PARAMETER session_replication_role TO {role}"
        assert grant in refused.errors[0].remedy
        execute(fresh_database, grant)
        assert (await _look(source, target)).clear
        assert (await copy_from(source, target, CHOSEN)).complete
        assert query(target, "SELECT * FROM profiles") == []
        assert row_texts(target, "posts") == row_texts(source.database_url, "posts")
    finally:
        execute(fresh_database, f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_table_without_a_key_is_replaced_without_its_triggers(
    make_source: MakeSource, fresh_database: str
) -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", Integer), Column("name", Text))
    chosen = select_tables(metadata)
    bare = "CREATE TABLE users (id integer, name text); "
    source = make_source(f"{bare}INSERT INTO users VALUES (1, 'a'), (1, 'a'), (2, 'b')")
    execute(fresh_database, TABLES.replace(" PRIMARY KEY", "") + TRIGGERS)
    assert (await copy_from(source, fresh_database, chosen)).complete
    execute(source.database_url, "DELETE FROM users WHERE id = 2; INSERT INTO users VALUES (3, 'c')")
    assert (await sync_from(source, fresh_database, chosen)).complete
    assert row_texts(fresh_database, "users") == row_texts(source.database_url, "users")
    assert query(fresh_database, "SELECT * FROM profiles") == []
