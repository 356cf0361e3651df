"""Tables that few projects have, moved by every command: keys of two collations, rules, names of other scripts."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, create_engine, func, text

from app.embedded import EmbeddedPostgres
from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.copy.dry_run import dry_run
from app.migration.preflight.duplicates import unique_keys
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.sources.moved_tables import WITHOUT_COLUMNS
from app.migration.tables.copy_table import key_columns
from app.migration.tables.metadata import load_metadata, select_tables
from app.migration.verify.options import VerifyOptions
from app.stores.postgres.database_url import sqlalchemy_url
from tests.fixtures.projects import MakeDatabase
from tests.fixtures.sources import Ends, MakeSource, Source
from tests.migration.engine import Told, copy_from, execute, query, row_texts, source_of, verify_from
from tests.migration.two_ends import sync_from
from tests.preflight.looking import codes, look
from tests.support.models import described_here
from tests.support.page_server import PageServer

_EITHER_CASE = """
CREATE COLLATION either_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (id integer PRIMARY KEY, v text COLLATE either_case);
"""
_FIX = VerifyOptions(fix=True, pause=0.01)


def _one(*columns: Any, name: str = "t", schema: str | None = None) -> list[Table]:
    metadata = MetaData()
    Table(name, metadata, *columns, schema=schema)
    return select_tables(metadata)


_TWO_COLLATIONS = _one(Column("a", Text, primary_key=True), Column("b", Text, primary_key=True), Column("v", Text))


async def test_a_key_of_two_collations(ends: Ends) -> None:
    ends.make(
        'CREATE TABLE t (a text COLLATE "C", b text COLLATE "POSIX", v text, PRIMARY KEY (a, b))',
        "INSERT INTO t SELECT 'a' || n, 'b' || n, 'old' FROM generate_series(1, 9) n",
    )
    assert (await copy_from(ends.served, ends.target, _TWO_COLLATIONS)).complete
    assert (await verify_from(ends.served, ends.target, _TWO_COLLATIONS)).clean
    execute(
        ends.source,
        "UPDATE t SET v = 'new' WHERE a = 'a1'; DELETE FROM t WHERE a = 'a2'; INSERT INTO t VALUES ('c', 'd', 'e')",
    )
    synced = await sync_from(ends.served, ends.target, _TWO_COLLATIONS)
    assert (synced.complete, synced.tables["t"].inserted, synced.tables["t"].deleted) == (True, 1, 1)
    execute(
        ends.target,
        "UPDATE t SET v = 'newer' WHERE a = 'a3'; DELETE FROM t WHERE a = 'a4'; INSERT INTO t VALUES ('f', 'g', 'h')",
    )
    back = await sync_from(ends.served, ends.target, _TWO_COLLATIONS, reverse=True, target_in_use=True)
    assert back.complete
    assert row_texts(ends.source, "t") == row_texts(ends.target, "t")
    execute(ends.target, "UPDATE t SET v = 'wrong' WHERE a = 'a5'; DELETE FROM t WHERE a = 'a6'")
    await verify_from(ends.served, ends.target, _TWO_COLLATIONS, options=_FIX)
    assert row_texts(ends.source, "t") == row_texts(ends.target, "t")


async def test_texts_that_a_collation_takes_for_equal_are_different(
    debian_server: EmbeddedPostgres, make_database: MakeDatabase
) -> None:
    chosen = _one(Column("id", Integer, primary_key=True), Column("v", Text))
    source, target = make_database(debian_server), make_database(debian_server)
    for url in (source, target):
        execute(url, _EITHER_CASE)
    execute(source, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    with PageServer(source) as pages:
        for served in (pages, Source(source, "", source, is_lite=False)):
            await copy_from(served, target, chosen, options=CopyOptions(overwrite=True))
            execute(source, "UPDATE t SET v = 'A' WHERE id = 1")
            assert not (await verify_from(served, target, chosen)).clean
            assert (await sync_from(served, target, chosen)).tables["t"].updated == 1
            assert row_texts(target, "t") == ["(1,A)", "(2,b)"]
            execute(source, "UPDATE t SET v = 'a' WHERE id = 1")


async def test_keys_that_a_collation_takes_for_equal_are_different(
    debian_server: EmbeddedPostgres, make_database: MakeDatabase
) -> None:
    chosen = _one(Column("id", Text, primary_key=True), Column("v", Text))
    source, target = make_database(debian_server), make_database(debian_server)
    for url in (source, target):
        execute(url, _EITHER_CASE.replace("id integer", "id text COLLATE either_case"))
    execute(source, "INSERT INTO t VALUES ('a', 'one'), ('b', 'two')")
    with PageServer(source) as pages:
        for served in (pages, Source(source, "", source, is_lite=False)):
            await copy_from(served, target, chosen, options=CopyOptions(overwrite=True))
            execute(source, "UPDATE t SET id = 'A' WHERE id = 'a'")
            assert not (await verify_from(served, target, chosen)).clean
            synced = await sync_from(served, target, chosen)
            assert (synced.complete, row_texts(target, "t")) == (True, ["(A,one)", "(b,two)"])
            execute(target, "UPDATE t SET id = 'a' WHERE id = 'A'")
            back = await sync_from(served, target, chosen, reverse=True, target_in_use=True)
            assert (back.complete, row_texts(source, "t")) == (True, ["(a,one)", "(b,two)"])


_RULED = _one(Column("id", Integer, primary_key=True), Column("v", Text))
_RULES = {
    "update": "CREATE RULE r AS ON UPDATE TO t DO ALSO INSERT INTO seen VALUES (new.id)",
    "insert": "CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO seen VALUES (new.id)",
}


@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize("disabled", [False, True])
@pytest.mark.parametrize("event", _RULES)
async def test_a_table_of_the_target_with_rules(event: str, disabled: bool, partitioned: bool, ends: Ends) -> None:
    """PostgreSQL refuses ON CONFLICT there, whether a rule fires or not."""
    plain = "CREATE TABLE t (id integer PRIMARY KEY, v text);"
    ruled = f"{plain} CREATE TABLE seen (id integer); {_RULES[event]};"
    if partitioned:
        ruled = ruled.replace("v text)", "v text) PARTITION BY RANGE (id); CREATE TABLE p PARTITION OF t DEFAULT")
    ends.make(plain, "INSERT INTO t SELECT n, 'old' FROM generate_series(1, 9) n", ruled)
    if disabled:
        execute(ends.target, "ALTER TABLE t DISABLE RULE r")
    execute(ends.target, "INSERT INTO t VALUES (1, 'other'), (20, 'gone'); TRUNCATE seen")
    copied = await copy_from(ends.served, ends.target, _RULED, options=CopyOptions(overwrite=True))
    assert [table.refused for table in copied.tables] == [()]
    execute(ends.target, "DELETE FROM t WHERE id = 20")
    execute(
        ends.source, "UPDATE t SET v = 'new' WHERE id = 2; INSERT INTO t VALUES (10, 'ten'); DELETE FROM t WHERE id = 3"
    )
    synced = (await sync_from(ends.served, ends.target, _RULED)).tables["t"]
    assert (synced.inserted, synced.updated, synced.deleted, synced.unsettled) == (1, 1, 1, 0)
    assert row_texts(ends.source, "t") == row_texts(ends.target, "t")
    assert query(ends.target, "SELECT * FROM seen") == []


@pytest.mark.parametrize("ends", ["connection"], indirect=True)
async def test_a_table_of_the_source_with_rules(ends: Ends) -> None:
    plain = "CREATE TABLE t (id integer PRIMARY KEY, v text);"
    ends.make(plain, "INSERT INTO t SELECT n, 'old' FROM generate_series(1, 9) n", plain)
    execute(ends.source, f"CREATE TABLE seen (id integer); {_RULES['update']}; ALTER TABLE t DISABLE RULE r")
    assert (await copy_from(ends.served, ends.target, _RULED)).complete
    execute(ends.target, "UPDATE t SET v = 'new' WHERE id = 2; INSERT INTO t VALUES (10, 'ten')")
    back = await sync_from(ends.served, ends.target, _RULED, reverse=True, target_in_use=True)
    assert back.complete
    assert row_texts(ends.source, "t") == row_texts(ends.target, "t")


# A unique index of a table's columns a and b, and the columns by which it tells rows apart.
_INDEXES: dict[str, tuple[Callable[[Any], tuple[Any, ...]], tuple[str, ...]]] = {
    "text": (lambda own: ("a", text("lower(b)")), ()),
    "function": (lambda own: ("a", func.left(own.b, 1)), ()),
    "several": (lambda own: (func.concat(own.a, own.b),), ()),
    "ordered": (lambda own: (own.a.desc().nulls_last(), "b"), ("a", "b")),
}
INDEXED = MetaData()
for _kind, (_parts, _) in _INDEXES.items():
    _table = Table(_kind, INDEXED, Column("a", Text, nullable=False), Column("b", Text, nullable=False))
    _table.append_constraint(Index(f"u_{_kind}", *_parts(_table.c), unique=True))


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("kind", _INDEXES)
def test_an_index_of_an_expression_is_no_key_of_its_columns(
    kind: str, described: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.migration.tables.metadata._describe", described_here)
    metadata = load_metadata(f"{__name__}:INDEXED") if described else INDEXED
    expected = _INDEXES[kind][1]
    assert key_columns(metadata.tables[kind]) == expected
    assert unique_keys(metadata.tables[kind]) == ([expected] if expected else [])


async def test_rows_that_differ_in_an_expression_alone_are_no_duplicates(ends: Ends) -> None:
    unique = Index("u", "a", text("lower(b)"), unique=True)
    chosen = _one(Column("id", Integer, primary_key=True), Column("a", Text), Column("b", Text), unique)
    ends.make(
        "CREATE TABLE t (id integer PRIMARY KEY, a text, b text); CREATE UNIQUE INDEX u ON t (a, lower(b))",
        "INSERT INTO t VALUES (1, 'a', 'b'), (2, 'a', 'c')",
    )
    assert codes(await look(ends.served, ends.target, tables=chosen, examine=examine_against(chosen))) == []


async def test_a_foreign_key_to_a_partitioned_table_is_named_once(ends: Ends) -> None:
    metadata = MetaData()
    for name in ("c", "p"):
        Table(name, metadata, Column("id", Integer, primary_key=True))
    ends.make(
        "CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p_1 PARTITION OF p DEFAULT; "
        "CREATE TABLE c (id integer PRIMARY KEY REFERENCES p)",
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)",
    )
    chosen = select_tables(metadata)
    report = await look(ends.served, ends.target, tables=chosen, examine=examine_against(chosen))
    assert [one.message for one in report.findings if "foreign key" in one.message] == [
        "the target's c has foreign keys: c_id_fkey"
    ]


async def test_columns_of_types_for_names_are_reflected_as_they_are(ends: Ends) -> None:
    schema = (
        'CREATE TABLE t (id integer PRIMARY KEY, n name, c "char", many name[], several "char"[], d char, e bpchar)'
    )
    ends.make(schema, "INSERT INTO t VALUES (1, 'n', 'c', '{a,b}', '{c,d}', 'd', 'e')")
    metadata = MetaData()
    engine = create_engine(sqlalchemy_url(ends.target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metadata.reflect(engine)
    engine.dispose()
    chosen = select_tables(metadata)
    report = await look(ends.served, ends.target, tables=chosen, examine=examine_against(chosen))
    unseen = "source-types-unseen"  # by an API without a root document
    assert set(codes(report, "error", "warning", "notice")) <= ({unseen} if ends.served.service_key else set())
    assert (await copy_from(ends.served, ends.target, chosen)).complete
    assert (await verify_from(ends.served, ends.target, chosen)).clean
    assert row_texts(ends.source, "t") == row_texts(ends.target, "t")


async def test_a_table_without_columns_is_left_out_by_name(ends: Ends) -> None:
    metadata = MetaData()
    Table("nothing", metadata)
    Table("t", metadata, Column("id", Integer, primary_key=True))
    chosen = select_tables(metadata)
    ends.make("CREATE TABLE nothing (); CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    copied = await copy_from(ends.served, ends.target, chosen)
    verified = await verify_from(ends.served, ends.target, chosen)
    synced = await sync_from(ends.served, ends.target, chosen)
    async with source_of(ends.served) as source:
        tried = await dry_run(source, ends.target, chosen, Told())
    for report in (copied, verified, synced, tried):
        assert [(one.table, one.why) for one in report.not_moved] == [("nothing", WITHOUT_COLUMNS)]
    assert (copied.complete, verified.clean, synced.complete, tried.clean) == (False, False, False, False)
    assert [one.equal for one in verified.tables] == [1]
    report = await look(ends.served, ends.target, tables=chosen, examine=examine_against(chosen))
    assert codes(report) == ["target-without-key nothing"]
    assert ": ;" not in "".join(f"{one.message}: {one.remedy}" for one in report.findings)
    with pytest.raises(MigrationError, match="nothing: the models give it no column"):
        await copy_from(ends.served, ends.target, [one for one in chosen if one.name == "nothing"])


@pytest.mark.parametrize("schema", ["Отчёты", "Größe"])
async def test_a_schema_of_another_script_over_rest(schema: str, make_source: MakeSource, fresh_database: str) -> None:
    made = f'CREATE SCHEMA "{schema}"; CREATE TABLE "{schema}".t (id integer PRIMARY KEY, v text);'
    chosen = _one(Column("id", Integer, primary_key=True), Column("v", Text), schema=schema)
    source = make_source(f"{made} INSERT INTO \"{schema}\".t VALUES (1, 'a'), (2, 'b')")
    execute(fresh_database, made)
    with PageServer(source.database_url, schemas=("public", schema)) as pages:
        assert (await copy_from(pages, fresh_database, chosen)).complete
        assert (await verify_from(pages, fresh_database, chosen)).clean
        execute(fresh_database, f'UPDATE "{schema}".t SET v = \'new\'; DELETE FROM "{schema}".t WHERE id = 2')
        assert (await sync_from(pages, fresh_database, chosen, reverse=True, target_in_use=True)).complete
        assert (await verify_from(pages, fresh_database, chosen)).clean
    with PageServer(source.database_url) as pages, pytest.raises(MigrationError, match=f"schema {schema}"):
        await verify_from(pages, fresh_database, chosen)
