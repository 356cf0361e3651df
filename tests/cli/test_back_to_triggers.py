"""`sync --reverse` to a source with triggers, webhooks and rules: each is named, and accepted by its name."""

import json

import pytest

from tests.cli.command import Command, Outcome
from tests.migration.engine import execute, query
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = "tests.migration.silent_tables:METADATA"
_TABLES = """
CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE posts (id integer PRIMARY KEY, author integer REFERENCES users ON DELETE CASCADE, body text);
INSERT INTO users VALUES (1, 'Ann'); INSERT INTO posts VALUES (1, 1, 'said');
"""
# A webhook as Supabase makes it, whose arguments hold an address and a key; a function that calls another service; a
# table that is not moved, whose rows go with those of users; and what does not fire.
_FIRES = """
CREATE SCHEMA supabase_functions; CREATE SCHEMA net; CREATE TABLE called (what text);
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO called VALUES (TG_NAME); RETURN new; END';
CREATE FUNCTION net.http_post(url text) RETURNS bigint LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION mail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM net.http_post(url := 'https://example.test/secret'); INSERT INTO called VALUES (TG_NAME); RETURN new;
    END $$;
CREATE TRIGGER "New user" AFTER INSERT ON users FOR EACH ROW
    EXECUTE FUNCTION supabase_functions.http_request('https://example.test/secret', 'POST', '{"key":"secret"}');
CREATE TRIGGER mail AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION mail();
CREATE TRIGGER off AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION mail(); ALTER TABLE users DISABLE TRIGGER off;
CREATE TRIGGER of_replicas AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION mail();
ALTER TABLE users ENABLE REPLICA TRIGGER of_replicas;
CREATE TABLE sessions (of_user integer REFERENCES users ON DELETE CASCADE);
CREATE TRIGGER ended AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION mail();
CREATE RULE quietly AS ON DELETE TO posts DO ALSO NOTHING;
"""
_ACCEPTED = [
    "--accept", "source-rule:posts.quietly", "--accept", "source-trigger:sessions.ended",
    "--accept", "source-trigger:users.New user", "--accept", "source-trigger:users.mail",
]  # fmt: skip


@pytest.fixture
def settings(databases: PostgresServer, source_database: str, fresh_database: str) -> dict[str, str]:
    execute(source_database, f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {_TABLES}")
    execute(
        fresh_database, _TABLES.replace("INSERT INTO posts", "INSERT INTO posts SELECT 2, 1, 'more'; INSERT INTO posts")
    )
    execute(fresh_database, "UPDATE users SET name = 'Bea'; INSERT INTO users VALUES (2, 'Cid')")
    return {"DATABASE_URL": fresh_database, "MIGRATION_SOURCE": source_database, "USE_REPOSITORY_PATTERN": "true"}


def _back(command: Command, settings: dict[str, str], *more: str) -> Outcome:
    return command("sync", "--reverse", "--overwrite", "--metadata", METADATA, *more, **settings)


def test_each_is_named_and_accepted_by_its_name(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    execute(source_database, _FIRES)
    refused = _back(command, settings, *_ACCEPTED[:2])
    assert refused.code == 1
    assert "secret" not in refused.err + refused.out
    for told in (
        "trigger New user of the source's users runs supabase_functions.http_request on insert (source-trigger)",
        "trigger mail of the source's users runs mail, which calls net.http_post on update (source-trigger)",
        "trigger ended of the source's sessions runs mail, which calls net.http_post on delete (source-trigger)",
    ):
        assert told in refused.err
    assert "rule quietly" not in refused.err
    named = "source-trigger:sessions.ended --accept 'source-trigger:users.New user' --accept source-trigger:users.mail"
    assert f"--reverse --overwrite --accept source-rule:posts.quietly --accept {named}\n" in refused.err
    for bare in ("source-trigger", "source-rule"):  # each is to be named
        assert _back(command, settings, "--accept", bare).code == 2
    assert _back(command, settings, "--accept", "source-trigger:users").code == 1
    assert query(source_database, "SELECT * FROM called") == []
    planned = _back(command, settings, "--dry-run")
    assert planned.code == 0
    assert "would fire: trigger mail of the source's users runs mail" in planned.out
    assert query(source_database, "SELECT * FROM called") == []
    done = _back(command, settings, *_ACCEPTED, "--json")
    document = json.loads(done.out)
    assert (done.code, document["ok"]) == (0, True)
    assert [(one["code"], one["table"], one["name"]) for one in document["fires_at_source"]] == [
        ("source-rule", "posts", "quietly"),
        ("source-trigger", "sessions", "ended"),
        ("source-trigger", "users", "New user"),
        ("source-trigger", "users", "mail"),
    ]
    assert query(source_database, "SELECT what FROM called ORDER BY 1") == [("New user",), ("mail",)]
    again = _back(command, settings, *_ACCEPTED)
    assert "accepted: trigger mail of the source's users runs mail, which calls net.http_post on update" in again.out


def test_an_event_trigger_fires_beside_a_partitioned_table_alone(
    command: Command, settings: dict[str, str], source_database: str
) -> None:
    execute(
        source_database,
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''seen''; END'; "
        "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch(); "
        "CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION watch(); "
        "CREATE EVENT TRIGGER of_views ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION watch()",
    )
    assert _back(command, settings).code == 0
    execute(
        source_database,
        "ALTER TABLE posts RENAME TO old; CREATE TABLE posts (LIKE old INCLUDING ALL) PARTITION BY RANGE (id); "
        "CREATE TABLE part PARTITION OF posts DEFAULT",
    )
    refused = _back(command, settings)
    assert (refused.code, refused.err.count("source-event-trigger")) == (1, 2)
    assert "event trigger watch of the source runs watch (source-event-trigger)" in refused.err
    assert _back(command, settings, "--accept", "source-event-trigger:watch").code == 0


def test_over_rest_nothing_is_seen(
    command: Command, settings: dict[str, str], pages: PageServer, source_database: str
) -> None:
    execute(source_database, _FIRES)
    del settings["MIGRATION_SOURCE"]
    settings |= {"SUPABASE_URL": pages.url, "SUPABASE_KEY": pages.service_key}
    refused = _back(command, settings)
    assert (refused.code, "over REST the triggers, webhooks, rules and event triggers" in refused.err) == (1, True)
    assert query(source_database, "SELECT * FROM called") == []
    done = _back(command, settings, "--accept", "source-triggers-unseen")
    assert "accepted: over REST the triggers, webhooks, rules and event triggers of the source are not seen" in done.out


def test_it_goes_with_the_way_back_only(command: Command, settings: dict[str, str]) -> None:
    outcome = command("sync", "--metadata", METADATA, "--accept", "source-triggers-unseen", **settings)
    assert (outcome.code, "it goes with --reverse only" in outcome.err) == (2, True)
