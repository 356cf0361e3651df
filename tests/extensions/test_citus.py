"""A salon in a schema that Citus distributes: its cutover there and back, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import psycopg
import pytest

from app.cutover.moves.steps import advance, back
from app.cutover.stages import Stage
from app.data_layer import open_data_layer
from app.errors import MigrationError
from app.migration.target.target_session import open_target
from app.schema import revisions
from app.state.tool_schema import ensure_tool_schema
from tests.cli.command import Command
from tests.contract.test_other_schema import run_suite
from tests.cutover.test_other_schema import client
from tests.extensions.citus_cluster import Citus, run_citus
from tests.fixtures.cutover import MakeSettings, Pair
from tests.support.other_schemas import in_schema, searching
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.soak
_SLOW = """
SET citus.enable_manual_changes_to_shards = on; SET citus.enable_ddl_propagation = off;
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON {} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION linger()
"""


@pytest.fixture(scope="module")
def citus() -> Iterator[Citus]:
    with run_citus() as cluster:
        yield cluster


@dataclass(frozen=True)
class Salon:
    """Schema `t1` of a database of the cluster, made and not distributed yet."""

    citus: Citus
    database: str

    @property
    def url(self) -> str:
        return self.citus.coordinator.url(self.database)

    @property
    def address(self) -> str:
        return in_schema(self.url, "t1")

    def distribute(self) -> None:
        self.citus.distribute(self.database, "t1")


@pytest.fixture
def salon(citus: Citus) -> Salon:
    found = Salon(citus, citus.create_database())
    citus.coordinator.execute(f"ALTER DATABASE {found.database} SET citus.enable_schema_based_sharding = on")
    revisions.upgrade(found.address)
    asyncio.run(_make_tool_schema(found.address))
    assert citus.coordinator.execute("SELECT true FROM citus_schemas", found.database) == []
    return found


async def _make_tool_schema(address: str) -> None:
    async with open_target(address, step="test") as connection:
        await ensure_tool_schema(connection)


@pytest.mark.usefixtures("looks_often")
async def test_there_and_back(salon: Salon, pair: Pair, settings_of: MakeSettings) -> None:
    salon.distribute()
    inside = Pair(pair.supabase, pair.source, searching(salon.url, "t1,t1_botdata"))
    settings = settings_of(database_url=salon.address, mirror_wait=20.0, note_timeout=20.0, cutover_hold=20.0)
    written = 100
    async with open_data_layer(settings) as data:
        for move, path in ((advance, list(Stage)), (back, list(Stage)[::-1])):
            for before, to in pairwise(path):
                moved = await move(settings, force="a test")
                assert (moved.before, moved.to, moved.ok) == (before, to, True)
                written += 1
                answer = await data.upsert_clients(
                    [client(written, notes=f"written at {to}"), client(1, notes=str(to))]
                )
                assert answer.success, answer.error
                schedule = {"staff_id": 1, "date": "2026-11-30", "staff_name": str(to)}
                answer = await data.upsert_staff_schedules([schedule])
                assert answer.success, answer.error
                if to.mirrors:
                    for table in ("clients", "staff_schedules"):
                        async with asyncio.timeout(30):
                            while inside.texts(table, "target") != inside.texts(table, "source"):  # noqa: ASYNC110
                                await asyncio.sleep(0.05)


async def test_a_kill_between_two_commits_leaves_no_row_without_its_entry(
    salon: Salon, settings_of: MakeSettings
) -> None:
    salon.distribute()
    async with open_target(salon.address, step="test") as connection:
        await connection.execute("UPDATE <botdata schema>.stage SET stage = 'complete', moved_at = now()")
    worker, shard = salon.citus.worker_of(salon.database, "t1.clients")
    worker.execute(_SLOW.format(shard), salon.database)
    settings = settings_of(database_url=salon.address)
    async with open_data_layer(settings) as data:
        writing = asyncio.create_task(data.upsert_client(client(7)))
        async with asyncio.timeout(20):
            while not worker.execute("SELECT true FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        salon.citus.coordinator.kill()
        await writing
    salon.citus.coordinator.start()
    worker.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')")
    salon.citus.coordinator.execute("SELECT recover_prepared_transactions()", salon.database)
    rows = salon.citus.coordinator.execute("SELECT count(*) FROM t1.clients", salon.database)
    entries = salon.citus.coordinator.execute("SELECT count(*) FROM t1_botdata.outbox", salon.database)
    assert rows == entries


def test_what_is_refused(salon: Salon, pair: Pair, command: Command) -> None:
    given = {
        "DATABASE_URL": salon.address,
        "SUPABASE_URL": pair.supabase.url,
        "SUPABASE_KEY": pair.supabase.service_key,
    }
    pair.ask("INSERT INTO clients (yclients_id, company_id, phone) VALUES (1, 2, '7')", store="source")
    assert command("migrate", **given).code == 0
    with pytest.raises(psycopg.errors.Error, match="has triggers"):
        salon.citus.coordinator.execute("SELECT citus_schema_distribute('t1')", salon.database)
    salon.distribute()
    for line in ("copy", "sync", "verify --fix", "migrate"):
        stopped = command(*line.split(), **given)
        assert stopped.code == 1
        assert "Citus keeps" in stopped.err, line
    assert "SELECT citus_schema_undistribute('t1')" in command("sync", **given).err
    assert command("verify", **given).code == 0
    salon.citus.coordinator.execute("UPDATE t1.clients SET phone = '8'", salon.database)
    assert command("verify", **given).code == 1
    found = json.loads(command("preflight", "--json", **given).out)
    assert "target-distributed" in {one["code"] for one in found["findings"]}
    salon.citus.coordinator.execute("SELECT citus_schema_undistribute('t1')", salon.database)
    salon.citus.coordinator.execute("SELECT create_reference_table('t1.companies')", salon.database)
    single = command("sync", **given).err
    assert "companies; rows are brought" in single
    assert "SELECT undistribute_table('TABLE', cascade_via_foreign_keys => true)" in single
    salon.citus.coordinator.execute(
        "SELECT undistribute_table('t1.companies', cascade_via_foreign_keys => true)", salon.database
    )
    assert "Citus keeps" not in command("sync", **given).err
    salon.citus.coordinator.execute("SET citus.enable_schema_based_sharding = on; CREATE SCHEMA t2", salon.database)
    with pytest.raises(MigrationError, match="t2 is distributed by Citus already"):
        revisions.upgrade(in_schema(salon.url, "t2"))


@pytest.mark.budget(1200)
@pytest.mark.timeout(2400)
async def test_the_contract(salon: Salon) -> None:
    """But for a test that gives a table a trigger, and what only `make soak` runs elsewhere, too."""
    salon.distribute()
    options = (
        "--deselect",
        "tests/contract/test_concurrency.py::test_mixed_batches_with_crossed_shapes_are_both_written",
    )
    code, said = await run_suite(salon.address, PostgresServer(salon.citus.coordinator.url()), *options)
    assert code == 0, said[-3000:]
