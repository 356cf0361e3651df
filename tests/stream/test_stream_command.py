"""`botdata sync --by stream` and `botdata stream ...` as a user runs them: words, documents, exit codes, kills."""

import asyncio
import json
import random
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.command import Command, start
from tests.cli.test_json import check_document
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import add_clients, execute, query, row_texts, tables, value
from tests.migration.test_authority import stand_at
from tests.support.other_schemas import in_schema, searching

_CHOSEN = ("--tables", "clients")
_MANY = 1_000_000
_BY = ("--by", "stream", "--accept-unbounded-wal")


def test_a_stream_from_its_start_to_its_end(command: Command, salon: StreamEnds) -> None:
    settings = {"DATABASE_URL": salon.target, "MIGRATION_SOURCE": salon.source}
    refused = command("sync", "--by", "stream", "--until-lsn", "now", *_CHOSEN, **settings)
    assert refused.code == 1
    assert "max_slot_wal_keep_size is -1" in refused.err
    assert re.search(r"botdata sync --tables clients .*--by stream --until-lsn now", refused.err), refused.err
    assert "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'" in refused.err
    assert salon.slots() == []
    outcome = command("sync", *_BY, "--until-lsn", "now", *_CHOSEN, **settings)
    assert outcome.code == 0, outcome.err
    assert "first a sync by rows' versions, since it is the first start" in outcome.err
    execute(salon.source, "UPDATE clients SET notes = 'x' WHERE id = 3; DELETE FROM clients WHERE id = 4")
    outcome = command("sync", *_BY, "--until-lsn", "now", *_CHOSEN, "--json", **settings)
    document = check_document(outcome.out, "sync")
    assert (document["ok"], document["by"]) == (True, "stream")
    (clients,) = document["tables"]
    assert (clients["inserted"], clients["updated"], clients["deleted"]) == (0, 1, 1)
    assert row_texts(salon.target, "clients") == row_texts(salon.source, "clients")

    outcome = command("stream", "status", "--json", **settings)
    document = check_document(outcome.out, "stream status")
    assert outcome.code == 0
    assert (document["slot"], document["publication"], document["settled"], document["tables"]) == (
        True,
        True,
        True,
        ["clients"],
    )
    assert "slot there, publication there" in command("stream", "status", **settings).out
    (stream,) = check_document(command("status", "--json", **settings).out, "status")["streams"]
    assert (stream["settled"], stream["changes"], stream["look_age"]) == (True, 2, None)
    assert 0 < stream["lag"] < 60
    assert "2 changes, up to " in command("status", **settings).out
    assert "nobody reads the slot" in command("sync", *_CHOSEN, **settings).err
    outcome = command("stream", "drop", "--json", **settings)
    assert len(check_document(outcome.out, "stream drop")["removed"]) == 3
    assert (salon.slots(), query(salon.source, "SELECT FROM pg_publication")) == ([], [])
    assert "nothing is there" in command("stream", "drop", **settings).out
    assert command("stream", "status", **settings).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "stream"], "goes with --follow or with --until-lsn"),
        (["--by", "stream", "--follow", "--until-lsn", "now"], "goes with --follow or with --until-lsn"),
        (["--by", "stream", "--reverse"], "goes with --follow or with --until-lsn"),
        (["--until-lsn", "now"], "goes with --by stream only"),
        (["--by", "stream", "--until-lsn", "16"], "two hexadecimal numbers"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], said: str, command: Command, database_url: str) -> None:
    outcome = command("sync", *options, DATABASE_URL=database_url, MIGRATION_SOURCE="postgresql://127.0.0.1:1/x")
    assert outcome.code == 2
    assert said in outcome.err


def test_a_rest_source_has_no_stream(command: Command, database_url: str) -> None:
    rest = {"SUPABASE_URL": "https://project.supabase.example", "SUPABASE_KEY": "sb_secret_key"}
    for words in (["sync", "--follow"], ["preflight"]):
        outcome = command(*words, "--by", "stream", DATABASE_URL=database_url, **rest)
        assert outcome.code == 2
        assert "a change stream needs --source postgresql://..." in outcome.err


@pytest.mark.separate_server
def test_preflight_names_what_is_missing(command: Command, source_database: str, database_url: str) -> None:
    """Of a server with PostgreSQL's own settings, for a role that may only read."""
    execute(
        source_database, "CREATE ROLE stream_reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO stream_reader"
    )
    reader = source_database.replace("//postgres", "//stream_reader", 1)
    try:
        outcome = command(
            "preflight", "--by", "stream", *_CHOSEN, "--json", DATABASE_URL=database_url, MIGRATION_SOURCE=reader
        )
        found = {one["code"]: one for one in json.loads(outcome.out)["findings"] if "stream" in one["code"]}
        assert outcome.code == 1
        assert sorted(found) == [
            "source-stream-publication",
            "source-stream-role",
            "source-stream-wal-level",
            "source-stream-wal-unbounded",
            "target-stream-wal-level",
        ]
        assert "ALTER ROLE stream_reader REPLICATION" in found["source-stream-role"]["remedy"]
    finally:
        execute(source_database, "DROP OWNED BY stream_reader; DROP ROLE stream_reader")


async def _killed(salon: StreamEnds, directory: Path, kills: int, seed: int) -> None:
    """Kill the command so often while somebody writes, start it again each time, and see that both ends are equal."""
    chance = random.Random(seed)
    settings = {"DATABASE_URL": salon.target, "MIGRATION_SOURCE": salon.source}
    done = asyncio.Event()
    writing = asyncio.ensure_future(_write(salon.source, chance, done))
    for _ in range(kills):
        before = salon.applied()
        with start("sync", "--follow", *_BY, *_CHOSEN, directory=directory, **settings) as process:
            for _ in range(600):
                if process.poll() is not None or salon.applied() > before:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(chance.random())
            process.send_signal(signal.SIGKILL)
            output = await asyncio.to_thread(process.communicate)
        assert process.returncode == -signal.SIGKILL, output
    done.set()
    await writing
    with start("sync", *_BY, "--until-lsn", "now", *_CHOSEN, directory=directory, **settings) as process:
        output = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, output
    assert row_texts(salon.target, "clients") == row_texts(salon.source, "clients")
    assert value(salon.target, "SELECT count(*) FROM botdata.quarantine") == 0


async def _write(url: str, chance: random.Random, done: asyncio.Event) -> None:
    added = 100
    while not done.is_set():
        statements = []
        for _ in range(10):
            added, key = added + 1, chance.randrange(1, added)
            statements += [
                "INSERT INTO clients (id, yclients_id, company_id, phone, name) VALUES "
                f"({added}, {added}, 1, '{79000000000 + added}', 'name')",
                chance.choice(
                    (
                        f"UPDATE clients SET name = name || '+' WHERE id = {key}",
                        f"DELETE FROM clients WHERE id = {key}",
                        f"UPDATE clients SET id = -id WHERE id = {key}",
                    )
                ),
            ]
        await asyncio.to_thread(execute, url, ";".join(statements))


async def test_a_kill_loses_no_change(salon: StreamEnds, tmp_path: Path) -> None:
    await _killed(salon, tmp_path, 1, 1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
async def test_many_kills_lose_no_change(seed: int, salon: StreamEnds, tmp_path: Path) -> None:
    await _killed(salon, tmp_path, 12, seed)


@pytest.mark.soak
def test_a_transaction_of_a_million_rows_is_held_in_little_memory(salon: StreamEnds, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": salon.target, "MIGRATION_SOURCE": salon.source}
    with start("sync", "--follow", *_BY, *_CHOSEN, directory=tmp_path, **settings) as process:
        while process.poll() is None and not salon.applied():
            time.sleep(0.2)
        add_clients(salon.source, _MANY, first=1000)
        lsn = salon.lsn()
        while process.poll() is None and salon.applied() < lsn:
            time.sleep(0.2)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.send_signal(signal.SIGTERM)
        output = process.communicate()
    assert process.returncode == 0, output
    assert int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) < 150_000
    sums = "SELECT count(*), sum(hashtext(c::text)) FROM clients c"
    assert query(salon.target, sums) == query(salon.source, sums)


async def test_tables_that_mirrors_write_go_on_by_the_stream(salon: StreamEnds) -> None:
    """From dualwrite on; from live on only those of no method."""
    chosen = tables("clients", "staff")
    stream = salon.stream(chosen)
    await stream.begun()
    staff = "INSERT INTO staff (id, yclients_id, company_id, name) VALUES ({0}, {0}, 1, 's')"
    execute(salon.source, staff.format(1))
    await stream.caught_up()
    stand_at(salon.target, "dualwrite")
    execute(salon.source, "UPDATE clients SET notes = 'later' WHERE id = 6; DELETE FROM clients WHERE id = 8")
    execute(salon.source, staff.format(2))
    await stream.caught_up()
    assert value(salon.target, _FOLLOWED) == ["clients", "staff"]
    for name in ("clients", "staff"):
        assert row_texts(salon.target, name) == row_texts(salon.source, name)
    stand_at(salon.target, "live")
    execute(salon.source, "UPDATE clients SET notes = 'not brought' WHERE id = 7")
    execute(salon.source, staff.format(3))
    await stream.caught_up()
    assert value(salon.target, _FOLLOWED) == ["staff"]
    assert value(salon.target, "SELECT notes FROM clients WHERE id = 7") is None
    assert row_texts(salon.target, "staff") == row_texts(salon.source, "staff")
    stand_at(salon.target, "shadow")
    execute(salon.source, staff.format(4))
    await stream.caught_up()
    assert await stream.until(lambda: value(salon.target, _FOLLOWED) == ["clients", "staff"])
    await stream.end()
    assert row_texts(salon.target, "clients") == row_texts(salon.source, "clients")


_FOLLOWED = "SELECT array_agg(k) FROM botdata.streams, json_object_keys(tables) k"


async def test_a_stream_that_has_caught_up_is_a_look_at_its_tables(salon: StreamEnds) -> None:
    """Which the gates of a cutover ask for."""
    stream = salon.stream(tables("clients"))
    await stream.begun()
    first = value(salon.target, _BEGAN)
    assert await stream.until(lambda: value(salon.target, _BEGAN) > first)
    execute(salon.source, "UPDATE clients SET notes = 'x' WHERE id = 3")
    second = value(salon.target, "SELECT clock_timestamp()")
    assert await stream.until(lambda: value(salon.target, _BEGAN) > second)
    assert value(salon.target, "SELECT notes FROM clients WHERE id = 3") == "x"
    await stream.end()


_BEGAN = "SELECT began_at FROM botdata.synced_tables"


def test_two_salons_of_one_source_and_one_target(salon: StreamEnds, command: Command) -> None:
    """One in `public` of both, the other in a schema of its own at each end: two slots, and nothing of one in both."""
    for url, schema in ((salon.source, "s1"), (salon.target, "t1")):
        execute(url, f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.clients (LIKE public.clients INCLUDING ALL)")
    theirs, ours = searching(salon.source, "s1"), searching(salon.target, "t1")
    add_clients(theirs, 7)
    other = replace(salon, source=in_schema(salon.source, "s1"), target=in_schema(salon.target, "t1"))
    for ends in (salon, other):
        assert asyncio.run(ends.until_now(tables("clients"))).complete
    execute(salon.source, "UPDATE clients SET notes = 'of public' WHERE id = 3; DELETE FROM clients WHERE id = 4")
    execute(theirs, "UPDATE clients SET notes = 'of s1' WHERE id = 3; DELETE FROM clients WHERE id = 5")
    for ends, source, target in ((salon, salon.source, salon.target), (other, theirs, ours)):
        report = asyncio.run(ends.until_now(tables("clients")))
        done = report.tables["clients"]
        assert (report.by, done.inserted, done.updated, done.deleted) == ("stream", 0, 1, 1)
        assert row_texts(target, "clients") == row_texts(source, "clients")
    assert len(salon.slots()) == 2
    execute(theirs, "TRUNCATE clients")
    settings = {"DATABASE_URL": salon.target, "DATABASE_SCHEMA": "t1", "MIGRATION_SOURCE": salon.source}
    words = ["sync", *_BY, "--until-lsn", "now", *_CHOSEN, "--source-schema", "s1"]
    outcome = command(*words, **settings)
    assert outcome.code == 0, outcome.err
    assert (row_texts(ours, "clients"), len(row_texts(salon.target, "clients"))) == ([], 29)
    outcome = command("stream", "drop", "--json", **settings)
    assert len(check_document(outcome.out, "stream drop")["removed"]) == 3
    assert len(salon.slots()) == 1
