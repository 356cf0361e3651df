"""The contract suite's fixtures: every test that takes `data` runs once on each backend."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from app import revisions
from app.data_layer import DataLayer
from app.settings import Settings
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
def contract_database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def contract_settings(contract_supabase: SupabaseServer, contract_database: str) -> Settings:
    return Settings(
        _env_file=None,
        supabase_url=contract_supabase.url,
        supabase_key=contract_supabase.service_key,
        database_url=contract_database,
        log_database_calls=True,
    )


@pytest.fixture(scope="session")
async def opened_stores(
    contract_settings: Settings, contract_supabase: SupabaseServer, contract_database: str
) -> AsyncIterator[Stores]:
    clock = Clock()
    layers = {backend: await open_layer(contract_settings, backend, clock) for backend in ("supabase", "postgresql")}
    urls = {"supabase": contract_supabase.database_url, "postgresql": contract_database}
    yield Stores(layers, urls, clock=clock)
    for layer in layers.values():
        await layer.close()


@pytest.fixture
def stores(opened_stores: Stores) -> Stores:
    """Both stores, empty, at a fixed time."""
    opened_stores.empty()
    opened_stores.clock.now = Clock.now
    return opened_stores


@pytest.fixture(params=["supabase", "postgresql"])
def data(request: pytest.FixtureRequest, stores: Stores) -> DataLayer:
    """A data layer on one of the two backends; rows are put in with `stores.insert`."""
    return stores.layers[request.param]
