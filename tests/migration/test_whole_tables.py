"""Tables whose rows nothing tells apart: over a connection they go as a whole, over REST they are left out, by name."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from app.errors import MigrationError
from app.migration.copy.dry_run import dry_run
from app.migration.quarantine.quarantine_file import export_rows, import_rows
from app.migration.quarantine.replay import replay
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncRound
from app.migration.sync.syncer import Sync
from app.migration.tables.metadata import select_tables
from app.migration.verify.options import VerifyOptions
from tests.fixtures.sources import Ends
from tests.migration.engine import Told, copy_from, execute, query, source_of, value, verify_from
from tests.migration.two_ends import sync_from

METADATA = MetaData()
Table("log", METADATA, Column("a", Integer), Column("b", Text))
Table("notes", METADATA, Column("id", Integer, primary_key=True), Column("b", Text))
CHOSEN = select_tables(METADATA)
LOG = select_tables(METADATA, names=["log"])
SCHEMA = "CREATE TABLE log (a integer, b text {}); CREATE TABLE notes (id integer PRIMARY KEY, b text)"
PLAIN = SCHEMA.format("")
ROWS = (
    "INSERT INTO log VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, ''), (2, 'y'); INSERT INTO notes VALUES (1, 'n')"
)
CONNECTED = pytest.mark.parametrize("ends", ["connection"], indirect=True)


def rows_of(url: str) -> list[str]:
    return [text for (text,) in query(url, "SELECT t::text FROM log t ORDER BY 1")]


@CONNECTED
async def test_copied_twice_and_verified(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    first = await copy_from(ends.served, ends.target, CHOSEN)
    assert (first.complete, first.tables[0].inserted) == (True, 5)
    assert rows_of(ends.target) == rows_of(ends.source)
    verified = await verify_from(ends.served, ends.target, CHOSEN)
    assert (verified.clean, verified.tables[0].equal) == (True, 5)
    execute(
        ends.source, "INSERT INTO log VALUES (1, 'x'); DELETE FROM log WHERE b = ''; UPDATE log SET a = 3 WHERE a = 2"
    )
    again = (await copy_from(ends.served, ends.target, CHOSEN)).tables[0]
    assert (again.inserted, again.updated, again.unchanged, again.went) == (0, 2, 3, 0)
    assert rows_of(ends.target) == rows_of(ends.source)
    third = (await copy_from(ends.served, ends.target, CHOSEN)).tables[0]
    assert (third.inserted, third.updated, third.unchanged) == (0, 0, 5)


@CONNECTED
async def test_verify_counts_how_often_a_row_occurs(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    execute(ends.target, "DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE a = 1 LIMIT 1)")
    execute(ends.target, "UPDATE log SET b = NULL WHERE b = ''")
    report = await verify_from(ends.served, ends.target, CHOSEN)
    (log, _) = report.tables
    assert (report.clean, log.missing, log.extra, log.equal) == (False, 2, 1, 3)
    kept = "SELECT differences FROM botdata.verifications WHERE table_name = 'log' ORDER BY id"
    assert query(ends.target, kept) == [(3,)]
    fixed = await verify_from(ends.served, ends.target, CHOSEN, options=VerifyOptions(fix=True, pause=0.01))
    assert (fixed.clean, fixed.tables[0].fixed) == (True, 2)
    assert query(ends.target, kept) == [(3,), (0,)]
    assert rows_of(ends.target) == rows_of(ends.source)


@CONNECTED
async def test_a_sync_makes_the_whole_table_like_the_sources(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    execute(
        ends.source, "INSERT INTO log VALUES (1, 'x'); DELETE FROM log WHERE b = ''; UPDATE log SET a = 3 WHERE a = 2"
    )
    execute(ends.source, "INSERT INTO log VALUES (9, 'z')")
    report = await sync_from(ends.served, ends.target, CHOSEN)
    log = report.tables["log"]
    assert (report.complete, log.inserted, log.updated, log.deleted) == (True, 1, 2, 0)
    assert rows_of(ends.target) == rows_of(ends.source)
    assert (await sync_from(ends.served, ends.target, CHOSEN)).tables["log"].changed == 0


@CONNECTED
async def test_a_sync_that_would_delete_many_rows_stops(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    execute(ends.source, "UPDATE log SET b = 'all changed'")  # changed rows are no deletions
    assert (await sync_from(ends.served, ends.target, CHOSEN, most_deleted=2)).tables["log"].updated == 5
    execute(ends.source, "DELETE FROM log WHERE a IS NOT NULL; INSERT INTO notes VALUES (2, 'm')")
    with pytest.raises(MigrationError, match=r"3 rows of the target are not in the source .* log \(3\)"):
        await sync_from(ends.served, ends.target, CHOSEN, most_deleted=2)
    assert len(rows_of(ends.target)) == 5
    tried = await sync_from(ends.served, ends.target, CHOSEN, most_deleted=2, dry_run=True)
    assert (tried.tables["log"].deleted, tried.tables["notes"].inserted) == (3, 1)
    assert len(rows_of(ends.target)) == 5
    assert (await sync_from(ends.served, ends.target, CHOSEN, most_deleted=3)).tables["log"].deleted == 3
    assert rows_of(ends.target) == rows_of(ends.source)


@CONNECTED
@pytest.mark.parametrize("seconds", [3600.0, 0.0])
async def test_a_sync_that_follows_looks_once_a_while(ends: Ends, seconds: float) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    stop, seen = asyncio.Event(), []

    def on_round(done: SyncRound) -> None:
        seen.append({table.table: table.changed for table in done.tables})
        if done.number == 1:
            execute(ends.source, "INSERT INTO log VALUES (7, 'later'); INSERT INTO notes VALUES (7, 'later')")
        elif done.number == 3:
            stop.set()

    options = SyncOptions(follow=True, interval=0.01, whole_interval=seconds)
    opened = lambda: source_of(ends.served)  # noqa: E731
    await Sync(opened, ends.target, CHOSEN, Told(), options, stop=stop, on_round=on_round).run()
    assert [one["notes"] for one in seen] == [0, 1, 0]
    assert [one["log"] for one in seen] == [0, 0 if seconds else 1, 0]


@CONNECTED
async def test_a_refused_row_waits_and_arrives(ends: Ends, tmp_path: Path) -> None:
    rows = "; INSERT INTO log VALUES (5, 'bad'), (5, 'bad'), (6, 'bad')"
    ends.make(PLAIN, ROWS + rows, SCHEMA.format("CHECK (b <> 'bad')"))
    report = await copy_from(ends.served, ends.target, CHOSEN)
    (log, _) = report.tables
    assert (report.complete, log.inserted, len(log.refused), log.missing) == (False, 5, 3, ())
    again = (await copy_from(ends.served, ends.target, CHOSEN)).tables[0]
    assert (again.unchanged, len(again.refused)) == (5, 3)
    kept = query(ends.target, "SELECT number, key FROM botdata.quarantine ORDER BY 1")
    assert [key[1] for _, key in kept] == ["1", "2", "1"]
    verified = (await verify_from(ends.served, ends.target, CHOSEN)).tables[0]
    assert (verified.missing, verified.quarantined, verified.extra) == (3, 3, 0)
    synced = (await sync_from(ends.served, ends.target, CHOSEN)).tables["log"]
    assert (synced.changed, len(synced.refused), synced.unsettled) == (0, 3, 0)
    assert (
        query(ends.target, "SELECT number, key FROM botdata.quarantine ORDER BY 1") == kept
    )  # as an export names them
    execute(ends.source, "DELETE FROM log WHERE a = 6; INSERT INTO log VALUES (7, 'bad')")
    assert len((await sync_from(ends.served, ends.target, CHOSEN)).tables["log"].refused) == 3
    assert query(ends.target, "SELECT number, key FROM botdata.quarantine ORDER BY 1")[:2] == kept[:2]

    path = tmp_path / "refused.json"
    assert await export_rows(ends.target, METADATA, path) == 3
    edited = path.read_text("utf-8").replace('"b": "bad"', '"b": "good"', 1)
    path.write_text(edited, "utf-8")
    await import_rows(ends.target, path)
    assert (await replay(ends.target, METADATA)).loaded == 1
    assert value(ends.target, "SELECT count(*) FROM log WHERE b = 'good'") == 1
    execute(ends.target, "ALTER TABLE log DROP CONSTRAINT log_b_check")
    replayed = await replay(ends.target, METADATA)
    assert (replayed.loaded, replayed.remaining) == (2, 0)
    assert (await sync_from(ends.served, ends.target, CHOSEN)).tables["log"].updated == 1
    assert rows_of(ends.target) == rows_of(ends.source)


@CONNECTED
async def test_rows_that_no_run_wrote_are_kept_as_images(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    await copy_from(ends.served, ends.target, CHOSEN)
    execute(ends.target, "INSERT INTO log VALUES (8, 'of someone else')")
    with pytest.raises(MigrationError, match=r"no copy from .* wrote: log \(1\)"):
        await copy_from(ends.served, ends.target, CHOSEN)
    synced = (await sync_from(ends.served, ends.target, CHOSEN)).tables["log"]
    assert (synced.deleted, synced.kept) == (1, 1)
    assert value(ends.target, "SELECT row_text->>'b' FROM botdata.replaced_rows") == "of someone else"
    assert rows_of(ends.target) == rows_of(ends.source)


@CONNECTED
async def test_a_copy_that_was_stopped_begins_the_table_again(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ends.make(PLAIN, ROWS)

    async def lost(*given: object, **named: object) -> None:
        raise psycopg.OperationalError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr("app.migration.copy.range_loader.record_loaded", lost)
        with pytest.raises(MigrationError):
            await copy_from(ends.served, ends.target, CHOSEN)
    assert rows_of(ends.target) == []
    report = await copy_from(ends.served, ends.target, CHOSEN)
    assert (report.resumed, report.complete) == (True, True)
    assert rows_of(ends.target) == rows_of(ends.source)


@CONNECTED
async def test_a_trial_and_the_way_back(ends: Ends) -> None:
    ends.make(PLAIN, ROWS + "; INSERT INTO log VALUES (5, 'bad')", SCHEMA.format("CHECK (b <> 'bad')"))
    async with source_of(ends.served) as source:
        tried = (await dry_run(source, ends.target, CHOSEN, Told())).tables[0]
    assert (tried.rows, tried.tried, dict(tried.refused)) == (6, 6, {("23514", "log_b_check"): 1})
    assert rows_of(ends.target) == []
    await copy_from(ends.served, ends.target, CHOSEN)
    with pytest.raises(MigrationError, match="rows of log apart") as stopped:
        await sync_from(ends.served, ends.target, CHOSEN, reverse=True, target_in_use=True)
    assert "botdata sync --reverse --tables notes" in str(stopped.value.next_step)
    notes = select_tables(METADATA, names=["notes"])
    assert (await sync_from(ends.served, ends.target, notes, reverse=True, target_in_use=True)).complete


@CONNECTED
async def test_a_partitioned_one_with_a_trigger(ends: Ends) -> None:
    """RETURNING gives no xmin there; and what a trigger changes never becomes equal, which is said."""
    parted = (
        PLAIN.replace("b text )", "b text) PARTITION BY LIST (b)") + "; CREATE TABLE log_all PARTITION OF log DEFAULT"
    )
    trigger = (
        "; CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.b = 'y' THEN new.b := 'Y'; "
        "END IF; RETURN new; END $$; CREATE TRIGGER shout BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION shout(); "
        "ALTER TABLE log ENABLE ALWAYS TRIGGER shout; ALTER TABLE log_all ENABLE ALWAYS TRIGGER shout"
    )
    ends.make(PLAIN, ROWS, parted)
    assert (await copy_from(ends.served, ends.target, LOG)).complete
    execute(ends.source, "UPDATE log SET a = 4 WHERE a = 2")
    assert (await copy_from(ends.served, ends.target, LOG)).tables[0].updated == 1
    execute(ends.target, trigger.removeprefix("; "))
    execute(ends.source, "UPDATE log SET a = 5 WHERE a = 4")
    synced = await sync_from(ends.served, ends.target, LOG)
    assert (synced.complete, synced.tables["log"].unsettled) == (False, 2)
    unknown = "SELECT count(*) FROM log t WHERE xmin::text NOT IN (SELECT xid FROM botdata.writes)"
    assert value(ends.target, unknown) == 0


@pytest.mark.parametrize("ends", ["page server"], indirect=True)
async def test_over_rest_it_is_named_and_the_others_are_moved(ends: Ends) -> None:
    ends.make(PLAIN, ROWS)
    copied = await copy_from(ends.served, ends.target, CHOSEN)
    assert (copied.complete, [one.table for one in copied.tables]) == (False, ["notes"])
    verified = await verify_from(ends.served, ends.target, CHOSEN)
    assert (verified.clean, [one.table for one in verified.tables]) == (False, ["notes"])
    synced = await sync_from(ends.served, ends.target, CHOSEN)
    assert (synced.complete, list(synced.tables)) == (False, ["notes"])
    async with source_of(ends.served) as source:
        tried = await dry_run(source, ends.target, CHOSEN, Told())
    assert (tried.clean, [one.table for one in tried.tables]) == (False, ["notes"])
    for report in (copied, verified, synced, tried):
        (left,) = report.not_moved
        assert (left.table, "--source postgresql://" in left.remedy, "primary key" in left.remedy) == (
            "log",
            True,
            True,
        )
    with pytest.raises(MigrationError, match="log: neither a primary key"):
        await copy_from(ends.served, ends.target, LOG)
    execute(ends.target, "ALTER TABLE log ADD line integer")  # a unique key that takes NULL is none
    execute(ends.target, "CREATE UNIQUE INDEX ON log (line)")
    assert not (await copy_from(ends.served, ends.target, CHOSEN)).complete
