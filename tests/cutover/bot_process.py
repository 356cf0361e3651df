"""A bot's process under load, for tests: mixed reads and writes through the data layer, each written down.

    python -m tests.cutover.bot_process LOG PROCESS

It works until SIGTERM, by the settings of the environment. Each line of LOG is a JSON array, written at once, so that a
process that is killed leaves all it has done (see tests.cutover.history):

    ["begin", seconds, writes]              before a write; `writes` is [[table, natural key, token], ...]
    ["write", began, ended, method, writes, error code, error]
    ["read", began, ended, method, error code, error]
    ["stale", ended, method, table, natural key, token found, token acknowledged before]
    ["ready", seconds] and ["closed", seconds, what close() left]

A token is "writer.number": the writer is one task of one process, and its numbers only rise. Seconds are those of the
machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from app.data_layer import DataLayer, Result, open_data_layer

COMPANY = 962302  # the made-up salon's
KEYS_OF_ITS_OWN = 20
SHARED_KEYS = 4
_TASKS = 2
_PAUSE = float(os.environ.get("LOAD_PAUSE", "0.2"))  # seconds between the calls of a task, on average
_READS = float(os.environ.get("LOAD_READS", "0.6"))  # share of the calls that read

Writes = list[tuple[str, list[str], str]]


class Log:
    """The file of what was done."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, *line: object) -> None:
        os.write(self._file, json.dumps(line, ensure_ascii=False).encode() + b"\n")


class Writer:
    """One task: writes keys of its own and keys that all share, and reads its own back."""

    def __init__(self, data: DataLayer, log: Log, number: int) -> None:
        self.number = number
        self._data = data
        self._log = log
        self._random = random.Random(number)
        self._count = 0
        self._first_key = number * 1000
        self._acknowledged: dict[tuple[str, str], int] = {}
        self._left: set[int] = set()  # keys with a write of unknown outcome, which may land any time

    async def work(self) -> None:
        """One call after the other, for ever."""
        while True:
            await asyncio.sleep(self._random.uniform(0, 2 * _PAUSE))
            await (self._read() if self._random.random() < _READS else self._write())

    def _key(self) -> int:
        number = self._first_key + self._random.randrange(KEYS_OF_ITS_OWN)
        while number in self._left:
            number += KEYS_OF_ITS_OWN
        return number

    def _token(self) -> str:
        self._count += 1
        return f"{self.number}.{self._count}"

    def _client(self, key: int) -> dict[str, Any]:
        token = self._token()
        row: dict[str, Any] = {
            "yclients_id": key,
            "company_id": COMPANY,
            "phone": f"79{key:09d}",
            "name": token,
            "total_spent": f"{self._count}.10",
        }
        if self._random.random() < 0.5:  # else the stored values stay
            row |= {
                "visit_history": [{"sum": self._count + 0.5, "text": "ё 😀"}, None],
                "tags": [token, ""],
                "notes": token,
            }
        return row

    async def _write(self) -> None:
        data, kind = self._data, self._random.random()
        key = 900_000_000 + self._random.randrange(SHARED_KEYS) if self._random.random() < 0.1 else self._key()
        if kind < 0.35:
            row = self._client(key)
            await self._send([row], "clients", "upsert_client", lambda: data.upsert_client(row))
        elif kind < 0.5:
            rows = [self._client(k) for k in sorted({self._key() for _ in range(3)})]
            await self._send(rows, "clients", "upsert_clients", lambda: data.upsert_clients(rows))
        elif kind < 0.75:
            row = {"user_id": f"79{key:09d}", "state": self._token(), "data": {"step": self._count, "sum": 1.5}}
            row |= {"company_id": COMPANY, "message_count": self._count}
            await self._send([row], "dialog_contexts", "upsert_dialog_context", lambda: data.upsert_dialog_context(row))
        elif kind < 0.88:
            row = {"yclients_id": key, "company_id": COMPANY, "title": self._token(), "price_min": "1500.50"}
            await self._send([row], "services", "upsert_services", lambda: data.upsert_services([row]))
        elif kind < 0.96:
            row = {"staff_id": key, "date": "2026-12-01", "staff_name": self._token(), "work_start": "10:00"}
            await self._send(
                [row], "staff_schedules", "upsert_staff_schedules", lambda: data.upsert_staff_schedules([row])
            )
        else:
            row = {"company_id": key, "title": self._token(), "timezone": "Europe/Moscow"}
            await self._send([row], "companies", "upsert_company", lambda: data.upsert_company(row))

    async def _send(
        self, rows: list[dict[str, Any]], table: str, method: str, call: Callable[[], Awaitable[Result[Any]]]
    ) -> None:
        writes: Writes = [(table, key_of(table, row), row[TOKEN[table]]) for row in rows]
        began = monotonic()
        self._log("begin", began, writes)
        answer = await call()
        self._log("write", began, monotonic(), method, writes, answer.error_code, answer.error)
        for _, key, token in writes:
            if answer.success:
                self._acknowledged[table, key[0]] = int(token.partition(".")[2])
            elif answer.error_code == "outcome_unknown":
                self._left.add(int(key[0].removeprefix("79") if table == "dialog_contexts" else key[0]))

    async def _read(self) -> None:
        data, key = self._data, self._key()
        someone = 150_000_000 + self._random.randrange(20)  # a client of the made-up salon
        whole: list[tuple[str, Callable[[], Awaitable[Result[Any]]]]] = [
            ("get_client_appointments", lambda: data.get_client_appointments(someone, company_id=COMPANY)),
            ("get_upcoming_appointments", lambda: data.get_upcoming_appointments(someone, COMPANY)),
            ("search_clients_by_name", lambda: data.search_clients_by_name(COMPANY, "анна", limit=5)),
            ("get_staff_by_id", lambda: data.get_staff_by_id(2_302_000, COMPANY)),
            ("get_staff_schedules", lambda: data.get_staff_schedules(COMPANY, limit=20)),
            ("get_services", lambda: data.get_services(COMPANY)),
            ("get_staff", lambda: data.get_staff(COMPANY)),
            ("get_services_by_category", lambda: data.get_services_by_category(COMPANY, 1)),
        ]
        own: list[tuple[str, str, Callable[[], Awaitable[Result[Any]]]]] = [
            ("clients", "get_client_by_id", lambda: data.get_client_by_id(key, COMPANY)),
            ("clients", "get_client_by_phone", lambda: data.get_client_by_phone(f"79{key:09d}", COMPANY)),
            ("dialog_contexts", "get_dialog_context", lambda: data.get_dialog_context(f"79{key:09d}")),
            ("services", "get_service_by_id", lambda: data.get_service_by_id(key, COMPANY)),
            ("staff_schedules", "get_staff_schedule", lambda: data.get_staff_schedule(key, "2026-12-01")),
            ("companies", "get_company", lambda: data.get_company(key)),
        ]
        if self._random.random() < 0.4:
            method, call = self._random.choice(whole)
            await self._ask(method, call)
            return
        table, method, call = self._random.choice(own)
        answer = await self._ask(method, call)
        if not answer.success:
            return
        text = f"79{key:09d}" if table == "dialog_contexts" else str(key)
        known = self._acknowledged.get((table, text), 0)
        found = getattr(answer.data, TOKEN[table], None) or "-.0"
        if known > int(found.partition(".")[2]):
            self._log("stale", monotonic(), method, table, text, found, known)

    async def _ask(self, method: str, call: Callable[[], Awaitable[Result[Any]]]) -> Result[Any]:
        began = monotonic()
        answer = await call()
        self._log("read", began, monotonic(), method, answer.error_code, answer.error)
        return answer


# The column of each table that carries the token, and its natural key as texts.
TOKEN = {
    "clients": "name",
    "dialog_contexts": "state",
    "services": "title",
    "staff_schedules": "staff_name",
    "companies": "title",
}
KEY = {
    "clients": ("yclients_id", "company_id"),
    "dialog_contexts": ("user_id",),
    "services": ("yclients_id", "company_id"),
    "staff_schedules": ("staff_id", "date"),
    "companies": ("company_id",),
}


def key_of(table: str, row: dict[str, Any]) -> list[str]:
    """The natural key of a row, as texts."""
    return [str(row[column]) for column in KEY[table]]


async def work(bots: Sequence[tuple[DataLayer, Log]], process: int) -> None:
    """Work until SIGTERM, on each data layer, with a log for each."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    writers = []
    for place, (data, log) in enumerate(bots):
        log("ready", monotonic())
        first = (process + 100 * place) * 10
        writers += [asyncio.create_task(Writer(data, log, first + n).work()) for n in range(_TASKS)]
    stop = asyncio.create_task(ended.wait())
    done, _ = await asyncio.wait([stop, *writers], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stop}:
        task.result()  # a writer that ends has raised
    for task in writers:
        task.cancel()
    for task in writers:
        with suppress(asyncio.CancelledError):
            await task


async def main(log: Log, process: int) -> None:
    """Work until SIGTERM, and close."""
    async with open_data_layer() as data:
        await work([(data, log)], process)
    log("closed", monotonic())


if __name__ == "__main__":
    asyncio.run(main(Log(sys.argv[1]), int(sys.argv[2])))
