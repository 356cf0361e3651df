"""The contract suite's fixtures: every test that takes `data` runs once at each stage of a cutover."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import cast

import psycopg
import pytest

from app import revisions
from app.cutover.stages import Stage
from app.data_layer import DataLayer
from app.migration.target import open_target
from app.migration.tool_schema import ensure_tool_schema
from app.settings import Settings
from tests.contract.stages import Distant, open_stages, running_loop, settled
from tests.contract.stores import Clock, Stores, open_layer
from tests.support.postgres import PostgresServer
from tests.support.supabase import SupabaseServer, SupabaseServers, start_supabase_server

ROW_CAP = 7  # rows in one answer of the Supabase side at most: every list below must be whole nevertheless


@pytest.fixture(scope="session")
def contract_supabase(supabase_server_factory: SupabaseServers) -> Iterator[SupabaseServer]:
    if os.environ.get("TEST_SUPABASE_URL"):
        with start_supabase_server(supabase_server_factory, revisions.upgrade) as server:
            yield server
    else:
        yield supabase_server_factory(revisions.upgrade, max_rows=ROW_CAP)


@pytest.fixture(scope="session")
async def contract_database(postgres_server: PostgresServer, migrated_template: str) -> AsyncIterator[str]:
    url = postgres_server.create_database(template=migrated_template)
    async with open_target(url, step="test") as connection:
        await ensure_tool_schema(connection)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def contract_settings(
    contract_supabase: SupabaseServer, contract_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return Settings(
        _env_file=None,
        supabase_url=contract_supabase.url,
        supabase_key=contract_supabase.service_key,
        database_url=contract_database,
        log_database_calls=True,
        mirror_timeout=60.0,  # of large batches, in answers of seven rows
        note_timeout=5.0,
        cutover_spool=tmp_path_factory.mktemp("spool"),
    )


@pytest.fixture(scope="session")
async def opened_stores(
    contract_settings: Settings, contract_supabase: SupabaseServer, contract_database: str
) -> AsyncIterator[Stores]:
    clock = Clock()
    layers = {backend: await open_layer(contract_settings, backend, clock) for backend in ("supabase", "postgresql")}
    urls = {"supabase": contract_supabase.database_url, "postgresql": contract_database}
    with running_loop() as loop:
        async with open_stages(contract_settings, clock, loop) as stages:
            connections = [psycopg.connect(url, autocommit=True) for url in urls.values()]
            yield Stores(layers, urls, stages, connections, clock)
            for connection in connections:
                connection.close()
    for layer in layers.values():
        await layer.close()


@pytest.fixture
async def stores(opened_stores: Stores) -> Stores:
    """Both stores, empty, at a fixed time."""
    for layer in opened_stores.stages.values():
        await settled(layer)
    opened_stores.empty()
    opened_stores.clock.now = Clock.now
    return opened_stores


@pytest.fixture(params=[stage.value for stage in Stage])
async def data(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[DataLayer]:
    """A data layer at each stage; rows are put in with `stores.insert`. What it wrote is in both stores at the end."""
    stage = Stage(request.param)
    layer = stores.stages[stage]
    distant = cast(Distant, layer)
    distant.has_written = False
    yield layer
    if stage.mirrors and distant.has_written:
        await settled(layer)
        here, there = stores.written()
        assert here == there
