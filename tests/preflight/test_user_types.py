"""Enums, domains, composites and extension types: named with a schema or without, known to SQLAlchemy or not."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import ARRAY, Column, Enum, Integer, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import NullType, UserDefinedType

from app.migration.preflight.findings import PreflightReport
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.preflight.schemas.type_passages import Passage, model_type, passage
from tests.fixtures.sources import Source
from tests.migration.engine import copy_from, execute, row_texts, verify_from
from tests.preflight.looking import codes, look
from tests.support.faults import JSON, Answer, Fault, Request
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("public.order_state", "order_state", "same"),
        ("order_state", "public.order_state", "same"),
        ("public.order_state[]", "order_state[]", "same"),
        ("_order_state", "order_state[]", "same"),
        ('public."UserRole"', '"UserRole"', "same"),
        ("public.UserRole", '"UserRole"', "same"),
        ('public."UserRole"[]', '"UserRole"[]', "same"),
        ("extensions.geometry(Point,4326)", "geometry(POINT,4326)", "same"),
        ("extensions.geometry(Point,4326)", "geometry(Point,3857)", "refused"),
        ("extensions.citext", "citext", "same"),
        ("extensions.vector(3)", "vector(3)", "same"),
        ("billing.order_state", "public.order_state", "changed"),
        ("public.order_state", "order_state[]", "changed"),
        ("public.order_state", "other_state", "changed"),
        ("public.mood", '"Mood"', "changed"),
        ("other.text", "text", "refused"),
        ("other.integer", "integer", "changed"),
    ],
)
def test_names_with_and_without_a_schema(source: str, target: str, expected: Passage) -> None:
    assert passage(source, target) == expected


def test_an_extension_may_be_in_another_schema() -> None:
    assert passage("extensions.citext", "ext.citext", any_schema=True) == "same"
    assert passage("extensions.citext[]", "ext.citext[]", any_schema=True) == "same"


class _Raises(UserDefinedType[object]):
    cache_ok = True

    def get_col_spec(self) -> str:
        raise RuntimeError("a type of another project's")


@pytest.mark.parametrize("kind", [NullType(), _Raises(), Enum("a", "b"), ARRAY(NullType())])
def test_a_type_that_cannot_be_named_is_unknown(kind: NullType) -> None:
    assert model_type(Column("x", kind)) is None


_STATE = Enum("new", "in work", "Done", name="order_state")
_ORDERS = [
    Table(
        "Order",
        MetaData(),
        Column("id", Uuid, primary_key=True),
        Column("state", _STATE, nullable=False),
        Column("history", ARRAY(_STATE), nullable=False),
        Column("createdBy", Enum("ADMIN", "MEMBER", name="UserRole")),
        Column("contact", DOMAIN("email_address", Text)),
        Column("spot", NullType()),
        Column("home", NullType()),
    )
]
_DDL = """
CREATE SCHEMA {extensions}; CREATE TYPE {extensions}.cube AS (x float8, y float8, z float8);
ALTER EXTENSION plpgsql ADD TYPE {extensions}.cube;
CREATE TYPE order_state AS ENUM ('new', 'in work', 'Done'); CREATE TYPE "UserRole" AS ENUM ('ADMIN', 'MEMBER');
CREATE TYPE address AS (street text, zip text); CREATE DOMAIN short_text AS text CHECK (length(VALUE) < 100);
CREATE DOMAIN email_address AS short_text CHECK (VALUE LIKE '%_@_%');
CREATE TABLE "Order" (
    id uuid PRIMARY KEY, state order_state NOT NULL DEFAULT 'new', history order_state[] NOT NULL DEFAULT '{{}}',
    "createdBy" "UserRole", contact email_address, spot {extensions}.cube, home address[]
);
"""
_ROWS = """
INSERT INTO "Order" VALUES
    ('10000000-0000-4000-8000-000000000001', 'new', '{}', 'ADMIN', 'a@example.test', '(1,2,3)',
     ARRAY[ROW('Main, "St" 1', NULL), ROW('', '')]::address[]),
    ('10000000-0000-4000-8000-000000000002', 'Done', '{new,"in work",Done}', 'MEMBER', NULL, NULL, '{}');
"""
# As PostgREST describes them: with their schema, and a domain as the type under it.
_DESCRIBED = {
    "id": "uuid",
    "state": "public.order_state",
    "history": "public.order_state[]",
    "createdBy": 'public."UserRole"',
    "contact": "text",
    "spot": "extensions.cube",
    "home": "public.address[]",
}


def _describe(request: Request) -> Fault | None:
    properties = {name: {"format": kind, "type": "string"} for name, kind in _DESCRIBED.items()}
    document = {"definitions": {"Order": {"properties": properties}}}
    answer = Answer(200, JSON, json.dumps(document).encode())
    return (lambda _answer: answer) if request.table == "" else None


@pytest.fixture(params=["over REST", "over a connection"])
def orders(request: pytest.FixtureRequest, databases: PostgresServer) -> Iterator[Source]:
    database = databases.create_database()
    execute(database, _DDL.format(extensions="extensions"))
    execute(database, _ROWS)
    if request.param == "over a connection":
        yield Source(database, "", database, is_lite=False)
    else:
        with PageServer(database, hook=_describe) as pages:
            yield Source(pages.url, pages.service_key, database, is_lite=False)
    databases.drop_database(database)


async def _look(source: Source, target: str) -> PreflightReport:
    return await look(source, target, tables=_ORDERS, examine=examine_against(_ORDERS))


async def test_the_same_types_are_no_finding_and_the_rows_move(orders: Source, fresh_database: str) -> None:
    execute(fresh_database, _DDL.format(extensions="ext"))
    report = await _look(orders, fresh_database)
    assert [one for one in report.findings if "type" in one.code] == []
    assert [(one.source_rows, one.target_rows) for one in report.tables] == [(2, 0)]
    assert (await copy_from(orders, fresh_database, _ORDERS)).complete
    assert row_texts(fresh_database, "Order") == row_texts(orders.database_url, "Order")
    assert (await verify_from(orders, fresh_database, _ORDERS)).clean


async def test_other_types_are_found(orders: Source, fresh_database: str) -> None:
    other = _DDL.format(extensions="ext").replace("contact email_address", "contact integer")
    execute(fresh_database, other.replace("spot ext.cube", "spot text"))
    execute(fresh_database, 'ALTER TABLE "Order" DROP "createdBy", ADD "createdBy" order_state')
    report = await _look(orders, fresh_database)
    assert sorted(codes(report, "error")) == [
        "source-type-differs Order.contact",
        "source-type-differs Order.createdBy",
    ]
    assert codes(report, "warning") == ["source-type-differs Order.spot"]


async def test_a_label_that_the_target_lacks(orders: Source, fresh_database: str) -> None:
    """Only a connection shows the source's labels; what the target lacks would be refused."""
    execute(fresh_database, _DDL.format(extensions="ext").replace(", 'Done'", ""))
    report = await _look(orders, fresh_database)
    found = [one for one in report.findings if one.code == "source-type-differs"]
    if orders.url.startswith("postgresql"):
        assert [(one.severity, one.place) for one in found] == [
            ("warning", "Order.state"), ("warning", "Order.history")
        ]  # fmt: skip
        assert "lacks 'Done'" in found[0].message
    else:
        assert found == []
    copied = await copy_from(orders, fresh_database, _ORDERS)
    assert len(copied.tables[0].refused) == 1


async def test_domains_of_one_name_are_known_by_what_is_under_them(databases: PostgresServer) -> None:
    measured = [Table("measured", MetaData(), Column("id", Integer, primary_key=True), Column("v", NullType()))]
    table = "CREATE TABLE measured (id integer PRIMARY KEY, v kind)"
    ends = [databases.create_database() for _ in range(2)]
    try:
        for url, base in zip(ends, ("float8", "float4"), strict=True):
            execute(url, f"CREATE DOMAIN kind AS {base}; {table}")
        source = Source(ends[0], "", ends[0], is_lite=False)
        report = await look(source, ends[1], tables=measured, examine=examine_against(measured))
        (found,) = report.errors
        assert (found.code, found.place) == ("source-type-differs", "measured.v")
        assert "measured.v is kind (double precision) in the source and kind (real) in the target" in found.message
    finally:
        for url in ends:
            databases.drop_database(url)


async def test_a_domain_and_an_enum_may_refuse_what_a_text_holds(databases: PostgresServer) -> None:
    text = "CREATE TABLE words (id integer PRIMARY KEY, mood text, mail text, count integer)"
    own = (
        "CREATE TYPE mood AS ENUM ('calm'); CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%'); "
        "CREATE DOMAIN few AS integer CHECK (VALUE < 9); "
        "CREATE TABLE words (id integer PRIMARY KEY, mood mood, mail mail, count few)"
    )
    unknown = (Column(name, NullType()) for name in ("mood", "mail", "count"))
    words = [Table("words", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), *unknown)]
    ends = [databases.create_database() for _ in range(2)]
    try:
        execute(ends[0], text)
        execute(ends[1], own)
        for source, target, expected in ((ends[0], ends[1], ["mood", "mail", "count"]), (ends[1], ends[0], ["mood"])):
            report = await look(
                Source(source, "", source, is_lite=False), target, tables=words, examine=examine_against(words)
            )
            assert codes(report, "error") == []
            assert codes(report, "warning") == [f"source-type-differs words.{name}" for name in expected]
    finally:
        for url in ends:
            databases.drop_database(url)
