"""The first sync after a copy tells by hashes which rows are equal, and reads the others alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.common.keys import Key
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.source import Page
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, copy_from, execute, query, row_texts, tables, value
from tests.migration.two_ends import sync_from

_PAIRS = "SELECT count(*) FROM botdata.row_versions WHERE table_name = 'clients'"


@pytest.fixture
async def copied(source_database: str, database_url: str) -> Source:
    """A source over a connection whose hundred clients were copied."""
    source = Source(source_database, "", source_database, is_lite=False)
    add_clients(source_database, 100)
    assert (await copy_from(source, database_url, tables("clients"))).complete
    return source


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """The keys whose rows came from the source; pages of all rows are an error."""
    asked: list[Key] = []
    by_key = PostgresSource.rows_by_key

    def no_pages(*_: object, **__: object) -> AsyncIterator[Page]:
        raise AssertionError("pages of all rows were asked for")

    async def rows_by_key(self: PostgresSource, table: Any, keys: Any, **options: Any) -> AsyncIterator[Page]:
        asked.extend(keys)
        async for page in by_key(self, table, keys, **options):
            yield page

    monkeypatch.setattr(PostgresSource, "pages", no_pages)
    monkeypatch.setattr(PostgresSource, "rows_by_key", rows_by_key)
    return asked


@pytest.mark.parametrize("reverse", [False, True])
async def test_equal_rows_are_not_read(copied: Source, database_url: str, read: list[Key], reverse: bool) -> None:
    execute(copied.database_url, "UPDATE clients SET name = 'ё' WHERE id = 7")
    execute(database_url, "UPDATE clients SET notes = 'here' WHERE id = 8")
    report = await sync_from(
        copied, database_url, tables("clients"), reverse=reverse, target_in_use=reverse, overwrite=True, most_by_key=10
    )
    assert (report.complete, report.tables["clients"].updated) == (True, 2)
    assert set(read) == {("7",), ("8",)}
    assert row_texts(copied.database_url, "clients") == row_texts(database_url, "clients")
    assert value(database_url, _PAIRS) == 100
    read.clear()
    again = await sync_from(
        copied, database_url, tables("clients"), reverse=reverse, target_in_use=reverse, most_by_key=10
    )
    assert (again.tables["clients"].updated, read) == (0, [])


async def test_pairs_are_of_rows_that_are_equal(copied: Source, database_url: str) -> None:
    """Each pair has the versions that the two rows have; of a row that differs there is none."""
    execute(database_url, "UPDATE clients SET notes = 'here' WHERE id = 8")
    execute(database_url, "DELETE FROM clients WHERE id = 9")
    planted = "CHECK (id NOT IN (8, 9) OR notes IS NOT DISTINCT FROM 'here')"
    execute(database_url, f"ALTER TABLE clients ADD CONSTRAINT planted {planted}")
    await sync_from(copied, database_url, tables("clients"), overwrite=True, most_by_key=10)
    pairs = query(database_url, "SELECT key[1]::integer, source_xid, target_xid FROM botdata.row_versions ORDER BY 1")
    versions = "SELECT id, xmin::text FROM clients WHERE id NOT IN (8, 9) ORDER BY id"
    theirs, ours = query(copied.database_url, versions), query(database_url, versions)
    assert pairs == [(number, xid, own) for (number, xid), (_, own) in zip(theirs, ours, strict=True)]
