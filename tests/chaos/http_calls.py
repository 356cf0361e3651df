"""The data layer on the Supabase backend through trouble: each answer is the right one, or says that it is none.

Not asked: the two methods whose filters the tests' page server does not know.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from app.data_layer import DataLayer, Result, open_data_layer
from app.embedded.salon import COMPANY_ID
from app.errors import BotdataError, DataError
from app.parity.comparison import differences
from app.settings import Settings
from tests.chaos.http_trouble import Rates, Trouble
from tests.chaos.http_world import Ended, World, pages_of
from tests.chaos.transcript import PHONES

_AT_ONCE = 24
_RATES = Rates(passing=0.35, lying=0.15, lasting=0.02, server=0.005)
# Nothing was done, these say. An outcome that is unknown may be either.
_UNKNOWN = "outcome_unknown"

Call = tuple[str, tuple[Any, ...]]


def _codes() -> set[str]:
    kinds: list[type[BotdataError]] = [DataError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code for kind in kinds if issubclass(kind, DataError)}


def _read(chance: random.Random) -> Call:
    number = chance.randint(1, 95)
    return chance.choice(
        [
            ("get_client_by_phone", (f"+{PHONES}{number:04}", COMPANY_ID)),
            ("get_client_by_id", (150_000_000 + number, COMPANY_ID)),
            ("get_client_appointments", (150_000_000 + number,)),
            ("get_dialog_context", (f"{PHONES}{number % 20:04}",)),
            ("get_services", (COMPANY_ID, True)),
            ("get_staff", (COMPANY_ID,)),
            ("get_staff_schedules", (COMPANY_ID,)),
            ("get_company", (COMPANY_ID,)),
        ]
    )


async def _each(calls: list[Callable[[], Awaitable[None]]]) -> None:
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Callable[[], Awaitable[None]]) -> None:
        async with turn:
            await call()

    await asyncio.gather(*(one(call) for call in calls))


async def run_calls(world: World, name: str, chance: random.Random, number: int) -> Ended:
    """So many reads, and half as many writes, each to a row of its own."""
    ended = Ended()
    with world.database("salon") as database, pages_of(database, max_rows=5) as server:
        settings = Settings(
            _env_file=None,
            supabase_url=server.url,
            supabase_key=server.service_key,
            log_database_calls=True,
            query_timeout=20,
        )
        async with open_data_layer(settings) as data:
            reads = [_read(chance) for _ in range(number)]
            right = {call: await getattr(data, call[0])(*call[1]) for call in dict.fromkeys(reads)}
            trouble = Trouble(server, name, _RATES)
            codes = _codes()

            def note(result: Result[Any]) -> None:
                world.transcript.record(result.operation, f"{result.error} {dict(result.metadata)}")
                if not result.success and result.error_code not in codes:
                    ended.wrong.append(f"{name}: {result.operation} says {result.error_code}")

            async def read(call: Call) -> None:
                result = await getattr(data, call[0])(*call[1])
                note(result)
                if result.success and (other := differences(right[call], result)):
                    ended.lost += 1
                    ended.wrong.append(f"{name}: {call[0]} gives another answer: {other[:3]}")

            await _each([lambda call=call: read(call) for call in reads])  # type: ignore[misc]
            await _write(data, database, name, number // 2, note, ended)
            trouble.end()
            ended.injected = trouble.injected.total()
    return ended


async def _write(
    data: DataLayer, database: str, name: str, number: int, note: Callable[[Result[Any]], None], ended: Ended
) -> None:
    """Write the names of clients; what an answer says was done, or was not, is seen in the database."""
    said: dict[int, str] = {}

    async def write(client: int) -> None:
        row = {"yclients_id": client, "company_id": COMPANY_ID, "phone": f"{PHONES}{client % 10_000:04}"}
        result = await data.upsert_client({**row, "name": f"written {client}"})
        note(result)
        said[client] = "done" if result.success else str(result.error_code)

    clients = list(range(700_000_000, 700_000_000 + number))
    await _each([lambda client=client: write(client) for client in clients])  # type: ignore[misc]
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT yclients_id, name FROM clients WHERE yclients_id >= 700000000").fetchall()
    there = {client for client, text in found if text == f"written {client}"}
    for client in clients:
        if said[client] != _UNKNOWN and (said[client] == "done") != (client in there):
            ended.lost += 1
            ended.wrong.append(f"{name}: a write is {said[client]}, and {'there' if client in there else 'not there'}")
