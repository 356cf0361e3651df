"""Opens the data layer on the store that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.data_layer.calls import Clock
from app.data_layer.company_time import require_timezone
from app.data_layer.layer import DataLayer, utc_now

if TYPE_CHECKING:
    from app.data_layer.backend import Backend
    from app.settings import Settings

# Shares of query_timeout, so that the store's own word, which is definite, comes before the call's deadline.
_CONNECTING = 0.3
_STATEMENT = 0.6


@asynccontextmanager
async def open_data_layer(settings: Settings | None = None, *, clock: Clock = utc_now) -> AsyncIterator[DataLayer]:
    """The data layer, on Supabase while USE_REPOSITORY_PATTERN is false, on PostgreSQL when it is true.

        async with open_data_layer() as data:
            answer = await data.get_client_by_phone("8 968 648-44-88")

    No connection is made before the first call; all are closed at the end of the block.

    Args:
        settings: by default those of the environment and `.env`.
        clock: the current time, aware UTC, for the answers, the stamps of writes and "now" at a salon.

    Raises:
        SettingsError: a setting is missing, unclear or contradicts another.
    """
    if settings is None:
        from app.settings import load_settings

        settings = load_settings()
    require_timezone(settings.default_timezone)
    backend = await (open_repository(settings) if settings.flags.use_repository_pattern else open_supabase(settings))
    layer = DataLayer(backend, settings, clock=clock)
    try:
        yield layer
    finally:
        await layer.close()


async def open_repository(settings: Settings) -> Backend:
    """The backend on the bot's own PostgreSQL (DATABASE_URL)."""
    from app.data_layer.repository_backend import RepositoryBackend
    from app.db import Database

    database = Database(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        pool_timeout=settings.query_timeout * _CONNECTING,
        statement_timeout=settings.query_timeout * _STATEMENT,
    )
    return RepositoryBackend(database, default_timezone=settings.default_timezone)


async def open_supabase(settings: Settings) -> Backend:
    """The backend on Supabase (SUPABASE_URL and SUPABASE_KEY)."""
    from app.data_layer.supabase_backend import SupabaseBackend
    from app.rest import SupabaseRest

    url, key = settings.require_supabase()
    rest = await SupabaseRest.open(url, key, request_timeout=settings.query_timeout)
    return SupabaseBackend(rest, default_timezone=settings.default_timezone)
