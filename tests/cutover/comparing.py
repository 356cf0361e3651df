"""A data layer whose answers are compared, at a stage of the test's choice, and what was kept of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

from app import models
from app.common.metrics import Metrics
from app.cutover.shadow.comparisons import Comparisons
from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Stage, Store
from app.data_layer import DataLayer
from app.data_layer.wiring import open_supabase
from app.repositories.backend import RepositoryBackend
from app.settings import Settings
from app.stores.postgres.database import Database
from tests.contract.stores import insert
from tests.fixtures.cutover import Pair

STAMP = "2026-01-01 10:00"
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


class Standing(SimpleNamespace):
    """Stands for a process at a stage."""

    stage: Stage

    async def close(self) -> None:
        pass


@asynccontextmanager
async def compared(settings: Settings, stage: str = "shadow", process: str = "p") -> AsyncIterator[DataLayer]:
    """A data layer at a stage; at the end of the block everything is compared and saved."""
    pool = Database(settings.require_database_url(), pool_size=settings.mirror_connections, pool_timeout=1)
    callers = Database(settings.require_database_url(), pool_size=4, pool_timeout=1)
    stores = {
        Store.SUPABASE: await open_supabase(settings),
        Store.POSTGRES: RepositoryBackend(callers, default_timezone=settings.default_timezone),
    }
    metrics = Metrics()
    comparisons = Comparisons(stores, pool, settings, process, metrics)
    await comparisons.start()
    backend = StagedBackend(Standing(stage=Stage(stage)), stores, {}, comparisons, [pool])
    layer = DataLayer(backend, settings, clock=lambda: NOW, metrics=metrics)
    try:
        yield layer
    finally:
        await layer.close()


def both(pair: Pair, table: str, *rows: dict[str, Any]) -> None:
    """Insert rows into both stores, with the same stamps; text stands for any type."""
    columns = models.Base.metadata.tables[table].columns
    stamps = {c.name: STAMP for c in columns if models.store_filled(c) and c.type.python_type is datetime}
    for url in (pair.source, pair.target):
        insert(url, table, *[stamps | row for row in rows])


class Kept(NamedTuple):
    """A line of botdata.comparisons, its minutes added up."""

    calls: int
    equal: int
    different: int
    error: int
    skipped: int


def kept(pair: Pair, method: str, *, against_itself: bool = False) -> Kept:
    """What was counted of a method."""
    statement = (
        "SELECT coalesce(sum(calls), 0)::int, coalesce(sum(equal), 0)::int, coalesce(sum(different), 0)::int, "
        "coalesce(sum(error), 0)::int, coalesce(sum(skipped), 0)::int FROM botdata.comparisons "
        "WHERE method = %s AND against_itself = %s"
    )
    return Kept(*pair.ask(statement, method, against_itself)[0])


def causes(pair: Pair) -> list[tuple[str, str, int]]:
    """Every line of botdata.differences: method, cause and count."""
    return pair.ask("SELECT method, cause, count FROM botdata.differences ORDER BY 1, 2")
