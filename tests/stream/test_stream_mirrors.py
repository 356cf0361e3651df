"""A change stream beside mirrors, which bring the bot's own writes over: what they wrote later is not undone."""

import asyncio
from typing import Any

import psycopg
import pytest

from app.cutover.locks import SHARE_TABLE
from app.migration.stream.moments import Moments
from app.migration.stream.options import StreamOptions
from tests.fixtures.streams import StreamEnds
from tests.migration.engine import execute, query, row_texts, tables
from tests.migration.test_authority import stand_at

_STEPS = StreamOptions(interval=0.05, accept_unbounded=True, most_messages=1)  # a transaction in each peek
_NOW = "SELECT id, notes FROM clients WHERE id IN (5, 6, 7) ORDER BY id"
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
        for turn in range(10):
            execute(salon.source, f"UPDATE clients SET notes = 'old {turn}' WHERE id IN (5, 6, 7)")
        execute(salon.source, "DELETE FROM clients WHERE id = 6; DELETE FROM clients WHERE id = 7")
        execute(salon.source, "UPDATE clients SET notes = 'new' WHERE id = 5; " + _BACK)
        note = "INSERT INTO botdata.notes (table_name, key, state, process) VALUES ('clients', '{7,1}', 'written', 'p')"
        execute(salon.target, note)
        await mirror.execute("UPDATE clients SET notes = CASE id WHEN 5 THEN 'new' ELSE 'back' END WHERE id IN (5, 6)")
        await mirror.execute("DELETE FROM clients WHERE id = 7")
        await mirror.execute("DELETE FROM botdata.notes")
        await mirror.commit()
        lsn = salon.lsn()
        while salon.applied() < lsn and not stream.task.done():
            seen.add(tuple(query(salon.target, _NOW)))
            await asyncio.sleep(0.005)
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
