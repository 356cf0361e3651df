"""Sync from the target back to the source, over REST and over a connection."""

import pytest

from app.cli.options import GivenOptions
from app.cli.reports.sync_report import sync_document
from app.errors import MigrationError
from app.migration.sync.sync_report import SyncReport
from tests.fixtures.sources import Source
from tests.migration.engine import Served, Told, add_clients, copy_from, execute, query, row_texts, tables, value
from tests.migration.test_sync import CHANGES, counts, row_pages, sync_from
from tests.support import faults
from tests.support.faults import Delivery, Fault, Request
from tests.support.page_server import PageServer


async def back(server: Served, target: str, *names: str, told: Told | None = None, **options: object) -> SyncReport:
    """Sync from the target, which the flag says the bot writes to."""
    return await sync_from(
        server,
        target,
        *names,
        told=told,
        **{"reverse": True, "target_in_use": True, **options},  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
async def test_brings_a_change_back(
    source: Source, database_url: str, change: str, expected: tuple[int, int, int]
) -> None:
    add_clients(source.database_url, 30)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, change)
    report = await back(source, database_url, "clients")
    assert report.complete
    assert counts(report, "clients") == expected
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert counts(await back(source, database_url, "clients"), "clients") == (0, 0, 0)
    assert counts(await sync_from(source, database_url, "clients"), "clients") == (0, 0, 0)


async def test_every_kind_of_value(source: Source, database_url: str) -> None:
    await copy_from(source, database_url, tables("clients", "bookings"))
    execute(
        database_url,
        """INSERT INTO clients (yclients_id, company_id, phone, name, notes, total_spent, visit_history, branch_ids,
            tags, last_service_ids, first_visit_date, created_at) VALUES
        (1, 1, '1', E'a\\t"b"\\\\ \\n ё 😀', '', 12345678.10, '{"a": [1, {"b": null}]}', '[2:4]={1,NULL,3}',
            '{"", "a,b", NULL, "null", "\\"q\\""}', '{}', '2000-02-29', '2026-01-01 00:00:00.000001'),
        (2, 1, '2', NULL, ' blank ', 0.00, '[]', NULL, '{}', '{{1,2},{3,4}}', '0001-01-01', 'infinity')""",
    )
    execute(database_url, "INSERT INTO bookings (yclients_record_id, datetime) VALUES (1, '2026-01-01')")
    report = await back(source, database_url, "clients", "bookings")
    assert report.complete
    for table in ("clients", "bookings"):
        assert row_texts(database_url, table) == row_texts(source.database_url, table)
    assert len(row_texts(source.database_url, "clients")) == 2


async def test_json_to_the_digit(pages: PageServer, source_database: str, database_url: str) -> None:
    await copy_from(pages, database_url, tables("clients"))
    execute(
        database_url,
        "INSERT INTO clients (yclients_id, phone, visit_history, preferences) VALUES "
        "(1, '1', '{\"n\": 1.10, \"big\": 12345678901234567890}', 'null'), (2, '2', '[1.0]', '\"null\"')",
    )
    report = await back(pages, database_url, "clients")
    assert not report.complete
    assert [(r.key, r.sqlstate, r.place) for r in report.tables["clients"].refused] == [
        (("1",), "json_null", "preferences")
    ]
    assert query(source_database, "SELECT id, visit_history::text, preferences::text FROM clients") == [
        (2, "[1.0]", '"null"')
    ]


async def test_a_table_whose_trigger_rewrites_rows(source: Source, database_url: str) -> None:
    execute(
        source.database_url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        "SELECT 'c' || n % 3, 'type', n::text, '{\"a\": 1}' FROM generate_series(1, 20) n",
    )
    await copy_from(source, database_url, tables("whatsapp_keys"))
    execute(database_url, "UPDATE whatsapp_keys SET value = '[]' WHERE key_id = '7'")
    execute(database_url, "DELETE FROM whatsapp_keys WHERE key_id = '9'")
    report = await back(source, database_url, "whatsapp_keys")
    assert report.complete
    assert counts(report, "whatsapp_keys") == (0, 1, 1)
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source.database_url, "whatsapp_keys")


async def test_settled_rows_are_not_read_again(pages: PageServer, source_database: str, database_url: str) -> None:
    add_clients(source_database, 30)
    await sync_from(pages, database_url, "clients")

    def read() -> int:
        """Pages of rows, without the look at the settings, which asks for values of one column."""
        return sum(seen.request.parameter("created_at") is None for seen in row_pages(pages, "clients"))

    before = read()
    assert counts(await back(pages, database_url, "clients"), "clients") == (0, 0, 0)
    assert read() == before > 0
    assert not [seen for seen in pages.exchanges if seen.request.method in {"POST", "DELETE"}]


async def test_refused_rows_are_named_and_the_others_arrive(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, "ALTER TABLE clients ALTER phone TYPE text; ALTER TABLE clients ALTER notes TYPE text")
    execute(database_url, "UPDATE clients SET phone = repeat('1', 60) WHERE id = 2")
    add_clients(database_url, 5, first=10)
    report = await back(source, database_url, "clients", until_clean=True)
    assert not report.complete
    assert counts(report, "clients") == (5, 0, 0)
    assert [(r.key, r.sqlstate) for r in report.tables["clients"].refused] == [(("2",), "22001")]
    assert value(source.database_url, "SELECT count(*) FROM clients WHERE id >= 10") == 5
    assert value(source.database_url, "SELECT phone FROM clients WHERE id = 2") == "79000000002"


async def test_what_the_source_rounds_is_written_once(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    await copy_from(pages, database_url, tables("services"))
    execute(source_database, "ALTER TABLE services ALTER price_min TYPE numeric(10, 1)")
    execute(database_url, "INSERT INTO services (yclients_id, title, price_min) VALUES (1, 'cut', 1.25)")
    report = await back(pages, database_url, "services", until_clean=True)
    assert not report.complete
    assert (report.rounds, counts(report, "services"), report.tables["services"].unsettled) == (3, (1, 0, 0), 1)
    execute(source_database, "ALTER TABLE services ALTER price_min TYPE numeric(10, 2)")
    assert (await back(pages, database_url, "services", until_clean=True)).complete
    assert row_texts(database_url, "services") == row_texts(source_database, "services")


async def test_rows_in_quarantine_are_not_deleted_at_the_source(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT polite CHECK (notes <> 'rude')")
    execute(source.database_url, "UPDATE clients SET notes = 'rude' WHERE id = 3")
    await sync_from(source, database_url, "clients")
    execute(database_url, "DELETE FROM clients WHERE id = 4")
    told = Told()
    report = await back(source, database_url, "clients", told=told)
    assert counts(report, "clients") == (0, 0, 1)
    (shown,) = sync_document(report, GivenOptions())["tables"]
    assert (report.complete, shown["in_quarantine"], shown["still_different"]) == (False, 1, 0)
    assert value(source.database_url, "SELECT array_agg(id ORDER BY id) FROM clients") == [1, 2, 3, 5]
    assert "clients: 1 rows in quarantine are left as they are in the source" in told.notices


async def test_more_deletions_than_allowed(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, "TRUNCATE clients")
    with pytest.raises(MigrationError, match=r"5 rows of the source are not in the target .* clients \(5\)") as stopped:
        await back(source, database_url, "clients", most_deleted=4)
    assert "botdata sync --reverse --max-deletes 5" in str(stopped.value.next_step)
    assert value(source.database_url, "SELECT count(*) FROM clients") == 5
    assert counts(await back(source, database_url, "clients", most_deleted=5), "clients") == (0, 0, 5)
    assert value(source.database_url, "SELECT count(*) FROM clients") == 0


async def test_refuses_what_would_be_lost(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 3)
    with pytest.raises(MigrationError, match="does not say that PostgreSQL is the bot's store"):
        await back(source, database_url, "clients", target_in_use=False)
    with pytest.raises(MigrationError, match=r"never brought over from it: clients \(3\)"):
        await back(source, database_url, "clients")
    assert value(source.database_url, "SELECT count(*) FROM clients") == 3


async def test_a_dry_run_writes_nothing(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 10)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, "UPDATE clients SET notes = 'changed' WHERE id < 4; DELETE FROM clients WHERE id = 10")
    add_clients(database_url, 2, first=20)
    before = row_texts(source.database_url, "clients")
    report = await back(source, database_url, "clients", dry_run=True)
    assert counts(report, "clients") == (2, 3, 1)
    assert row_texts(source.database_url, "clients") == before


@pytest.mark.parametrize("delivery", [Delivery.RESET, Delivery.RESET_IN_BODY, Delivery.SHORT])
async def test_a_lost_answer_is_read_back(
    pages: PageServer, source_database: str, database_url: str, delivery: Delivery
) -> None:
    """Whether or not the write landed, it lands once, and is known to have."""
    add_clients(source_database, 5)
    await copy_from(pages, database_url, tables("clients", "whatsapp_keys"))
    execute(database_url, "UPDATE clients SET notes = 'changed'; DELETE FROM clients WHERE id = 5")
    execute(database_url, "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) VALUES ('1', '2', '3', '4')")
    lost = {"POST": 2, "DELETE": 2}

    def lose(request: Request) -> Fault | None:
        if lost.get(request.method, 0):
            lost[request.method] -= 1
            return faults.delivered(delivery)
        return None

    pages.hook = lose
    report = await back(pages, database_url, "clients", "whatsapp_keys")
    assert report.complete
    assert lost == {"POST": 0, "DELETE": 0}
    for table in ("clients", "whatsapp_keys"):
        assert row_texts(database_url, table) == row_texts(source_database, table)


async def test_a_write_that_never_arrived_is_repeated(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 5)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, "UPDATE clients SET notes = 'changed'")
    unreached = [faults.Unreached(faults.status(504)), faults.Unreached(faults.status(429))]
    pages.hook = lambda request: unreached.pop() if request.method == "POST" and unreached else None
    report = await back(pages, database_url, "clients")
    assert report.complete
    assert unreached == []
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_sequences_of_the_source(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    await copy_from(source, database_url, tables("clients", "bookings"))
    add_clients(database_url, 1, first=1000)
    report = await back(source, database_url, "clients", "bookings")
    over_rest = not source.url.startswith("postgresql")
    if over_rest:
        (statement,) = report.by_hand
        execute(source.database_url, statement)
    else:
        assert report.by_hand == []
    assert value(source.database_url, "SELECT nextval('clients_id_seq')") == 1001
