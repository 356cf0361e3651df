"""Memory does not grow with what differs: keys are counted in the target, and come over a part at a time."""

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.sync import changed_rows
from tests.fixtures.sources import Source
from tests.migration.engine import copy_from, execute, row_texts, verify_from
from tests.migration.two_ends import sync_from

_THINGS = Table("things", MetaData(), Column("id", BigInteger, primary_key=True, autoincrement=False))
_FEW, _MANY = 10, 60_000  # rows
_PEAK = 8_000_000  # bytes; the keys of many rows, as they come, take twelve, and a piece of a stream six


@pytest.fixture
def source(source_database: str, database_url: str) -> Source:
    """A source over a connection, and a target, both with the table."""
    for url in (source_database, database_url):
        execute(url, "CREATE TABLE things (id bigint PRIMARY KEY)")
    return Source(source_database, "", source_database, is_lite=False)


def _fill(url: str, rows: int) -> None:
    execute(url, f"INSERT INTO things SELECT generate_series(1, {rows}) ON CONFLICT DO NOTHING")


@asynccontextmanager
async def _little_memory() -> AsyncIterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _PEAK


@pytest.mark.parametrize("reverse", [False, True])
async def test_more_deletions_than_may_be(source: Source, database_url: str, reverse: bool) -> None:
    _fill(source.database_url, _FEW)
    await sync_from(source, database_url, [_THINGS])
    _fill(source.database_url if reverse else database_url, _MANY)
    async with _little_memory():
        with pytest.raises(MigrationError, match="--max-deletes"):
            await sync_from(source, database_url, [_THINGS], reverse=reverse, target_in_use=reverse)
    counted = await sync_from(source, database_url, [_THINGS], reverse=reverse, target_in_use=reverse, dry_run=True)
    assert counted.tables["things"].deleted == _MANY - _FEW


async def test_rows_that_the_source_lacks(source: Source, database_url: str) -> None:
    _fill(database_url, _MANY)
    async with _little_memory():
        counted = await sync_from(source, database_url, [_THINGS], reverse=True, target_in_use=True, dry_run=True)
    assert counted.tables["things"].inserted == _MANY


async def test_rows_that_the_source_lacks_come_part_by_part(
    source: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_rows, "_PART", 4)
    _fill(database_url, _FEW)
    report = await sync_from(source, database_url, [_THINGS], reverse=True, target_in_use=True)
    assert report.tables["things"].inserted == _FEW
    assert row_texts(source.database_url, "things") == row_texts(database_url, "things")


async def test_rows_of_the_target_beside_a_copy(source: Source, database_url: str) -> None:
    _fill(source.database_url, _FEW)
    _fill(database_url, _MANY)
    async with _little_memory():
        report = await copy_from(source, database_url, [_THINGS], options=CopyOptions(overwrite=True))
    assert [table.went for table in report.tables] == [_MANY - _FEW]


async def test_a_quarantine_beside_a_verify(source: Source, database_url: str) -> None:
    _fill(source.database_url, _FEW)
    await copy_from(source, database_url, [_THINGS])
    execute(database_url, "DELETE FROM things WHERE id = 7")
    execute(
        database_url,
        "INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message) SELECT 1, 'things', "
        f"ARRAY[i::text], '{{}}', '23514', 'planted' FROM generate_series(1, {_MANY}) i",
    )
    async with _little_memory():
        report = await verify_from(source, database_url, [_THINGS])
    (table,) = report.tables
    assert [(found.key, found.refused) for found in table.differences] == [(("7",), "23514")]
