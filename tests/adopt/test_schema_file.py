"""A dump in a file is adopted as the database is that it was made of."""

from pathlib import Path

import pytest

from tests.adopt.adopting import adopt
from tests.adopt.conftest import Project
from tests.cli.command import Command
from tests.support.postgres import PostgresServer

# As `supabase db dump` writes it: the extensions of the platform, the roles, what lies in schema auth left out.
_DUMP = r"""
SET statement_timeout = 0;
\restrict abc
CREATE EXTENSION IF NOT EXISTS "pg_graphql" WITH SCHEMA "graphql";
COMMENT ON EXTENSION "pg_graphql" IS 'not here';
CREATE SCHEMA IF NOT EXISTS "public";
ALTER SCHEMA "public" OWNER TO CURRENT_USER;
CREATE OR REPLACE FUNCTION "public"."said"() RETURNS "text" LANGUAGE "sql" AS $$ SELECT '
CREATE EXTENSION IF NOT EXISTS "pg_graphql" WITH SCHEMA "graphql";
'::text $$;
CREATE TABLE IF NOT EXISTS "public"."profiles" ("id" "uuid" NOT NULL, "name" "text");
ALTER TABLE ONLY "public"."profiles" ADD CONSTRAINT "profiles_pkey" PRIMARY KEY ("id");
ALTER TABLE ONLY "public"."profiles" ADD CONSTRAINT "of_users" FOREIGN KEY ("id") REFERENCES "auth"."users"("id");
ALTER TABLE "public"."profiles" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "own" ON "public"."profiles" USING (("auth"."uid"() = "id"));
\unrestrict abc
RESET ALL;
"""

_AMBIGUOUS = b"""
CREATE FUNCTION me() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION me(int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE notes (owner int DEFAULT me());
"""


def test_it_is_proved(postgres_server: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "schema.sql").write_text(_DUMP, "utf-8")
    adopted = adopt("", tmp_path / "new", "--schema-file", "schema.sql", target=postgres_server.admin_url)
    assert adopted.code == 0, adopted.said
    statements = (tmp_path / "new" / "alembic/versions/0001_schema.sql").read_text("utf-8")
    assert "auth.uid() = id" in statements
    assert 'CREATE EXTENSION IF NOT EXISTS "pg_graphql"' in statements  # the function's body says so
    assert "CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid" in statements


def test_it_is_loaded_beside_the_scratch_database_that_is_named(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "schema.sql").write_text(_DUMP, "utf-8")
    scratch = postgres_server.create_database()
    adopted = adopt("", tmp_path / "new", "--schema-file", "schema.sql", "--scratch", scratch)
    assert (adopted.code, adopted.document.get("proved")) == (0, True), adopted.said
    postgres_server.drop_database(scratch)


def test_it_is_the_same_as_from_the_database(edges: Project, postgres_server: PostgresServer, tmp_path: Path) -> None:
    first = (edges.directory / "alembic/versions/0001_schema.sql").read_text("utf-8")
    (tmp_path / "schema.sql").write_text(first.partition("What follows")[2].partition("\n")[2], "utf-8")
    adopted = adopt("", tmp_path / "new", "--schema-file", "schema.sql", target=postgres_server.admin_url)
    assert adopted.code == 0, adopted.said
    for file in edges.directory.glob("models/*.py"):
        assert (tmp_path / "new" / "models" / file.name).read_text("utf-8") == file.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "it is no UTF-8 text"),
        (b"COPY public.x (a) FROM stdin;\n1\n\\.\n", "holds rows"),
        (b"CREATE TABLE a (id int);\nCREATE TABEL b ();", "cannot be loaded, line 2: syntax error"),
        (_AMBIGUOUS, "botdata adopt --schema-file schema.sql new with --source postgresql://... in place of"),
    ],
)
def test_a_file_that_cannot_be(
    command: Command, postgres_server: PostgresServer, text: bytes | None, said: str
) -> None:
    if text is not None:
        Path("schema.sql").write_bytes(text)
    outcome = command("adopt", "new", "--schema-file", "schema.sql", DATABASE_URL=postgres_server.admin_url)
    assert outcome.code == 1
    assert said in outcome.err
    assert not Path("new").exists()
