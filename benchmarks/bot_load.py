"""The calls of a bot in the proportions of its work, and their arrivals: at random times, whether answered or not.

A message makes the bot read the conversation and the client, then what the client asks about, and write the
conversation; now and then it writes a client. Beside that, the salon's data are brought in from YCLIENTS in batches.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from app.data_layer import DataLayer, Result
from app.embedded.salon import COMPANY_ID
from app.embedded.salon.ids import TIMEZONE, client_id, phone, service_id, staff_id

CLIENTS = 1_000  # of a salon, that the bot talks with
_SHARED_PHONES = 200  # of the first clients: a family's, which no call may ask for
_STAFF = 12
_DAYS = 3  # from today, that schedules are asked for and written
# Of a salon: yesterday's, those days', and one more for a load over midnight. So no call adds a row: each store counts
# ids for itself, and where stages are measured side by side, both are written to.
SCHEDULES = _STAFF * (_DAYS + 2)
_BATCH = 10

Call = Callable[[], Awaitable[Result[Any]]]

# How often of a hundred calls; 15 of them write.
_OFTEN = {
    "get_dialog_context": 18,
    "get_client_by_phone": 14,
    "get_company": 5,
    "get_services": 6,
    "get_services_by_category": 5,
    "get_service_by_id": 5,
    "get_staff": 4,
    "get_staff_by_id": 3,
    "get_staff_schedules": 5,
    "get_staff_schedule": 4,
    "get_upcoming_appointments": 6,
    "get_client_appointments": 4,
    "get_client_by_id": 3,
    "search_clients_by_name": 2,
    "health_check": 1,
    "upsert_dialog_context": 10,
    "upsert_client": 2,
    "upsert_clients": 1,
    "upsert_services": 0.5,
    "upsert_staff_schedules": 1,
    "upsert_company": 0.5,
}


@dataclass
class Waited:
    """Seconds that the callers of one block waited, from the moment when the call was due."""

    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)

    @property
    def all(self) -> list[float]:
        """Those of every call."""
        return self.reads + self.writes


class BotLoad:
    """The calls of one salon's bot.

    Args:
        salon: counted from 0; bots of several salons do not meet in any row.
        seed: of what is asked, and when.
    """

    def __init__(self, data: DataLayer, salon: int, seed: int = 1) -> None:
        self._data = data
        self._salon = salon
        self._company = COMPANY_ID + salon
        self._random = random.Random(seed)
        self._number = 0
        self._day = datetime.now(ZoneInfo(TIMEZONE)).date()

    async def arrive(self, calls: int, rate: float) -> Waited:
        """So many calls, `rate` a second on average, none of which waits for another; what their callers waited."""
        waited = Waited()
        due = perf_counter()
        async with asyncio.TaskGroup() as group:
            for method in self._random.choices(list(_OFTEN), weights=list(_OFTEN.values()), k=calls):
                due += self._random.expovariate(rate)
                if (pause := due - perf_counter()) > 0:
                    await asyncio.sleep(pause)
                group.create_task(self._timed(method, due, waited))
        return waited

    async def at_once(self, calls: int, tasks: int) -> Waited:
        """So many calls by some tasks that make one after the other, without a pause; what each took."""
        waited = Waited()
        methods = iter(self._random.choices(list(_OFTEN), weights=list(_OFTEN.values()), k=calls))

        async def task() -> None:
            for method in methods:
                await self._timed(method, perf_counter(), waited)

        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(task())
        return waited

    async def call_one(self, waited: Waited) -> None:
        """One call, as often of a kind as the others say."""
        (method,) = self._random.choices(list(_OFTEN), weights=list(_OFTEN.values()))
        await self._timed(method, perf_counter(), waited)

    async def _timed(self, method: str, due: float, waited: Waited) -> None:
        answer = await self._call(method)
        seconds = perf_counter() - due
        if not answer.success:
            raise RuntimeError(f"{method}: {answer.error}")
        (waited.writes if method.startswith("upsert") else waited.reads).append(seconds)

    def _call(self, method: str) -> Awaitable[Result[Any]]:
        data, company, pick = self._data, self._company, self._random.randrange
        number = _SHARED_PHONES + pick(CLIENTS - _SHARED_PHONES)
        client, person, service = client_id(self._salon, number), phone(self._salon, number), pick(60)
        member = staff_id(company, pick(_STAFF))
        day = self._day + timedelta(pick(_DAYS))
        self._number += 1
        calls: dict[str, Call] = {
            "get_dialog_context": lambda: data.get_dialog_context(person),
            "get_client_by_phone": lambda: data.get_client_by_phone(person, company),
            "get_company": lambda: data.get_company(company),
            "get_services": lambda: data.get_services(company),
            "get_services_by_category": lambda: data.get_services_by_category(company, 1 + service % 5),
            "get_service_by_id": lambda: data.get_service_by_id(service_id(company, service), company),
            "get_staff": lambda: data.get_staff(company),
            "get_staff_by_id": lambda: data.get_staff_by_id(member, company),
            "get_staff_schedules": lambda: data.get_staff_schedules(company, date_from=self._day, limit=50),
            "get_staff_schedule": lambda: data.get_staff_schedule(member, day),
            "get_upcoming_appointments": lambda: data.get_upcoming_appointments(client, company),
            "get_client_appointments": lambda: data.get_client_appointments(client, company_id=company, limit=10),
            "get_client_by_id": lambda: data.get_client_by_id(client, company),
            "search_clients_by_name": lambda: data.search_clients_by_name(company, "анна", limit=5),
            "health_check": data.health_check,
            "upsert_dialog_context": lambda: data.upsert_dialog_context(self._conversation(person)),
            "upsert_client": lambda: data.upsert_client(self._client(number)),
            "upsert_clients": lambda: data.upsert_clients(
                [self._client((number + step) % CLIENTS) for step in range(_BATCH)]
            ),
            "upsert_services": lambda: data.upsert_services(
                [
                    {"yclients_id": service_id(company, service), "company_id": company, "title": f"Услуга {service}"}
                    | {"price_min": f"{self._number}.50"}
                ]
            ),
            "upsert_staff_schedules": lambda: data.upsert_staff_schedules(
                [{"staff_id": member, "date": day.isoformat(), "staff_name": "Анна", "work_start": "10:00"}]
            ),
            "upsert_company": lambda: data.upsert_company(
                {"company_id": company, "title": f"Салон {self._number}", "timezone": TIMEZONE}
            ),
        }
        return calls[method]()

    def _client(self, number: int) -> dict[str, Any]:
        return {
            "yclients_id": client_id(self._salon, number),
            "company_id": self._company,
            "phone": phone(self._salon, number),
            "name": "Анна",
            "visit_count": self._number,
        }

    def _conversation(self, person: str) -> dict[str, Any]:
        said = [{"role": "user", "text": "Когда мой следующий визит? 😀", "number": self._number}] * 6
        return {
            "user_id": person,
            "company_id": self._company,
            "data": {"step": self._number},
            "messages": said,
            "message_count": self._number,
        }
