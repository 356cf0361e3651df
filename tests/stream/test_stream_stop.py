"""A following stream that is stopped brings what was committed by then."""

import asyncio
from dataclasses import replace

import pytest

from app.migration.sync import syncer
from tests.fixtures.streams import QUICK, StreamEnds
from tests.migration.engine import execute, row_texts, value
from tests.stream.projects import PLAIN, ROWS, SCHEMA, named


async def test_what_was_committed_before_the_stop_is_in(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    stream = ends.stream(PLAIN)
    await stream.begun()
    execute(ends.source, "UPDATE t SET v = 'last' WHERE id < 5; DELETE FROM t WHERE id = 9; INSERT INTO t VALUES (10)")
    await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    assert any("all that was committed when this was stopped has come" in notice for notice in ends.told.notices)


async def test_what_was_committed_before_the_stop_in_a_table_beside_the_stream_is_in(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    execute(ends.source, "ALTER TABLE t REPLICA IDENTITY NOTHING; CREATE TABLE u (id int PRIMARY KEY, v text)")
    execute(ends.target, "CREATE TABLE u (id int PRIMARY KEY, v text)")
    stream = ends.stream(named("t", "u"), interval=600.0)
    await stream.begun()
    await stream.caught_up()
    execute(ends.source, "UPDATE t SET v = 'last' WHERE id < 5; INSERT INTO t VALUES (10)")
    await stream.end()
    assert row_texts(ends.target, "t") == row_texts(ends.source, "t")
    assert any("all that was committed when this was stopped has come" in notice for notice in ends.told.notices)


async def test_a_stop_does_not_wait_for_all_that_is_behind(
    stream_ends: StreamEnds, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = stream_ends
    monkeypatch.setattr(syncer, "_GRACE", 0.5)
    ends.make(SCHEMA, ROWS)
    stream = ends.stream(PLAIN, replace(QUICK, most_messages=1))
    await stream.begun()
    for number in range(10, 400):
        execute(ends.source, f"INSERT INTO t VALUES ({number})")
    assert await stream.until(lambda: value(ends.target, "SELECT count(*) FROM t") > 20)
    await stream.end()
    assert value(ends.target, "SELECT count(*) FROM t") < 399
    assert not any("all that was committed" in notice for notice in ends.told.notices)


async def test_a_place_that_the_log_has_not_reached_is_waited_for_and_said(stream_ends: StreamEnds) -> None:
    ends = stream_ends
    ends.make(SCHEMA, ROWS)
    await ends.until_now(PLAIN)
    wanted = ends.lsn() + 20_000
    stream = ends.stream(PLAIN, replace(QUICK, until_lsn=wanted), follow=False, until_clean=True)
    while not stream.task.done():
        execute(ends.source, "UPDATE t SET v = md5(random()::text) WHERE id = 1")
        await asyncio.sleep(0.05)
    assert (await stream.task).complete
    assert any("before --until-lsn; waiting until it is there" in notice for notice in ends.told.notices)
    assert ends.lsn() >= wanted
