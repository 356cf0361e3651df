"""Answers of reads compared with the other store's, beside the call and never in its way."""

import asyncio
import logging
import random
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, NamedTuple

from app.common.background import end_all
from app.common.breaker import Breaker
from app.common.deadlines import within
from app.common.metrics import Metrics
from app.common.quiet import PATIENCE, Calls
from app.cutover.shadow.confirmation import DoubtfulAnswer, confirm
from app.cutover.shadow.diff import AnswerDifference, are_the_same, difference
from app.cutover.shadow.diff_record import record_of
from app.cutover.shadow.log import ComparisonLog, Line
from app.cutover.shadow.log_saving import ComparisonSaving
from app.cutover.shadow.settling import UnsettledError
from app.cutover.stages import Stage, Store
from app.errors import DataError, StoreError, StoreTimeoutError
from app.settings import Settings
from app.stores.backend import Backend
from app.stores.postgres.database import Database

logger = logging.getLogger("app.data_layer")

_MOST_WAITING = 200
_FAILURES = 3  # in a row, after which a store is left alone for a while
_MOST_CAUSES_TOLD = 100
_ENDING = 1.0  # seconds for what is cancelled: a driver may wait for the server's word on it


@dataclass(frozen=True, slots=True)
class Read:
    """A call that was answered.

    Attributes:
        answer: the rows, or the error that was raised.
        seconds: that the authority took.
    """

    stage: Stage
    method: str
    arguments: Mapping[str, Any]
    answer: object
    seconds: float


class ComparisonOutcome(NamedTuple):
    """What came of a comparison: `equal`, `different`, `error` or `skipped`, in a word or two why, and what differs."""

    name: str
    reason: str = ""
    found: AnswerDifference = AnswerDifference()


class Comparisons:
    """Those of one process.

    Args:
        stores: the backends, as the callers use them.
        database: a pool on the target beside the callers' one, for the comparisons' own reads and for what is kept of
            them; None: there is none.
        process: this process's name.
        calls: what comparisons wait for the end of.
    """

    def __init__(
        self,
        stores: Mapping[Store, Backend],
        database: Database | None,
        settings: Settings,
        process: str,
        metrics: Metrics,
        calls: Calls | None = None,
    ) -> None:
        self._stores = stores
        self._own = dict(stores)
        if database is not None and Store.POSTGRES in stores:
            from app.repositories.backend import RepositoryBackend  # heavy, and not needed without a target

            self._own[Store.POSTGRES] = RepositoryBackend(database, default_timezone=settings.default_timezone)
        self._database = database
        self._settings = settings
        self._metrics = metrics
        self._log = ComparisonLog(process)
        self._saving = ComparisonSaving(self._log, database, metrics)
        # No more than half of the pool, which others need too.
        self._most_at_once = min(settings.compare_at_once, max(1, settings.mirror_connections // 2))
        self._hash_key = secrets.token_bytes(32)
        self._told: set[tuple[Line, str]] = set()
        self._breakers = {store: Breaker(failures=_FAILURES) for store in Store}
        self.calls = calls or Calls()
        self._waiting: deque[tuple[float, Read]] = deque()  # and since when
        self._running: dict[asyncio.Task[None], Read] = {}
        self._timer: asyncio.TimerHandle | None = None  # for the one that waits longest
        self._closed = False

    @property
    def is_idle(self) -> bool:
        """Whether no call is being answered, and none compared."""
        return not (self.calls.in_flight or self._waiting or self._running)

    async def start(self) -> None:
        """Begin to save the counts every few seconds."""
        self._saving.start()

    async def read(self, stage: Stage, method: str, arguments: Mapping[str, Any]) -> Any:
        """The authority's answer, as soon as it is there; nothing that comes of the comparison reaches the caller."""
        began = perf_counter()
        try:
            with self.calls.answering():
                answer = await self._stores[stage.authority].read(method, arguments)
        except DataError as error:
            self._answered(Read(stage, method, arguments, error, perf_counter() - began))
            raise
        # The caller may change its list; the rows in it are what they are.
        kept = list(answer) if isinstance(answer, list) else answer
        self._answered(Read(stage, method, arguments, kept, perf_counter() - began))
        return answer

    async def close(self) -> None:
        """Wait for those that run or are to run, up to close_timeout in all, and save the counts."""
        self._closed = True
        await end_all(self._finish, self._end_running, self._saving.close)

    async def _finish(self) -> None:
        deadline = monotonic() + self._settings.close_timeout
        self._pump()
        while self._running and (rest := deadline - monotonic()) > 0:
            await asyncio.wait(self._running, timeout=rest, return_when=asyncio.FIRST_COMPLETED)

    async def _end_running(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left = [*self._running.values(), *(read for _, read in self._waiting)]
        self._waiting.clear()
        if left:
            logger.warning("%d comparisons were not ended", len(left))
        for task in self._running:
            task.cancel()
        if self._running:  # their connections are closed after this
            await asyncio.wait(self._running, timeout=_ENDING)
        for read in left:
            self._count(read, ComparisonOutcome("skipped", "closed"))

    def _answered(self, read: Read) -> None:
        """Count the call, and have it compared where it is to be."""
        self._metrics.observe(read.stage.authority, read.method, read.seconds)
        counts = self._log.counts(Line(read.stage, read.method))
        counts.calls += 1
        counts.authority.add(read.seconds)
        if self._closed or not self._is_compared(read):
            return
        if random.random() >= self._settings.compare_sampling:  # noqa: S311 - no secret
            self._count(read, ComparisonOutcome("skipped", "sampling"))
            return
        if isinstance(read.answer, StoreError):
            self._count(read, ComparisonOutcome("error", read.answer.code))  # which says nothing of what is stored
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._count(read, ComparisonOutcome("skipped", "limit"))
            return
        self._waiting.append((monotonic(), read))
        self.calls.when_quiet(self._pump)
        self._look_later()

    def _pump(self) -> None:
        """Begin what there is a place for: one in a quiet moment, and all that has waited long enough for that."""
        while self._waiting:
            since, read = self._waiting[0]
            is_late = self._closed or monotonic() - since >= PATIENCE
            is_full = len(self._running) >= self._most_at_once
            if (is_full or self.calls.in_flight or self._running) and not is_late:
                break
            if is_full and self._closed:
                break
            self._waiting.popleft()
            if is_full:
                self._count(read, ComparisonOutcome("skipped", "limit"))
                continue
            task = asyncio.create_task(self._compare(read))
            self._running[task] = read
            task.add_done_callback(self._ended)
        if self._waiting and not self._running:  # else one that ends looks
            self.calls.when_quiet(self._pump)
        self._look_later()

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._pump()

    def _look_later(self) -> None:
        if self._timer is None and self._waiting and not self._closed:
            pause = max(0.0, self._waiting[0][0] + PATIENCE - monotonic())
            self._timer = asyncio.get_running_loop().call_later(pause, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._pump()

    def _is_compared(self, read: Read) -> bool:
        """Whether there is something to compare it with at this stage."""
        return self._settings.compare_with_itself or (read.stage.compares and read.stage.authority.other in self._own)

    async def _compare(self, read: Read) -> None:
        try:
            outcome = await self._outcome(read)
        except Exception as error:
            # A fault of this program, which must not become the caller's.
            logger.warning("a comparison of %s failed: %s", read.method, type(error).__name__)
            outcome = ComparisonOutcome("error", "fault")
        self._count(read, outcome)

    async def _outcome(self, read: Read) -> ComparisonOutcome:
        deadline = monotonic() + self._settings.compare_deadline
        itself = self._settings.compare_with_itself
        store = read.stage.authority if itself else read.stage.authority.other
        breaker = self._breakers[store]
        if not breaker.allows():
            return ComparisonOutcome("skipped", "store is down")
        began = perf_counter()
        try:
            answer: object = await within(
                self._settings.compare_deadline, self._own[store].read(read.method, read.arguments)
            )
        except StoreError as error:
            breaker.failed()
            return ComparisonOutcome("error", error.code)
        except DataError as error:
            answer = error
        breaker.succeeded()
        seconds = perf_counter() - began
        if not itself:
            self._metrics.observe(store, read.method, seconds)
        self._log.counts(self._line(read)).other.add(seconds)
        if await are_the_same(read.answer, answer):
            return ComparisonOutcome("equal")
        found = difference(read.answer, answer, read.arguments)
        if not found:
            return ComparisonOutcome("equal")
        question = DoubtfulAnswer(
            read.stage,
            read.method,
            read.arguments,
            self._own[read.stage.authority],
            self._own[store],
            None if itself else self._database,
        )
        try:
            found = await within(max(0.0, deadline - monotonic()), confirm(question, found))
        except StoreTimeoutError:
            return ComparisonOutcome("skipped", "unsettled")
        except UnsettledError as error:
            return ComparisonOutcome("skipped", str(error))
        except StoreError as error:
            return ComparisonOutcome("error", error.code)
        return ComparisonOutcome("different", "", found) if found else ComparisonOutcome("equal", "behind")

    def _line(self, read: Read) -> Line:
        return Line(read.stage, read.method, self._settings.compare_with_itself)

    def _count(self, read: Read, outcome: ComparisonOutcome) -> None:
        line = self._line(read)
        counts = self._log.counts(line)
        counts.outcomes[outcome.name] += 1
        if line.against_itself:
            counts.calls += 1
            counts.authority.add(read.seconds)
        self._metrics.count(
            "comparisons",
            method=read.method,
            outcome=outcome.name,
            reason=outcome.reason,
            against="itself" if line.against_itself else read.stage.authority.other,
        )
        if not outcome.found:
            return
        record = record_of(outcome.found, read.arguments, key=self._hash_key, with_values=self._settings.compare_values)
        self._log.add_difference(line, record)
        if (line, record.cause) not in self._told and len(self._told) < _MOST_CAUSES_TOLD:
            self._told.add((line, record.cause))
            logger.warning("%s(%s): the stores differ: %s", read.method, record.arguments, record.cause)
