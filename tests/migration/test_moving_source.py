"""A source that changes between and during copies: rows that come and go in equal numbers, runs left unfinished."""

import pytest

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from tests.migration.engine import add_clients, copy_from, execute, query, row_texts, tables, value
from tests.support import faults
from tests.support.faults import Fault, Request
from tests.support.page_server import PageServer

_BOOKING = "INSERT INTO bookings (id, yclients_record_id, datetime) VALUES (md5('{0}')::uuid, {0}, '2026-01-01')"


async def test_one_row_gone_and_another_come_behind_the_cursor(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """Equal counts before and after, and in the target: only the keys tell that a row is missing."""
    for number in range(40):
        execute(source_database, _BOOKING.format(number))
    changed = False

    def swap(request: Request) -> Fault | None:
        nonlocal changed
        if not changed and request.table == "bookings" and (request.parameter("id") or "").startswith("gt."):
            changed = True
            execute(source_database, "DELETE FROM bookings WHERE id = (SELECT min(id::text)::uuid FROM bookings)")
            execute(
                source_database,
                "INSERT INTO bookings (id, yclients_record_id, datetime) "
                "VALUES ('00000000-0000-0000-0000-000000000001', 999, '2026-01-01')",
            )
        return None

    pages.max_rows = 10
    pages.hook = swap
    report = await copy_from(pages, database_url, tables("bookings"))
    assert changed
    assert (report.complete, report.tables[0].came, report.tables[0].went) == (False, 1, 1)
    assert value(database_url, "SELECT count(*) FROM bookings WHERE yclients_record_id = 999") == 1


async def test_an_unfinished_table_pins_no_other(pages: PageServer, source_database: str, database_url: str) -> None:
    """A later copy of finished tables begins anew, and sees what has changed."""
    add_clients(source_database, 20)
    execute(source_database, "INSERT INTO staff (yclients_id, name) VALUES (1, 'a')")
    pages.hook = lambda request: faults.statement_timeout() if request.table == "staff" else None
    with pytest.raises(MigrationError):
        await copy_from(pages, database_url, tables("clients", "staff"))
    pages.hook = lambda request: None
    execute(source_database, "UPDATE clients SET notes = 'changed'")

    again = await copy_from(pages, database_url, tables("clients"))
    assert (again.resumed, again.tables[0].updated) == (False, 20)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    whole = await copy_from(pages, database_url, tables("clients", "staff"))
    assert (whole.resumed, whole.complete) == (False, True)


async def test_a_resumed_copy_says_which_tables_it_did_not_read_again(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 20)
    execute(source_database, "INSERT INTO staff (yclients_id, name) VALUES (1, 'a')")
    pages.hook = lambda request: faults.status(400) if request.table == "staff" else None
    with pytest.raises(MigrationError):
        await copy_from(pages, database_url, tables("clients", "staff"))
    pages.hook = lambda request: None
    report = await copy_from(pages, database_url, tables("clients", "staff"))
    assert report.resumed
    assert {table.table: table.done_before for table in report.tables} == {"clients": True, "staff": False}


async def test_rows_of_a_copy_from_another_source_are_not_ours(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 5)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, "UPDATE botdata.runs SET source = 'another.example'")
    with pytest.raises(MigrationError, match=r"wrote: clients \(5\)"):
        await copy_from(pages, database_url, tables("clients"))


async def test_replaced_rows_do_not_reach_other_tables(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """A changed row of a table with an update trigger is deleted and inserted; its foreign key is away meanwhile."""
    execute(source_database, "INSERT INTO whatsapp_auth (company_id, creds) VALUES ('1', '{}')")
    await copy_from(pages, database_url, tables("whatsapp_auth"))
    execute(
        database_url,
        "CREATE TABLE devices (company_id text REFERENCES whatsapp_auth ON DELETE CASCADE); "
        "INSERT INTO devices VALUES ('1')",
    )
    execute(source_database, "UPDATE whatsapp_auth SET creds = '[]'")
    report = await copy_from(pages, database_url, tables("whatsapp_auth"))
    assert (report.complete, report.tables[0].updated) == (True, 1)
    assert query(database_url, "SELECT company_id FROM devices") == [("1",)]
    assert query(
        database_url, "SELECT confdeltype, convalidated FROM pg_constraint WHERE conrelid = 'devices'::regclass"
    ) == [("c", True)]


async def test_an_empty_text_key_is_fetched(pages: PageServer, source_database: str, database_url: str) -> None:
    """PostgREST takes `in.("")` for an empty list."""
    execute(source_database, "INSERT INTO whatsapp_auth (company_id, creds) VALUES ('', '{}')")

    def withhold(request: Request) -> Fault | None:
        whole = "_1:" in (request.parameter("select") or "")
        return faults.agreeing(faults.row_missing()) if whole and request.parameter("company_id") is None else None

    pages.hook = withhold
    report = await copy_from(pages, database_url, tables("whatsapp_auth"))
    assert report.complete
    assert row_texts(database_url, "whatsapp_auth") == row_texts(source_database, "whatsapp_auth")
    asked = [seen.request.parameter("company_id") for seen in pages.exchanges if seen.request.parameter("company_id")]
    assert "eq." in asked
    assert 'in.("")' not in asked


@pytest.mark.parametrize(
    "meddling",
    [
        "TRUNCATE clients; INSERT INTO clients (id, yclients_id, phone) VALUES (1, 777, '1')",
        "DELETE FROM clients WHERE id = 4; INSERT INTO clients (id, yclients_id, phone) VALUES (100, 777, '1')",
        "UPDATE clients SET notes = 'by hand' WHERE id = 2",
    ],
)
async def test_rows_that_others_wrote_are_found_however_many_there_are(
    pages: PageServer, source_database: str, database_url: str, meddling: str
) -> None:
    add_clients(source_database, 4)
    await copy_from(pages, database_url, tables("clients"))
    await copy_from(pages, database_url, tables("clients"))  # its own rows are no hindrance
    execute(database_url, meddling)
    before = row_texts(database_url, "clients")
    with pytest.raises(MigrationError, match=r"wrote: clients \(1\)"):
        await copy_from(pages, database_url, tables("clients"))
    assert row_texts(database_url, "clients") == before
    more = value(database_url, "SELECT count(*) FROM clients WHERE id > 4")  # which the source does not have
    taken = await copy_from(pages, database_url, tables("clients"), options=CopyOptions(overwrite=True))
    assert (taken.complete, taken.tables[0].went) == (not more, more)
    again = await copy_from(pages, database_url, tables("clients"))  # what was overwritten is ours now
    assert (again.complete, again.tables[0].went) == (not more, more)


async def test_rows_found_by_halving_are_ours_too(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 20)
    execute(
        source_database, "ALTER TABLE clients ALTER phone DROP NOT NULL; UPDATE clients SET phone = NULL WHERE id = 7"
    )
    assert not (await copy_from(pages, database_url, tables("clients"))).complete
    assert not (await copy_from(pages, database_url, tables("clients"))).complete
    assert value(database_url, "SELECT count(*) FROM clients") == 19
