"""A process's connections to its PostgreSQL: of one salon alone, or shared by many."""

from __future__ import annotations

from app.common.background import end_all
from app.common.metrics import Metrics
from app.cutover.failover_mark import FailoverMark
from app.cutover.fencing import WriteGuard
from app.cutover.looks import Looks
from app.data_layer.store_wiring import call_timeouts, open_repository, router_of
from app.errors import SettingsError, StoreError
from app.repositories.backend import RepositoryBackend
from app.settings import Settings
from app.state.cutover.processes import process_name
from app.state.fetching import fetch_value
from app.stores.postgres.database import Database
from app.stores.postgres.lanes import Lanes, SchemaDatabase
from app.stores.postgres.primary import Primary

_REPORTING = 2  # connections; one may hang
_REPORT_TIMEOUT = 2.0
_PREPARED = 2_000  # statements of a lane, of all its schemas; a plan takes some 40 kB of its server process
_IS_THERE = "SELECT to_regnamespace('<data schema>') IS NOT NULL"


class Pools:
    """Those of one salon, each made when it is asked for.

    Attributes:
        process: the name of this process.
        mark: what it has seen of failovers.
        looks: looks at the stages for all salons of the process; None: there is one.
    """

    looks: Looks | None = None

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.process = process_name()
        self.mark = FailoverMark(lambda: metrics.count("failovers"))
        self._metrics = metrics
        self.primary = Primary.of(settings.require_database_url(), self.mark)

    async def callers(self, settings: Settings, guard: WriteGuard | None) -> RepositoryBackend:
        """The backend on PostgreSQL, with the callers' pool."""
        return await open_repository(settings, guard, self.mark, self.primary, self._metrics)

    def mirrors(self, settings: Settings) -> Database:
        """The pool for mirrors and comparisons."""
        return Database(
            settings.require_database_url(),
            pool_size=settings.mirror_connections,
            pool_timeout=settings.mirror_timeout / 2,
            statement_timeout=settings.mirror_timeout,
            mark=self.mark,
            primary=self.primary,
        )

    def reports(self, settings: Settings) -> Database:
        """The pool for the looks at the stage, so that nothing can keep them waiting."""
        return Database(
            settings.require_database_url(),
            pool_size=_REPORTING,
            pool_timeout=_REPORT_TIMEOUT,
            statement_timeout=_REPORT_TIMEOUT,
            mark=self.mark,
            primary=self.primary,
        )


class SharedPools:
    """Those of many salons: each makes a connection when one is needed, and none more for more salons."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        pools = Pools(settings, metrics)
        self.process = pools.process
        self.mark = pools.mark
        lanes = [
            Database(
                settings.require_database_url(),
                pool_size=1,
                mark=self.mark,
                primary=pools.primary,
                prepared_max=_PREPARED,
                **call_timeouts(settings),
            )
            for _ in range(settings.database_pool_size)
        ]
        self.lanes = Lanes(lanes, pool_timeout=call_timeouts(settings)["pool_timeout"])
        self.router = router_of(settings, lanes[0], metrics)
        if self.router is not None:
            self.lanes.report_commits(self.router.reach)
            self.router.start()
        self.mirrors = pools.mirrors(settings)
        self.reports = pools.reports(settings)
        self.looks = Looks(self.reports, self.process)

    async def has(self, schema: str) -> bool:
        """Whether the database has a schema; False where it cannot be asked.

        Raises:
            SettingsError: it has none of that name.
        """
        try:
            async with self.reports.in_schema(schema).statements() as connection:
                is_there = await fetch_value(connection, _IS_THERE)
        except StoreError:
            return False
        if not is_there:
            raise SettingsError(
                f"the database has no schema {schema}: the salon is another one, or `DATABASE_SCHEMA={schema} "
                "botdata upgrade` is to make it"
            )
        return True

    async def close(self) -> None:
        """Close every connection."""
        router = [self.router.close] if self.router is not None else []
        await end_all(self.looks.close, *router, self.lanes.close, self.mirrors.close, self.reports.close)


class SalonPools(Pools):
    """One salon's part of shared pools."""

    def __init__(self, shared: SharedPools, schema: str) -> None:
        self.process = shared.process
        self.mark = shared.mark.beside()
        self.looks = shared.looks
        self._shared = shared
        self._schema = schema

    async def callers(self, settings: Settings, guard: WriteGuard | None) -> RepositoryBackend:
        database = SchemaDatabase(self._shared.lanes, self._schema, guard=guard, mark=self.mark)
        router = self._shared.router and self._shared.router.in_schema(database)
        return RepositoryBackend(database, default_timezone=settings.default_timezone, router=router)

    def mirrors(self, settings: Settings) -> Database:
        return self._shared.mirrors.in_schema(self._schema, mark=self.mark)

    def reports(self, settings: Settings) -> Database:
        return self._shared.reports.in_schema(self._schema, mark=self.mark)
