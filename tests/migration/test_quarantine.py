"""Rows that the target refuses: alone in quarantine with the reason, everything else in."""

from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.copy.copier import CopyOptions
from app.migration.load import loader as load
from app.migration.runs.report import Loaded
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import Ends
from tests.migration.engine import REOPEN, add_clients, copy_from, execute, query, row_texts, tables, value, verify_from
from tests.migration.two_ends import sync_from
from tests.support.page_server import PageServer

# What the source allows and the target does not.
LOOSER_SOURCE = """
ALTER TABLE clients ALTER name TYPE text, ALTER phone DROP NOT NULL, ALTER total_spent TYPE numeric,
    ALTER visit_count TYPE bigint, ALTER last_sync_at TYPE text, ALTER goods_purchases TYPE text,
    DROP CONSTRAINT clients_yclients_company_unique
"""
# id: (what is wrong with the row, SQLSTATE, place)
FAULTY = {
    5: ("name = repeat('я', 256)", "22001", "name"),
    17: ("phone = NULL", "23502", "phone"),
    18: ("yclients_id = 1", "23505", "clients_yclients_company_unique"),
    40: ("total_spent = 10000000000", "22003", None),
    41: ("visit_count = 3000000000", "22003", None),
    63: ("last_sync_at = 'yesterday, or so'", "22007", None),
    64: ("goods_purchases = '{broken'", "22P02", None),
}


def _fill(url: str, rows: int = 64) -> None:
    execute(url, LOOSER_SOURCE)
    add_clients(url, rows)
    for number, (fault, _, _) in FAULTY.items():
        execute(url, f"UPDATE clients SET {fault} WHERE id = {number}")


async def test_refused_rows_are_set_aside_with_their_reasons(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    _fill(source_database)
    report = await copy_from(pages, database_url, tables("clients"))
    assert not report.complete
    assert [(int(row.key[0]), row.sqlstate, row.place) for row in report.tables[0].refused] == [
        (number, sqlstate, place) for number, (_, sqlstate, place) in FAULTY.items()
    ]
    kept = query(
        database_url,
        "SELECT key, sqlstate, place, row_text ->> 'id', row_text ->> 'yclients_id', row_text ->> 'name' "
        "FROM botdata.quarantine WHERE table_name = 'clients' ORDER BY key[1]::int",
    )
    assert [row[:4] for row in kept] == [
        ([str(number)], sqlstate, place, str(number)) for number, (_, sqlstate, place) in FAULTY.items()
    ]
    assert kept[0][5] == "я" * 256
    arrived = {number for (number,) in query(database_url, "SELECT id FROM clients")}
    assert arrived == set(range(1, 65)) - set(FAULTY)
    assert (report.tables[0].inserted, report.tables[0].missing, report.tables[0].went) == (57, (), 0)
    differences = (await verify_from(pages, database_url, tables("clients"))).differences
    assert {(found.kind, int(found.key[0])) for found in differences} == {("missing", number) for number in FAULTY}


async def test_a_mended_row_leaves_quarantine_at_the_next_copy(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    _fill(source_database)
    await copy_from(pages, database_url, tables("clients"))
    execute(source_database, "UPDATE clients SET name = 'short' WHERE id = 5; DELETE FROM clients WHERE id = 17")
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.resumed, report.tables[0].inserted, report.tables[0].unchanged) == (False, 1, 57)
    left = query(database_url, "SELECT key[1]::int FROM botdata.quarantine ORDER BY 1")
    assert left == [(number,) for number in FAULTY if number not in {5, 17}]


# A sequence counts also what is rolled back.
COUNT_INSERTS = """
CREATE SEQUENCE tried;
CREATE FUNCTION count_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM nextval('tried'); RETURN NULL; END $$;
CREATE TRIGGER count_insert BEFORE INSERT ON clients FOR EACH STATEMENT EXECUTE FUNCTION count_insert();
ALTER TABLE clients ENABLE ALWAYS TRIGGER count_insert
"""


async def test_a_faulty_row_costs_few_statements(
    pages: PageServer, source_database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(source_database, LOOSER_SOURCE)
    execute(database_url, COUNT_INSERTS)
    add_clients(source_database, 200)
    execute(source_database, "UPDATE clients SET phone = NULL WHERE id = 77")
    staged = []
    original = load.load_staged

    async def counted(*args: Any, **options: Any) -> Loaded:
        staged.append(options["rows"])
        return await original(*args, **options)

    monkeypatch.setattr(load, "load_staged", counted)
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.tables[0].inserted, len(report.tables[0].refused)) == (199, 1)
    assert staged == [200]  # one call, however many tries the server makes of it
    assert value(database_url, "SELECT last_value FROM tried") <= 1 + 3 * 8  # 2 ** 8 > 200


async def test_too_many_refused_rows_stop_the_copy(pages: PageServer, source_database: str, database_url: str) -> None:
    _fill(source_database)
    pages.max_rows = 10
    with pytest.raises(MigrationError, match=r"refuses more than 2 rows, the last one with SQLSTATE 23505") as stopped:
        await copy_from(pages, database_url, tables("clients"), options=CopyOptions(most_refused=2))
    assert (stopped.value.table, stopped.value.step) == ("clients", "copy")
    assert value(database_url, "SELECT max(id) FROM clients") == 10  # the page that went too far is not in
    report = await copy_from(pages, database_url, tables("clients"))
    assert (report.resumed, report.tables[0].inserted, len(report.tables[0].refused)) == (True, 57, len(FAULTY))


async def test_a_refused_row_that_was_there_before_hides_no_missing_one(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    """The counts agree: one row more because its newer version was refused, one fewer because it was lost."""
    add_clients(source_database, 20)
    chosen = tables("actions", "clients")
    await copy_from(pages, database_url, chosen)
    execute(source_database, LOOSER_SOURCE)
    execute(source_database, "UPDATE clients SET phone = NULL WHERE id = 3")
    execute(database_url, f"DELETE FROM clients WHERE id = 20; {REOPEN}")
    execute(
        database_url,
        "INSERT INTO botdata.quarantine (run_id, table_name, key, row_text, sqlstate, message) "
        "VALUES (1, 'clients', '{3}', '{}', '23502', '')",
    )
    report = await copy_from(pages, database_url, chosen)
    assert (report.resumed, report.tables[1].came) == (True, 1)
    assert value(database_url, "SELECT count(*) FROM clients WHERE id = 20") == 1


async def test_a_key_that_the_target_cannot_hold(pages: PageServer, source_database: str, database_url: str) -> None:
    execute(source_database, "ALTER TABLE clients ALTER id TYPE bigint")
    add_clients(source_database, 10)
    execute(source_database, "UPDATE clients SET id = 3000000000 WHERE id = 10")
    report = await copy_from(pages, database_url, tables("clients"))
    assert [(row.key, row.sqlstate) for row in report.tables[0].refused] == [(("3000000000",), "22003")]
    assert value(database_url, "SELECT last_value FROM clients_id_seq") == 9
    assert report.tables[0].missing == ()


async def test_phones_in_keys_are_masked_in_the_report(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    execute(source_database, "ALTER TABLE whatsapp_keys ALTER value DROP NOT NULL")
    execute(source_database, "INSERT INTO whatsapp_keys VALUES ('1', 'session', '79000000001.0', NULL)")
    report = await copy_from(pages, database_url, tables("whatsapp_keys"))
    assert report.tables[0].refused[0].key == ("1", "session", "7900***0010")
    assert row_texts(database_url, "whatsapp_keys") == []


@pytest.mark.parametrize("style", ["SQL, DMY", "SQL, MDY", "German", "Postgres, DMY"])
async def test_dates_in_another_style_are_never_misread(
    pages: PageServer, source_database: str, database_url: str, style: str
) -> None:
    execute(
        source_database,
        "INSERT INTO staff_schedules (id, staff_id, staff_name, date) VALUES (1, 1, '', '2026-03-04'), "
        "(2, 1, '', '2012-11-10'), (3, 1, '', '0032-12-11')",
    )
    name = value(source_database, "SELECT current_database()")
    execute(source_database, f"ALTER DATABASE \"{name}\" SET datestyle = '{style}'")
    with pytest.raises(MigrationError, match="the source's DateStyle is another one"):
        await copy_from(pages, database_url, tables("staff_schedules"))
    assert row_texts(database_url, "staff_schedules") == []


@pytest.mark.parametrize("step", ["sync", "verify --fix"])
@pytest.mark.parametrize("ends", ["connection"], indirect=True)
@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
async def test_too_many_refused_rows_name_the_command_that_stops(ends: Ends, step: str, key: str) -> None:
    schema = f"CREATE TABLE log (a integer {key}, b text)"
    ends.make(
        schema, "INSERT INTO log SELECT n, NULL FROM generate_series(1, 5) n", schema.replace("text", "text NOT NULL")
    )
    metadata = MetaData()
    Table("log", metadata, Column("a", Integer, primary_key=bool(key)), Column("b", Text))
    chosen = select_tables(metadata)
    fix = VerifyOptions(fix=True, most_refused=3, pause=0.01)
    carry_out = {
        "sync": lambda: sync_from(ends.served, ends.target, chosen, most_refused=3),
        "verify --fix": lambda: verify_from(ends.served, ends.target, chosen, options=fix),
    }
    with pytest.raises(MigrationError, match="refuses more than 3 rows") as stopped:
        await carry_out[step]()
    assert (stopped.value.step, stopped.value.table) == (step, "log")
    assert str(stopped.value.next_step).startswith("botdata preflight, which compares the schemas")
    assert str(stopped.value.next_step).endswith(f"then: botdata {step}")
