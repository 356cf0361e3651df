"""Foreign keys of the target: away while rows go in, back and validated before a copy is complete."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text
from sqlalchemy.engine import make_url

from app.errors import MigrationError
from app.migration.copy import copier as copy_module
from app.migration.copy.copier import CopyOptions
from app.migration.copy.range_copier import RangeOptions
from app.migration.sync.options import SyncOptions
from app.migration.sync.syncer import Sync
from app.migration.tables.metadata import select_tables
from app.migration.target import foreign_keys
from tests.cli.command import start
from tests.migration.engine import Told, copy_from, execute, query, row_texts, source_of, value, verify_from
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer

METADATA = MetaData()
_HEN = Table(
    "hen",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("egg", Integer, ForeignKey("egg.id", name="hen_egg", use_alter=True)),
)
_EGG = Table("egg", METADATA, Column("id", Integer, primary_key=True), Column("hen", Integer, ForeignKey("hen.id")))
_NOTE = Table("note", METADATA, Column("id", Integer, primary_key=True), Column("said", Text))

_TABLES = """
CREATE TABLE hen (id integer PRIMARY KEY, egg integer);
CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL);
CREATE TABLE note (id integer PRIMARY KEY, said text, "one, two" integer, three integer, UNIQUE ("one, two", three));
"""
# A cycle; a table that is not copied, whose reference cascades; and one that was never validated.
_KEYS = """
ALTER TABLE egg ADD CONSTRAINT egg_hen FOREIGN KEY (hen) REFERENCES hen ON DELETE RESTRICT;
ALTER TABLE hen ADD CONSTRAINT hen_egg FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
COMMENT ON CONSTRAINT egg_hen ON egg IS 'it''s of a hen: 100%';
CREATE TABLE elsewhere (a integer, b integer, CONSTRAINT away FOREIGN KEY (b, a) REFERENCES note ("one, two", three)
    ON UPDATE CASCADE ON DELETE SET NULL);
INSERT INTO elsewhere VALUES (NULL, 7), (8, NULL);
CREATE TABLE lax (hen integer); INSERT INTO lax VALUES (-1);
ALTER TABLE lax ADD CONSTRAINT lax_hen FOREIGN KEY (hen) REFERENCES hen NOT VALID;
"""
_DEFINITIONS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') "
    "FROM pg_constraint "
    "WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY 1, 2"
)
_SMALL = CopyOptions(ranges=RangeOptions(jobs=2, range_rows=4))


@dataclass(frozen=True)
class _Served:
    url: str
    service_key: str
    database_url: str


@pytest.fixture(params=["page server", "connection"])
def served(request: pytest.FixtureRequest, databases: PostgresServer, fresh_database: str) -> Iterator[_Served]:
    """A source with ten hens and their eggs; the target has the foreign keys."""
    source = databases.create_database()
    execute(source, _TABLES)
    execute(fresh_database, _TABLES + _KEYS)
    execute(
        source,
        "INSERT INTO hen SELECT n, 11 - n FROM generate_series(1, 10) n; "
        "INSERT INTO egg SELECT n, n FROM generate_series(1, 10) n; INSERT INTO note VALUES (1, 'x', 1, 2)",
    )
    if request.param == "connection":
        yield _Served(source, "", source)
    else:
        with PageServer(source, max_rows=4) as pages:
            yield _Served(pages.url, pages.service_key, source)
    databases.drop_database(source)


async def test_a_cycle_is_copied_and_the_keys_are_as_before(served: _Served, fresh_database: str) -> None:
    before = query(fresh_database, _DEFINITIONS)
    report = await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    assert (report.complete, report.broken) == (True, ())
    for table in ("hen", "egg"):
        assert row_texts(fresh_database, table) == row_texts(served.database_url, table)
    assert len(before) == 4
    assert query(fresh_database, _DEFINITIONS) == before
    assert query(fresh_database, "SELECT DISTINCT state FROM botdata.foreign_keys") == [("validated",)]
    again = await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    assert (again.complete, query(fresh_database, _DEFINITIONS)) == (True, before)


async def test_a_copy_that_stops_says_what_is_away(served: _Served, fresh_database: str) -> None:
    before = query(fresh_database, _DEFINITIONS)
    execute(served.database_url, "ALTER TABLE hen RENAME TO lost")
    with pytest.raises(MigrationError) as stopped:
        await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    assert "put back at its end: egg_hen on egg, away on elsewhere, hen_egg on hen, lax_hen" in str(
        stopped.value.pending
    )
    assert query(fresh_database, _DEFINITIONS) == []
    execute(served.database_url, "ALTER TABLE lost RENAME TO hen")
    report = await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    assert (report.complete, query(fresh_database, _DEFINITIONS)) == (True, before)


@pytest.mark.parametrize("moment", ["in the middle", "when all rows are in", "when they are back and not valid"])
async def test_a_killed_copy_puts_them_back_when_it_goes_on(
    served: _Served, fresh_database: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = query(fresh_database, _DEFINITIONS)

    class Killed(BaseException):
        """Nothing handles it, as nothing handles a SIGKILL."""

    async def killed(*arguments: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        match moment:
            case "in the middle":
                patch.setattr(copy_module, "raise_sequences", killed)
            case "when all rows are in":
                patch.setattr(foreign_keys, "_restore", killed)
            case _:
                patch.setattr(foreign_keys, "_validate", killed)
        with pytest.raises(Killed):
            await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    there = query(fresh_database, _DEFINITIONS)
    assert len([definition for *_, definition, _ in there if "NOT VALID" not in definition]) == 0
    assert len(there) == (4 if moment.startswith("when they") else 0)
    report = await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    assert (report.resumed, report.complete) == (True, True)
    assert query(fresh_database, _DEFINITIONS) == before
    assert query(fresh_database, "SELECT DISTINCT state FROM botdata.runs") == [("complete",)]


async def _leave_away(served: _Served, target: str, patch: pytest.MonkeyPatch) -> None:
    """A copy that is stopped when all rows are in."""

    async def stopped(*arguments: object, **named: object) -> None:
        raise MigrationError("stopped")

    with patch.context() as context:
        context.setattr(foreign_keys, "_restore", stopped)
        with pytest.raises(MigrationError, match="stopped"):
            await copy_from(served, target, select_tables(METADATA), options=_SMALL)
    assert query(target, _DEFINITIONS) == []


async def test_a_sync_puts_back_what_a_copy_left_away(
    served: _Served, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = query(fresh_database, _DEFINITIONS)
    await _leave_away(served, fresh_database, monkeypatch)
    told = Told()
    assert (await verify_from(served, fresh_database, select_tables(METADATA), told=told)).clean
    assert "egg_hen on egg (dropped)" in told.notices[0]
    await Sync(lambda: source_of(served), fresh_database, select_tables(METADATA), Told(), SyncOptions()).run()
    assert query(fresh_database, _DEFINITIONS) == before


async def test_they_are_put_back_before_what_is_known_of_them_goes(
    served: _Served, fresh_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = query(fresh_database, _DEFINITIONS)
    await _leave_away(served, fresh_database, monkeypatch)
    with start("uninstall", "--yes", directory=tmp_path, DATABASE_URL=fresh_database) as process:
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, out, err) == (0, "schema botdata: dropped\n", "")
    assert query(fresh_database, _DEFINITIONS) == before


async def test_orphans_are_counted_and_the_key_stays_not_valid(served: _Served, fresh_database: str) -> None:
    execute(served.database_url, "INSERT INTO egg VALUES (11, 99), (12, 98)")
    report = await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    (broken,) = report.broken
    assert (report.complete, broken.key.of_table, broken.key.name, broken.key.state, broken.orphans) == (
        False, "egg", "egg_hen", "not valid", 2,
    )  # fmt: skip
    assert sorted(query(fresh_database, broken.key.orphans)) == [(11, 99), (12, 98)]
    assert [row[2] for row in query(fresh_database, _DEFINITIONS) if row[1] == "egg_hen"] == [
        "FOREIGN KEY (hen) REFERENCES hen(id) ON DELETE RESTRICT NOT VALID"
    ]
    execute(served.database_url, "INSERT INTO hen VALUES (98), (99)")
    again = await copy_from(served, fresh_database, select_tables(METADATA), options=_SMALL)
    assert (again.complete, again.broken) == (True, ())
    assert [row[2] for row in query(fresh_database, _DEFINITIONS) if row[1] == "egg_hen"] == [
        "FOREIGN KEY (hen) REFERENCES hen(id) ON DELETE RESTRICT"
    ]


async def test_a_part_of_the_tables(served: _Served, fresh_database: str) -> None:
    """Only the keys on or to the tables chosen are touched; rows whose parents were not copied are told."""
    report = await copy_from(served, fresh_database, select_tables(METADATA, names=["egg"]), options=_SMALL)
    assert [(broken.key.name, broken.orphans) for broken in report.broken] == [("egg_hen", 10)]
    names = {name for (name,) in query(fresh_database, "SELECT name FROM botdata.foreign_keys")}
    assert names == {"egg_hen", "hen_egg"}


@pytest.mark.separate_server
async def test_a_role_that_does_not_own_the_tables(served: _Served, fresh_database: str) -> None:
    name = value(fresh_database, "SELECT current_database()")
    role = f"bot_{name}"
    execute(fresh_database, f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'bot'")
    try:
        execute(fresh_database, f'GRANT CREATE ON DATABASE "{name}" TO "{role}"')
        execute(fresh_database, f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"')
        target = make_url(fresh_database).set(username=role, password="bot").render_as_string(hide_password=False)
        before = query(fresh_database, _DEFINITIONS)
        with pytest.raises(MigrationError, match="cannot be dropped by this role: egg_hen on egg") as stopped:
            await copy_from(served, target, select_tables(METADATA), options=_SMALL)
        assert stopped.value.pending == "everything; nothing was written"
        assert query(fresh_database, _DEFINITIONS) == before
        assert value(fresh_database, "SELECT count(*) FROM hen") == 0
    finally:
        execute(fresh_database, f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')


async def test_a_partitioned_table(databases: PostgresServer, fresh_database: str) -> None:
    metadata = MetaData()
    Table("parent", metadata, Column("id", Integer, primary_key=True))
    Table("parted", metadata, Column("id", Integer, primary_key=True), Column("parent", Integer))
    ddl = (
        "CREATE TABLE parent (id integer PRIMARY KEY); "
        "CREATE TABLE parted (id integer PRIMARY KEY, parent integer) PARTITION BY RANGE (id); "
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10); "
        "CREATE TABLE high PARTITION OF parted FOR VALUES FROM (10) TO (100)"
    )
    source = databases.create_database()
    try:
        execute(source, ddl)
        execute(source, "INSERT INTO parent VALUES (1); INSERT INTO parted SELECT n, 1 FROM generate_series(1, 20) n")
        execute(fresh_database, f"{ddl}; ALTER TABLE parted ADD CONSTRAINT up FOREIGN KEY (parent) REFERENCES parent")
        before = query(fresh_database, _DEFINITIONS)
        served = _Served(source, "", source)
        report = await copy_from(served, fresh_database, select_tables(metadata), options=_SMALL)
        assert (report.complete, query(fresh_database, _DEFINITIONS)) == (True, before)
        assert row_texts(fresh_database, "parted") == row_texts(source, "parted")
    finally:
        databases.drop_database(source)
