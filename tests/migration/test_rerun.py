"""A second copy: sequences, update triggers, equal rows, and rows that came or went meanwhile."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.tables.metadata import select_tables
from tests.fixtures.sources import Ends
from tests.migration.engine import (
    REOPEN,
    add_clients,
    copy_from,
    execute,
    hiding,
    query,
    row_texts,
    tables,
    value,
    verify_from,
)
from tests.support import faults
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer


async def test_sequences_go_past_the_highest_and_are_never_lowered(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    execute(source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    add_clients(source_database, 10, first=991)
    execute(source_database, "UPDATE clients SET phone = NULL WHERE id = 1000")  # the highest one is refused
    execute(source_database, "INSERT INTO services (id, yclients_id, title) VALUES (5, 5, '')")
    execute(database_url, "SELECT setval('services_id_seq', 70)")
    await copy_from(pages, database_url, tables("clients", "services", "staff"))
    assert query(
        database_url, "SELECT nextval('clients_id_seq'), nextval('services_id_seq'), nextval('staff_id_seq')"
    ) == [(1001, 71, 1)]


async def test_a_sequence_goes_past_rows_fetched_by_key(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 10)

    def hook(request: Request) -> None:
        if "count=exact" in request.headers.get("Prefer", "") and any(
            seen.request.parameter("id") == "gt.10" for seen in pages.exchanges
        ):
            execute(
                source_database,
                "INSERT INTO clients (id, yclients_id, phone) VALUES (500, 500, '7') ON CONFLICT DO NOTHING",
            )

    pages.hook = hook
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.complete, report.tables[0].came) == (True, 1)
    assert value(database_url, "SELECT nextval('clients_id_seq')") == 501


async def test_a_recopied_row_keeps_the_updated_at_of_the_source(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    execute(
        source_database,
        "INSERT INTO whatsapp_keys SELECT '1', 'session', n::text, '{\"n\": 1.10}', '2025-01-01', '2025-01-02' "
        "FROM generate_series(1, 6) n; INSERT INTO whatsapp_auth VALUES ('1', '{}', '2025-01-01', '2025-01-02')",
    )
    both = tables("whatsapp_auth", "whatsapp_keys")
    await copy_from(pages, database_url, both)
    versions = dict(query(database_url, "SELECT key_id, xmin::text FROM whatsapp_keys"))
    execute(
        source_database,
        "ALTER TABLE whatsapp_keys DISABLE TRIGGER USER; "
        "UPDATE whatsapp_keys SET value = '2', updated_at = '2025-03-04' WHERE key_id = '4'; "
        "UPDATE whatsapp_keys SET expires_at = '2030-01-01' WHERE key_id = '5'",
    )
    report = await copy_from(pages, database_url, both)
    assert [(t.inserted, t.updated, t.unchanged) for t in report.tables] == [(0, 0, 1), (0, 2, 4)]
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source_database, "whatsapp_keys")
    now = dict(query(database_url, "SELECT key_id, xmin::text FROM whatsapp_keys"))
    assert {key for key in now if now[key] != versions[key]} == {"4", "5"}


async def test_equal_rows_are_left_alone(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 8)
    execute(source_database, "UPDATE clients SET preferences = '1.1' WHERE id = 2")
    await copy_from(pages, database_url, tables("clients"))
    versions = dict(query(database_url, "SELECT id, xmin::text FROM clients"))
    execute(source_database, "UPDATE clients SET preferences = '1.10' WHERE id = 2")
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.tables[0].updated, report.tables[0].unchanged) == (1, 7)
    now = dict(query(database_url, "SELECT id, xmin::text FROM clients"))
    assert {key for key in now if now[key] != versions[key]} == {2}
    assert (await verify_from(pages, database_url, tables("clients"))).clean


async def test_a_row_that_comes_into_an_empty_target_during_the_copy(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """Rows of a table that was empty are inserted; where one is there by then all the same, it is written over."""
    add_clients(source_database, 30)
    pages.max_rows = 10
    came: list[str] = []

    def hook(request: Request) -> None:
        if request.parameter("id") == "gt.10" and not came:
            came.append("15")
            add_clients(database_url, 1, first=15, name="of another")

    pages.hook = hook
    report = await copy_from(pages, database_url, tables("clients"))
    assert came
    assert [(t.inserted, t.updated, t.unchanged) for t in report.tables] == [(29, 1, 0)]
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    ours = "SELECT count(*) FROM clients WHERE xmin::text IN (SELECT xid FROM botdata.writes)"
    assert query(database_url, ours) == [(30,)]


async def test_rows_that_a_page_left_out_are_fetched_by_key(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 30)
    pages.hook = hiding("7", "23")
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.complete, report.tables[0].came, report.tables[0].inserted) == (True, 2, 30)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_the_last_row_of_a_page_left_out(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 30)
    pages.hook = faults.at({2: faults.row_missing()})
    assert (await copy_from(pages, database_url, tables("clients"))).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_row_that_the_source_lists_and_never_gives_fails_the_copy(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 30)
    pages.hook = hiding("7", also_by_key=True)
    report = await copy_from(pages, database_url, tables("clients"))
    assert not report.complete
    assert (report.tables[0].missing, report.tables[0].came) == ((("7",),), 0)
    pages.hook = lambda request: None
    again = await copy_from(pages, database_url, tables("clients"))
    assert (again.resumed, again.complete, again.tables[0].came) == (True, True, 1)


async def test_rows_that_come_and_go_meanwhile_are_reported(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 30, first=101)
    pages.max_rows = 10
    moved: list[int] = []

    def hook(request: Request) -> Fault | None:
        if request.parameter("id") == "gt.120" and not moved:
            moved.append(request.number)
            add_clients(source_database, 2)  # behind the cursor
            execute(source_database, "DELETE FROM clients WHERE id IN (101, 102, 103)")
        return None

    pages.hook = hook
    report = await copy_from(pages, database_url, tables("clients"))
    (table,) = report.tables
    assert (report.complete, table.came, table.went, table.missing) == (False, 2, 3, ())
    assert (table.source_before, table.source_after) == (30, 29)
    assert value(database_url, "SELECT count(*) FROM clients WHERE id < 3") == 2


@pytest.mark.parametrize("copied_before", [False, True])
async def test_rows_that_no_copy_put_there_stop_it(
    pages: PageServer, source_database: str, database_url: str, copied_before: bool
) -> None:
    add_clients(source_database, 4)
    if copied_before:
        await copy_from(pages, database_url, tables("clients"))
    add_clients(database_url, 3, first=100)
    before = row_texts(database_url, "clients")
    with pytest.raises(MigrationError, match=r"wrote: clients \(3\)") as stopped:
        await copy_from(pages, database_url, tables("clients"))
    assert "--overwrite" in str(stopped.value.next_step)
    assert row_texts(database_url, "clients") == before
    report = await copy_from(pages, database_url, tables("clients"), options=CopyOptions(overwrite=True))
    assert (report.tables[0].went, value(database_url, "SELECT count(*) FROM clients")) == (3, 7)


async def test_a_table_whose_models_have_got_a_column_is_read_anew(ends: Ends) -> None:
    """It was complete in the start before."""

    def models(*more: str) -> list[Table]:
        metadata = MetaData()
        for name, columns in {"a": ("v", *more), "b": ("v",)}.items():
            Table(name, metadata, Column("id", Integer, primary_key=True), *[Column(one, Text) for one in columns])
        return select_tables(metadata)

    ends.make(
        "CREATE TABLE a (id integer PRIMARY KEY, v text, w text); CREATE TABLE b (id integer PRIMARY KEY, v text)",
        "INSERT INTO a VALUES (1, 'v', 'w'); INSERT INTO b VALUES (1, 'v')",
    )
    assert (await copy_from(ends.served, ends.target, models())).complete
    execute(ends.target, REOPEN.replace("actions", "b"))
    again = await copy_from(ends.served, ends.target, models("w"))
    assert (again.resumed, again.complete) == (True, True)
    assert row_texts(ends.target, "a") == ["(1,v,w)"]
