"""A sync from the Supabase of a pair, for tests of what it does beside the bot."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from app.migration.sources import source as engine
from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.sync.syncer import Sync
from tests.fixtures.cutover import Pair
from tests.fixtures.sources import Source
from tests.migration.engine import Told, source_of, tables


def source_of_pair(pair: Pair) -> AbstractAsyncContextManager[engine.Source]:
    """A pair's Supabase, over REST."""
    return source_of(Source(pair.supabase.url, pair.supabase.service_key, pair.source, is_lite=True))


async def sync_clients(pair: Pair, **options: Any) -> TableSynced:
    """One sync of the clients, over REST."""
    sync = Sync(lambda: source_of_pair(pair), pair.target, tables("clients"), Told(), SyncOptions(**options))
    return (await sync.run()).tables["clients"]
