"""Rows in quarantine loaded again: after the schema was mended, after they were edited, and when they must not be."""

import psycopg
import pytest

from app.errors import MigrationError
from app.migration.quarantine import replay as replay_module
from app.migration.quarantine.replay import ReplayReport, TableReplayed, replay
from app.migration.runs.report import Refusal
from app.models import Base
from tests.fixtures.sources import Source
from tests.migration.engine import add_clients, copy_from, execute, query, row_texts, tables, value, verify_from
from tests.migration.test_quarantine import FAULTY, LOOSER_SOURCE
from tests.support.page_server import PageServer

_KEPT = "SELECT key[1]::int FROM botdata.quarantine ORDER BY 1"


def fill_faulty(source: str, rows: int = 64) -> None:
    """Clients, seven of which the target refuses."""
    execute(source, LOOSER_SOURCE)
    add_clients(source, rows)
    for number, (fault, _, _) in FAULTY.items():
        execute(source, f"UPDATE clients SET {fault} WHERE id = {number}")


@pytest.mark.parametrize("over", ["REST", "connection"])
async def test_replayed_after_the_schema_is_mended(
    pages: PageServer, source_database: str, database_url: str, over: str
) -> None:
    source = pages if over == "REST" else Source(source_database, "", source_database, is_lite=False)
    fill_faulty(source_database)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, LOOSER_SOURCE)
    report = await replay(database_url, Base.metadata)
    assert report == ReplayReport(7, (TableReplayed("clients", loaded=7),), 0)
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")
    assert (await verify_from(source, database_url, tables("clients"))).clean


async def test_replayed_rows_are_known_as_ours(pages: PageServer, source_database: str, database_url: str) -> None:
    fill_faulty(source_database, 8)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, "ALTER TABLE clients ALTER name TYPE text")
    assert (await replay(database_url, Base.metadata)).complete
    again = await copy_from(pages, database_url, tables("clients"))
    assert (again.complete, again.tables[0].unchanged, again.tables[0].inserted) == (True, 8, 0)


async def test_what_is_refused_again_stays_with_its_new_reason(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients"))
    mended = {40, 41, 63, 64, 17, 18}
    execute(
        database_url,
        "ALTER TABLE clients ALTER total_spent TYPE numeric, ALTER visit_count TYPE bigint, "
        "ALTER last_sync_at TYPE text, ALTER phone DROP NOT NULL, ALTER goods_purchases TYPE text, "
        "DROP CONSTRAINT clients_yclients_company_unique, ALTER name TYPE text, "
        "ADD CONSTRAINT short CHECK (length(name) < 200)",
    )
    report = await replay(database_url, Base.metadata)
    assert (report.loaded, report.remaining, report.complete) == (6, 1, False)
    assert report.tables[0].refused == [Refusal("clients", ("5",), "23514", "short")]
    kept = query(database_url, "SELECT key, sqlstate, place FROM botdata.quarantine")
    assert kept == [(["5"], "23514", "short")]
    assert {number for (number,) in query(database_url, "SELECT id FROM clients")} >= mended
    counts = query(database_url, "SELECT inserted, updated, unchanged FROM botdata.checkpoints")
    assert counts == [(63, 0, 0)]


async def test_only_the_rows_and_tables_chosen(pages: PageServer, source_database: str, database_url: str) -> None:
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients", "actions"))
    execute(database_url, LOOSER_SOURCE)
    (first,) = query(database_url, "SELECT number FROM botdata.quarantine WHERE key = '{40}'")[0]
    report = await replay(database_url, Base.metadata, numbers=[first])
    assert (report.chosen, report.loaded, report.remaining) == (1, 1, 6)
    assert query(database_url, _KEPT) == [(number,) for number in FAULTY if number != 40]
    report = await replay(database_url, Base.metadata, tables=["actions"])
    assert (report.chosen, report.remaining) == (0, 6)
    with pytest.raises(MigrationError, match=f"not in quarantine: {first}$"):
        await replay(database_url, Base.metadata, numbers=[first])
    with pytest.raises(MigrationError, match="no such table: klients; the tables are actions, "):
        await replay(database_url, Base.metadata, tables=["klients"])


async def test_a_row_written_later_is_left_alone(pages: PageServer, source_database: str, database_url: str) -> None:
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, LOOSER_SOURCE)
    add_clients(database_url, 1, first=40, name="newer")
    report = await replay(database_url, Base.metadata)
    assert (report.loaded, report.tables[0].later, report.remaining) == (6, [("40",)], 1)
    assert value(database_url, "SELECT name FROM clients WHERE id = 40") == "newer40"
    report = await replay(database_url, Base.metadata, overwrite=True)
    assert (report.loaded, report.remaining) == (1, 0)
    assert value(database_url, "SELECT name FROM clients WHERE id = 40") == "name40"


async def test_an_older_version_in_the_target_is_replaced(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 8)
    await copy_from(pages, database_url, tables("clients"))
    execute(source_database, LOOSER_SOURCE)
    execute(source_database, "UPDATE clients SET name = repeat('x', 300) WHERE id = 5")
    report = await copy_from(pages, database_url, tables("clients"))
    assert [refusal.key for refusal in report.tables[0].refused] == [("5",)]
    execute(database_url, "ALTER TABLE clients ALTER name TYPE text")
    assert (await replay(database_url, Base.metadata)).complete
    assert value(database_url, "SELECT name FROM clients WHERE id = 5") == "x" * 300


async def test_rows_that_stand_in_each_others_way(pages: PageServer, source_database: str, database_url: str) -> None:
    """The first row needs the number that the second one gives up."""
    execute(source_database, LOOSER_SOURCE)
    add_clients(source_database, 4)
    await copy_from(pages, database_url, tables("clients"))
    execute(source_database, "UPDATE clients SET yclients_id = 4, phone = NULL WHERE id = 1")
    execute(source_database, "UPDATE clients SET yclients_id = 1, phone = NULL WHERE id = 4")
    execute(source_database, "UPDATE clients SET yclients_id = 9 WHERE id = 4")
    await copy_from(pages, database_url, tables("clients"))
    assert query(database_url, _KEPT) == [(1,), (4,)]
    execute(database_url, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    assert (await replay(database_url, Base.metadata)).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_rows_of_other_columns_and_of_unknown_tables(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, LOOSER_SOURCE)
    execute(
        database_url,
        "UPDATE botdata.quarantine SET row_text = '{\"id\": \"40\"}' WHERE key = '{40}'; "
        "UPDATE botdata.quarantine SET table_name = 'gone' WHERE key = '{41}'",
    )
    report = await replay(database_url, Base.metadata)
    known, unknown = report.tables
    assert (known.loaded, known.stale, report.remaining) == (5, [("40",)], 2)
    assert unknown == TableReplayed("gone", known=False)
    assert value(database_url, "SELECT count(*) FROM clients WHERE id IN (40, 41)") == 0


async def test_phones_in_keys_are_masked(pages: PageServer, source_database: str, database_url: str) -> None:
    execute(source_database, "ALTER TABLE whatsapp_keys ALTER value DROP NOT NULL")
    execute(source_database, "INSERT INTO whatsapp_keys VALUES ('1', 'session', '79000000001.0', NULL)")
    await copy_from(pages, database_url, tables("whatsapp_keys"))
    report = await replay(database_url, Base.metadata)
    assert report.tables[0].refused == [Refusal("whatsapp_keys", ("1", "session", "7900***0010"), "23502", "value")]


async def test_refused_where_the_bot_writes_and_where_another_run_is_at_work(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients"))
    with pytest.raises(MigrationError, match="PostgreSQL is the bot's store already"):
        await replay(database_url, Base.metadata, target_in_use=True)
    with psycopg.connect(database_url, autocommit=True, application_name="botdata copy") as other:
        other.execute("SELECT pg_advisory_lock(5287410332)")
        with pytest.raises(MigrationError, match=r"another run is at work on .*: botdata copy"):
            await replay(database_url, Base.metadata)
    assert len(query(database_url, _KEPT)) == len(FAULTY)


async def test_ended_in_the_middle_it_loses_nothing(
    pages: PageServer, source_database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends the connection in the second transaction: the first one's rows are in, the others are kept."""
    fill_faulty(source_database)
    await copy_from(pages, database_url, tables("clients"))
    execute(database_url, LOOSER_SOURCE)
    execute(
        database_url,
        "CREATE FUNCTION kill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$; "
        "CREATE TRIGGER kill BEFORE INSERT ON clients FOR EACH ROW WHEN (NEW.id = 41) EXECUTE FUNCTION kill(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER kill",
    )
    monkeypatch.setattr(replay_module, "_ROWS_A_TRANSACTION", 3)
    with pytest.raises(MigrationError) as stopped:
        await replay(database_url, Base.metadata)
    assert (stopped.value.table, stopped.value.step) == ("clients", "quarantine replay")
    inside = {number for (number,) in query(database_url, "SELECT id FROM clients")}
    kept = {number for (number,) in query(database_url, _KEPT)}
    assert (len(kept), inside & kept, inside | kept) == (4, set(), set(range(1, 65)))
    execute(database_url, "DROP TRIGGER kill ON clients")
    assert (await replay(database_url, Base.metadata)).complete
    assert row_texts(database_url, "clients") == row_texts(source_database, "clients")


async def test_nothing_where_the_tool_has_never_been(database_url: str) -> None:
    assert await replay(database_url, Base.metadata) == ReplayReport(0, (), 0)
