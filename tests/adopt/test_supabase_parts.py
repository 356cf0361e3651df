"""What a project uses of Supabase's own schemas is made in the target, as far as it is used, or named."""

import json
from pathlib import Path

import psycopg

from tests.adopt.adopting import adopt, check, run
from tests.adopt.conftest import load
from tests.support.postgres import PostgresServer

_PROJECT = """
CREATE SCHEMA auth; CREATE SCHEMA storage; CREATE SCHEMA supabase_functions; CREATE SCHEMA vault;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, raw_user_meta_data jsonb, encrypted_password text);
CREATE TABLE storage.objects (id uuid PRIMARY KEY, name text, owner uuid);
CREATE TABLE storage.buckets (name text, limits int[], id uuid PRIMARY KEY, public boolean);
CREATE TYPE auth.level AS ENUM ('one', 'two');
CREATE TABLE auth.sessions (begun timestamptz, level auth.level, levels auth.level[], id uuid PRIMARY KEY);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT NULL::uuid';
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE plpgsql AS
    $$ BEGIN RETURN string_to_array(name, '/'); END $$;
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TABLE orders (id int PRIMARY KEY, buyer uuid REFERENCES auth.users (id), file text);
CREATE TRIGGER tell AFTER INSERT ON orders FOR EACH ROW
    EXECUTE FUNCTION supabase_functions.http_request('https://hooks.example.test', 'POST');
CREATE VIEW buyers AS SELECT u.id, u.email FROM auth.users u JOIN orders o ON o.buyer = u.id;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders USING (buyer = auth.uid());
CREATE POLICY files ON orders FOR INSERT WITH CHECK (
    (storage.foldername(file))[1] = 'a' AND EXISTS (SELECT FROM storage.objects o WHERE o.owner = orders.buyer));
CREATE FUNCTION is_open(bucket storage.buckets) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN bucket.public; END';
CREATE FUNCTION all_open(buckets storage.buckets[]) RETURNS int LANGUAGE sql RETURN array_length(buckets, 1);
CREATE VIEW sessions AS SELECT count(*) FROM auth.sessions;
CREATE FUNCTION nickname(who uuid) RETURNS text LANGUAGE sql
    BEGIN ATOMIC SELECT raw_user_meta_data ->> 'nick' FROM auth.users WHERE id = who; END;
"""


def test_what_is_used_is_there(
    fresh_database: str, postgres_server: PostgresServer, databases: PostgresServer, tmp_path: Path
) -> None:
    load(fresh_database, _PROJECT)
    project, target = tmp_path / "shop", databases.create_database()
    adopted = adopt(fresh_database, project, target=postgres_server.admin_url)
    assert adopted.code == 1  # the webhook is not made by itself
    assert [one["name"] for one in adopted.document["differences"]] == ["tell on public.orders"]
    notes = " ".join(adopted.document["notes"])
    assert "trigger tell on public.orders calls Supabase's supabase_functions.http_request" in notes
    assert "the function storage.foldername(pg_catalog.text) is called, and comes along" in notes
    assert "auth.users is not part of the move" in notes
    upgraded = run(project, "alembic", "upgrade", "head", target=target)
    assert upgraded.returncode == 0, upgraded.stderr
    assert check(project, target) == ""
    for column in ("level", "levels"):
        assert f"auth.sessions.{column} is left out of these" in notes
    columns = (
        "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = '{}'::regclass AND attnum > 0"
    )
    somebody = "7b4c3ad0-0000-4000-8000-000000000001"
    with psycopg.connect(target) as connection:
        assert connection.execute(columns.format("auth.users")).fetchone() == ("id email raw_user_meta_data",)
        assert connection.execute(columns.format("storage.objects")).fetchone() == ("owner",)
        assert connection.execute(columns.format("storage.buckets")).fetchone() == ("name limits id public",)
        assert connection.execute(columns.format("auth.sessions")).fetchone() == ("begun id",)
        assert connection.execute("SELECT is_open(ROW('a', '{1}', NULL, true))").fetchone() == (True,)
        connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": somebody})])
        assert connection.execute("SELECT auth.uid()::text").fetchone() == (somebody,)
    databases.drop_database(target)


def test_default_privileges_that_lie_in_no_schema_are_named(
    fresh_database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """pg_dump has none of them where schemas are chosen: what is made later could be called by everybody."""
    load(fresh_database, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; CREATE TABLE t (id int)")
    for option in ((), ("--with-grants",)):
        adopted = adopt(fresh_database, tmp_path / f"p{len(option)}", *option, target=postgres_server.admin_url)
        assert adopted.code == 0
        assert ("(ALTER DEFAULT PRIVILEGES) lies in no schema" in adopted.said) is bool(option)
