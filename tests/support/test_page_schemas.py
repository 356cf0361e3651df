"""The page server's schemas, system columns, root document, session settings and longest address."""

import httpx
import psycopg
import pytest

from tests.support.page_server import PageServer

_DDL = """
CREATE SCHEMA billing;
CREATE TYPE mood AS ENUM ('calm', 'très pressé');
CREATE TYPE billing.part AS (a integer, b text);
CREATE DOMAIN email AS varchar(40) CHECK (VALUE LIKE '%@%');
CREATE DOMAIN moody AS mood;
CREATE TABLE invoices (id integer PRIMARY KEY, amount numeric(12, 2), note text);
CREATE TABLE billing.invoices (
    id bigint PRIMARY KEY, code char(3), name varchar(50) DEFAULT 'x', mail email NOT NULL, mood mood, moods mood[],
    part billing.part, feeling moody, made timestamptz, doc jsonb, n integer[]
);
CREATE TABLE billing.old () INHERITS (billing.invoices);
CREATE TABLE billing.parted (id integer) PARTITION BY LIST (id);
CREATE TABLE billing.parted_1 PARTITION OF billing.parted FOR VALUES IN (1);
INSERT INTO invoices VALUES (1, 1.10, 'draft');
INSERT INTO billing.invoices (id, mail) VALUES (1, 'a@b');
INSERT INTO billing.old (id, mail) VALUES (2, 'c@d');
"""


@pytest.fixture
def two_schemas(fresh_database: str) -> str:
    """Tables of one name in two schemas; one of them has a child."""
    with psycopg.connect(fresh_database) as connection:
        connection.execute(_DDL)
    return fresh_database


def _ask(server: PageServer, path: str, method: str = "GET", body: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.request(
        method,
        f"{server.url}/rest/v1/{path}",
        headers={"apikey": server.service_key, **named},
        content=body,
        timeout=10,
    )


def test_a_schema_is_asked_for_by_a_header(two_schemas: str) -> None:
    with PageServer(two_schemas, schemas=("public", "billing")) as server:
        by_default = _ask(server, "invoices?select=note,amount::text")
        named = _ask(server, "invoices?select=id,mail&order=id", Accept_Profile="billing")
        written = _ask(server, "invoices", "POST", '{"id": 9, "mail": "e@f"}', Content_Profile="billing")
        changed = _ask(server, "invoices?id=eq.9", "PATCH", '{"name": "new"}', Content_Profile="billing")
        gone = _ask(server, "invoices?id=eq.1", "DELETE", Content_Profile="billing")
        missing = _ask(server, "none", Accept_Profile="billing")
        hidden = _ask(server, "invoices", Accept_Profile="pg_catalog")
    assert by_default.json() == [{"note": "draft", "amount": "1.10"}]
    assert by_default.headers["content-profile"] == "public"
    assert named.json() == [{"id": 1, "mail": "a@b"}, {"id": 2, "mail": "c@d"}]
    assert named.headers["content-profile"] == "billing"
    assert [written.status_code, changed.status_code, gone.status_code] == [201, 204, 204]
    assert missing.json()["message"] == "Could not find the table 'billing.none' in the schema cache"
    assert (hidden.status_code, hidden.json()) == (
        406,
        {
            "code": "PGRST106",
            "details": None,
            "hint": None,
            "message": "The schema must be one of the following: public, billing",
        },
    )
    with psycopg.connect(two_schemas) as connection:
        rows = connection.execute("SELECT id, name FROM billing.invoices ORDER BY 1").fetchall()
    assert rows == [(2, "x"), (9, "new")]


def test_one_schema_is_exposed_unless_more_are_named(two_schemas: str) -> None:
    with PageServer(two_schemas) as server:
        refused = _ask(server, "invoices", Accept_Profile="billing")
        public = _ask(server, "invoices?select=id", Accept_Profile="public")
    assert (refused.status_code, refused.json()["message"]) == (406, "The schema must be one of the following: public")
    assert public.json() == [{"id": 1}]
    assert "content-profile" not in public.headers


def test_system_columns(two_schemas: str) -> None:
    with PageServer(two_schemas, schemas=("public", "billing")) as server:
        by_table = _ask(server, "invoices?select=t:tableoid::regclass,i:id&order=id", Accept_Profile="billing")
        oid = _ask(server, "old?select=o:tableoid::text,v:xmin::text&limit=1", Accept_Profile="billing").json()[0]
        of_child = _ask(server, f"invoices?select=id&tableoid=eq.{oid['o']}", Accept_Profile="billing")
        newest = _ask(server, f"invoices?select=id&xmin=eq.{oid['v']}&order=id", Accept_Profile="billing")
        unknown = _ask(server, "invoices?select=id::text[]")
    assert by_table.json() == [{"t": "invoices", "i": 1}, {"t": "old", "i": 2}]
    assert of_child.json() == [{"id": 2}]
    assert newest.json() == [{"id": 1}, {"id": 2}]
    assert unknown.status_code == 501


def test_the_root_document_is_made_from_the_catalog(two_schemas: str) -> None:
    with PageServer(two_schemas, schemas=("public", "billing"), describes=True) as server:
        public = _ask(server, "").json()["definitions"]
        response = _ask(server, "", Accept_Profile="billing")
    definitions = response.json()["definitions"]
    assert response.headers["content-type"] == "application/openapi+json; charset=utf-8"
    assert set(public) == {"invoices"}
    assert set(definitions) == {"invoices", "old", "parted"}
    of_invoices = definitions["invoices"]
    assert of_invoices["required"] == ["id", "mail"]
    told = {name: (one["format"], one.get("maxLength")) for name, one in of_invoices["properties"].items()}
    assert told == {
        "id": ("bigint", None),
        "code": ("character", 3),
        "name": ("character varying", 50),
        "mail": ("character varying", 40),
        "mood": ("public.mood", None),
        "moods": ("public.mood[]", None),
        "part": ("billing.part", None),
        "feeling": ("public.moody", None),
        "made": ("timestamp with time zone", None),
        "doc": ("jsonb", None),
        "n": ("integer[]", None),
    }
    assert of_invoices["properties"]["mood"]["enum"] == ["calm", "très pressé"]
    assert of_invoices["properties"]["id"]["description"] == "Note:\nThis is a Primary Key.<pk/>"
    assert "type" not in of_invoices["properties"]["doc"]


def test_without_it_the_server_knows_no_root(two_schemas: str) -> None:
    with PageServer(two_schemas) as server:
        assert _ask(server, "").status_code >= 400


def test_the_settings_of_its_sessions(two_schemas: str) -> None:
    settings = {"search_path": "", "statement_timeout": "50", "extra_float_digits": "-10"}
    with psycopg.connect(two_schemas) as connection:
        connection.execute("CREATE VIEW slow AS SELECT 1 AS one, pg_sleep(2)::text AS pause")
        connection.execute("CREATE TABLE floats (f float8); INSERT INTO floats VALUES (0.123456789012)")
    with PageServer(two_schemas, schemas=("public", "billing"), settings=settings) as server:
        named = _ask(server, "invoices?select=t:tableoid::regclass")
        late = _ask(server, "slow?select=one,pause")
        rounded = _ask(server, "floats?select=f::text")
    assert named.json() == [{"t": "public.invoices"}]
    assert (late.status_code, late.json()["code"]) == (500, "57014")
    assert rounded.json() == [{"f": "0.12346"}]


def test_the_longest_address(two_schemas: str) -> None:
    path = f"invoices?select={','.join(['id'] * 100)}"
    with PageServer(two_schemas, longest_target=200, too_long=502) as server:
        refused = _ask(server, path)
        short = _ask(server, "invoices?select=id")
    with PageServer(two_schemas, longest_target=200) as server:
        too_long = _ask(server, path)
    assert (refused.status_code, short.status_code, too_long.status_code) == (502, 200, 414)
