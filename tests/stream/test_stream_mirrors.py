"""A change stream beside mirrors, which bring the bot's own writes over: what they wrote later is not undone."""

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from app.cutover.locks import HOLD_TABLE, SHARE_TABLE
from app.cutover.moves.gates import copied_gate
from app.cutover.moves.gates.objection import Objection
from app.cutover.moves.handover import Crossing, cross
from app.cutover.stages import Stage
from app.migration.stream.moments import Moments
from app.migration.stream.options import FollowOptions
from app.migration.target.target_session import open_target
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, row_texts, tables, value
from tests.migration.test_authority import stand_at

_STEPS = FollowOptions(interval=0.05, accept_unbounded=True, most_messages=1)  # a transaction in each peek
_NOW = "SELECT id, notes FROM clients WHERE id IN (5, 6, 7) ORDER BY id"
_APPLIED = "SELECT pg_wal_lsn_diff(lsn, '0/0') >= %s FROM botdata.streams"
_LOOKED = "SELECT looked_at FROM botdata.streams"
_MIRRORED = [(5, "new"), (6, "back")]


@pytest.fixture(params=[False, True], ids=["asks", "does not ask"])
def is_blind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the stream does not ask what mirrors wrote, which shows that the test would notice."""

    async def nothing(*_: object) -> set[Any]:
        return set()

    if request.param:
        monkeypatch.setattr(Moments, "newer", nothing)
    return bool(request.param)


async def test_a_stream_that_lags_undoes_nothing_that_a_mirror_wrote(salon: StreamEnds, is_blind: bool) -> None:
    """A mirror is at work while the source's rows change: it reads them last, and the stream comes after it."""
    chosen = tables("clients")
    stand_at(salon.target, "dualwrite")
    stream = salon.stream(chosen, _STEPS)
    await stream.begun()
    execute(salon.source, "UPDATE clients SET notes = 'known' WHERE id = 5")
    await stream.caught_up()
    seen = set()
    async with await psycopg.AsyncConnection.connect(salon.target) as mirror:
        await mirror.execute(SHARE_TABLE.replace("<botdata schema>", "botdata"), {"table": "clients"})
        for turn in range(4):
            execute(salon.source, f"UPDATE clients SET notes = 'old {turn}' WHERE id IN (5, 6, 7)")
        execute(salon.source, "DELETE FROM clients WHERE id = 6; DELETE FROM clients WHERE id = 7")
        execute(salon.source, "UPDATE clients SET notes = 'new' WHERE id = 5; " + _BACK)
        note = "INSERT INTO botdata.notes (table_name, key, state, process) VALUES ('clients', '{7,1}', 'written', 'p')"
        execute(salon.target, note)
        await mirror.execute("UPDATE clients SET notes = CASE id WHEN 5 THEN 'new' ELSE 'back' END WHERE id IN (5, 6)")
        await mirror.execute("DELETE FROM clients WHERE id = 7")
        await mirror.execute("DELETE FROM botdata.notes")
        await mirror.commit()
        await mirror.set_autocommit(True)
        lsn = salon.lsn()
        while not stream.task.done():
            seen.add(tuple(await (await mirror.execute(_NOW)).fetchall()))
            if (await (await mirror.execute(_APPLIED, [lsn])).fetchall())[0][0]:
                break
            await asyncio.sleep(0.01)
    await stream.end()
    assert row_texts(salon.target, "clients") == row_texts(salon.source, "clients")
    assert (seen == {tuple(_MIRRORED)}) is not is_blind


_BACK = (
    "INSERT INTO clients (id, yclients_id, company_id, phone, name, notes) "
    "VALUES (6, 6, 1, '79000000006', 'name6', 'back')"
)


async def test_a_start_that_knows_no_moment_asks_for_all_rows_anew(salon: StreamEnds) -> None:
    """What was committed while no stream ran may be older than what mirrors have written since."""
    chosen = tables("clients")
    stand_at(salon.target, "dualwrite")
    await salon.until_now(chosen)
    for notes in ("old", "new"):
        execute(salon.source, f"UPDATE clients SET notes = '{notes}' WHERE id = 5")
    execute(salon.target, "UPDATE clients SET notes = 'new' WHERE id = 5")
    execute(salon.target, "DELETE FROM clients WHERE id = 6")
    execute(salon.source, "UPDATE clients SET notes = 'old' WHERE id = 6; DELETE FROM clients WHERE id = 6")
    execute(salon.source, "TRUNCATE clients; " + _BACK)
    report = await salon.until_now(chosen)
    assert (report.complete, report.by) == (True, "stream")
    assert row_texts(salon.target, "clients") == row_texts(salon.source, "clients")


async def _cross(salon: StreamEnds, hold: float, **given: Any) -> tuple[Objection, ...]:
    """The move from shadow to live, its gates being content."""
    crossing = Crossing("advance", Stage.SHADOW, Stage.LIVE, hold, **given)
    async with open_target(salon.target, step="test") as connection:
        return await cross(salon.target, connection, crossing)


async def test_the_authority_moves_when_the_stream_is_past_the_last_write(salon: StreamEnds) -> None:
    stand_at(salon.target, "shadow")
    stream = salon.stream(tables("clients"), replace(_STEPS, interval=2.0))
    await stream.begun()
    await stream.until(lambda: bool(value(salon.target, _LOOKED)))  # the next peek is two seconds off
    execute(salon.source, "UPDATE clients SET notes = 'the last' WHERE id < 20")
    assert await _cross(salon, 10.0) == ()
    assert value(salon.target, "SELECT count(*) FROM clients WHERE notes = 'the last'") == 19
    assert value(salon.target, "SELECT stage FROM botdata.stage") == "live"
    execute(salon.source, "UPDATE clients SET notes = 'a mirror of PostgreSQL' WHERE id = 3")
    await stream.until(lambda: any("left out" in notice for notice in salon.told.notices))
    await stream.end()
    assert value(salon.target, "SELECT notes FROM clients WHERE id = 3") == "the last"


async def test_a_stream_that_stands_still_holds_the_move(salon: StreamEnds) -> None:
    stand_at(salon.target, "shadow")
    stream = salon.stream(tables("clients"))
    await stream.begun()
    await stream.until(lambda: bool(value(salon.target, _LOOKED)))
    await stream.end()
    execute(salon.source, "UPDATE clients SET notes = 'the last' WHERE id = 3")
    (late,) = await _cross(salon, 1.0)
    assert late.what.startswith(f"the change stream {salon.slots()[0]} stands at ")
    assert "botdata sync --follow --by stream, or botdata stream drop" in late.remedy
    assert value(salon.target, "SELECT stage FROM botdata.stage") == "shadow"
    async with open_target(salon.target, step="test") as connection:
        assert await copied_gate.streams(connection) == []
        execute(salon.target, "UPDATE botdata.streams SET looked_at = looked_at - interval '40 seconds'")
        (objection,) = await copied_gate.streams(connection)
        assert (objection.of_stream, "it last had all of 4" in objection.what) == (True, True)
    assert await _cross(salon, 3.0, passes_streams=True) == ()


async def test_a_table_whose_writer_moves_alone_is_not_written_any_more(salon: StreamEnds) -> None:
    """Nor in the moment of that move, which has the table to itself until its commit."""
    stand_at(salon.target, "dualwrite")
    execute(salon.source, _STAFF)
    stream = salon.stream(tables("staff", "clients"), _STEPS)
    await stream.begun()
    async with await psycopg.AsyncConnection.connect(salon.target) as move:
        await move.execute(HOLD_TABLE.replace("<botdata schema>", "botdata"), {"table": "staff"})
        await move.execute("INSERT INTO botdata.table_authority (table_name, authority) VALUES ('staff', 'postgres')")
        execute(salon.source, "UPDATE staff SET name = 'too late'")
        await asyncio.sleep(1.0)
        await move.execute("UPDATE staff SET name = name || ', newer'")
        await move.commit()
    await stream.until(lambda: any("left out" in notice for notice in salon.told.notices))
    execute(salon.source, "UPDATE clients SET notes = 'goes on' WHERE id = 3")
    await stream.caught_up()
    await stream.end()
    assert value(salon.target, "SELECT name FROM staff") == "s, newer"
    assert value(salon.target, "SELECT notes FROM clients WHERE id = 3") == "goes on"


_STAFF = "INSERT INTO staff (id, yclients_id, company_id, name) VALUES (1, 1, 1, 's')"
