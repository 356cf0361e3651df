"""Opens the backend of a process that has a target: both stores, what runs between them, and the process's standing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.cutover.guard import WriteGuard
from app.cutover.stages import Stage, Store
from app.data_layer.direct import DirectReads, DirectWriter
from app.data_layer.process_report import Counts, process_name
from app.data_layer.repository_backend import RepositoryBackend
from app.data_layer.routed_backend import RoutedBackend
from app.data_layer.standing import ProcessStanding
from app.db import Database

if TYPE_CHECKING:
    from app.data_layer.backend import Backend
    from app.data_layer.routed_backend import Writer
    from app.rest import SupabaseRest
    from app.settings import Settings

# Shares of query_timeout, so that the store's own word, which is definite, comes before the call's deadline.
_CONNECTING = 0.3
_STATEMENT = 0.6
_REPORTING = 2  # connections; one may hang
_REPORT_TIMEOUT = 2.0


def open_database(settings: Settings, guard: WriteGuard | None = None) -> Database:
    """The callers' pool on the target."""
    return Database(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        pool_timeout=settings.query_timeout * _CONNECTING,
        statement_timeout=settings.query_timeout * _STATEMENT,
        guard=guard,
    )


async def open_supabase_rest(settings: Settings) -> SupabaseRest:
    """The way to Supabase."""
    from app.rest import SupabaseRest

    url, key = settings.require_supabase()
    return await SupabaseRest.open(url, key, request_timeout=settings.query_timeout)


async def open_routed(settings: Settings) -> RoutedBackend:
    """The backend that goes by the stage, started.

    Raises:
        SettingsError: a setting is missing, or the stage that the environment fixes contradicts the target's row.
    """
    flags = settings.flags
    process = process_name()
    url = settings.require_database_url()
    pools = [Database(url, pool_size=_REPORTING, pool_timeout=_REPORT_TIMEOUT, statement_timeout=_REPORT_TIMEOUT)]
    stores: dict[Store, Backend] = {}
    writers: dict[Store, Writer] = {}
    if flags.stage is not Stage.OFF:
        # A plain switch to PostgreSQL records nothing while no command has moved the row; a follower is at `off` then.
        fixed = (flags.stage or Stage.OFF) if flags.names_a_stage else None
        database = open_database(settings, WriteGuard(fixed, process))
        stores[Store.POSTGRES] = RepositoryBackend(database, default_timezone=settings.default_timezone)
    if flags.stage is not Stage.COMPLETE:
        from app.data_layer.supabase_backend import SupabaseBackend

        rest = await open_supabase_rest(settings)
        stores[Store.SUPABASE] = SupabaseBackend(rest, default_timezone=settings.default_timezone)
    writers = {store: DirectWriter(backend) for store, backend in stores.items()}
    comparisons = DirectReads(stores)

    def counts() -> Counts:
        problems = [writer.problem for writer in writers.values() if writer.problem]
        return Counts(
            sum(writer.pending for writer in writers.values()),
            sum(writer.spooled for writer in writers.values()),
            "; ".join(problems) or None,
        )

    standing = ProcessStanding(pools[0], flags, settings, process, counts)
    backend = RoutedBackend(standing, stores, writers, comparisons, pools)
    try:
        await standing.start()
        for writer in writers.values():
            await writer.start()
        await comparisons.start()
    except BaseException:
        await backend.close()
        raise
    return backend
