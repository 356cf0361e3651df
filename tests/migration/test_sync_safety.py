"""What a sync must not lose, and must not call done: rows of either side, foreign keys, rounds cut short."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from app.common.keys import Key
from app.errors import MigrationError
from app.migration.sync.options import SyncOptions
from app.migration.sync.source_rows import SourceRows
from app.migration.sync.syncer import Sync
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import open_target
from tests.fixtures.sources import Source
from tests.migration.engine import Told, add_clients, copy_from, execute, query, row_texts, source_of, tables, value
from tests.migration.test_sync import counts, sync_from
from tests.migration.test_sync_reverse import back
from tests.support.faults import Fault, Request, agreeing, row_missing
from tests.support.page_server import PageServer

_IMAGES = "SELECT key, row_text ->> 'notes' FROM botdata.replaced_rows ORDER BY key::text"


async def test_back_keeps_what_had_changed_later_in_the_source(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    await sync_from(source, database_url, "clients")
    execute(source.database_url, "UPDATE clients SET notes = 'later', updated_at = '2999-01-01' WHERE id = 2")
    execute(source.database_url, "UPDATE clients SET notes = 'earlier', updated_at = '2001-01-01' WHERE id = 3")
    execute(
        source.database_url,
        "INSERT INTO clients (id, yclients_id, company_id, phone, notes) VALUES (9, 9, 1, '9', 'by hand')",
    )
    execute(database_url, "DELETE FROM clients WHERE id = 5")
    planned = await back(source, database_url, "clients", dry_run=True)
    assert counts(planned, "clients") == (0, 2, 2)
    report = await back(source, database_url, "clients", until_clean=True)
    assert counts(report, "clients") == (0, 2, 2)
    assert report.tables["clients"].kept == 2
    assert query(database_url, _IMAGES) == [(["2"], "later"), (["9"], "by hand")]
    assert row_texts(database_url, "clients") == row_texts(source.database_url, "clients")


async def test_back_leaves_no_gap_where_rows_stay_refused(source: Source, database_url: str) -> None:
    """Rows that hold each other's keys are deleted first; where that does not help, the old ones come back."""
    add_clients(source.database_url, 4)
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT polite CHECK (notes <> 'rude')")
    execute(source.database_url, "UPDATE clients SET notes = 'rude' WHERE id IN (3, 4)")
    await sync_from(source, database_url, "clients")
    before = row_texts(source.database_url, "clients")
    execute(database_url, "UPDATE clients SET yclients_id = id + 2")
    report = await back(source, database_url, "clients")
    assert [(refused.key, refused.sqlstate) for refused in report.tables["clients"].refused] == [
        (("1",), "23505"),
        (("2",), "23505"),
    ]
    assert row_texts(source.database_url, "clients") == before


class _KilledError(BaseException):
    """In place of the end of a process."""


@pytest.mark.parametrize("refused", [False, True])
async def test_back_that_is_killed_while_rows_are_out_of_the_source(
    source: Source, database_url: str, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """The next one brings the target's rows, or puts the old ones back; a sync forward takes them for no deletions."""
    add_clients(source.database_url, 4)
    execute(source.database_url, "UPDATE clients SET notes = 'swapped' WHERE id = 4")
    await sync_from(source, database_url, "clients")
    before = row_texts(source.database_url, "clients")
    execute(database_url, "UPDATE clients SET yclients_id = id + 100 WHERE id < 3")
    execute(database_url, "UPDATE clients SET yclients_id = 3 - id, notes = 'swapped' WHERE id < 3")
    delete = SourceRows._delete_in_source

    async def delete_and_die(self: SourceRows, table: CopyTable, keys: Sequence[Key]) -> None:
        await delete(self, table, keys)
        raise _KilledError

    with monkeypatch.context() as patched:
        patched.setattr(SourceRows, "_delete_in_source", delete_and_die)
        with pytest.raises(_KilledError):
            await back(source, database_url, "clients")
    assert value(source.database_url, "SELECT count(*) FROM clients") == 2
    with pytest.raises(MigrationError, match=r"make room for others: clients \(2\)") as stopped:
        await sync_from(source, database_url, "clients")
    assert "botdata sync --reverse --tables clients" in str(stopped.value.next_step)
    if refused:
        execute(source.database_url, "CREATE UNIQUE INDEX planted ON clients (notes)")  # which row 4 holds
    report = await back(source, database_url, "clients")
    assert report.complete is not refused
    assert row_texts(source.database_url, "clients") == (before if refused else row_texts(database_url, "clients"))
    assert value(database_url, "SELECT count(*) FROM botdata.replaced_rows") == 0
    await sync_from(source, database_url, "clients")


async def test_a_row_mended_in_quarantine_and_brought_back_leaves_it(connected: Source, database_url: str) -> None:
    add_clients(connected.database_url, 5)
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT polite CHECK (notes <> 'rude')")
    execute(connected.database_url, "UPDATE clients SET notes = 'rude' WHERE id = 3")
    assert not (await sync_from(connected, database_url, "clients")).complete
    execute(database_url, "INSERT INTO clients (id, yclients_id, company_id, phone) VALUES (3, 3, 1, '79000000003')")
    assert (await back(connected, database_url, "clients")).complete
    assert (await sync_from(connected, database_url, "clients")).complete
    assert value(database_url, "SELECT count(*) FROM botdata.quarantine") == 0


async def test_back_refuses_a_table_that_was_copied_in_part(connected: Source, database_url: str) -> None:
    """Rows that the copy had not come to would be deleted at the source."""
    add_clients(connected.database_url, 50)
    await copy_from(connected, database_url, tables("clients"))
    execute(
        database_url,
        "DELETE FROM clients WHERE id > 20; UPDATE botdata.checkpoints SET state = 'copying'; "
        "UPDATE botdata.runs SET state = 'running', finished_at = NULL",
    )
    with pytest.raises(MigrationError, match=r"were not brought over whole: clients \(50\)") as stopped:
        await back(connected, database_url, "clients")
    assert "botdata sync --reverse --overwrite" in str(stopped.value.next_step)
    assert value(connected.database_url, "SELECT count(*) FROM clients") == 50
    await sync_from(connected, database_url, "clients")
    assert counts(await back(connected, database_url, "clients"), "clients") == (0, 0, 0)


async def test_puts_back_the_foreign_keys_of_a_copy_that_was_killed(connected: Source, database_url: str) -> None:
    execute(database_url, "ALTER TABLE clients ADD own integer CONSTRAINT own_key REFERENCES clients")
    await copy_from(connected, database_url, tables("clients"))
    execute(
        database_url,
        "ALTER TABLE clients DROP CONSTRAINT own_key; UPDATE botdata.foreign_keys SET state = 'dropped'; "
        "UPDATE botdata.checkpoints SET state = 'copying'; UPDATE botdata.runs SET state = 'running'",
    )
    assert (await sync_from(connected, database_url, "clients")).complete
    assert query(database_url, "SELECT convalidated FROM pg_constraint WHERE conname = 'own_key'") == [(True,)]
    assert value(database_url, "SELECT count(*) FROM botdata.foreign_keys WHERE state <> 'validated'") == 0


@pytest.mark.first_command
async def test_a_dry_run_compares_what_a_type_refuses(connected: Source, database_url: str) -> None:
    execute(connected.database_url, "ALTER TABLE clients ALTER visit_count TYPE text")
    add_clients(connected.database_url, 5)
    execute(connected.database_url, "UPDATE clients SET updated_at = '2020-01-01', visit_count = 'many' WHERE id = 3")
    assert counts(await sync_from(connected, database_url, "clients", dry_run=True), "clients") == (5, 0, 0)
    assert value(database_url, "SELECT to_regnamespace('botdata')") is None


async def test_a_deletion_that_a_trigger_refuses(connected: Source, database_url: str) -> None:
    add_clients(connected.database_url, 5)
    await sync_from(connected, database_url, "clients")
    execute(
        database_url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no: %', OLD.phone; END $$; "
        "CREATE TRIGGER refuse BEFORE DELETE ON clients FOR EACH ROW EXECUTE FUNCTION refuse(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER refuse",
    )
    execute(connected.database_url, "DELETE FROM clients WHERE id = 3")
    with pytest.raises(MigrationError) as stopped:
        await sync_from(connected, database_url, "clients")
    assert (stopped.value.table, "7900" in str(stopped.value)) == ("clients", False)
    assert "trigger of the target that refuses it" in str(stopped.value.next_step)


async def test_until_clean_ends_where_a_trigger_rewrites_every_row(connected: Source, database_url: str) -> None:
    add_clients(connected.database_url, 5)
    execute(
        database_url,
        "CREATE FUNCTION rewrite() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.notes = 'own'; RETURN NEW; END $$; "
        "CREATE TRIGGER rewrite BEFORE INSERT OR UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION rewrite(); "
        "ALTER TABLE clients ENABLE ALWAYS TRIGGER rewrite",
    )
    report = await sync_from(connected, database_url, "clients", until_clean=True)
    assert (report.complete, report.rounds, report.tables["clients"].unsettled) == (False, 3, 5)


@pytest.mark.first_command
async def test_a_dry_run_leaves_no_trace(source: Source, database_url: str) -> None:
    add_clients(source.database_url, 5)
    report = await sync_from(source, database_url, "clients", dry_run=True)
    assert counts(report, "clients") == (5, 0, 0)
    assert value(database_url, "SELECT to_regnamespace('botdata')") is None


async def test_a_row_that_the_source_lists_and_does_not_give_is_not_done(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 5)
    await sync_from(pages, database_url, "clients")
    execute(source_database, "UPDATE clients SET notes = 'changed' WHERE id = 3")

    pages.hook = lambda request: agreeing(row_missing()) if request.parameter("id") == "eq.3" else None
    report = await sync_from(pages, database_url, "clients", until_clean=True)
    assert (report.complete, report.tables["clients"].unsettled) == (False, 1)
    pages.hook = lambda request: None
    assert (await sync_from(pages, database_url, "clients", until_clean=True)).complete


async def test_a_row_deleted_while_it_is_asked_for_is_no_difference(
    pages: PageServer, source_database: str, database_url: str
) -> None:
    add_clients(source_database, 5)
    await sync_from(pages, database_url, "clients")
    execute(source_database, "UPDATE clients SET notes = 'changed' WHERE id = 3")

    def delete(request: Request) -> Fault | None:
        if request.parameter("id") == "eq.3":
            execute(source_database, "DELETE FROM clients WHERE id = 3")
        return None

    pages.hook = delete
    assert (await sync_from(pages, database_url, "clients")).complete


async def test_a_following_sync_waits_for_its_own_lost_session(pages: PageServer, database_url: str) -> None:
    """After a broken connection the server may hold the old session, and its lock, for a while."""
    stop, told = asyncio.Event(), Told()

    async def hold_lock() -> None:
        for _ in range(100):
            execute(
                database_url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'botdata sync' AND datname = current_database()",
            )
            with suppress(MigrationError):  # it was faster
                async with open_target(database_url, step="old session", exclusive=True):
                    await _until(lambda: any("another run is at work" in notice for notice in told.notices))
                    return

    options = SyncOptions(follow=True, interval=0.05)
    sync = Sync(lambda: source_of(pages, told=told), database_url, tables("clients"), told, options, stop=stop)
    following = asyncio.ensure_future(sync.run())
    try:
        await _until(lambda: sync.report.rounds > 0 or following.done())
        await hold_lock()
        rounds = sync.report.rounds
        await _until(lambda: sync.report.rounds > rounds or following.done())
        assert not following.done()
    finally:
        stop.set()
        await asyncio.wait_for(following, 60)


async def _until(reached: Callable[[], bool]) -> None:
    for _ in range(1200):
        if reached():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not reached in a minute")
