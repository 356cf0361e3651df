"""Values that another type of the same name makes of what the source holds: verify names them, whatever is inside."""

from dataclasses import dataclass

import pytest
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.types import NullType

from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import MakeSource
from tests.migration.engine import copy_from, execute, verify_from

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
