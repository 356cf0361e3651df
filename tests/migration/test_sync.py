"""Sync from the source to the target: what has changed is found, and nothing else is read."""

from typing import Any

import pytest

from app.errors import MigrationError
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncReport
from app.migration.sync.syncer import Sync
from tests.fixtures.sources import Source
from tests.migration.engine import (
    ROUNDING,
    Served,
    Told,
    add_clients,
    copy_from,
    execute,
    query,
    row_texts,
    source_of,
    tables,
    value,
    verify_from,
)
from tests.support.faults import Fault, Request
from tests.support.page_server import Exchange, PageServer


async def sync_from(
    server: Served, target: str, *names: str, told: Told | None = None, overwrite: bool = False, **options: Any
) -> SyncReport:
    """Sync tables from a server."""
    told = told or Told()
    chosen = SyncOptions(overwrite=overwrite, interval=0.01, **options)
    return await Sync(lambda: source_of(server, told=told), target, tables(*names), told, chosen).run()


def row_pages(pages: PageServer, table: str) -> list[Exchange]:
    """The pages of whole rows of a table with a key of one column, without the look at the source's settings."""
    rows = [seen for seen in pages.pages(table) if "_1:" in (seen.request.parameter("select") or "")]
    return [seen for seen in rows if "not.is.null" not in seen.request.target]


def counts(report: SyncReport, table: str) -> tuple[int, int, int]:
    """Rows inserted, updated and deleted."""
    one = report.tables[table]
    return one.inserted, one.updated, one.deleted


async def test_needs_no_copy_before(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 30)
    report = await sync_from(source, database_url, "clients", "staff")
    assert report.complete
    assert counts(report, "clients") == (30, 0, 0)
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert value(database_url, "SELECT nextval('clients_id_seq')") == 31
    assert query(database_url, "SELECT command, state FROM botdata.runs") == [("sync", "complete")]
    assert (await verify_from(source, database_url, tables("clients", "staff"))).clean


# Of thirty clients: a change, and how many rows are then inserted, updated and deleted on the other side.
CHANGES = {
    "update": ("UPDATE clients SET notes = 'changed' WHERE id = 3", (0, 1, 0)),  # updated_at is not touched
    "delete": ("DELETE FROM clients WHERE id IN (3, 5)", (0, 0, 2)),
    "re-created under a new id": (
        "DELETE FROM clients WHERE id = 6; "
        "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (600, 6, 1, '1')",
        (1, 0, 1),
    ),
    "two swap a key": (
        "UPDATE clients SET yclients_id = 0 WHERE id = 7; UPDATE clients SET yclients_id = 7 WHERE id = 8;"
        "UPDATE clients SET yclients_id = 8 WHERE id = 7",
        (0, 2, 0),
    ),
    "nothing": ("", (0, 0, 0)),
}
_ALL_SWAP = (
    "UPDATE clients SET yclients_id = yclients_id + 1000; UPDATE clients SET yclients_id = 31 - id",
    (0, 30, 0),
)


@pytest.mark.parametrize(("change", "expected"), [*CHANGES.values(), _ALL_SWAP], ids=[*CHANGES, "all swap keys"])
async def test_brings_a_change(source: Source, database_url: str, change: str, expected: tuple[int, int, int]) -> None:
    add_clients(source.database_url, 30)
    await copy_from(source, database_url, tables("clients"))
    assert counts(await sync_from(source, database_url, "clients"), "clients") == (0, 0, 0)
    execute(source.database_url, change)
    report = await sync_from(source, database_url, "clients")
    assert report.complete
    assert counts(report, "clients") == expected
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert value(database_url, "SELECT count(*) FROM botdata.quarantine") == 0


async def test_a_table_whose_trigger_rewrites_rows(source: Source, database_url: str) -> None:
    execute(
        source.database_url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        "SELECT 'c' || n % 3, 'type', n::text, '{\"a\": 1.10}' FROM generate_series(1, 20) n",
    )
    await sync_from(source, database_url, "whatsapp_keys")
    execute(source.database_url, "UPDATE whatsapp_keys SET value = '[]' WHERE key_id = '7'")
    execute(source.database_url, "DELETE FROM whatsapp_keys WHERE key_id = '9'")
    report = await sync_from(source, database_url, "whatsapp_keys")
    assert report.complete
    assert counts(report, "whatsapp_keys") == (0, 1, 1)
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source.database_url, "whatsapp_keys")


async def test_a_settled_row_is_not_read_again(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 30)
    await sync_from(pages, database_url, "clients")
    read = len(row_pages(pages, "clients"))
    assert (await sync_from(pages, database_url, "clients")).complete
    assert len(row_pages(pages, "clients")) == read
    execute(source_database, "UPDATE clients SET notes = 'changed' WHERE id = 7")
    await sync_from(pages, database_url, "clients")
    assert [page.rows for page in row_pages(pages, "clients")[read:]] == [1]


async def test_many_changes_are_read_in_pages(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 30)
    told = Told()
    report = await sync_from(source, database_url, "clients", told=told, most_by_key=10)
    assert counts(report, "clients") == (30, 0, 0)
    assert told.began == [("clients", 30, 0)]
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert counts(await sync_from(source, database_url, "clients", told=told, most_by_key=10), "clients") == (0, 0, 0)
    assert told.began == [("clients", 30, 0)]


async def test_a_row_changed_by_hand_in_the_target_is_replaced(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 10)
    await sync_from(source, database_url, "clients")
    execute(database_url, "UPDATE clients SET notes = 'earlier', updated_at = '2001-01-01' WHERE id = 3")
    execute(database_url, "UPDATE clients SET notes = 'later', updated_at = '2999-01-01' WHERE id = 4")
    execute(database_url, "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (77, 77, 1, 'by hand')")
    report = await sync_from(source, database_url, "clients")
    assert counts(report, "clients") == (0, 2, 1)
    assert report.tables["clients"].kept == 2
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert query(
        database_url,
        "SELECT key, row_text ->> 'notes', row_text ->> 'phone' FROM botdata.replaced_rows ORDER BY key::text",
    ) == [(["4"], "later", "79000000004"), (["77"], None, "by hand")]


async def test_more_deletions_than_allowed(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 10)
    execute(source.database_url, "INSERT INTO staff (yclients_id, name) VALUES (1, 'a'), (2, 'b')")
    await sync_from(source, database_url, "clients", "staff")
    execute(source.database_url, "DELETE FROM clients WHERE id < 4; DELETE FROM staff WHERE yclients_id = 1")
    before = row_texts(database_url, "clients")
    with pytest.raises(MigrationError, match=r"4 rows .* --max-deletes \(3\): clients \(3\), staff \(1\)") as stopped:
        await sync_from(source, database_url, "clients", "staff", most_deleted=3)
    assert "--max-deletes 4" in str(stopped.value.next_step)
    assert row_texts(database_url, "clients") == before
    report = await sync_from(source, database_url, "clients", "staff", most_deleted=4)
    assert (counts(report, "clients"), counts(report, "staff")) == ((0, 0, 3), (0, 0, 1))


async def test_a_row_that_the_listing_lacks_is_asked_for_again(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 10)
    await sync_from(pages, database_url, "clients")
    execute(
        source_database, "CREATE TABLE aside AS SELECT * FROM clients WHERE id = 5; DELETE FROM clients WHERE id = 5"
    )

    def come_back(request: Request) -> Fault | None:
        if request.parameter("id") == "eq.5":
            execute(source_database, "INSERT INTO clients SELECT * FROM aside ON CONFLICT DO NOTHING")
        return None

    pages.hook = come_back
    report = await sync_from(pages, database_url, "clients")
    assert (counts(report, "clients"), report.tables["clients"].spared) == ((0, 0, 0), 1)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_a_refused_row_waits_in_quarantine_until_it_is_mended(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 10)
    await sync_from(source, database_url, "clients")
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT polite CHECK (notes <> 'rude')")
    execute(
        source.database_url, "UPDATE clients SET notes = 'rude' WHERE id IN (3, 4); DELETE FROM clients WHERE id = 5"
    )
    execute(source.database_url, "UPDATE clients SET notes = 'fine' WHERE id = 6")
    report = await sync_from(source, database_url, "clients")
    assert not report.complete
    assert counts(report, "clients") == (0, 1, 1)
    assert [(r.key, r.sqlstate, r.place) for r in report.tables["clients"].refused] == [
        (("3",), "23514", "polite"),
        (("4",), "23514", "polite"),
    ]
    assert value(database_url, "SELECT count(*) FROM clients WHERE id IN (3, 4)") == 2  # as they were
    execute(source.database_url, "UPDATE clients SET notes = 'mended' WHERE id = 3; DELETE FROM clients WHERE id = 4")
    report = await sync_from(source, database_url, "clients")
    assert report.complete
    assert counts(report, "clients") == (0, 1, 1)
    assert value(database_url, "SELECT count(*) FROM botdata.quarantine") == 0
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")


async def test_a_refused_row_is_not_asked_for_in_every_round(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 10)
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT polite CHECK (notes <> 'rude')")
    execute(source_database, "UPDATE clients SET notes = 'rude' WHERE id = 3")
    report = await sync_from(pages, database_url, "clients", until_clean=True)
    assert not report.complete
    assert report.rounds == 3
    reads = [page for page in row_pages(pages, "clients") if page.request.parameter("id") == "eq.3"]
    assert len(reads) <= 4


async def test_what_a_column_of_the_target_would_round_is_refused(source: Source, database_url: str) -> None:
    execute(database_url, "ALTER TABLE services ALTER price_min TYPE numeric(10, 1)")
    execute(source.database_url, "INSERT INTO services (yclients_id, title, price_min) VALUES (1, 'cut', 1.25)")
    report = await sync_from(source, database_url, "services", until_clean=True)
    assert not report.complete
    assert [(row.sqlstate, row.place) for row in report.tables["services"].refused] == [("22001", "price_min")]


async def test_what_a_trigger_of_the_target_changes_stays_different(source: Source, database_url: str) -> None:
    execute(database_url, ROUNDING.format(table="services", column="price_min"))
    execute(source.database_url, "INSERT INTO services (yclients_id, title, price_min) VALUES (1, 'cut', 1.25)")
    report = await sync_from(source, database_url, "services", until_clean=True)
    assert not report.complete
    assert report.tables["services"].unsettled == 1


async def test_refuses_what_would_be_lost(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 3)
    add_clients(database_url, 2, first=50)
    before = row_texts(database_url, "clients")
    with pytest.raises(MigrationError, match=r"wrote: clients \(2\)") as stopped:
        await sync_from(source, database_url, "clients")
    assert (stopped.value.step, "botdata sync --overwrite" in str(stopped.value.next_step)) == ("sync", True)
    with pytest.raises(MigrationError, match="PostgreSQL is the bot's store already"):
        await sync_from(source, database_url, "clients", target_in_use=True)
    assert row_texts(database_url, "clients") == before
    report = await sync_from(source, database_url, "clients", overwrite=True)
    assert counts(report, "clients") == (3, 0, 2)
    assert report.tables["clients"].kept == 2


async def test_rows_that_the_bot_mirrors_into_a_table_that_came_empty(source: Source, database_url: str) -> None:
    await sync_from(source, database_url, "clients")
    for url in (source.database_url, database_url):
        add_clients(url, 2)
    await sync_from(source, database_url, "clients")
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")


async def test_a_sync_that_brings_nothing_leaves_no_more_behind_each_time(source: Source, database_url: str) -> None:
    for _ in range(3):
        await sync_from(source, database_url, "clients")
    assert value(database_url, "SELECT count(*) FROM botdata.writes") == 1


async def test_a_dry_run_writes_nothing(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 10)
    await copy_from(source, database_url, tables("clients"))
    execute(source.database_url, "UPDATE clients SET notes = 'changed' WHERE id < 4; DELETE FROM clients WHERE id = 10")
    add_clients(source.database_url, 2, first=20)
    before = row_texts(database_url, "clients")
    report = await sync_from(source, database_url, "clients", dry_run=True)
    assert counts(report, "clients") == (2, 3, 1)
    assert row_texts(database_url, "clients") == before
    assert query(database_url, "SELECT command FROM botdata.runs") == [("copy",)]


async def test_pairs_of_another_source_say_nothing(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 5)
    await sync_from(pages, database_url, "clients")
    execute(database_url, "UPDATE botdata.runs SET source = 'another.example'")
    read = len(row_pages(pages, "clients"))
    await sync_from(pages, database_url, "clients", overwrite=True)
    assert len(row_pages(pages, "clients")) > read


async def test_rows_without_xmin(pages: PageServer, source_database: str, database_url: str) -> None:
    """A view in place of the table: the changed-at column tells, and where there is none, every row is compared."""
    add_clients(source_database, 5)
    execute(source_database, "INSERT INTO actions (action_type) VALUES ('a'), ('b')")
    for name in ("clients", "actions"):
        execute(source_database, f"ALTER TABLE {name} RENAME TO old_{name}; CREATE VIEW {name} AS TABLE old_{name}")
    told = Told()
    report = await sync_from(pages, database_url, "clients", "actions", told=told)
    assert (counts(report, "clients"), counts(report, "actions")) == ((5, 0, 0), (2, 0, 0))
    assert [notice.split(" has no xmin")[0] for notice in told.notices] == ["actions", "clients"]
    execute(source_database, "UPDATE clients SET notes = 'x', updated_at = '2030-01-01' WHERE id = 2")
    execute(source_database, "UPDATE actions SET action_type = 'c' WHERE action_type = 'b'")
    read = len(row_pages(pages, "clients"))
    report = await sync_from(pages, database_url, "clients", "actions")
    assert (counts(report, "clients"), counts(report, "actions")) == ((0, 1, 0), (0, 1, 0))
    assert [page.rows for page in row_pages(pages, "clients")[read:]] == [1]
    assert report.complete
