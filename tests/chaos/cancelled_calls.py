"""10,000 calls cancelled at random moments: no connection lost, no transaction left open, no write by halves.

Callers go side by side on a pool of three: on PostgreSQL alone, and at a stage of either authority, with mirrors. Now
and then the server ends all connections, so that new ones are being made when the next calls are cancelled.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from app.cutover.staged_backend import StagedBackend
from app.data_layer import DataLayer, open_data_layer
from app.data_layer.store_wiring import open_repository
from app.migration.target.target_session import open_target
from app.repositories.backend import RepositoryBackend
from app.settings import Settings
from app.state.tool_schema import ensure_tool_schema
from app.stores.postgres.database import Database
from tests.chaos.both_stores import BothStores
from tests.chaos.call_inputs import Lane
from tests.chaos.listening import listening
from tests.chaos.scenario import Chaos, Outcome, Scenario
from tests.chaos.transcript import PHONES

_FULL = 10_000
_SHARES = {"alone": 0.7, "live": 0.15, "dualwrite": 0.15}
_CALLERS = 8
_POOL = 3
_BETWEEN_LOOKS = 250  # cancellations
_BETWEEN_ENDS = 60
_KINDS = ("read", "batch", "mixed")
_LEFT_ALONE = 0.05  # of the calls, to be timed
_Writes = dict[int, tuple[list[int], int]]  # by caller: the writes that its rows are of, and how many rows
_CODES = {None, "unavailable", "outcome_unknown", "timeout"}  # when the server ends connections
_SETTLED = 20.0  # seconds at most
_OPEN = (
    "SELECT state, left(query, 80), pid, xact_start FROM pg_stat_activity WHERE datname = 'target' "
    "AND pid <> pg_backend_pid() AND application_name <> 'chaos' AND backend_type = 'client backend'"
)


@dataclass
class _Callers:
    """The callers of one data layer.

    Attributes:
        server: the target; `supabase`: the database of the other store.
    """

    layer: DataLayer
    server: psycopg.AsyncConnection[Any]
    supabase: psycopg.AsyncConnection[Any]
    phase: str
    choices: random.Random
    outcome: Outcome
    todo: int
    cancelled: int = 0
    tokens: dict[int, int] = field(default_factory=dict)
    written: dict[int, int] = field(default_factory=dict)
    lasts: dict[str, float] = field(default_factory=dict)

    @property
    def pools(self) -> list[Database]:
        """Every pool to PostgreSQL."""
        backend: Any = self.layer._backend
        if isinstance(backend, RepositoryBackend):
            return [backend._database]
        assert isinstance(backend, StagedBackend)
        stores = [store._database for store in backend._stores.values() if isinstance(store, RepositoryBackend)]
        return [*stores, *backend._pools]

    async def go(self) -> None:
        """Cancel as many as there are to be, with a look after every few hundred."""
        before = asyncio.all_tasks()
        while self.cancelled < self.todo:
            until = min(self.todo, self.cancelled + _BETWEEN_LOOKS)
            await asyncio.gather(*[self._caller(number, until) for number in range(_CALLERS)])
            await self._look(before)

    async def _caller(self, number: int, until: int) -> None:
        while self.cancelled < until:
            self.cancelled += 1
            self.outcome.injected += 1
            if self.cancelled % _BETWEEN_ENDS == 0:
                await self.server.execute(f"SELECT pg_terminate_backend(pid) FROM ({_OPEN}) o".encode())
            place = f"cancellation {self.cancelled} of {self.phase}"
            kind = self.choices.choices(_KINDS, (45, 25, 30))[0]
            if kind not in self.lasts or self.choices.random() < _LEFT_ALONE:
                await self._time(kind, number)
            call, token = self._call(kind, number)
            task = asyncio.create_task(call)
            await self._moment(kind)
            task.cancel()
            (answer,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(answer, asyncio.CancelledError):
                self.outcome.survived += 1
            elif isinstance(answer, BaseException) or answer.error_code not in _CODES:
                self.outcome.wrong.append(f"{place}: {answer!r}")
            else:
                self.outcome.survived += 1
                if answer.success and token is not None:
                    self.written[number] = token

    async def _time(self, kind: str, number: int) -> None:
        """Leave a call of a kind alone, to know how long one lasts on this machine now."""
        call, token = self._call(kind, number)
        began = asyncio.get_running_loop().time()
        answer = await call
        self.lasts[kind] = asyncio.get_running_loop().time() - began
        if answer.success and token is not None:
            self.written[number] = token
        elif answer.error_code not in _CODES:
            self.outcome.wrong.append(f"a call of {self.phase} that nobody cancelled: {answer!r}")

    def _call(self, kind: str, number: int) -> tuple[Any, int | None]:
        layer, lane = self.layer, Lane(number)
        if kind == "read":
            read = self.choices.choice(
                (
                    lambda: layer.get_client_by_phone(f"{PHONES}{number:02}01"),
                    lambda: layer.get_client_appointments(lane.id(2)),
                    lambda: layer.get_upcoming_appointments(lane.id(2), lane.company),
                    lambda: layer.get_staff_schedules(lane.company),
                    lambda: layer.search_clients_by_name(lane.company, "а"),
                    lambda: layer.get_services(lane.company),
                    layer.health_check,
                )
            )
            return read(), None
        token = self.tokens[number] = self.tokens.get(number, 0) + 1
        row = {
            "company_id": lane.company,
            "name": "Анна",
            "visit_count": token,
            "notes": "n" * self.choices.choice((1, 9999)),
        }
        rows = [{**row, "yclients_id": lane.id(n), "phone": f"{PHONES}{number:02}{n:02}"} for n in (1, 2, 3)]
        if kind == "mixed":  # of several shapes, so of several statements
            rows[1]["email"] = "e"
            del rows[2]["notes"]
        return layer.upsert_clients(rows), token

    async def _moment(self, kind: str) -> None:
        """Until a random moment of the call: after some turns of the loop, or a part of the time that one lasts."""
        if self.choices.random() < 0.3:
            for _ in range(self.choices.randrange(12)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.choices.uniform(0, 1.1 * self.lasts[kind]))

    async def _look(self, before: set[asyncio.Task[Any]]) -> None:
        """Nothing is left of what was cancelled, all connections can be had, each caller's rows are of one write."""
        where = f"after {self.cancelled} cancellations of {self.phase}"
        try:
            async with asyncio.timeout(_SETTLED):
                await self._settled(before)
        except TimeoutError:
            lent = [_lent(pool) for pool in self.pools]
            left = [task.get_coro() for task in asyncio.all_tasks() - before]
            self.outcome.wrong.append(f"{where}: connections are not given back: {lent}, {left[:5]}")
            return
        for pool in self.pools:
            size = pool._pool.size
            try:
                async with asyncio.timeout(_SETTLED), AsyncExitStack() as all_of_them:
                    for _ in range(size):
                        connection = await all_of_them.enter_async_context(pool.statements())
                        await connection.execute("SELECT 1")
            except Exception as error:
                self.outcome.wrong.append(f"{where}: a pool of {size} cannot hand out all its connections: {error!r}")
        busy: set[Any] | None = None
        deadline = asyncio.get_running_loop().time() + _SETTLED
        while busy is None or (busy and asyncio.get_running_loop().time() < deadline):
            # What runs in the background may be at work at any one look; what is left behind is there at each.
            rows = await (await self.server.execute(_OPEN.encode())).fetchall()
            now = {row for row in rows if row[0] != "idle"}
            busy = now if busy is None else busy & now
            await asyncio.sleep(0.05)
        if busy:
            self.outcome.wrong.append(f"{where}: still open in PostgreSQL: {busy}")
        await self._whole(where)

    async def _settled(self, before: set[asyncio.Task[Any]]) -> None:
        while any(_lent(pool) for pool in self.pools) or self._busy(before):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def _busy(self, before: set[asyncio.Task[Any]]) -> bool:
        if self.phase == "alone":
            return bool(asyncio.all_tasks() - before)
        backend: Any = self.layer._backend
        return any(writer.pending for writer in backend._writers.values())

    async def _whole(self, where: str) -> None:
        written = await self._writes(self.supabase if self.phase == "dualwrite" else self.server)
        for number, (tokens, count) in written.items():
            if len(tokens) != 1 or count != 3:
                self.outcome.lost += 1
                self.outcome.wrong.append(f"{where}: caller {number} has {count} rows of the writes {tokens}")
            elif tokens[0] < self.written.get(number, 0):
                self.outcome.lost += 1
                self.outcome.wrong.append(
                    f"{where}: caller {number}: write {self.written[number]} is lost to {tokens[0]}"
                )
        if self.phase == "dualwrite":
            await self._mirrored(where, written)

    async def _mirrored(self, where: str, written: _Writes) -> None:
        """The mirror has the rows; those of a cancelled request that came after their mirror, with the next write."""
        mirrored = await self._writes(self.server)
        late = [number for number in written if written[number] != mirrored.get(number)]
        for number in late:
            await self._time("mixed", number)
        async with asyncio.timeout(_SETTLED):
            while self._busy(set()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        written, mirrored = await self._writes(self.supabase), await self._writes(self.server)
        for number in late:
            if written[number] != mirrored.get(number):
                self.outcome.lost += 1
                self.outcome.wrong.append(f"{where}: caller {number}: {written[number]}, mirrored {mirrored[number]}")

    async def _writes(self, store: psycopg.AsyncConnection[Any]) -> _Writes:
        cursor = await store.execute(
            "SELECT company_id, array_agg(DISTINCT visit_count), count(*) FROM clients WHERE company_id >= %s "
            "GROUP BY company_id",
            (Lane(0).company,),
        )
        return {company - Lane(0).company: (tokens, count) for company, tokens, count in await cursor.fetchall()}


def run(chaos: Chaos) -> None:
    """Every phase on the same two stores."""
    with BothStores.start(chaos.directory, _CALLERS) as stores:
        asyncio.run(_phases(chaos, stores))


async def _phases(chaos: Chaos, stores: BothStores) -> None:
    outcome = chaos.outcome
    async with open_target(stores.urls[1], step="test") as connection:
        await ensure_tool_schema(connection)
    server = await psycopg.AsyncConnection.connect(
        stores.postgres.url("target"), autocommit=True, application_name="chaos"
    )
    supabase = await psycopg.AsyncConnection.connect(stores.urls[0], autocommit=True)
    async with server, supabase:
        with listening(chaos.transcript, "cancelled_calls") as noises:
            for phase, share in _SHARES.items():
                for url in stores.urls:
                    _remove_clients(url)
                async with AsyncExitStack() as exits:
                    if phase == "live":
                        exits.enter_context(noises.everything_logged())
                    layer = await exits.enter_async_context(_opened(chaos, stores, phase))
                    todo = chaos.of(round(_FULL * share))
                    callers = _Callers(layer, server, supabase, phase, chaos.chance("cancelled", phase), outcome, todo)
                    await callers.go()
                    closing = asyncio.gather(
                        *[callers._call("mixed", n)[0] for n in range(_CALLERS)], return_exceptions=True
                    )
                    await asyncio.sleep(0.002)
                await closing
                for _ in range(100):  # a server's process takes its time over its end
                    left = await (await server.execute(_OPEN.encode())).fetchall()
                    if not left:
                        break
                    await asyncio.sleep(0.1)
                else:
                    outcome.wrong.append(f"{phase}: connections are left after close(): {left}")
        outcome.wrong += noises.found


def _remove_clients(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("DELETE FROM clients WHERE company_id >= {}").format(Lane(0).company))


@asynccontextmanager
async def _opened(chaos: Chaos, stores: BothStores, phase: str) -> AsyncIterator[DataLayer]:
    given: dict[str, Any] = {
        "database_pool_size": _POOL,
        "mirror_connections": _POOL,
        "outcome_settles_after": 2.0,
        "cutover_spool": chaos.directory / "spool",
        "mirror_wait": 0.01,
    }
    if phase == "alone":
        settings = stores.settings.model_copy(update=given)
        layer = DataLayer(await open_repository(settings), settings)
        try:
            yield layer
        finally:
            await layer.close()
        return
    settings = Settings(
        _env_file=None, **{**stores.settings.model_dump(exclude_unset=True), **given, "cutover_stage": phase}
    )
    async with open_data_layer(settings) as opened:
        yield opened


SCENARIO = Scenario(
    "cancelled_calls",
    "calls cancelled at a random moment, on PostgreSQL alone and with mirrors, on a pool of three",
    run,
)


def _lent(database: Database) -> int:
    """How many of its connections callers have."""
    return database._pool.size - database._pool.turns._value
