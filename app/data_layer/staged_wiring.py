"""Opens the backend of a process that has a target: the stores, what runs between them, and its membership."""

from app.common.background import BackgroundTasks
from app.common.metrics import Metrics
from app.common.quiet import Calls
from app.cutover.fencing import WriteGuard
from app.cutover.membership import Membership
from app.cutover.replication.authority_writer import AuthorityWriter
from app.cutover.shadow.comparisons import Comparisons
from app.cutover.staged_backend import StagedBackend
from app.cutover.stages import Stage, Store
from app.data_layer.pools import Pools
from app.data_layer.store_wiring import open_rest, open_supabase
from app.settings import Settings
from app.state.cutover.processes import WriterCounts
from app.stores.backend import Backend
from app.stores.postgres.database import Database
from app.stores.standbys.read_router import ReadRouter


async def open_staged(settings: Settings, metrics: Metrics, pools: Pools | None = None) -> StagedBackend:
    """The backend that goes by the stage, started.

    Args:
        pools: of this salon; None: it makes its own.

    Raises:
        SettingsError: a setting is missing, or the stage that the environment fixes contradicts the target's row.
    """
    pools = pools or Pools(settings, metrics)
    calls = Calls()
    stores, writers, beside, router = await _open_stores(settings, pools, metrics, calls)
    reports = pools.reports(settings)

    def counts() -> WriterCounts:
        each = writers.values()
        problems = [writer.problem for writer in each if writer.problem]
        return WriterCounts(
            sum(writer.pending for writer in each), sum(writer.spooled for writer in each), "; ".join(problems) or None
        )

    starting = _Starting(writers, waits_for_stage=pools.looks is not None)
    membership = Membership(
        reports, settings.flags, pools.process, counts, router, looks=pools.looks, at_stage=starting.at_stage
    )
    comparisons = Comparisons(stores, beside[0] if beside else None, settings, pools.process, metrics, calls)
    backend = StagedBackend(membership, stores, writers, comparisons, [*beside, reports], starting.end)
    try:
        if router is not None:
            router.start()
        await membership.start()
        await starting.begin()
        await comparisons.start()
    except BaseException:
        await backend.close()
        raise
    return backend


async def _open_stores(
    settings: Settings, pools: Pools, metrics: Metrics, calls: Calls
) -> tuple[dict[Store, Backend], dict[Store, AuthorityWriter], list[Database], ReadRouter | None]:
    """What the stages of this process can need.

    Returns:
        The stores, the writers, the pool for mirrors and comparisons, and the way of the callers' reads to standbys.
    """
    flags = settings.flags
    supabase: Backend
    if flags.stage is Stage.OFF:
        supabase = await open_supabase(settings)
        return {Store.SUPABASE: supabase}, {Store.SUPABASE: AuthorityWriter(supabase)}, [], None
    if flags.stage is not Stage.COMPLETE:
        settings.require_stores()
    # While no command has moved the row, USE_REPOSITORY_PATTERN alone records nothing in the outbox, and a process that
    # follows the row is at `off`.
    fixed = (flags.stage or Stage.OFF) if flags.names_a_stage else None
    postgres = await pools.callers(settings, WriteGuard(fixed, pools.process, pools.mark))
    if flags.stage is Stage.COMPLETE:
        return {Store.POSTGRES: postgres}, {Store.POSTGRES: AuthorityWriter(postgres)}, [], postgres.router
    from app.cutover.replication.to_postgres.journal_writer import JournalWriter
    from app.cutover.replication.to_supabase.outbox_writer import OutboxWriter

    rest = await open_rest(settings)
    supabase = await open_supabase(settings, rest)
    pool = pools.mirrors(settings)
    writers: dict[Store, AuthorityWriter] = {
        Store.SUPABASE: JournalWriter(supabase, rest, pool, settings, pools.process, metrics, calls),
        Store.POSTGRES: OutboxWriter(postgres, rest, pool, settings, pools.process, metrics),
    }
    return {Store.SUPABASE: supabase, Store.POSTGRES: postgres}, writers, [pool], postgres.router


class _Starting:
    """Starts the writers: at once, or, for one of many salons, at the first stage that needs what they do beside."""

    def __init__(self, writers: dict[Store, AuthorityWriter], *, waits_for_stage: bool) -> None:
        self._left = dict(writers)
        self._waits_for_stage = waits_for_stage
        self._has_begun = False
        self._stage: Stage | None = None
        self._tasks = BackgroundTasks()

    def at_stage(self, stage: Stage) -> None:
        self._stage = stage
        if self._has_begun and self._left:
            self._tasks.start(self.begin())

    async def end(self) -> None:
        """Start no more."""
        self._has_begun = False
        await self._tasks.end()

    async def begin(self) -> None:
        self._has_begun = True
        for store in [store for store in self._left if self._is_needed(store)]:
            await self._left.pop(store).start()

    def _is_needed(self, store: Store) -> bool:
        stage = self._stage
        if not self._waits_for_stage or stage is None:
            return True
        if store is Store.POSTGRES:
            return stage.mirrors and stage.authority is Store.POSTGRES
        return stage is not Stage.COMPLETE  # what a process has noted may be left for another
