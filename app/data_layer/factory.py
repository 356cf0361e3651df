"""Opens the data layer as the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.cutover.stages import Stage
from app.data_layer.calls import Clock, logger
from app.data_layer.company_time import require_timezone
from app.data_layer.layer import DataLayer, utc_now

if TYPE_CHECKING:
    from app.data_layer.backend import Backend
    from app.settings import Settings


@asynccontextmanager
async def open_data_layer(settings: Settings | None = None, *, clock: Clock = utc_now) -> AsyncIterator[DataLayer]:
    """The data layer, on the store that the stage of the cutover names.

        async with open_data_layer() as data:
            answer = await data.get_client_by_phone("8 968 648-44-88")

    The stage is CUTOVER_STAGE, or `off` (Supabase) while USE_REPOSITORY_PATTERN is false and `complete` (PostgreSQL)
    when it is true. Where DATABASE_URL is set, the target's row of the stage is read first, for two seconds at most.
    All connections are closed at the end of the block.

    Args:
        settings: by default those of the environment and `.env`.
        clock: the current time, aware UTC, for the answers, the stamps of writes and "now" at a salon.

    Raises:
        SettingsError: a setting is missing, unclear or contradicts another, or the target's row.
    """
    if settings is None:
        from app.settings import load_settings

        settings = load_settings()
    require_timezone(settings.default_timezone)
    layer = DataLayer(await open_backend(settings), settings, clock=clock)
    try:
        yield layer
    finally:
        await layer.close()


async def open_backend(settings: Settings) -> Backend:
    """The backend that the settings ask for."""
    flags = settings.flags
    if flags.notice:
        logger.warning(flags.notice)
    if flags.stage is Stage.OFF and settings.database_url is None:
        return await open_supabase(settings)
    from app.data_layer.opening import open_routed

    return await open_routed(settings)


async def open_repository(settings: Settings) -> Backend:
    """The backend on the bot's own PostgreSQL (DATABASE_URL), whatever the stage."""
    from app.data_layer.opening import open_database
    from app.data_layer.repository_backend import RepositoryBackend

    return RepositoryBackend(open_database(settings), default_timezone=settings.default_timezone)


async def open_supabase(settings: Settings) -> Backend:
    """The backend on Supabase (SUPABASE_URL and SUPABASE_KEY), whatever the stage."""
    from app.data_layer.supabase_backend import SupabaseBackend
    from app.rest import SupabaseRest

    url, key = settings.require_supabase()
    rest = await SupabaseRest.open(url, key, request_timeout=settings.query_timeout)
    return SupabaseBackend(rest, default_timezone=settings.default_timezone)
