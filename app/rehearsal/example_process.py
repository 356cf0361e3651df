"""A process of a bot, as a rehearsal runs several: it reads what the salon holds, and writes rows of its own.

    python -m app.rehearsal.example_process NUMBER LOG

It works by the settings of its environment until its standard input is closed, as it is when the rehearsal ends or is
killed. Each line of LOG is a JSON array, without a value of the salon's: ["ready"], ["write", table, key, number] for a
write that was acknowledged, whose row then holds this number, ["failed", method, error code], and ["closed"].
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

from app.data_layer import DataLayer, Result, open_data_layer
from app.errors import StoreError
from app.parity.check import open_stores
from app.parity.reads import Call, reading_calls
from app.parity.samples import take_samples
from app.settings import load_settings

COMPANY = 2_147_480_022  # near the end of the integer range, where no YClients id is
USERS = "botdata-rehearsal-"
_SAMPLED = 4  # records of each table
_KEYS = 5  # of each kind, that a process writes
_PAUSE = 0.05  # seconds between two calls, on average
_WRITES = 0.3  # share of the calls
# What the store, and not the call, is to blame for.
_FAILURES = {StoreError.code, *(kind.code for kind in StoreError.__subclasses__())}


def row_of(table: str, process: int, key: int, count: int) -> dict[str, Any]:
    """The row that a process writes for the `count`th time; the number is in `state`, or in `name`."""
    if table == "dialog_contexts":
        return {"user_id": f"{USERS}{process}-{key}", "company_id": COMPANY, "state": str(count), "data": {"n": count}}
    phone = f"+7 900 000-{process:02}-{key:02}"
    return {"yclients_id": process * 1000 + key, "company_id": COMPANY, "phone": phone, "name": str(count)}


async def _work(data: DataLayer, reads: list[Call], process: int, log: Callable[..., None]) -> None:
    def failed(method: str, answer: Result[Any]) -> bool:
        if answer.error_code in _FAILURES:
            log("failed", method, answer.error_code)
        return not answer.success

    chance = random.Random(process)  # noqa: S311 - the same calls in each rehearsal
    count = place = 0
    by_method: dict[str, list[Call]] = {}
    for call in reads:
        by_method.setdefault(call.method, []).append(call)
    methods = list(by_method)
    company = {"company_id": COMPANY, "title": "botdata rehearsal: made up", "timezone": "Europe/Moscow"}
    failed("upsert_company", await data.upsert_company(company))
    while True:
        await asyncio.sleep(chance.uniform(0, 2 * _PAUSE))
        if chance.random() < _WRITES:
            count += 1
            table = chance.choice(["dialog_contexts", "clients"])
            key = chance.randrange(_KEYS)
            row = row_of(table, process, key, count)
            method = "upsert_dialog_context" if table == "dialog_contexts" else "upsert_client"
            if not failed(method, await getattr(data, method)(row)):
                log("write", table, str(row.get("user_id", row.get("yclients_id"))), count)
        else:
            call = chance.choice(by_method[methods[place % len(methods)]])
            place += 1
            failed(call.method, await getattr(data, call.method)(*call.arguments, **call.options))


async def main(process: int, path: str) -> None:
    """Work until standard input ends."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def log(*line: object) -> None:
        os.write(file, json.dumps(line).encode() + b"\n")

    settings = load_settings(None)
    async with open_stores(settings) as stores:
        reads = list(reading_calls(await take_samples(*stores, _SAMPLED)))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)  # nothing is ever sent: readable means closed
    async with open_data_layer(settings) as data:
        log("ready")
        working = asyncio.create_task(_work(data, reads, process, log))
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        asyncio.get_running_loop().remove_reader(0)
        ending.cancel()
        working.cancel()
        outcomes = await asyncio.gather(working, ending, return_exceptions=True)
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]
    log("closed")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
