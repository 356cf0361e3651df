"""Foreign keys that are not checked while the program writes are proved afterwards, after a kill by the next run."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import pytest

from app.cutover.moves.gates.copied_gate import foreign_keys as keys_gate
from app.cutover.stages import Store
from app.errors import MigrationError
from app.migration.quarantine.replay import replay
from app.migration.runs.status import read_status
from app.migration.tables.metadata import select_tables
from app.migration.tables.put_aside import BE_SILENT
from app.migration.target import foreign_keys
from app.migration.target.target_session import open_target
from app.migration.verify.options import VerifyOptions
from app.state.runs.foreign_keys import note_unproved
from app.state.runs.runs import begin
from app.state.tool_schema import ensure_tool_schema
from tests.cli.command import Command
from tests.cutover.forward import until
from tests.fixtures.sources import MakeSource, Source
from tests.migration.engine import copy_from, execute, query, value, verify_from
from tests.migration.silent_tables import CHOSEN, KEY, METADATA, ROWS, STATES, TABLES, TARGET, TRIGGERS
from tests.migration.two_ends import sync_from

_FIX = VerifyOptions(fix=True, pause=0.01)
_WAITING = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    "WHERE NOT granted AND datname = current_database()"
)


async def test_a_proof_waits_for_those_who_could_not_see_our_rows(fresh_database: str) -> None:
    """A session that deletes a parent looks for its children: it did before ours came."""
    execute(fresh_database, TABLES + KEY + "INSERT INTO users VALUES (3, 'name')")
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
        assert [(one.key.name, one.orphans) for one in await proving] == [("posts_author", 1)]


_PLANT = "SET session_replication_role = replica; {}"


async def test_a_fix_proves_the_keys_that_stay(make_source: MakeSource, fresh_database: str) -> None:
    source = make_source(TABLES + ROWS)
    execute(fresh_database, TARGET)
    assert (await copy_from(source, fresh_database, CHOSEN)).complete
    assert (await verify_from(source, fresh_database, CHOSEN)).clean
    execute(fresh_database, _PLANT.format("DELETE FROM users WHERE id = 3; UPDATE posts SET body = 'x' WHERE id > 2"))
    posts = select_tables(METADATA, names=["posts"])
    with pytest.raises(MigrationError) as stopped:
        await verify_from(source, fresh_database, posts, options=_FIX)
    assert "posts_author of posts is marked valid, and is not: 1 rows lack the row of users that" in str(stopped.value)
    assert query(fresh_database, str(stopped.value).partition("as this lists: ")[2]) == [(3, 3, "b")]
    assert query(fresh_database, STATES) == [("posts_author", "unproved")]
    seen = await verify_from(source, fresh_database, posts)
    assert (seen.clean, seen.tables[0].clean, seen.unproved) == (False, True, ("posts_author of posts",))
    status = await read_status(fresh_database)
    assert [(one.name, one.state) for one in status.foreign_keys] == [("posts_author", "unproved")]
    async with open_target(fresh_database, step="test") as connection:
        (objection,) = await keys_gate(connection, Store.SUPABASE)
        assert objection.what == "foreign keys that are not proved: posts_author of posts"
        assert (await keys_gate(connection, Store.POSTGRES))[0].remedy.startswith("botdata sync --reverse")
    fixed = await verify_from(source, fresh_database, CHOSEN, options=_FIX)
    assert (fixed.clean, fixed.unproved) == (True, ())
    assert query(fresh_database, "SELECT * FROM profiles") == []
    assert query(fresh_database, STATES) == [("posts_author", "validated")]
    assert (await verify_from(source, fresh_database, CHOSEN)).clean


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
def test_the_commands_say_that_nothing_is_verified(
    make_source: MakeSource, fresh_database: str, command: Command
) -> None:
    source = make_source(TABLES + ROWS)
    execute(fresh_database, TARGET)
    asyncio.run(copy_from(source, fresh_database, CHOSEN))
    execute(fresh_database, "UPDATE botdata.foreign_keys SET state = 'unproved'")
    status = command("status", DATABASE_URL=fresh_database).out
    assert "foreign key posts_author of posts: unproved; the run proves it before it is complete" in status
    line = ["verify", "--metadata", "tests.migration.silent_tables:METADATA", "--source", source.url]
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
    return await sync_from(source, target, CHOSEN, reverse=True, target_in_use=True)


@pytest.mark.parametrize(
    "run",
    [
        lambda source, target: verify_from(source, target, CHOSEN, options=_FIX),
        lambda source, target: copy_from(source, target, CHOSEN),
        lambda source, target: sync_from(source, target, CHOSEN),
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

    source = make_source(TABLES + ROWS)
    execute(fresh_database, TARGET)
    await copy_from(source, fresh_database, CHOSEN)
    execute(fresh_database, _PLANT.format("UPDATE posts SET body = 'x'"))
    with monkeypatch.context() as patch:
        patch.setattr(foreign_keys, "_prove", killed)
        with pytest.raises(Killed):
            await verify_from(source, fresh_database, CHOSEN, options=_FIX)
    assert query(fresh_database, STATES) == [("posts_author", "unproved")]
    execute(fresh_database, "INSERT INTO users VALUES (10, 'ten')")
    execute(fresh_database, _PLANT.format("DELETE FROM users WHERE id = 10"))
    assert query(fresh_database, "SELECT id FROM profiles") == [(10,)]
    await run(source, fresh_database)
    assert query(fresh_database, STATES) == [("posts_author", "validated")]
    assert (await verify_from(source, fresh_database, CHOSEN)).clean


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
        noted = [name for name, _ in query(fresh_database, STATES)]
        assert noted == sorted(
            ["Full_a_b_fkey", "itself_up_fkey", "of_whole_id_fkey", "other_b_fkey", "simple_a_b_fkey", "whole_c_fkey"]
        )
        found = await foreign_keys.prove(connection)
    assert [(one.key.name, one.orphans) for one in found] == ([(broken, 1)] if broken else [])
    still = [name for name, state in query(fresh_database, STATES) if state == "unproved"]
    assert still == ([broken] if broken else [])
    execute(fresh_database, "DROP TABLE simple, other, itself, whole, wide CASCADE")
    async with open_target(fresh_database, step="test") as connection:
        assert await foreign_keys.prove(connection) == []
        assert await foreign_keys.unproved_keys(connection) == []


@pytest.mark.parametrize("make_source", ["connection"], indirect=True)
async def test_a_key_that_a_partition_alone_has(make_source: MakeSource, fresh_database: str) -> None:
    """It stays on its table during a copy, and is not checked."""
    source = make_source(TABLES + ROWS)
    parted = TABLES.replace("body text)", "body text) PARTITION BY RANGE (id)")
    parts = "CREATE TABLE portion PARTITION OF posts FOR VALUES FROM (0) TO (100);"
    users = ROWS.partition(";")[0]
    execute(fresh_database, f"{parted}{parts}{users};{KEY.replace('TABLE posts', 'TABLE portion')}{TRIGGERS}")
    posts = select_tables(METADATA, names=["posts"])
    report = await copy_from(source, fresh_database, posts)
    assert (report.complete, query(fresh_database, STATES)) == (True, [("posts_author", "validated")])
    execute(source.database_url, "INSERT INTO posts VALUES (10, 99, 'b')")
    again = await copy_from(source, fresh_database, posts)
    (broken,) = again.broken
    assert (again.complete, broken.key.of_table, broken.key.state, broken.orphans) == (False, "portion", "unproved", 1)
    execute(fresh_database, "INSERT INTO users VALUES (99, 'at last')")
    assert (await copy_from(source, fresh_database, posts)).complete
