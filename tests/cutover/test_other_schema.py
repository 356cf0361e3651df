"""A salon's cutover in a schema of another name, there and back, while another salon lives in `public` at `live`."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from app.cutover.moves.steps import advance, back
from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.state.tool_schema import ensure_tool_schema
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.other_schemas import in_schema, searching

_EVERYTHING_BESIDE = (
    "SELECT n.nspname, c.relname, pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid)"
    " + pg_stat_get_tuples_deleted(c.oid), c.relfilenode FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname IN ('public', 'botdata') ORDER BY 1, 2"
)


def client(number: int, **values: object) -> dict[str, object]:
    return {"yclients_id": number, "company_id": 962302, "phone": f"7968448{number:04}", "name": "A", **values}


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All that the driver is told to carry out."""
    said: set[str] = set()
    execute = psycopg.AsyncCursor.execute

    async def heard(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        said.add(query.decode() if isinstance(query, bytes) else str(query))
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", heard)
    return said


@pytest.mark.usefixtures("looks_often")
async def test_there_and_back(pair: Pair, settings_of: MakeSettings, statements: set[str]) -> None:
    pair.set_stage("live")
    address = in_schema(pair.target, "t1")
    revisions.upgrade(address)
    async with open_target(address, step="test") as connection:
        await ensure_tool_schema(connection)
    inside = Pair(pair.supabase, pair.source, searching(pair.target, "t1,t1_botdata"))
    beside = pair.ask(_EVERYTHING_BESIDE)
    settings = settings_of(database_url=address, mirror_wait=10.0)
    stages = list(Stage)
    written = 100
    async with open_data_layer(settings) as data:
        for move, path in ((advance, stages), (back, stages[::-1])):
            for before, to in pairwise(path):
                moved = await move(settings, force="a test")
                assert (moved.before, moved.to, moved.ok) == (before, to, True)
                written += 1
                answer = await data.upsert_clients(
                    [client(written, notes=f"written at {to}"), client(1, notes=str(to))]
                )
                assert answer.success, answer.error
                own = [stage for (stage,) in inside.ask("SELECT stage FROM stage")]
                assert own == [to]
                if to.mirrors:
                    async with asyncio.timeout(20):  # the relay brings what was written at `complete`
                        while inside.texts("clients", "target") != inside.texts("clients", "source"):  # noqa: ASYNC110
                            await asyncio.sleep(0.05)
    assert pair.ask(_EVERYTHING_BESIDE) == beside
    # Nor does a statement ask for a salon's rows and for the tool's: Citus may keep them on two nodes.
    of_rows, of_tool = ({one for one in statements if re.search(name, one)} for name in (r't1"?\.', r't1_botdata"?\.'))
    assert len(of_rows) > 10
    assert len(of_tool) > 10
    assert of_rows & of_tool == set()
    assert pair.ask("SELECT stage FROM botdata.stage") == [("live",)]
