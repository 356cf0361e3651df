"""Opens the backend of a process that has a target: the stores, what runs between them, and its membership."""

from app.common.metrics import Metrics
from app.cutover.failover_mark import FailoverMark
from app.cutover.fencing import WriteGuard
from app.cutover.membership import Membership
from app.cutover.replication.direct_writer import DirectWriter
from app.cutover.shadow.comparisons import Comparisons
from app.cutover.staged_backend import AuthorityWriter, StagedBackend
from app.cutover.stages import Stage, Store
from app.data_layer.store_wiring import open_repository, open_rest, open_supabase
from app.settings import Settings
from app.state.cutover.processes import WriterCounts, process_name
from app.stores.backend import Backend
from app.stores.postgres.database import Database
from app.stores.postgres.primary import Primary
from app.stores.standbys.read_router import ReadRouter

_REPORTING = 2  # connections; one may hang
_REPORT_TIMEOUT = 2.0


async def open_staged(settings: Settings, metrics: Metrics) -> StagedBackend:
    """The backend that goes by the stage, started.

    Raises:
        SettingsError: a setting is missing, or the stage that the environment fixes contradicts the target's row.
    """
    process = process_name()
    mark = FailoverMark(lambda: metrics.count("failovers"))
    primary = Primary.of(settings.require_database_url(), mark)
    stores, writers, pools, router = await _open_stores(settings, process, metrics, mark, primary)
    reports = Database(
        settings.require_database_url(),
        pool_size=_REPORTING,
        pool_timeout=_REPORT_TIMEOUT,
        statement_timeout=_REPORT_TIMEOUT,
        mark=mark,
        primary=primary,
    )

    def counts() -> WriterCounts:
        each = writers.values()
        problems = [writer.problem for writer in each if writer.problem]
        return WriterCounts(
            sum(writer.pending for writer in each), sum(writer.spooled for writer in each), "; ".join(problems) or None
        )

    membership = Membership(reports, settings.flags, settings, process, counts, router)
    comparisons = Comparisons(stores, pools[0] if pools else None, settings, process, metrics)
    backend = StagedBackend(membership, stores, writers, comparisons, [*pools, reports])
    try:
        if router is not None:
            router.start()
        await membership.start()
        for writer in writers.values():
            await writer.start()
        await comparisons.start()
    except BaseException:
        await backend.close()
        raise
    return backend


async def _open_stores(
    settings: Settings, process: str, metrics: Metrics, mark: FailoverMark, primary: Primary | None
) -> tuple[dict[Store, Backend], dict[Store, AuthorityWriter], list[Database], ReadRouter | None]:
    """What the stages of this process can need.

    Returns:
        The stores, the writers, the pool for mirrors and comparisons, and the way of the callers' reads to standbys.
    """
    flags = settings.flags
    supabase: Backend
    if flags.stage is Stage.OFF:
        supabase = await open_supabase(settings)
        return {Store.SUPABASE: supabase}, {Store.SUPABASE: DirectWriter(supabase)}, [], None
    if flags.stage is not Stage.COMPLETE:
        settings.require_stores()
    # A plain switch to PostgreSQL records nothing while no command has moved the row; a follower is at `off` then.
    fixed = (flags.stage or Stage.OFF) if flags.names_a_stage else None
    postgres = await open_repository(settings, WriteGuard(fixed, process, mark), mark, primary, metrics)
    if flags.stage is Stage.COMPLETE:
        return {Store.POSTGRES: postgres}, {Store.POSTGRES: DirectWriter(postgres)}, [], postgres.router
    from app.cutover.replication.to_postgres.journal_writer import JournalWriter
    from app.cutover.replication.to_supabase.outbox_writer import OutboxWriter

    rest = await open_rest(settings)
    supabase = await open_supabase(settings, rest)
    pool = Database(
        settings.require_database_url(),
        pool_size=settings.mirror_connections,
        pool_timeout=settings.mirror_timeout / 2,
        statement_timeout=settings.mirror_timeout,
        mark=mark,
        primary=primary,
    )
    writers: dict[Store, AuthorityWriter] = {
        Store.SUPABASE: JournalWriter(supabase, rest, pool, settings, process, metrics),
        Store.POSTGRES: OutboxWriter(postgres, rest, pool, settings, process, metrics),
    }
    return {Store.SUPABASE: supabase, Store.POSTGRES: postgres}, writers, [pool], postgres.router
