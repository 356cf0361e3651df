"""Three salons in one process, over one pool: what is one's own stays so, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from app.errors import SettingsError
from app.schema import revisions
from tests.contract.stores import TABLES
from tests.fixtures.streaming import DATABASE, read_url
from tests.pooler.bouncer import Bouncer
from tests.salons.opening import Opening, ask, client
from tests.support.other_schemas import NAMES, in_schema
from tests.support.streaming import Cluster
from tests.support.supabase import SupabaseServer


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks, reports and rests that come soon."""
    monkeypatch.setattr("app.cutover.looks._INTERVAL", 0.05)
    monkeypatch.setattr("app.cutover.looks._REPORT_EVERY", 0.1)
    monkeypatch.setattr("app.data_layer.salons._LOOK", 0.05)


async def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_rows_of_each_over_the_connections_of_one(opening: Opening, target: str) -> None:
    async with opening() as salons:
        for _ in range(3):
            written = await asyncio.gather(*(salons[name].upsert_clients([client(name)]) for name in NAMES * 4))
            assert all(answer.success for answer in written), written
        read = await asyncio.gather(*(salons[name].get_client_by_phone("8 968 448-44-88") for name in NAMES * 4))
        assert [answer.data and answer.data.name for answer in read] == [*NAMES * 4]
        connections = ask(target, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert connections[0][0] - 1 <= 2 + 2  # of the callers, and of the reports
        assert len(salons) == 3
    for name in NAMES:
        assert ask(target, f"SELECT name FROM {name}.clients") == [(name,)]
        assert ask(target, f"SELECT name FROM {name}_botdata.processes") == []


@pytest.mark.usefixtures("often")
async def test_through_a_transaction_pooler(opening: Opening, target: str, transaction_pooler: Bouncer) -> None:
    async with opening(database_url=transaction_pooler.url(target)) as salons:
        for _ in range(3):
            written = await asyncio.gather(*(salons[name].upsert_clients([client(name)]) for name in NAMES))
            read = await asyncio.gather(*(salons[name].get_client_by_id(7) for name in NAMES * 4))
            assert all(answer.success for answer in written), written
            assert [answer.data and answer.data.name for answer in read] == [*NAMES * 4]
        await _next_report(target, "t2")


async def test_reads_from_standbys(opening: Opening, standbys: Cluster) -> None:
    url = standbys.primary.url(DATABASE)
    for name in ("t1", "t2"):
        revisions.upgrade(in_schema(url, name))
    try:
        async with opening(database_url=url, database_read_url=read_url(standbys)) as salons:
            async with asyncio.timeout(60):
                while salons.metrics.total("reads", by="standby") < 20:
                    for name in ("t1", "t2"):
                        mark = f"{name}, {salons.metrics.total('reads')}"
                        assert (await salons[name].upsert_clients([client(mark)])).success
                        for _ in range(3):
                            answer = await salons[name].get_client_by_id(7)
                            assert answer.data
                            assert answer.data.name == mark
    finally:
        standbys.primary.execute("DROP SCHEMA t1 CASCADE", DATABASE)
        standbys.primary.execute("DROP SCHEMA t2 CASCADE", DATABASE)


async def test_what_is_no_salon(opening: Opening) -> None:
    async with opening(
        {"t1": {}, "nope": {}, "T1": {}, "": {}, "t2": {"database_pool_size": 9}, "t3": {"colour": "red"}}
    ) as salons:
        for name, said in {
            "other": "'other' is none of the salons",
            "T1": "DATABASE_SCHEMA: must be of small letters",
            "": "of the salon '': a salon is asked for by the name",
            "t2": "database_pool_size of the salon 't2': is one for all salons",
            "t3": "colour of the salon 't3': there is no such setting",
        }.items():
            with pytest.raises(SettingsError, match=said):
                salons[name]
        with pytest.raises(SettingsError, match="the database has no schema nope"):
            await salons["nope"].get_company(1)
        with pytest.raises(SettingsError, match="no schema nope"):
            await salons.open("t1", "nope")
        assert (await salons["t1"].get_company(1)).success
    with pytest.raises(SettingsError, match="unset DATABASE_SCHEMA"):
        async with opening(database_schema="t1"):
            pass


@pytest.mark.usefixtures("often")
async def test_a_stage_is_followed_awake_and_after_a_rest(
    opening: Opening, target: str, lite_server: SupabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(lite_server.database_url, f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY")
    for url, name in ((lite_server.database_url, "in Supabase"), (f"{target}", "in PostgreSQL")):
        for schema in ("public",) if name == "in Supabase" else NAMES:
            ask(url, f"INSERT INTO {schema}.clients (yclients_id, company_id, phone, name) "
                f"VALUES (7, 1, '79684484488', '{name}')")  # fmt: skip
    own = {
        "t1": {"cutover_stage": "database", "supabase_url": lite_server.url, "supabase_key": lite_server.service_key},
        "t2": {},
    }

    def move(stage: str) -> None:
        ask(target, f"UPDATE t1_botdata.stage SET stage = '{stage}', moved_at = now(), moves = moves + 1")

    async with opening(own) as salons:

        async def seen() -> list[Any]:
            answers = [await salons[name].get_client_by_id(7) for name in own]
            return [answer.data and answer.data.name.removeprefix("in ") for answer in answers]

        move("complete")
        assert await seen() == ["PostgreSQL", "PostgreSQL"]
        move("shadow")
        async with asyncio.timeout(60):
            while await seen() != ["Supabase", "PostgreSQL"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        monkeypatch.setattr("app.data_layer.salons._REST_AFTER", 0.1)
        await until(lambda: len(salons) == 0)
        assert (
            ask(target, "SELECT name FROM t1_botdata.processes UNION ALL SELECT name FROM t2_botdata.processes") == []
        )
        move("live")
        assert await seen() == ["PostgreSQL", "PostgreSQL"]
        await until(lambda: len(salons) == 0)
        move("shadow")
        answer = await salons["t1"].upsert_clients([client("anew")])
        assert answer.success, answer
        assert ask(lite_server.database_url, "SELECT name FROM clients") == [("anew",)]
        assert ask(target, "SELECT key FROM t1_botdata.outbox") == []
        assert ask(target, "SELECT name FROM t2.clients") == [("in PostgreSQL",)]


async def _next_report(target: str, name: str) -> None:
    def last() -> Any:
        return ask(target, f"SELECT max(reported_at) FROM {name}_botdata.processes")[0][0]

    before = last()
    await until(lambda: last() > before)


@pytest.mark.usefixtures("often")
async def test_a_salon_that_is_dropped_or_locked_keeps_no_other_from_its_reports(
    opening: Opening, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening() as salons:
        for name in reversed(NAMES):  # so that the others are asked for before it
            await salons.open(name)
        with psycopg.connect(target) as locking:
            locking.execute("LOCK t2_botdata.processes IN ACCESS EXCLUSIVE MODE")
            await asyncio.to_thread(ask, target, "DROP SCHEMA t3, t3_botdata CASCADE")
            for _ in range(2):
                await _next_report(target, "t1")
        await _next_report(target, "t2")
        assert (await salons["t1"].upsert_clients([client("t1")])).success
        assert (await salons["t3"].get_company(1)).error_code == "schema_mismatch"
        monkeypatch.setattr("app.data_layer.salons._REST_AFTER", 0.1)
        await until(lambda: len(salons) == 0)  # the dropped one too, which would look for its stage for ever


@pytest.mark.usefixtures("often")
async def test_a_salon_that_has_moved_out_is_not_served_awake_nor_after_a_rest(
    opening: Opening, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move_out(at: str) -> None:
        ask(target, f"UPDATE t1_botdata.stage SET moved_out_at = {at}, moves = moves + 1")

    async def code(name: str) -> str | None:
        return (await salons[name].get_client_by_id(7)).error_code

    async with opening() as salons:
        assert (await code("t1"), await code("t2")) == (None, None)
        move_out("now()")
        assert (await salons["t1"].upsert_clients([client("lost")])).error_code == "unavailable"
        async with asyncio.timeout(60):
            while await code("t1") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await code("t1"), await code("t2")) == ("unavailable", None)
        monkeypatch.setattr("app.data_layer.salons._REST_AFTER", 0.1)
        await until(lambda: len(salons) == 0)
        assert ask(target, "SELECT name FROM t1_botdata.processes") == []
        assert await code("t1") == "unavailable"
        await until(lambda: len(salons) == 0)
        move_out("NULL")
        assert await code("t1") is None
        assert ask(target, "SELECT name FROM t1.clients") == []


@pytest.mark.usefixtures("often")
async def test_a_salon_whose_row_is_lost_keeps_no_other_from_its_reports(opening: Opening, target: str) -> None:
    async with opening() as salons:
        await salons.open("t1", "t2")
        ask(target, "DELETE FROM t1_botdata.stage")
        for _ in range(3):
            await _next_report(target, "t2")
        assert (await salons["t1"].upsert_clients([client("t1")])).error_code == "schema_mismatch"


async def test_calls_that_wait_in_one_salon_leave_connections_to_another(opening: Opening, target: str) -> None:
    async with opening(query_timeout=20.0) as salons:
        await salons.open("t1", "t2")
        with psycopg.connect(target) as locking:
            locking.execute("LOCK t2.clients IN ACCESS EXCLUSIVE MODE")
            waiting = [asyncio.create_task(salons["t2"].get_client_by_id(7)) for _ in range(8)]
            await asyncio.sleep(0.2)
            async with asyncio.timeout(15):
                assert (await salons["t1"].upsert_clients([client("t1")])).success
                assert (await salons["t1"].get_client_by_id(7)).success
            assert not any(task.done() for task in waiting)
        assert all(answer.success for answer in await asyncio.gather(*waiting))
