"""Syncs from any source that the tests make."""

from typing import Any

from app.migration.sync.options import SyncOptions
from app.migration.sync.sync_report import SyncReport
from app.migration.sync.syncer import Sync
from tests.fixtures.sources import Source
from tests.migration.engine import Told, source_of


async def sync_from(source: Source, target: str, chosen: Any, told: Told | None = None, **options: Any) -> SyncReport:
    """One sync from a source."""
    return await Sync(lambda: source_of(source), target, chosen, told or Told(), SyncOptions(**options)).run()
