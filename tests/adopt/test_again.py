"""A second adopt: the next revision for what was added or changed, and a name for everything else."""

from pathlib import Path

import pytest

from tests.adopt.adopting import adopt, check, run
from tests.adopt.conftest import load
from tests.support.postgres import PostgresServer

_FIRST = """
CREATE TYPE mood AS ENUM ('b', 'd');
CREATE TABLE posts (id int PRIMARY KEY, title text, mood mood);
CREATE FUNCTION size(p posts) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW titles AS SELECT id, title FROM posts;
ALTER TABLE posts ENABLE ROW LEVEL SECURITY;
CREATE POLICY "see on all" ON posts FOR SELECT TO PUBLIC USING (true);
INSERT INTO posts VALUES (1, 'x', 'b');
"""
_SECOND = """
ALTER TYPE mood ADD VALUE 'a' BEFORE 'b'; ALTER TYPE mood ADD VALUE 'c ''e' AFTER 'b';
ALTER TABLE posts ADD COLUMN "Made At" timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN words int GENERATED ALWAYS AS (id * 2) STORED;
CREATE TYPE kind AS ENUM ('x y');
CREATE TABLE tags (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, post int REFERENCES posts (id),
    kind kind DEFAULT 'x y');
CREATE INDEX ON tags (post) WHERE kind = 'x y'; CREATE INDEX posts_size ON posts (lower(title));
CREATE OR REPLACE FUNCTION size(p posts) RETURNS int LANGUAGE sql AS 'SELECT 2 -- :a %s';
CREATE FUNCTION tag_count(p posts) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.tags WHERE post = p.id';
CREATE OR REPLACE VIEW titles AS SELECT id, title, words FROM posts;
ALTER POLICY "see on all" ON posts USING (id > 0);
CREATE POLICY "write" ON posts AS RESTRICTIVE FOR INSERT TO PUBLIC WITH CHECK (id < 100);
CREATE TABLE numbered (id serial PRIMARY KEY); ALTER TABLE posts ADD COLUMN number serial;
CREATE SCHEMA more; CREATE TABLE more.things (id int PRIMARY KEY);
"""


@pytest.fixture
def project(fresh_database: str, postgres_server: PostgresServer, tmp_path: Path) -> Path:
    load(fresh_database, _FIRST)
    directory = tmp_path / "blog"
    assert adopt(fresh_database, directory, target=postgres_server.admin_url).code == 0
    return directory


def test_what_was_added_or_changed(
    project: Path, fresh_database: str, postgres_server: PostgresServer, databases: PostgresServer
) -> None:
    target = databases.create_database()
    assert run(project, "alembic", "upgrade", "head", target=target).returncode == 0
    load(target, "INSERT INTO posts VALUES (1, 'x', 'b')")
    load(fresh_database, _SECOND)
    adopted = adopt(fresh_database, project, target=postgres_server.admin_url)
    assert adopted.code == 0, adopted.said
    assert adopted.document["revision"] == "0002"
    assert "changed at the source: type public.mood" in adopted.said
    assert "added at the source: table more.things" in adopted.said
    upgraded = run(project, "alembic", "upgrade", "head", target=target)
    assert upgraded.returncode == 0, upgraded.stderr
    assert check(project, target) == ""
    databases.drop_database(target)
    again = adopt(fresh_database, project, target=postgres_server.admin_url)
    assert (again.code, again.document["revision"], again.document["changes"]) == (0, None, [])


def test_all_else_is_named_as_by_hand(project: Path, fresh_database: str, postgres_server: PostgresServer) -> None:
    load(
        fresh_database,
        "DROP VIEW titles; ALTER TABLE posts DROP COLUMN title, ALTER id TYPE bigint, ADD CHECK (id > 0)",
    )
    with (project / "models" / "posts.py").open("a") as file:
        file.write("# mine\n")
    adopted = adopt(fresh_database, project, target=postgres_server.admin_url)
    assert adopted.code == 1
    assert adopted.document["revision"] is None
    named = {(one["kind"], one["name"]) for one in adopted.document["differences"]}
    assert named == {
        ("table", "public.titles"), ("column", "public.titles.id"), ("column", "public.titles.title"),
        ("column", "public.posts.title"), ("column order", "public.posts"), ("column", "public.posts.id"),
        ("constraint", "posts_id_check on public.posts"),
    }  # fmt: skip
    assert (project / "models" / "posts.py").read_text("utf-8").endswith("# mine\n")
    assert "class Posts" in (project / "models" / "posts.py.new").read_text("utf-8")
    assert adopted.document["beside"] == ["models/posts.py.new"]
