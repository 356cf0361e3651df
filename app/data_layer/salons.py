"""Data layers of many salons, each in a schema of its own, over the connections of one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from app.common.background import end_all, end_at_once, end_task
from app.common.metrics import Metrics
from app.common.telemetry import Telemetry
from app.data_layer.executor import Clock, DataLayerClosedError
from app.data_layer.layer import DataLayer, utc_now
from app.errors import SettingsError
from app.stores.company_time import require_timezone

if TYPE_CHECKING:
    from app.cutover.resting_backend import RestingBackend
    from app.cutover.staged_backend import StagedBackend
    from app.data_layer.pools import SharedPools
    from app.settings import Settings

logger = logging.getLogger("app.data_layer")

SalonSettings = Callable[[str], Mapping[str, object] | None] | Mapping[str, Mapping[str, object]]

_REST_AFTER = 60.0  # seconds without a call
_LOOK = 5.0  # seconds between looks for those
_AT_ONCE = 4  # salons that are opened or closed; the reports have two connections


# Of the connections that salons share.
_OF_ALL_SALONS = frozenset(
    {
        "database_url",
        "database_schema",
        "database_read_url",
        "database_pool_size",
        "mirror_connections",
        "mirror_timeout",
        "query_timeout",
    }
)


def settings_of_salon(settings: Settings, schema: str, own: Mapping[str, object]) -> Settings:
    """The settings of one salon among those that a process serves over one pool.

    Args:
        settings: for all of them.
        own: what differs for it, by the field's name, such as `supabase_key`.

    Raises:
        SettingsError: the schema or a setting of its own is none, or a setting is one for all salons.
    """
    from pydantic import ValidationError

    from app.settings import Settings, explain

    place = f"of the salon {schema!r}"
    if shared := sorted(_OF_ALL_SALONS & own.keys()):
        raise SettingsError(f"{', '.join(shared)} {place}: is one for all salons, and cannot be its own")
    if unknown := sorted(own.keys() - Settings.model_fields.keys()):
        raise SettingsError(f"{', '.join(unknown)} {place}: there is no such setting")
    given = {**settings.model_dump(exclude_unset=True), **own, "database_schema": schema}
    try:
        found = Settings(_env_file=None, **given)
        found.flags  # noqa: B018 - contradictions are an error before the first call
    except ValidationError as error:
        raise SettingsError(f"{place}: {'; '.join(explain(error))}") from None
    if found.database_schema != schema:
        raise SettingsError(f"{place}: a salon is asked for by the name of its schema, and this is none")
    return found


class Salons:
    """The data layers by their schemas' names. Made by `open_data_layers()`.

    Attributes:
        metrics: of what the salons share: failovers, and reads by standbys. Each data layer has its own beside.
    """

    def __init__(
        self,
        pools: SharedPools,
        settings: Settings,
        own: SalonSettings,
        *,
        clock: Clock = utc_now,
        metrics: Metrics,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.metrics = metrics
        self._pools = pools
        self._settings = settings
        self._own = own
        self._clock = clock
        self._telemetry = telemetry
        self._layers: dict[str, DataLayer] = {}
        self._backends: dict[str, RestingBackend] = {}
        self._known: set[str] = set()
        self._is_closed = False
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._resting = asyncio.create_task(self._let_rest())

    def __getitem__(self, schema: str) -> DataLayer:
        """The data layer of a salon. Nothing is asked before its first call.

        Raises:
            SettingsError: it is no salon, or its settings are unclear. A call raises it where the database has no such
                schema, or the environment fixes a stage that contradicts the row.
        """
        layer = self._layers.get(schema)
        if layer is None:
            layer = self._layers[schema] = self._made(schema)
        return layer

    def __len__(self) -> int:
        """How many are open, which those are not that nobody has called for a minute."""
        return sum(backend.is_open for backend in self._backends.values())

    async def open(self, *schemas: str) -> None:
        """Open salons before their first call, to learn at the start what is wrong.

        Raises:
            SettingsError: as of a salon's first call.
        """
        for schema in schemas:
            self[schema]
        await asyncio.gather(*(self._backends[schema].open() for schema in schemas))

    async def close(self) -> None:
        """End what still runs and close every connection."""
        self._is_closed = True
        layers = [partial(self._close, layer) for layer in self._layers.values()]
        await end_all(lambda: end_task(self._resting), lambda: end_at_once(*layers), self._pools.close)

    def _made(self, schema: str) -> DataLayer:
        from app.cutover.resting_backend import RestingBackend

        if self._is_closed:
            raise DataLayerClosedError(f"{schema}: the salons are closed")
        own = self._own.get(schema) if isinstance(self._own, Mapping) else self._own(schema)
        if own is None:
            raise SettingsError(f"{schema!r} is none of the salons that open_data_layers() was given settings of")
        settings = settings_of_salon(self._settings, schema, own)
        require_timezone(settings.default_timezone)
        metrics = Metrics(self._telemetry)
        backend = RestingBackend(lambda: self._open(schema, settings, metrics))
        self._backends[schema] = backend
        return DataLayer(backend, settings, clock=self._clock, metrics=metrics)

    async def _open(self, schema: str, settings: Settings, metrics: Metrics) -> StagedBackend:
        from app.data_layer.pools import SalonPools
        from app.data_layer.staged_wiring import open_staged

        async with self._turns:
            if schema not in self._known and await self._pools.has(schema):
                self._known.add(schema)
            return await open_staged(settings, metrics, SalonPools(self._pools, schema))

    async def _close(self, layer: DataLayer) -> None:
        async with self._turns:
            await layer.close()

    async def _let_rest(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            for schema, backend in list(self._backends.items()):
                try:
                    await backend.rest(_REST_AFTER)
                except Exception as error:  # whatever it is, the others are to rest
                    logger.warning("salon %s could not be closed: %s", schema, type(error).__name__)
