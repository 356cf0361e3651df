"""The two backends, opened as the settings say, whatever the stage of the cutover."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

# What is heavy is imported where it is used: a process that uses one store needs nothing of the other's.
if TYPE_CHECKING:
    from app.common.metrics import Metrics
    from app.cutover.failover_mark import FailoverMark
    from app.cutover.fencing import WriteGuard
    from app.repositories.backend import RepositoryBackend
    from app.settings import Settings
    from app.stores.postgres.database import Database
    from app.stores.postgres.primary import Primary
    from app.stores.standbys.read_router import ReadRouter
    from app.stores.supabase.backend import SupabaseBackend
    from app.stores.supabase.client import SupabaseRest

# Shares of query_timeout, so that the store's own word, which is definite, comes before the call's deadline.
_CONNECTING = 0.3
_STATEMENT = 0.6


class Timeouts(TypedDict):
    """The times of a pool; see `Database`."""

    pool_timeout: float
    statement_timeout: float


def call_timeouts(settings: Settings) -> Timeouts:
    """Those of the callers."""
    return {
        "pool_timeout": settings.query_timeout * _CONNECTING,
        "statement_timeout": settings.query_timeout * _STATEMENT,
    }


def router_of(settings: Settings, database: Database, metrics: Metrics) -> ReadRouter | None:
    """The way of reads to DATABASE_READ_URL, once it is started; None where that is not set."""
    from app.stores.standbys.read_router import ReadRouter

    if (url := settings.read_url()) is None:
        return None
    size = max(1, settings.database_pool_size // 2)
    return ReadRouter(database, url, metrics, pool_size=size, **call_timeouts(settings))


async def open_repository(
    settings: Settings,
    guard: WriteGuard | None = None,
    mark: FailoverMark | None = None,
    primary: Primary | None = None,
    metrics: Metrics | None = None,
) -> RepositoryBackend:
    """The backend on the bot's own PostgreSQL (DATABASE_URL); see `Database` for the others.

    Args:
        metrics: of callers whose reads may go to DATABASE_READ_URL once its `router` is started; None: all reads go to
            DATABASE_URL.
    """
    from app.repositories.backend import RepositoryBackend
    from app.stores.postgres.database import Database

    database = Database(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        guard=guard,
        mark=mark,
        primary=primary,
        **call_timeouts(settings),
    )
    router = router_of(settings, database, metrics) if metrics is not None else None
    return RepositoryBackend(database, default_timezone=settings.default_timezone, router=router)


async def open_rest(settings: Settings, *, may_lag: bool = False) -> SupabaseRest:
    """The way to Supabase (SUPABASE_URL and SUPABASE_KEY); see `SupabaseRest.open`."""
    from app.stores.supabase.client import SupabaseRest

    url, key = settings.require_supabase()
    return await SupabaseRest.open(url, key, request_timeout=settings.query_timeout, whole_client=True, may_lag=may_lag)


async def open_supabase(settings: Settings, rest: SupabaseRest | None = None) -> SupabaseBackend:
    """The backend on Supabase; `rest` is its own from here on. None: nothing is mirrored from it."""
    from app.stores.supabase.backend import SupabaseBackend

    return SupabaseBackend(rest or await open_rest(settings, may_lag=True), default_timezone=settings.default_timezone)
