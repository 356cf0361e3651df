"""One source by two addresses: rows that came by the other one are known for what they are."""

from urllib.parse import urlsplit

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from app.common.schemas import Schemas
from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.tables.metadata import select_tables
from app.state.versions import VERSIONS
from app.stores.postgres.database_url import shown_url
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, copy_from, execute, query, row_texts, tables, value
from tests.migration.test_sync import sync_from
from tests.migration.test_sync_reverse import back
from tests.support.page_server import PageServer
from tests.support.postgres import PostgresServer


@pytest.fixture
def by_rest(pages: PageServer, source_database: str) -> Source:
    return Source(pages.url, pages.service_key, source_database, is_lite=False)


@pytest.mark.parametrize("step", ["copy", "sync"])
async def test_the_other_address_is_named(connected: Source, by_rest: Source, database_url: str, step: str) -> None:
    add_clients(connected.database_url, 3)
    await copy_from(connected, database_url, tables("clients"))
    execute(connected.database_url, "UPDATE clients SET name = 'late' WHERE id = 2")
    run = (
        copy_from(by_rest, database_url, tables("clients"))
        if step == "copy"
        else sync_from(by_rest, database_url, "clients")
    )
    with pytest.raises(MigrationError) as stopped:
        await run
    assert stopped.value.message == (
        f"the target holds rows that no copy from {urlsplit(by_rest.url).netloc} wrote: clients (3). These came by "
        f"another address: all of them from {shown_url(connected.url)}. It may be the same database"
    )
    assert stopped.value.step == step
    assert str(stopped.value.next_step).startswith(f"if it is the same one, botdata {step} --overwrite (its rows")
    assert "nothing is lost" in str(stopped.value.next_step)
    if step == "copy":
        await copy_from(by_rest, database_url, tables("clients"), options=CopyOptions(overwrite=True))
    else:
        assert (await sync_from(by_rest, database_url, "clients", overwrite=True)).complete
    assert row_texts(database_url, "clients") == row_texts(connected.database_url, "clients")
    for again in (by_rest, connected):
        assert (await sync_from(again, database_url, "clients")).complete


async def test_a_sync_that_found_nothing_new_knows_the_rows_too(
    connected: Source, by_rest: Source, database_url: str
) -> None:
    add_clients(connected.database_url, 3)
    await copy_from(connected, database_url, tables("clients"))
    assert (await sync_from(by_rest, database_url, "clients", overwrite=True)).complete
    assert (await sync_from(by_rest, database_url, "clients")).complete


async def test_rows_of_nobody_are_told_apart(connected: Source, by_rest: Source, database_url: str) -> None:
    add_clients(connected.database_url, 3)
    await copy_from(connected, database_url, tables("clients"))
    add_clients(database_url, 2, first=11)
    with pytest.raises(MigrationError, match=r"clients \(5\)\. These came by another address: 3 from ") as mixed:
        await copy_from(by_rest, database_url, tables("clients"))
    assert "nothing is lost" not in str(mixed.value.next_step)
    with pytest.raises(MigrationError, match=r"wrote: clients \(2\)$") as stopped:
        await copy_from(connected, database_url, tables("clients"))
    assert str(stopped.value.next_step) == "botdata copy --overwrite, if the source's rows may replace them"


async def test_the_way_back_by_another_address(connected: Source, by_rest: Source, database_url: str) -> None:
    add_clients(connected.database_url, 3)
    await copy_from(connected, database_url, tables("clients"))
    with pytest.raises(MigrationError, match=r"never brought over from it \(the target's came from .*, or by that"):
        await back(by_rest, database_url, "clients")
    assert value(connected.database_url, "SELECT count(*) FROM clients") == 3


async def test_rows_of_a_partitioned_target_are_counted_each(databases: PostgresServer, fresh_database: str) -> None:
    """Rows of two partitions may have the same place in their files."""
    metadata = MetaData()
    Table("visits", metadata, Column("id", Integer, primary_key=True))
    chosen = select_tables(metadata)
    database = databases.create_database()
    try:
        execute(database, "CREATE TABLE visits (id integer PRIMARY KEY); INSERT INTO visits VALUES (1), (11)")
        execute(
            fresh_database,
            "CREATE TABLE visits (id integer PRIMARY KEY) PARTITION BY RANGE (id); "
            "CREATE TABLE low PARTITION OF visits FOR VALUES FROM (0) TO (10); "
            "CREATE TABLE high PARTITION OF visits FOR VALUES FROM (10) TO (20)",
        )
        await copy_from(Source(database, "", database, is_lite=False), fresh_database, chosen)
        with PageServer(database) as server:
            by_rest = Source(server.url, server.service_key, database, is_lite=False)
            with pytest.raises(
                MigrationError, match=r"visits \(2\)\. These came by another address: all of them from "
            ):
                await copy_from(by_rest, fresh_database, chosen)
    finally:
        databases.drop_database(database)


@pytest.fixture
def one_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both addresses are of one Supabase project."""
    for module in ("postgres.postgres_source", "rest.rest_source"):
        monkeypatch.setattr(f"app.migration.sources.{module}.source_label", lambda url: "abcd1234.supabase.co")


@pytest.mark.usefixtures("one_project")
@pytest.mark.parametrize("first_over_rest", [True, False])
async def test_addresses_of_one_project_are_one_source(
    connected: Source, by_rest: Source, database_url: str, first_over_rest: bool
) -> None:
    first, second = (by_rest, connected) if first_over_rest else (connected, by_rest)
    add_clients(connected.database_url, 5)
    assert (await copy_from(first, database_url, tables("clients"))).complete
    for source in (second, first):
        execute(connected.database_url, "UPDATE clients SET name = name || '!' WHERE id < 3; ")
        execute(connected.database_url, "DELETE FROM clients WHERE id = (SELECT max(id) FROM clients)")
        synced = await sync_from(source, database_url, "clients")
        assert (synced.complete, synced.tables["clients"].updated, synced.tables["clients"].deleted) == (True, 2, 1)
    add_clients(connected.database_url, 2, first=20)
    assert (await copy_from(second, database_url, tables("clients"))).complete
    assert row_texts(database_url, "clients") == row_texts(connected.database_url, "clients")
    assert query(database_url, "SELECT DISTINCT source FROM botdata.runs") == [("abcd1234.supabase.co",)]


@pytest.mark.usefixtures("one_project")
@pytest.mark.parametrize("first_over_rest", [True, False])
async def test_a_copy_that_was_cut_does_not_go_on_the_other_way(
    connected: Source, by_rest: Source, database_url: str, first_over_rest: bool
) -> None:
    """Where one is remembers a key, the other ranges: the second reads all rows, those too that have changed since."""
    first, second = (by_rest, connected) if first_over_rest else (connected, by_rest)
    add_clients(connected.database_url, 9)
    assert (await copy_from(first, database_url, tables("clients"))).complete
    execute(
        database_url,
        "UPDATE botdata.runs SET state = 'running', finished_at = NULL; "
        "UPDATE botdata.checkpoints SET state = 'copying'",
    )
    execute(connected.database_url, "UPDATE clients SET name = 'late' WHERE id = 1")
    report = await copy_from(second, database_url, tables("clients"))
    assert (report.complete, report.resumed) == (True, False)
    assert row_texts(database_url, "clients") == row_texts(connected.database_url, "clients")
    assert query(database_url, "SELECT state FROM botdata.runs ORDER BY id") == [("abandoned",), ("complete",)]


async def test_names_of_before(connected: Source, database_url: str) -> None:
    """What older versions remembered by three names has one now."""
    add_clients(connected.database_url, 1)
    await copy_from(connected, database_url, tables("clients"))
    names = {
        "abcd1234.supabase.co": "abcd1234.supabase.co",
        "db.abcd1234.supabase.co/postgres": "abcd1234.supabase.co",
        "abcd1234@aws-0-eu-west-1.pooler.supabase.com/postgres": "abcd1234.supabase.co",
        "abcd1234@aws-0-eu-west-1.pooler.supabase.com:6543/postgres": "abcd1234.supabase.co",
        "db.abcd1234.supabase.co/other": "db.abcd1234.supabase.co/other",
        "db.example.test/postgres": "db.example.test/postgres",
    }
    execute(database_url, "DELETE FROM botdata.runs")
    for name in names:
        execute(database_url, "INSERT INTO botdata.runs (command, source) VALUES ('copy', %s)", [name])
    execute(database_url, Schemas().named(next(ddl for ddl in reversed(VERSIONS) if "pooler" in ddl)))
    assert query(database_url, "SELECT source FROM botdata.runs ORDER BY id") == [(name,) for name in names.values()]
