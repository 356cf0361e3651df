"""Triggers and rules of the target are silent in the program's own transactions, and foreign keys proved afterwards."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from psycopg import AsyncConnection
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.engine import make_url

from app.cutover.moves.gates.copied_gate import foreign_keys as keys_gate
from app.cutover.stages import Store
from app.errors import MigrationError
from app.migration.copy import range_loader
from app.migration.load import loader
from app.migration.preflight.findings import PreflightReport
from app.migration.preflight.schemas.target_state import examine_against
from app.migration.quarantine.replay import replay
from app.migration.runs.status import read_status
from app.migration.tables.described_table import describe
from app.migration.tables.selected_tables import select_tables
from app.migration.tables.silence import BE_SILENT
from app.migration.target import foreign_keys
from app.migration.target.interference import silenced
from app.migration.target.target_session import open_target
from app.migration.verify.options import VerifyOptions
from app.state.runs.foreign_keys import note_unproved
from app.state.runs.runs import begin
from app.state.tool_schema import ensure_tool_schema
from tests.cli.command import Command
from tests.cutover.forward import until
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import Told, copy_from, execute, query, row_texts, value, verify_from
from tests.migration.two_ends import sync_from
from tests.preflight.looking import codes, look

METADATA = MetaData()
Table("users", METADATA, Column("id", Integer, primary_key=True), Column("name", Text))
Table("posts", METADATA, Column("id", Integer, primary_key=True), Column("author", Integer), Column("body", Text))
_CHOSEN = select_tables(METADATA)
_TABLES = """
CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE posts (id integer PRIMARY KEY, author integer, body text);
"""
_ROWS = (
    "INSERT INTO users SELECT n, 'name' FROM generate_series(1, 9) n; INSERT INTO posts SELECT id, id, 'b' FROM users;"
)
_KEY = "ALTER TABLE posts ADD CONSTRAINT posts_author FOREIGN KEY (author) REFERENCES users ON DELETE CASCADE;"
# One writes elsewhere, one changes rows and one keeps them.
_TRIGGERS = """
CREATE TABLE profiles (id integer);
CREATE FUNCTION handle_new_user() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO profiles VALUES (new.id); RETURN new; END';
CREATE TRIGGER on_user_created AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION handle_new_user();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.body := ''touched''; RETURN new; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE keep AS ON DELETE TO posts DO INSTEAD NOTHING;
"""
_TARGET = _TABLES + _KEY + _TRIGGERS
_STATES = "SELECT name, state FROM botdata.foreign_keys ORDER BY 1"
_FIX = VerifyOptions(fix=True, pause=0.01)


async def test_nothing_fires_in_a_copy_and_in_a_sync(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TARGET)
    told = Told()
    report = await copy_from(source, fresh_database, _CHOSEN, told=told)
    assert (report.complete, report.broken) == (True, ())
    assert [one for one in told.notices if "compared" in one] == []
    execute(
        source.database_url,
        "INSERT INTO users VALUES (10, 'ten'); INSERT INTO posts VALUES (10, 10, 'ten'); "
        "UPDATE posts SET body = 'changed' WHERE id = 2; DELETE FROM posts WHERE id = 3; "
        "DELETE FROM users WHERE id = 3",
    )
    synced = await sync_from(source, fresh_database, _CHOSEN)
    assert (synced.complete, synced.tables["posts"].deleted) == (True, 1)
    for table in ("users", "posts"):
        assert row_texts(fresh_database, table) == row_texts(source.database_url, table)
    assert query(fresh_database, "SELECT * FROM profiles") == []
    assert query(fresh_database, _STATES) == [("posts_author", "validated")]
    assert value(fresh_database, "SELECT convalidated FROM pg_constraint WHERE conname = 'posts_author'")
    # For everybody else nothing has changed.
    assert query(fresh_database, "SELECT DISTINCT tgenabled::text FROM pg_trigger") == [("O",)]
    execute(fresh_database, "INSERT INTO users VALUES (11, 'eleven')")
    assert query(fresh_database, "SELECT id FROM profiles") == [(11,)]


async def test_they_fire_for_others_meanwhile_and_what_the_tool_remembers_is_checked(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TARGET)
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
    await copy_from(source, fresh_database, _CHOSEN)
    assert query(fresh_database, "SELECT id FROM profiles") == [(100,)]
    assert set(roles) == {"replica"}


async def test_only_the_part_that_writes_is_silent(fresh_database: str) -> None:
    """What the same transaction does afterwards is checked, and a part that is rolled back leaves nothing either."""
    execute(fresh_database, _TARGET)

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


_WAITING = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    "WHERE NOT granted AND datname = current_database()"
)


async def test_a_proof_waits_for_those_who_could_not_see_our_rows(fresh_database: str) -> None:
    """A session that deletes a parent looks for its children: it did before ours came."""
    execute(fresh_database, _TABLES + _KEY + "INSERT INTO users VALUES (3, 'name')")
    async with open_target(fresh_database, step="test") as connection, open_target(fresh_database, step="x") as other:
        await ensure_tool_schema(connection)
        async with other.transaction():
            await other.execute("DELETE FROM users")
            async with connection.transaction():
                await note_unproved(connection, await begin(connection, "copy", "s"), "posts")
                await connection.execute(BE_SILENT)
                await connection.execute("INSERT INTO posts VALUES (1, 3, 'b')")
            proving = asyncio.create_task(foreign_keys.prove(connection))
            await until(lambda: proving.done() or bool(value(fresh_database, _WAITING)))
        assert [(one.name, one.orphans) for one in await proving] == [("posts_author", 1)]


_PLANT = "SET session_replication_role = replica; {}"


async def test_a_fix_proves_the_keys_that_stay(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TARGET)
    assert (await copy_from(source, fresh_database, _CHOSEN)).complete
    assert (await verify_from(source, fresh_database, _CHOSEN)).clean
    execute(fresh_database, _PLANT.format("DELETE FROM users WHERE id = 3; UPDATE posts SET body = 'x' WHERE id > 2"))
    posts = select_tables(METADATA, names=["posts"])
    with pytest.raises(MigrationError) as stopped:
        await verify_from(source, fresh_database, posts, options=_FIX)
    assert "posts_author of posts is marked valid, and is not: 1 rows lack the row of users that" in str(stopped.value)
    assert query(fresh_database, str(stopped.value).partition("as this lists: ")[2]) == [(3, 3, "b")]
    assert query(fresh_database, _STATES) == [("posts_author", "unproved")]
    seen = await verify_from(source, fresh_database, posts)
    assert (seen.clean, seen.tables[0].clean, seen.unproved) == (False, True, ("posts_author of posts",))
    status = await read_status(fresh_database)
    assert [(one.name, one.state) for one in status.foreign_keys] == [("posts_author", "unproved")]
    async with open_target(fresh_database, step="test") as connection:
        (objection,) = await keys_gate(connection, Store.SUPABASE)
        assert objection.what == "foreign keys that are not proved: posts_author of posts"
        assert (await keys_gate(connection, Store.POSTGRES))[0].remedy.startswith("botdata sync --reverse")
    fixed = await verify_from(source, fresh_database, _CHOSEN, options=_FIX)
    assert (fixed.clean, fixed.unproved) == (True, ())
    assert query(fresh_database, "SELECT * FROM profiles") == []
    assert query(fresh_database, _STATES) == [("posts_author", "validated")]
    assert (await verify_from(source, fresh_database, _CHOSEN)).clean


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
def test_the_commands_say_that_nothing_is_verified(
    make_source: MakeSource, fresh_database: str, command: Command
) -> None:
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TARGET)
    asyncio.run(copy_from(source, fresh_database, _CHOSEN))
    execute(fresh_database, "UPDATE botdata.foreign_keys SET state = 'unproved'")
    status = command("status", DATABASE_URL=fresh_database).out
    assert "foreign key posts_author of posts: unproved; the run proves it before it is complete" in status
    line = ["verify", "--metadata", "tests.migration.test_silent_triggers:METADATA", "--source", source.url]
    shown = command(*line, DATABASE_URL=fresh_database)
    assert (shown.code, "verified:" in shown.out) == (1, False)
    assert "NOT PROVED YET, although marked valid: foreign keys posts_author of posts." in shown.out
    assert re.search("Next: botdata verify .*--fix, which proves the foreign keys", shown.out)
    document = json.loads(command(*line, "--json", DATABASE_URL=fresh_database).out)
    assert (document["ok"], document["unproved_foreign_keys"]) == (False, ["posts_author of posts"])
    assert command(*line, "--fix", DATABASE_URL=fresh_database).code == 0
    assert "verified: 18 rows, no difference" in command(*line, DATABASE_URL=fresh_database).out


_Run = Callable[[Source, str], Awaitable[object]]


async def _reverse(source: Source, target: str) -> object:
    return await sync_from(source, target, _CHOSEN, reverse=True, target_in_use=True)


@pytest.mark.parametrize(
    "run",
    [
        lambda source, target: verify_from(source, target, _CHOSEN, options=_FIX),
        lambda source, target: copy_from(source, target, _CHOSEN),
        lambda source, target: sync_from(source, target, _CHOSEN),
        _reverse,
        lambda source, target: replay(target, METADATA),
    ],
    ids=["verify --fix", "copy", "sync", "sync --reverse", "quarantine replay"],
)
@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_whatever_runs_after_a_killed_run_proves_what_is_left(
    make_source: MakeSource, fresh_database: str, monkeypatch: pytest.MonkeyPatch, run: _Run
) -> None:
    class Killed(BaseException):
        """Nothing handles it, as nothing handles a SIGKILL."""

    async def killed(*arguments: object) -> None:
        raise Killed

    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TARGET)
    await copy_from(source, fresh_database, _CHOSEN)
    execute(fresh_database, _PLANT.format("UPDATE posts SET body = 'x'"))
    with monkeypatch.context() as patch:
        patch.setattr(foreign_keys, "_prove", killed)
        with pytest.raises(Killed):
            await verify_from(source, fresh_database, _CHOSEN, options=_FIX)
    assert query(fresh_database, _STATES) == [("posts_author", "unproved")]
    execute(fresh_database, "INSERT INTO users VALUES (10, 'ten')")
    execute(fresh_database, _PLANT.format("DELETE FROM users WHERE id = 10"))
    assert query(fresh_database, "SELECT id FROM profiles") == [(10,)]
    await run(source, fresh_database)
    assert query(fresh_database, _STATES) == [("posts_author", "validated")]
    assert (await verify_from(source, fresh_database, _CHOSEN)).clean


_ALL_KINDS = """
CREATE COLLATION "Other" FROM "C";
CREATE TABLE wide (a bigint, b text, c integer UNIQUE, PRIMARY KEY (a, b), UNIQUE (b));
CREATE TABLE simple (a integer, b text, FOREIGN KEY (a, b) REFERENCES wide);
CREATE TABLE "Full" (a integer, b text, FOREIGN KEY (a, b) REFERENCES wide MATCH FULL);
CREATE TABLE other (b text COLLATE "Other" REFERENCES wide (b));
CREATE TABLE itself (id integer PRIMARY KEY, up integer REFERENCES itself);
CREATE TABLE heir (LIKE itself) INHERITS (itself);
CREATE TABLE whole (id integer PRIMARY KEY, c integer REFERENCES wide (c)) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (10);
CREATE TABLE part_too PARTITION OF whole FOR VALUES FROM (10) TO (20);
CREATE TABLE of_whole (id integer REFERENCES whole);
CREATE TABLE lax (c integer); INSERT INTO lax VALUES (-1);
ALTER TABLE lax ADD FOREIGN KEY (c) REFERENCES wide (c) NOT VALID;
INSERT INTO wide VALUES (1, 'one', 1), (2, 'two', 2);
"""


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("INSERT INTO simple VALUES (1, 'one'), (7, NULL), (NULL, 'x')", None),
        ("INSERT INTO simple VALUES (1, 'two')", "simple_a_b_fkey"),
        ("INSERT INTO \"Full\" VALUES (2, 'two'), (NULL, NULL)", None),
        ('INSERT INTO "Full" VALUES (1, NULL)', "Full_a_b_fkey"),
        ("INSERT INTO other VALUES ('one'), (NULL)", None),
        ("INSERT INTO other VALUES ('One')", "other_b_fkey"),
        ("INSERT INTO itself VALUES (1, 1), (2, 1)", None),
        ("INSERT INTO heir VALUES (5, 6)", None),  # the foreign key is not the heir's
        ("INSERT INTO heir VALUES (5, 6); INSERT INTO itself VALUES (1, 5)", "itself_up_fkey"),  # nor its rows a parent
        ("INSERT INTO whole VALUES (1, 1), (11, 2); INSERT INTO of_whole VALUES (1), (11)", None),
        ("INSERT INTO part_too VALUES (11, 8)", "whole_c_fkey"),
        ("INSERT INTO of_whole VALUES (12)", "of_whole_id_fkey"),
    ],
)
async def test_a_proof_finds_what_postgresql_would(fresh_database: str, statement: str, broken: str | None) -> None:
    execute(fresh_database, _ALL_KINDS)
    execute(fresh_database, _PLANT.format(statement))
    async with open_target(fresh_database, step="test", exclusive=True) as connection:
        await ensure_tool_schema(connection)
        run = await begin(connection, "copy", "s")
        for table in ("wide", 'public."Full"', "itself", "part", "public.of_whole"):
            await note_unproved(connection, run, table)
        noted = [name for name, _ in query(fresh_database, _STATES)]
        assert noted == sorted(
            ["Full_a_b_fkey", "itself_up_fkey", "of_whole_id_fkey", "other_b_fkey", "simple_a_b_fkey", "whole_c_fkey"]
        )
        found = await foreign_keys.prove(connection)
    assert [(one.name, one.orphans) for one in found] == ([(broken, 1)] if broken else [])
    still = [name for name, state in query(fresh_database, _STATES) if state == "unproved"]
    assert still == ([broken] if broken else [])
    execute(fresh_database, "DROP TABLE simple, other, itself, whole, wide CASCADE")
    async with open_target(fresh_database, step="test") as connection:
        assert await foreign_keys.prove(connection) == []
        assert await foreign_keys.unproved_keys(connection) == []


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_key_that_a_partition_alone_has(make_source: MakeSource, fresh_database: str) -> None:
    """It stays on its table during a copy, and is not checked."""
    source = make_source(_TABLES + _ROWS)
    parted = _TABLES.replace("body text)", "body text) PARTITION BY RANGE (id)")
    parts = "CREATE TABLE portion PARTITION OF posts FOR VALUES FROM (0) TO (100);"
    users = _ROWS.partition(";")[0]
    execute(fresh_database, f"{parted}{parts}{users};{_KEY.replace('TABLE posts', 'TABLE portion')}{_TRIGGERS}")
    posts = select_tables(METADATA, names=["posts"])
    report = await copy_from(source, fresh_database, posts)
    assert (report.complete, query(fresh_database, _STATES)) == (True, [("posts_author", "validated")])
    execute(source.database_url, "INSERT INTO posts VALUES (10, 99, 'b')")
    again = await copy_from(source, fresh_database, posts)
    (broken,) = again.broken
    assert (again.complete, broken.table, broken.marked_valid, broken.orphans) == (False, "portion", True, 1)
    execute(fresh_database, "INSERT INTO users VALUES (99, 'at last')")
    assert (await copy_from(source, fresh_database, posts)).complete


async def _look(source: Source, target: str, *accept: str) -> PreflightReport:
    return await look(source, target, tables=_CHOSEN, examine=examine_against(_CHOSEN), accept=accept)


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_what_cannot_be_silent_is_named(make_source: MakeSource, fresh_database: str) -> None:
    """A deferrable unique constraint is kept by a trigger of PostgreSQL's own, which would be silent too."""
    source = make_source(_TABLES + _ROWS)
    execute(fresh_database, _TARGET)
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
    await copy_from(source, fresh_database, _CHOSEN)
    assert len(query(fresh_database, "SELECT FROM profiles")) == 9
    assert query(fresh_database, "SELECT DISTINCT body FROM posts") == [("touched",)]


@pytest.mark.separate_server
@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_role_needs_the_grant(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(_TABLES + _ROWS)
    name = value(fresh_database, "SELECT current_database()")
    role = f"mover_{name}"
    execute(fresh_database, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'mover'")
    try:
        execute(
            fresh_database, f'GRANT CREATE ON DATABASE "{name}" TO "{role}"; GRANT ALL ON SCHEMA public TO "{role}"'
        )
        target = make_url(fresh_database).set(username=role, password="mover").render_as_string(hide_password=False)
        execute(target, _TARGET.replace("CREATE RULE keep AS ON DELETE TO posts DO INSTEAD NOTHING;", ""))
        refused = await _look(source, target)
        assert codes(refused) == ["target-trigger-on-insert posts", "target-trigger-on-insert users"]
        if value(target, "SELECT current_setting('server_version_num')::integer") < 150000:
            assert "GRANT" not in refused.errors[0].remedy
            return
        grant = f"GRANT SET ON PARAMETER session_replication_role TO {role}"
        assert grant in refused.errors[0].remedy
        execute(fresh_database, grant)
        assert (await _look(source, target)).clear
        assert (await copy_from(source, target, _CHOSEN)).complete
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
    execute(fresh_database, _TABLES.replace(" PRIMARY KEY", "") + _TRIGGERS)
    assert (await copy_from(source, fresh_database, chosen)).complete
    execute(source.database_url, "DELETE FROM users WHERE id = 2; INSERT INTO users VALUES (3, 'c')")
    assert (await sync_from(source, fresh_database, chosen)).complete
    assert row_texts(fresh_database, "users") == row_texts(source.database_url, "users")
    assert query(fresh_database, "SELECT * FROM profiles") == []
