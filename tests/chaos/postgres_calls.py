"""The data layer's calls while its PostgreSQL is in trouble: never an exception, a true code, recovery by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import ExitStack, suppress
from itertools import count, cycle, islice
from typing import Any

import psycopg

from app.data_layer import DataLayer, Result, open_data_layer
from app.settings import Settings
from tests.chaos import databases
from tests.chaos.postgres_troubles import TROUBLES, Scene, Trouble
from tests.chaos.scenario import Chaos, Outcome
from tests.chaos.servers import Server
from tests.chaos.transcript import PHONES, Transcript

_COMPANY = 962302
_CALLERS = 6
_RECOVERED = 60.0  # seconds, on a machine that has much else to do
_CODES = {"unavailable", "timeout", "outcome_unknown"}  # store_error would say nothing of what happened
_OPEN = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
AND state_change < now() - interval '2 seconds'
"""
_END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'bot'"


class Callers:
    """Tasks that write and read, one call after the other; each write is of a key of its own.

    Attributes:
        acknowledged, refused, unknown: the keys that were written, were not, and of which nothing is known.
    """

    def __init__(self, data: DataLayer, services: int) -> None:
        self._data = data
        self._services = services
        self._keys = count(1_000_000)
        self.acknowledged: set[int] = set()
        self.refused: set[int] = set()
        self.unknown: set[int] = set()
        self.codes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.answers = 0

    async def work(self) -> None:
        """For ever."""
        while True:
            try:
                await self.write()
                await self.read()
            except Exception as error:
                self.wrong.append(f"a call raised {type(error).__name__}: {error}")
            await asyncio.sleep(0.005)

    async def write(self) -> bool:
        """One write; whether it was acknowledged."""
        key = next(self._keys)
        row = {"yclients_id": key, "company_id": _COMPANY, "phone": f"{PHONES}{key % 10000:04}", "name": "x"}
        self.unknown.add(key)
        answer = await self._data.upsert_client(row)
        if answer.error_code != "outcome_unknown":
            self.unknown.discard(key)
            (self.acknowledged if answer.success else self.refused).add(key)
        self._note(answer)
        return answer.success

    async def read(self) -> bool:
        """One read of a row that is there; whether it was answered."""
        answer = await self._data.get_services(_COMPANY)
        if answer.success and len(answer.data or ()) != self._services:
            self.wrong.append(f"get_services gave {len(answer.data or ())} rows")
        self._note(answer)
        return answer.success

    def _note(self, answer: Result[Any]) -> None:
        self.answers += 1
        if answer.error_code is not None:
            self.codes[answer.error_code] += 1
            if answer.error_code not in _CODES:
                self.wrong.append(f"the code {answer.error_code}: {answer.error}")


def run(chaos: Chaos, troubles: int) -> Outcome:
    """So many troubles, one after the other, under one data layer that stays open."""
    outcome = Outcome()
    handler = _Kept(chaos.transcript)
    logging.getLogger().addHandler(handler)
    try:
        with Server(chaos.directory / "calls") as server:
            databases.fill(databases.migrated(server, "bot"), 100)
            asyncio.run(_run(chaos, server, troubles, outcome))
            if not databases.wait_for_end(server.url("bot")):
                outcome.wrong.append("calls: sessions are left after close()")
    finally:
        logging.getLogger().removeHandler(handler)
    return outcome


async def _run(chaos: Chaos, server: Server, troubles: int, outcome: Outcome) -> None:
    settings = Settings(
        _env_file=None,
        use_repository_pattern=True,
        database_url=server.address("bot"),
        database_pool_size=5,
        query_timeout=4,
    )
    chance = chaos.chance("calls")
    usable = [trouble for trouble in TROUBLES if trouble.role == "postgres" and not trouble.loses]
    chance.shuffle(usable)
    ((services,),) = _execute(server.url("bot"), "SELECT count(*)::int FROM services WHERE is_active")
    async with open_data_layer(settings) as data:
        callers = Callers(data, services)
        tasks = [asyncio.create_task(callers.work()) for _ in range(_CALLERS)]
        for number, trouble in enumerate(islice(cycle(usable), troubles)):
            await asyncio.sleep(chance.random() * 0.5)
            wrong = await _in_trouble(trouble, Scene(server, "bot", chaos.chance("calls", number), "%"), callers)
            outcome.injected += 1
            outcome.survived += not wrong
            outcome.wrong += [f"calls, trouble {number} ({trouble.name}) of seed {chaos.seed}: {w}" for w in wrong]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    lost, wrong = _compare(server, callers)
    outcome.lost += lost
    outcome.wrong += wrong
    told = f"{callers.answers} answers, {dict(callers.codes)}"
    print(f"  calls in trouble: {told}", flush=True)  # noqa: T201


async def _in_trouble(trouble: Trouble, scene: Scene, callers: Callers) -> list[str]:
    before = len(callers.wrong)
    with ExitStack() as ends:
        await asyncio.to_thread(ends.enter_context, trouble.begin(scene))
        if trouble.before:  # sessions that are open keep what they were opened with
            with suppress(psycopg.Error):
                await asyncio.to_thread(_execute, scene.server.url(), _END_SESSIONS)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(ends.close)
    if trouble.before:
        await asyncio.to_thread(_execute, scene.server.url(), _END_SESSIONS)
    deadline = time.monotonic() + _RECOVERED
    while not (await callers.write() and await callers.read()):
        if time.monotonic() > deadline:
            return [*callers.wrong[before:], f"no recovery in {_RECOVERED:.0f} s"]
        await asyncio.sleep(0.05)
    found = await asyncio.to_thread(_execute, scene.server.url("bot"), _OPEN)
    open_ones = [] if found == [(0,)] else [f"transactions left open: {found}"]
    return callers.wrong[before:] + open_ones


def _compare(server: Server, callers: Callers) -> tuple[int, list[str]]:
    """Acknowledged writes that are not there, and refused ones that are."""
    stored = {key for (key,) in _execute(server.url("bot"), "SELECT yclients_id FROM clients WHERE name = 'x'")}
    lost = callers.acknowledged - stored
    wrong = [f"{len(lost)} acknowledged writes are lost"] if lost else []
    if landed := callers.refused & stored:
        wrong.append(f"{len(landed)} writes landed of which it was said that nothing was done")
    if others := stored - callers.acknowledged - callers.unknown - callers.refused:
        wrong.append(f"{len(others)} rows that nobody wrote")
    return len(lost), wrong


def _execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


class _Kept(logging.Handler):
    """Keeps log lines, tracebacks included, in the transcript."""

    def __init__(self, transcript: Transcript) -> None:
        super().__init__()
        self._transcript = transcript

    def emit(self, record: logging.LogRecord) -> None:
        self._transcript.record(f"log of {record.name}", logging.Formatter().format(record))
