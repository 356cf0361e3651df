"""Checks of the target that are NOT VALID refuse no row that the source has, and are there for everybody else."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.migration.copy import range_loader
from app.migration.copy.dry_run import dry_run
from app.migration.load import loader
from app.migration.preflight.schemas.target_schema import examine_against
from app.migration.quarantine.replay import replay
from app.migration.tables.copy_table import CopyTable
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import Ends
from tests.migration.engine import Told, copy_from, execute, query, row_texts, source_of, value, verify_from
from tests.migration.two_ends import sync_from
from tests.preflight.looking import codes, look

METADATA = MetaData()
Table("t", METADATA, Column("id", Integer, primary_key=True), Column("n", Integer), Column("v", Text))
_CHOSEN = select_tables(METADATA)
_COLUMNS = "(id integer PRIMARY KEY, n {kind}, v text)"
_PLAIN = f"CREATE TABLE t {_COLUMNS.format(kind='integer')};"
# A check, where it is noted, and the statement that breaks it.
_CHECK = "ADD CONSTRAINT positive CHECK (n > 0) NOT VALID"
_KINDS = {
    "table": f"{_PLAIN} ALTER TABLE t {_CHECK}; COMMENT ON CONSTRAINT positive ON t IS 'it''s 100%';",
    "domain": f"CREATE DOMAIN amount AS integer; CREATE TABLE t {_COLUMNS.format(kind='amount')}; "
    f"ALTER DOMAIN amount {_CHECK.replace('n >', 'VALUE >')};",
    "partition": f"CREATE TABLE t {_COLUMNS.format(kind='integer')} PARTITION BY RANGE (id); "
    f"CREATE TABLE t_1 PARTITION OF t DEFAULT; ALTER TABLE t {_CHECK};",
    "heir": f"CREATE TABLE above (n integer); {_PLAIN} ALTER TABLE t INHERIT above; ALTER TABLE t {_CHECK}; "
    f"ALTER TABLE above {_CHECK};",
}
_STATE = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), conislocal, coninhcount,
    obj_description(oid, 'pg_constraint')
FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
_FIX = VerifyOptions(fix=True, pause=0.01)


@pytest.mark.parametrize("kind", _KINDS)
async def test_no_row_of_the_source_is_refused(kind: str, ends: Ends) -> None:
    ends.make(_PLAIN, "INSERT INTO t SELECT n, n - 5, 'v' FROM generate_series(1, 9) n", _KINDS[kind])
    before = query(ends.target, _STATE)
    copied = await copy_from(ends.served, ends.target, _CHOSEN)
    assert [(table.refused, table.inserted) for table in copied.tables] == [((), 9)]
    execute(
        ends.source,
        "INSERT INTO t VALUES (10, -10, 'v'); UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2",
    )
    synced = await sync_from(ends.served, ends.target, _CHOSEN)
    assert (synced.complete, synced.tables["t"].refused) == (True, ())
    execute(ends.target, "DELETE FROM t WHERE id = 3")
    await verify_from(ends.served, ends.target, _CHOSEN, options=_FIX)
    assert (await verify_from(ends.served, ends.target, _CHOSEN)).clean
    assert query(ends.target, _STATE) == before


@pytest.mark.parametrize("ends", ["connection"], indirect=True)
@pytest.mark.parametrize("kind", ["table", "domain"])
async def test_for_all_others_it_is_there_and_a_broken_run_leaves_it(
    kind: str, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends.make(_PLAIN, "INSERT INTO t VALUES (1, -1, 'v')", _KINDS[kind])
    before = query(ends.target, _STATE)
    met: list[type[psycopg.Error]] = []

    async def interrupted(*_: object, **__: object) -> None:
        with pytest.raises(psycopg.Error) as refused:
            execute(ends.target, "SET lock_timeout = '20ms'; INSERT INTO t VALUES (2, -2, 'of the application')")
        met.append(type(refused.value))
        raise ZeroDivisionError

    for module in (loader, range_loader):
        monkeypatch.setattr(module, "record_loaded", interrupted)
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        await copy_from(ends.served, ends.target, _CHOSEN)
    assert met == [psycopg.errors.LockNotAvailable if kind == "table" else psycopg.errors.CheckViolation]
    assert query(ends.target, _STATE) == before
    monkeypatch.undo()
    assert (await copy_from(ends.served, ends.target, _CHOSEN)).complete
    assert row_texts(ends.target, "t") == ["(1,-1,v)"]


async def test_a_replay_a_dry_run_and_preflight(ends: Ends) -> None:
    valid = "ALTER TABLE t ADD CONSTRAINT good CHECK (v <> 'bad');"
    ends.make(_PLAIN, "INSERT INTO t VALUES (1, -1, 'v'), (2, -2, 'bad')", _KINDS["table"] + valid)
    async with source_of(ends.served) as source:
        tried = await dry_run(source, ends.target, _CHOSEN, Told())
    assert tried.tables[0].refused == {("23514", "good"): 1}
    report = await look(ends.served, ends.target, tables=_CHOSEN, examine=examine_against(_CHOSEN))
    assert "target-check-not-valid t" in codes(report, "notice")
    copied = await copy_from(ends.served, ends.target, _CHOSEN)
    assert [(one.key, one.place) for one in copied.tables[0].refused] == [(("2",), "good")]
    execute(ends.target, "ALTER TABLE t DROP CONSTRAINT good")
    assert (await replay(ends.target, METADATA)).complete
    assert row_texts(ends.target, "t") == ["(1,-1,v)", "(2,-2,bad)"]


async def test_one_that_its_owner_validates_stays_valid(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ends.make(_PLAIN, "INSERT INTO t VALUES (1, 1, 'v')", _KINDS["table"])
    described = CopyTable.__init__

    def validated(self: CopyTable, *arguments: Any, **named: Any) -> None:
        described(self, *arguments, **named)
        execute(ends.target, "ALTER TABLE t VALIDATE CONSTRAINT positive")

    monkeypatch.setattr(CopyTable, "__init__", validated)
    assert (await copy_from(ends.served, ends.target, _CHOSEN)).complete
    assert value(ends.target, "SELECT convalidated FROM pg_constraint WHERE conname = 'positive'")
