"""Verify while both sides move, its sample, and --fix."""

import asyncio
from collections.abc import Callable

import pytest

from app.errors import MigrationError
from app.migration.verify.findings import Findings
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import MakeSource, Source
from tests.migration import test_keys_of_moments as moments
from tests.migration.engine import (
    ROUNDING,
    add_clients,
    copy_from,
    execute,
    query,
    row_texts,
    tables,
    value,
    verify_from,
)

_QUICK_FIX = VerifyOptions(fix=True, pause=0.01)


@pytest.fixture
def between_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Called with a database and a statement, runs that once, before rows that seem to differ are read again."""
    settle = Findings._settle_batch
    waiting: list[tuple[str, str]] = []

    async def settle_later(self: Findings, size: int) -> None:
        while waiting:
            execute(*waiting.pop())
        await settle(self, size)

    monkeypatch.setattr(Findings, "_settle_batch", settle_later)
    return lambda url, statement: waiting.append((url, statement))


async def test_what_differs_for_a_moment_is_not_reported(
    source: Source, database_url: str, between_looks: Callable[[str, str], None]
) -> None:
    """As when a sync is at work: rows of each kind that arrive, change or go before the second look."""
    add_clients(source.database_url, 10)
    await copy_from(source, database_url, tables("clients"))
    execute(
        database_url,
        "CREATE TABLE kept AS SELECT * FROM clients; DELETE FROM clients WHERE id IN (1, 2); "
        "UPDATE clients SET name = 'x' WHERE id IN (3, 4)",
    )
    add_clients(database_url, 2, first=11)
    between_looks(
        database_url,
        "DELETE FROM clients WHERE id IN (3, 11); INSERT INTO clients SELECT * FROM kept WHERE id IN (1, 3)",
    )
    between_looks(source.database_url, "DELETE FROM clients WHERE id = 2")
    report = await verify_from(source, database_url, tables("clients"))
    assert {(found.kind, found.key, found.column) for found in report.differences} == {
        ("different", ("4",), "name"),
        ("extra", ("12",), None),
    }
    (clients,) = report.tables
    assert (clients.changed, clients.missing, clients.different, clients.extra) == (4, 0, 1, 1)
    assert (clients.source_rows, clients.equal) == (9, 8)
    assert not report.clean


async def test_only_what_moved_differs(
    source: Source, database_url: str, between_looks: Callable[[str, str], None]
) -> None:
    add_clients(source.database_url, 10)
    await copy_from(source, database_url, tables("clients"))
    execute(source.database_url, "UPDATE clients SET name = 'x' WHERE id = 3")
    between_looks(source.database_url, "UPDATE clients SET name = 'name3' WHERE id = 3")
    report = await verify_from(source, database_url, tables("clients"))
    assert (report.clean, report.tables[0].changed, report.tables[0].equal) == (True, 1, 10)


async def test_a_row_that_is_always_a_moment_behind_is_not_reported(
    source: Source, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mirror is while the row is written often; one that stays different is reported beside it."""
    add_clients(source.database_url, 10)
    await copy_from(source, database_url, tables("clients"))
    execute(source.database_url, "UPDATE clients SET name = 'written 0' WHERE id = 3")
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id = 4")
    settle = Findings._settle_batch
    looks = 0

    async def settle_later(self: Findings, size: int) -> None:
        nonlocal looks
        execute(database_url, f"UPDATE clients SET name = 'written {looks}' WHERE id = 3")
        looks = min(looks + 1, 3)
        execute(source.database_url, f"UPDATE clients SET name = 'written {looks}' WHERE id = 3")
        await settle(self, size)

    monkeypatch.setattr(Findings, "_settle_batch", settle_later)
    report = await verify_from(source, database_url, tables("clients"), options=VerifyOptions(pause=0.01))
    assert [(found.kind, found.key, found.column) for found in report.differences] == [("different", ("4",), "name")]
    assert looks == 3
    assert report.tables[0].changed == 1


async def test_a_row_that_goes_from_the_source_alone_is_extra(
    source: Source, database_url: str, between_looks: Callable[[str, str], None]
) -> None:
    add_clients(source.database_url, 10)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, "UPDATE clients SET name = 'x' WHERE id = 3")
    between_looks(source.database_url, "DELETE FROM clients WHERE id = 3")
    report = await verify_from(source, database_url, tables("clients"))
    assert [(found.kind, found.key) for found in report.differences] == [("extra", ("3",))]


async def test_so_is_one_whose_key_the_source_writes_otherwise(
    make_source: MakeSource, fresh_database: str, between_looks: Callable[[str, str], None]
) -> None:
    """The key is a moment, and the source is in another time zone."""
    source = make_source(moments.TABLE + moments.ROWS + moments.NEPAL)
    execute(fresh_database, moments.TABLE)
    await copy_from(source, fresh_database, moments.CHOSEN)
    execute(fresh_database, "UPDATE readings SET note = 'x' WHERE note = 'note 3'")
    between_looks(source.database_url, "DELETE FROM readings WHERE note = 'note 3'")
    report = await verify_from(source, fresh_database, moments.CHOSEN)
    assert [(found.kind, found.key[0]) for found in report.differences] == [("extra", "1")]


async def test_a_writer_on_both_sides_all_the_while(source: Source, database_url: str) -> None:
    """Rows that a writer brings to both sides, a little apart, are not reported; one that differs is."""
    add_clients(source.database_url, 300)
    await copy_from(source, database_url, tables("clients"))
    execute(database_url, "UPDATE clients SET name = 'y' WHERE id = 299")
    write = (
        "UPDATE clients SET name = 'w{0}' WHERE id = 1 + {0} % 290; DELETE FROM clients WHERE id = 1000 + {0} - 3; "
        "INSERT INTO clients (id, yclients_id, phone, created_at, updated_at) "
        "VALUES (1000 + {0}, 1000 + {0}, '7', '2026-01-01', '2026-01-01')"
    )
    ended = asyncio.Event()

    async def keep_writing() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            for url in (source.database_url, database_url):
                await asyncio.to_thread(execute, url, write.format(number))
            await asyncio.sleep(0.02)

    writer = asyncio.create_task(keep_writing())
    try:
        for _ in range(3):
            report = await verify_from(source, database_url, tables("clients"), options=VerifyOptions(pause=0.5))
            found = {(one.kind, one.key) for one in report.differences}
            assert ("different", ("299",)) in found
            assert len(found) <= 4  # a row may be caught between its two sides
    finally:
        ended.set()
        await writer
    report = await verify_from(source, database_url, tables("clients"))
    assert [(one.kind, one.key, one.column) for one in report.differences] == [("different", ("299",), "name")]


async def test_fix_copies_what_differs_and_deletes_nothing(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 20)
    await copy_from(source, database_url, tables("clients"))
    add_clients(source.database_url, 1, first=500)
    execute(database_url, "DELETE FROM clients WHERE id IN (4, 20); UPDATE clients SET name = 'x' WHERE id = 7")
    add_clients(database_url, 1, first=100)
    report = await verify_from(source, database_url, tables("clients"), options=_QUICK_FIX)
    (clients,) = report.tables
    assert (clients.fixed, clients.changed, clients.extra, clients.missing, clients.different) == (4, 0, 1, 0, 0)
    assert (report.clean, clients.source_rows, clients.target_rows, clients.equal) == (False, 21, 22, 21)
    assert [(found.kind, found.key) for found in report.differences] == [("extra", ("100",))]
    execute(database_url, "DELETE FROM clients WHERE id = 100")
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")
    assert value(database_url, "SELECT nextval(pg_get_serial_sequence('clients', 'id'))") == 501
    assert query(database_url, "SELECT command, state FROM botdata.runs ORDER BY id") == [
        ("copy", "complete"),
        ("verify --fix", "complete"),
    ]
    again = await verify_from(source, database_url, tables("clients"), options=_QUICK_FIX)
    assert (again.clean, again.tables[0].fixed) == (True, 0)
    await copy_from(source, database_url, tables("clients"))  # what the fix wrote is ours


async def test_fix_puts_a_refused_row_into_quarantine(source: Source, database_url: str) -> None:
    execute(source.database_url, "ALTER TABLE clients ALTER phone DROP NOT NULL")
    try:
        add_clients(source.database_url, 20)
        await copy_from(source, database_url, tables("clients"))
        execute(source.database_url, "UPDATE clients SET phone = NULL WHERE id IN (3, 4)")
        execute(database_url, "DELETE FROM clients WHERE id IN (4, 5)")
        report = await verify_from(source, database_url, tables("clients"), options=_QUICK_FIX)
        (clients,) = report.tables
        assert (clients.fixed, clients.missing, clients.different, clients.quarantined) == (1, 1, 1, 2)
        assert {(found.kind, found.key, found.column, found.refused) for found in report.differences} == {
            ("different", ("3",), "phone", "23502"),
            ("missing", ("4",), None, "23502"),
        }
        assert query(database_url, "SELECT key, sqlstate, place FROM botdata.quarantine ORDER BY key") == [
            (["3"], "23502", "phone"),
            (["4"], "23502", "phone"),
        ]
        plain = await verify_from(source, database_url, tables("clients"))
        assert {(found.key, found.refused) for found in plain.differences} == {(("3",), "23502"), (("4",), "23502")}
        execute(source.database_url, "UPDATE clients SET phone = '7' WHERE id IN (3, 4)")
        mended = await verify_from(source, database_url, tables("clients"), options=_QUICK_FIX)
        assert (mended.clean, mended.tables[0].fixed) == (True, 2)
        assert value(database_url, "SELECT count(*) FROM botdata.quarantine") == 0
    finally:
        execute(
            source.database_url,
            "UPDATE clients SET phone = '7' WHERE phone IS NULL; ALTER TABLE clients ALTER phone SET NOT NULL",
        )


async def test_fix_of_rows_that_a_trigger_would_change(source: Source, database_url: str) -> None:
    execute(
        source.database_url,
        "INSERT INTO whatsapp_keys (company_id, key_type, key_id, value) "
        "SELECT '1', 'session', n::text, '1.10' FROM generate_series(1, 5) n",
    )
    await copy_from(source, database_url, tables("whatsapp_keys"))
    execute(database_url, "UPDATE whatsapp_keys SET value = '1.1' WHERE key_id IN ('2', '3')")
    report = await verify_from(source, database_url, tables("whatsapp_keys"), options=_QUICK_FIX)
    assert (report.clean, report.tables[0].fixed, report.tables[0].equal) == (True, 2, 5)
    assert row_texts(database_url, "whatsapp_keys") == row_texts(source.database_url, "whatsapp_keys")


async def test_fix_says_what_stays_different(source: Source, database_url: str) -> None:
    """A trigger of the target rounds: nothing is refused, and the row stays different."""
    execute(database_url, ROUNDING.format(table="clients", column="total_spent"))
    execute(source.database_url, "ALTER TABLE clients ALTER total_spent TYPE numeric")
    try:
        add_clients(source.database_url, 3)
        execute(source.database_url, "UPDATE clients SET total_spent = CASE id WHEN 2 THEN 1.05 ELSE 1.00 END")
        await copy_from(source, database_url, tables("clients"))
        report = await verify_from(source, database_url, tables("clients"), options=_QUICK_FIX)
        (found,) = report.differences
        assert (found.key, found.column, found.source, found.target, found.refused) == (
            ("2",), "total_spent", "1.05", "1.10", None,
        )  # fmt: skip
        assert (report.tables[0].fixed, report.tables[0].quarantined) == (0, 0)
    finally:
        execute(source.database_url, "TRUNCATE clients; ALTER TABLE clients ALTER total_spent TYPE numeric(12, 2)")


@pytest.mark.first_command
async def test_fix_leaves_the_store_of_the_bot_alone(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 3)
    options = VerifyOptions(fix=True, target_in_use=True)
    with pytest.raises(MigrationError, match="USE_REPOSITORY_PATTERN") as stopped:
        await verify_from(source, database_url, tables("clients"), options=options)
    assert str(stopped.value.next_step) == "botdata verify; or botdata verify --fix --overwrite, if that is meant"
    assert query(database_url, "SELECT count(*), to_regnamespace('botdata') FROM clients") == [(0, None)]
    options = VerifyOptions(fix=True, target_in_use=True, overwrite=True, pause=0.01)
    assert (await verify_from(source, database_url, tables("clients"), options=options)).clean


async def test_a_sample_compares_so_many_rows_and_counts_all(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 100)
    await copy_from(source, database_url, tables("clients"))
    options = VerifyOptions(sample=30, pause=0.01)
    report = await verify_from(source, database_url, tables("clients"), options=options)
    (clients,) = report.tables
    assert (report.clean, report.sample, clients.sampled, clients.equal) == (True, 30, 30, 30)
    assert (clients.source_rows, clients.target_rows) == (100, 100)

    execute(database_url, "UPDATE clients SET name = 'x'")
    found = []
    for _ in range(2):
        report = await verify_from(source, database_url, tables("clients"), options=options)
        found.append({one.key for one in report.differences})
        assert (report.tables[0].different, report.tables[0].equal, report.clean) == (30, 0, False)
    assert found[0] != found[1]  # one in 10 ** 25 that the same are picked
    assert max(int(key) for (key,) in found[0]) > 50

    assert (await verify_from(source, database_url, tables("clients"), options=_QUICK_FIX)).clean
    add_clients(database_url, 1, first=200)
    counted = await verify_from(source, database_url, tables("clients"), options=options)
    assert (counted.clean, counted.differences, counted.tables[0].counts_agree) == (False, [], False)


async def test_a_sample_of_more_rows_than_there_are(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 9)
    await copy_from(source, database_url, tables("clients", "staff"))
    options = VerifyOptions(sample=500, pause=0.01)
    report = await verify_from(source, database_url, tables("clients", "staff"), options=options)
    assert [(table.sampled, table.equal) for table in report.tables] == [(9, 9), (0, 0)]
    execute(database_url, "DELETE FROM clients WHERE id = 5")
    report = await verify_from(source, database_url, tables("clients"), options=options)
    assert [(one.kind, one.key) for one in report.differences] == [("missing", ("5",))]
