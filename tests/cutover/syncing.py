"""A sync from the Supabase of a pair, for tests of what it does beside the bot."""

from __future__ import annotations

from typing import Any

from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import TableSynced
from app.migration.sync.syncer import Sync
from tests.fixtures.cutover import Pair
from tests.fixtures.sources import Source
from tests.migration.engine import Told, source_of, tables


async def sync_clients(pair: Pair, **options: Any) -> TableSynced:
    """One sync of the clients, over REST."""
    supabase = Source(pair.supabase.url, pair.supabase.service_key, pair.source, is_lite=True)
    sync = Sync(lambda: source_of(supabase), pair.target, tables("clients"), Told(), SyncOptions(**options))
    return (await sync.run()).tables["clients"]
