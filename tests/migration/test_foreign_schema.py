"""Another project's schema: the engine knows no salon, only a MetaData and the target's catalog."""

from sqlalchemy import BigInteger, Boolean, Column, Computed, ForeignKey, Integer, LargeBinary, MetaData, Table, Text

from app.migration.tables.metadata import select_tables
from tests.migration.engine import copy_from, execute, query, row_texts, verify_from
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

# The models need to know names, keys and generated columns; the types come from the target's catalog.
METADATA = MetaData()
_CHILD = Table(
    "child notes, old",
    METADATA,
    Column("Parent, key", Text, ForeignKey("odd types.Name of it"), primary_key=True),
    Column("no.", Integer, primary_key=True),
    Column('said "so" 100 %s along', Text),
)
_PARENT = Table(
    "odd types",
    METADATA,
    Column("Name of it", Text, primary_key=True),
    Column("counter", BigInteger),
    *(
        Column(name, Text)
        for name in ("mood", "small", "real", "double", "raw json", "span", "valid", "address", "mail")
    ),
    *(Column(name, Text) for name in ("instant", "instants", "padded", "bits", "names", "stay")),
    Column("blob", LargeBinary),
    Column("flag", Boolean),
    Column("twice", BigInteger, Computed("counter * 2")),
)
_FLAGS = Table("only_keys", METADATA, Column("a", Integer, primary_key=True), Column("b", Text, primary_key=True))

_DDL = """
CREATE TYPE mood AS ENUM ('sad', 'so-so', 'très bien');
CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE "odd types" (
    "Name of it" text COLLATE "POSIX" PRIMARY KEY,
    counter bigint GENERATED ALWAYS AS IDENTITY,
    mood mood, small smallint, "real" real, "double" double precision, "raw json" json, span interval, valid int4range,
    address inet, mail mail, instant timestamptz, instants timestamptz[], padded char(5), bits bit(3), names name[],
    stay tstzrange, blob bytea, flag boolean,
    twice bigint GENERATED ALWAYS AS (counter * 2) STORED
);
CREATE TABLE "child notes, old" (
    "Parent, key" text REFERENCES "odd types" DEFERRABLE INITIALLY DEFERRED,
    "no." integer, "said ""so"" 100 %s along" text, PRIMARY KEY ("Parent, key", "no.")
);
CREATE TABLE only_keys (a integer, b text COLLATE "C", PRIMARY KEY (a, b));
"""
_ROWS = """
INSERT INTO "odd types" ("Name of it", mood, small, "real", "double", "raw json", span, valid, address, mail, instant,
    instants, padded, bits, names, stay, blob, flag) VALUES
    ('b', 'sad', -32768, '0.1', '0.1', '{"a":  1.10, "a": 2}', '1 year -2 days 03:04:05.000006', '[1,5)', '::1/64',
     'a@b', '2026-01-01 00:00:00.000001+03', '{"2026-01-01 00:00:00+03",NULL}', 'ab', '101', '{a,"b c"}',
     '["2026-01-01 00:00:00+00",)', '\\x00ff0a', true),
    ('B', 'très bien', 32767, 'NaN', '-Infinity', 'null', '-1 mon', 'empty', '10.0.0.0/8', NULL, 'infinity',
     '{}', '', '000', '{}', 'empty', '', false),
    ('Ё, "quoted"', NULL, NULL, '1e-45', '1.7976931348623157e308', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL),
    ('', 'so-so', 0, '-0', '0.30000000000000004', '[1.0]', '00:00:00', '(,)', '1.2.3.4', '@',
     '0044-03-15 12:00:00+00 BC', '{infinity}', '  x  ', '111', '{NULL}', '(,)', '\\x', NULL);
INSERT INTO "child notes, old" SELECT "Name of it", n, 'said ' || n FROM "odd types", generate_series(1, 3) n;
INSERT INTO only_keys SELECT n % 3, chr(64 + n) FROM generate_series(1, 20) n;
"""
_NAMES = [table.name for table in (_PARENT, _CHILD, _FLAGS)]


async def test_copies_and_verifies(databases: PostgresServer, fresh_database: str) -> None:
    source_database = databases.create_database()
    try:
        for url in (source_database, fresh_database):
            execute(url, _DDL)
        execute(source_database, _ROWS)
        execute(source_database, """UPDATE "odd types" SET counter = DEFAULT WHERE "Name of it" = 'b'""")
        name = query(source_database, "SELECT current_database()")[0][0]
        execute(source_database, f"ALTER DATABASE \"{name}\" SET timezone = 'America/New_York'")
        chosen = select_tables(METADATA)
        assert [table.name for table in chosen].index("odd types") < [t.name for t in chosen].index("child notes, old")
        with PageServer(source_database, max_rows=2) as server:
            report = await copy_from(server, fresh_database, chosen)
            inserted = dict(zip(_NAMES, (4, 12, 20), strict=True))
            assert {table.table: table.inserted for table in report.tables} == inserted
            for table in _NAMES:
                assert row_texts(fresh_database, table) == row_texts(source_database, table), table
            assert (await verify_from(server, fresh_database, chosen)).clean
            again = await copy_from(server, fresh_database, chosen)
            assert [(table.updated, table.inserted) for table in again.tables] == [(0, 0)] * 3
            execute(fresh_database, """UPDATE "odd types" SET span = '1 year' WHERE "Name of it" = 'b'""")
            execute(fresh_database, """DELETE FROM "child notes, old" WHERE "no." = 2""")
            found = (await verify_from(server, fresh_database, chosen)).differences
        assert sorted((one.kind, one.table, one.key, one.column or "") for one in found) == [
            ("different", "odd types", ("b",), "span"),
            *(("missing", "child notes, old", (key, "2"), "") for key in ("", "B", "b", 'Ё, "quoted"')),
        ]
        assert query(fresh_database, "SELECT nextval(pg_get_serial_sequence('\"odd types\"', 'counter'))") == [(6,)]
    finally:
        databases.drop_database(source_database)


async def test_a_row_whose_parent_is_missing_is_reported(databases: PostgresServer, fresh_database: str) -> None:
    """The foreign key is away while rows go in; put back, it stays NOT VALID for the rows that break it."""
    source_database = databases.create_database()
    try:
        for url in (source_database, fresh_database):
            execute(url, _DDL)
        execute(source_database, _ROWS)
        execute(source_database, 'ALTER TABLE "child notes, old" DROP CONSTRAINT "child notes, old_Parent, key_fkey"')
        execute(source_database, """INSERT INTO "child notes, old" VALUES ('nobody', 1, '')""")
        with PageServer(source_database) as server:
            report = await copy_from(server, fresh_database, select_tables(METADATA))
        assert [row for table in report.tables for row in table.refused] == []
        (broken,) = report.broken
        assert (broken.key.of_table, broken.key.name, broken.key.state, broken.orphans) == (
            "child notes, old",
            "child notes, old_Parent, key_fkey",
            "not valid",
            1,
        )
        assert query(fresh_database, broken.key.orphans) == [("nobody", 1, "")]
        assert not report.complete
    finally:
        databases.drop_database(source_database)
