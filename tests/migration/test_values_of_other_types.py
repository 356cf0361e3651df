"""Values that another type of the same name makes of what the source holds: verify names them, whatever is inside."""

from dataclasses import dataclass

import pytest
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.types import NullType

from app.errors import MigrationError
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import Ends, MakeSource
from tests.migration.engine import copy_from, execute, row_texts, value, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table("held", METADATA, Column("id", Integer, primary_key=True), Column("v", NullType()))
CHOSEN = select_tables(METADATA)


@dataclass(frozen=True)
class Kind:
    """A type `kind` at either end, and a value with what the target makes of it; `same` is one that both hold alike."""

    source: str
    target: str
    value: str
    made: str
    same: str


KINDS = {
    "composite": Kind(
        "TYPE kind AS (x float8, doc json, at timestamptz)",
        "TYPE kind AS (x float4, doc jsonb, at timestamptz)",
        '(0.30000000000000004,,"2024-01-01 10:00:00+00")',
        '(0.3,,"2024-01-01 10:00:00+00")',
        '(0.5,,"2024-01-01 10:00:00+00")',
    ),
    "composite with an interval": Kind(
        "TYPE kind AS (doc json, gap interval)",
        "TYPE kind AS (doc jsonb, gap interval)",
        '("{""b"":1,""a"":2}",01:00:00)',
        '("{""a"": 2, ""b"": 1}",01:00:00)',
        '("[1, 2]",01:00:00)',
    ),
    "composite with a scale": Kind(
        "TYPE kind AS (at timestamptz, name text)",
        "TYPE kind AS (at timestamptz(0), name text)",
        '("2024-01-01 10:00:00.7+00",a)',
        '("2024-01-01 10:00:01+00",a)',
        '("2024-01-01 10:00:00+00",a)',
    ),
    "range": Kind(
        "TYPE kind AS RANGE (subtype = date)",
        "TYPE kind AS RANGE (subtype = timestamptz)",
        "[2024-01-01,2024-02-01)",
        '["2024-01-01 00:00:00+00","2024-02-01 00:00:00+00")',
        "empty",
    ),
    "domain with a scale": Kind(
        "DOMAIN kind AS timestamptz",
        "DOMAIN kind AS timestamptz(0)",
        "2024-01-01 10:00:00.7+00",
        "2024-01-01 10:00:01+00",
        "2024-01-01 10:00:00+00",
    ),
    "domain of days": Kind(
        "DOMAIN kind AS date", "DOMAIN kind AS timestamptz", "2024-01-01", "2024-01-01 00:00:00+00", "infinity"
    ),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_what_a_type_of_the_same_name_makes_is_found(
    make_source: MakeSource, fresh_database: str, kind: Kind
) -> None:
    table = "CREATE TABLE held (id integer PRIMARY KEY, v kind); INSERT INTO held VALUES (1, '{}'), (2, '{}')"
    source = make_source(f"CREATE {kind.source}; {table.format(kind.value, kind.same)}")
    execute(fresh_database, f"CREATE {kind.target}; {table.format(kind.made, kind.same)}")
    (found,) = (await verify_from(source, fresh_database, CHOSEN)).tables
    assert (found.equal, found.missing, found.extra, found.different) == (1, 0, 0, 1)


@pytest.mark.parametrize("kind", ["timestamptz", "interval[]", "moments", "tstzrange", "stamped"])
async def test_what_another_time_zone_writes_is_the_same(
    make_source: MakeSource, fresh_database: str, kind: str
) -> None:
    value = {
        "interval[]": "'{01:00:00}'",
        "moments": "'{\"2024-01-01 10:00:00+00\"}'",
        "tstzrange": "'[2024-01-01 10:00:00+00,2024-01-02 10:00:00+00)'",
        "stamped": "ROW('a', '2024-01-01 10:00:00+00'::timestamptz)",
    }.get(kind, "'2024-01-01 10:00:00+00'")
    script = (
        "CREATE TYPE stamped AS (name text, at timestamptz); CREATE DOMAIN moments AS timestamptz[]; "
        f"CREATE TABLE held (id integer PRIMARY KEY, v {kind}); INSERT INTO held VALUES (1, {value}::{kind})"
    )
    source = make_source(
        f"{script}; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', "
        "current_database()); END $$"
    )
    execute(fresh_database, script)
    assert (await verify_from(source, fresh_database, CHOSEN)).clean


@pytest.mark.parametrize("kind", ["composite", "array of a domain"])
async def test_a_copy_that_makes_other_values_is_not_complete(
    make_source: MakeSource, fresh_database: str, kind: str
) -> None:
    ends = {
        "composite": ("TYPE kind AS (x float8)", "TYPE kind AS (x float4)", "kind", "(16777217)", "(0.5)"),
        "array of a domain": ("DOMAIN kind AS float8", "DOMAIN kind AS float4", "kind[]", "{16777217}", "{0.5}"),
    }
    theirs, ours, written, changed, same = ends[kind]
    table = f"CREATE TABLE held (id integer PRIMARY KEY, v {written})"
    source = make_source(f"CREATE {theirs}; {table}; INSERT INTO held VALUES (1, '{changed}'), (2, '{same}')")
    execute(fresh_database, f"CREATE {ours}; {table}")
    report = await copy_from(source, fresh_database, CHOSEN)
    assert (report.complete, report.tables[0].differ) == (False, 1)


async def test_a_copy_of_types_of_the_same_parts_is_complete(make_source: MakeSource, fresh_database: str) -> None:
    script = "CREATE TYPE kind AS (x float8, m mood); CREATE TABLE held (id integer PRIMARY KEY, v kind)"
    script = f"CREATE TYPE mood AS ENUM ('sad'); {script}"
    source = make_source(f"{script}; INSERT INTO held VALUES (1, '(16777217,sad)')")
    execute(fresh_database, script)
    report = await copy_from(source, fresh_database, CHOSEN)
    assert (report.complete, report.tables[0].differ) == (True, 0)


async def test_a_domain_over_json_goes_back_as_the_value_that_it_is(ends: Ends) -> None:
    ends.make("CREATE DOMAIN kind AS jsonb; CREATE TABLE held (id integer PRIMARY KEY, v kind)", "")
    assert (await copy_from(ends.served, ends.target, CHOSEN)).complete
    execute(ends.target, "INSERT INTO held VALUES (1, '{\"a\": 2}'), (2, '\"text\"'), (3, NULL)")
    assert (
        await sync_from(ends.served, ends.target, CHOSEN, reverse=True, target_in_use=True, overwrite=True)
    ).complete
    assert row_texts(ends.source, "held") == row_texts(ends.target, "held")


async def test_a_key_without_overlaps_is_named_before_anything_is_written(ends: Ends) -> None:
    if int(value(ends.target, "SHOW server_version_num")) < 180000:
        pytest.skip("WITHOUT OVERLAPS came with PostgreSQL 18")
    temporal = "CREATE TABLE held (id int4range, v daterange, PRIMARY KEY (id, v WITHOUT OVERLAPS))"
    metadata = MetaData()
    Table("held", metadata, Column("id", NullType(), primary_key=True), Column("v", NullType(), primary_key=True))
    ends.make(temporal, "INSERT INTO held VALUES ('[1,2)', '[2024-01-01,2024-02-01)')")
    with pytest.raises(MigrationError, match="no unique index is on the key") as raised:
        await copy_from(ends.served, ends.target, select_tables(metadata))
    execute(ends.target, str(raised.value.next_step).partition(";")[0])
    assert (await copy_from(ends.served, ends.target, select_tables(metadata))).complete
    assert (await sync_from(ends.served, ends.target, select_tables(metadata))).complete
