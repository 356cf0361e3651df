"""Brings a process's counts to the target every few seconds, and tells of them in the log once a minute."""

import asyncio
import logging
from time import monotonic

from app.common.background import end_task
from app.common.deadlines import within
from app.common.metrics import Metrics
from app.cutover.shadow.log import ComparisonLog
from app.errors import DataError, SchemaMismatchError
from app.stores.postgres.database import Database

logger = logging.getLogger("app.data_layer")
_summaries = logging.getLogger("app.data_layer.metrics")

_INTERVAL = 3.0  # seconds between saves
_TIMEOUT = 5.0
_AT_THE_END = 2.0  # its process says goodbye to the target after that, and may have ten seconds to end
_SUMMARY_INTERVAL = 60.0
_PRUNE_INTERVAL = 3600.0


class ComparisonSaving:
    """The background work of the comparisons.

    Args:
        database: None: there is no target, and the counts stay in the process.
    """

    def __init__(self, log: ComparisonLog, database: Database | None, metrics: Metrics) -> None:
        self._log = log
        self._database = database
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._told = monotonic()
        self._pruned = float("-inf")  # soon: a process may not live for an interval

    def start(self) -> None:
        """Begin; nothing is awaited here."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End, and save what there is, within some seconds."""
        if self._task is None:
            return
        await end_task(self._task)
        self._task = None
        await self._save(_AT_THE_END)
        self._tell()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            await self._save()
            if monotonic() - self._told > _SUMMARY_INTERVAL:
                self._tell()
            if monotonic() - self._pruned > _PRUNE_INTERVAL:
                await self._prune()

    async def _save(self, seconds: float = _TIMEOUT) -> None:
        if self._database is None:
            return
        try:
            await within(seconds, self._log.save(self._database))
        except DataError as error:
            # A target without a cutover has no such tables.
            if not self._failing and not isinstance(error, SchemaMismatchError):
                logger.warning("the counts of comparisons cannot be saved for now: %s", error)
            self._failing = True
        else:
            self._failing = False

    async def _prune(self) -> None:
        self._pruned = monotonic()
        if self._database is None:
            return
        try:
            await within(_TIMEOUT, self._log.prune(self._database))
        except DataError as error:
            if not isinstance(error, SchemaMismatchError):
                logger.warning("old rows of botdata.comparisons and botdata.differences cannot be deleted: %s", error)

    def _tell(self) -> None:
        self._told = monotonic()
        _summaries.info("%s", self._metrics.summary())
