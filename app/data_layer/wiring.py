"""Opens the data layer as the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.common.metrics import Metrics
from app.common.telemetry import telemetry
from app.cutover.stages import Stage
from app.data_layer.executor import Clock, logger
from app.data_layer.layer import DataLayer, utc_now
from app.data_layer.store_wiring import open_supabase
from app.errors import SettingsError
from app.stores.company_time import require_timezone

if TYPE_CHECKING:
    from app.data_layer.salons import Salons, SalonSettings
    from app.settings import Settings
    from app.stores.backend import Backend


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
    metrics = Metrics(telemetry())
    layer = DataLayer(await _open_backend(settings, metrics), settings, clock=clock, metrics=metrics)
    try:
        yield layer
    finally:
        await layer.close()


@asynccontextmanager
async def open_data_layers(
    of_salons: SalonSettings, settings: Settings | None = None, *, clock: Clock = utc_now
) -> AsyncIterator[Salons]:
    """The data layers of many salons, each in a schema of its own, over one pool of connections.

        async with open_data_layers(lambda schema: {"supabase_url": ..., "supabase_key": ...}) as salons:
            answer = await salons["t1"].get_client_by_phone("8 968 648-44-88")

    Each has its own stage, journal, outbox and spool. None costs a connection. A salon is opened at its first call, and
    rests after a minute without one.

    Args:
        of_salons: by a schema's name, what differs from `settings` for its salon, by the names of the fields, such as
            `supabase_url`; None for a schema that is no salon's.
        settings: by default those of the environment and `.env`.
        clock: as of `open_data_layer`.

    Raises:
        SettingsError: a setting is missing or unclear, or names one schema.
    """
    if settings is None:
        from app.settings import load_settings

        settings = load_settings()
    if settings.schema_of_target != "public":
        raise SettingsError("open_data_layers() asks for each salon by its schema: unset DATABASE_SCHEMA")
    if settings.flags.notice:
        logger.warning(settings.flags.notice)
    from app.data_layer.pools import SharedPools
    from app.data_layer.salons import Salons

    passed_on = telemetry()
    metrics = Metrics(passed_on)
    pools = SharedPools(settings, metrics)
    salons = Salons(pools, settings, of_salons, clock=clock, metrics=metrics, telemetry=passed_on)
    try:
        yield salons
    finally:
        await salons.close()


async def _open_backend(settings: Settings, metrics: Metrics) -> Backend:
    flags = settings.flags
    if flags.notice:
        logger.warning(flags.notice)
    if flags.stage is Stage.OFF and settings.database_url is None:
        return await open_supabase(settings)
    from app.data_layer.staged_wiring import open_staged

    return await open_staged(settings, metrics)
