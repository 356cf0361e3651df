"""Calls of the data layer beside the same statements by hand on psycopg's own pool, and beside the Supabase backend.

All run in one process and one loop, on one server, by turns in short blocks. By hand a row is a dictionary; the data
layer checks its arguments, watches a deadline, keeps count, and gives named tuples in a `Result`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from statistics import median
from time import perf_counter
from typing import Any

from sqlalchemy.dialects import postgresql

from app.embedded.salon import COMPANY_ID
from app.embedded.salon.ids import phone
from app.models import Client, Service
from app.stores.codec.rows import table_of
from benchmarks.bot_stores import Stores, fetch, open_stores
from benchmarks.row import Row, Size, at_least, at_most, by_turns, ratio

_CLIENTS = table_of(Client)
_CLIENT_COLUMNS = ", ".join(_CLIENTS.c.keys())
_BY_PHONE = f"SELECT {_CLIENT_COLUMNS} FROM clients WHERE phone = %s LIMIT 2"
_SERVICES = (
    f"SELECT {', '.join(table_of(Service).c.keys())} FROM services WHERE company_id = %s AND is_active "
    'ORDER BY weight DESC NULLS LAST, title COLLATE "C" NULLS LAST, id'
)
_KEY = ("yclients_id", "company_id")
_STAMPED = "updated_at"
_BATCH = 500
_READERS = 100
_HAND = "psycopg by hand"

Call = Callable[[], Awaitable[object]]


def rows(size: Size) -> Iterator[Row]:
    """A call of one row, the same against Supabase, a list of 500, many readers at once, and a write of 500."""
    with open_stores(clients=size.of(20_000, 1_000), services=545) as stores:
        yield from _one_row(stores, size)
        yield from _list(stores, size)
        yield from _readers(stores, size)
        yield from _batch(stores, size)


def _one_row(stores: Stores, size: Size) -> Iterator[Row]:
    phones = cycle([phone(0, number) for number in range(200, 1_000)])
    data, pool = stores.data, stores.by_hand
    supabase = stores.supabase()
    ways: dict[str, Call] = {
        "data layer": lambda: data.get_client_by_phone(next(phones)),
        _HAND: lambda: fetch(pool, _BY_PHONE, next(phones)),
    }
    what = "`get_client_by_phone`, p50"
    figures = _p50(stores, size.of(15, 2), size.of(100, 20), ways)
    yield at_most(3.5, what, "the same statement by hand on psycopg's own pool, dict rows", figures, *ways)
    ways = {"data layer": ways["data layer"], "Supabase backend": lambda: supabase.get_client_by_phone(next(phones))}
    figures = _p50(stores, size.of(7, 2), size.of(20, 5), ways)
    yield at_least(4, what, "Supabase backend on the same server", figures, *ways)


def _list(stores: Stores, size: Size) -> Iterator[Row]:
    ways: dict[str, Call] = {
        "data layer": lambda: stores.data.get_services(COMPANY_ID),
        _HAND: lambda: fetch(stores.by_hand, _SERVICES, COMPANY_ID),
    }
    ours = stores.run(stores.data.get_services(COMPANY_ID)).data or []
    theirs = stores.run(fetch(stores.by_hand, _SERVICES, COMPANY_ID))
    assert [tuple(row.values()) for row in theirs] == ours, "not the same rows"
    figures = _p50(stores, size.of(15, 2), size.of(10, 3), ways)
    what = f"`get_services` of {len(ours)} rows, p50"
    yield at_most(1.6, what, "psycopg by hand, the same columns, dict rows", figures, *ways)


def _readers(stores: Stores, size: Size) -> Iterator[Row]:
    """Calls per second of a hundred tasks that call without a pause."""
    phones = cycle([phone(0, number) for number in range(200, 1_000)])
    each = size.of(10, 1)
    ways: dict[str, Call] = {
        "data layer": lambda: stores.data.get_client_by_phone(next(phones)),
        _HAND: lambda: fetch(stores.by_hand, _BY_PHONE, next(phones)),
    }

    async def reader(call: Call) -> None:
        for _ in range(each):
            await call()

    async def seconds_a_call(call: Call) -> float:
        began = perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(_READERS):
                group.create_task(reader(call))
        return (perf_counter() - began) / (_READERS * each)

    turns = {name: lambda call=call: stores.run(seconds_a_call(call)) for name, call in ways.items()}
    figures = by_turns(size.of(9, 2), turns)
    share = ratio(figures, _HAND, "data layer")
    rates = {name: 1 / median(seconds) for name, seconds in figures.items()}
    measured = f"{share:.2f}x ({' against '.join(f'{rate:,.0f}/s' for rate in rates.values())})"
    what = f"{_READERS} concurrent readers, calls per second"
    yield Row(what, "psycopg by hand with the same pool", "at least 0.35x", measured, share >= 0.35, figures)


def _batch(stores: Stores, size: Size) -> Iterator[Row]:
    """A transaction of one statement on either side; every row is there already and changes."""
    stored = stores.run(fetch(stores.by_hand, f"SELECT {_CLIENT_COLUMNS} FROM clients ORDER BY id LIMIT {_BATCH}"))
    given = [
        {name: value for name, value in row.items() if name not in {"id", "created_at", _STAMPED}}
        | {"name": row["name"] or "Анна"}
        for row in stored
    ]
    numbers = cycle(range(1_000))
    statement = _upsert([*given[0], _STAMPED])

    def changed() -> list[dict[str, Any]]:
        return [row | {"goods_count": number} for number in [next(numbers)] for row in given]

    async def by_hand(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        now = datetime.now(UTC).replace(tzinfo=None)
        document = json.dumps([row | {_STAMPED: now} for row in batch], default=str, ensure_ascii=False)
        async with stores.by_hand.connection() as connection, connection.transaction():
            return await (await connection.execute(statement, (document,))).fetchall()

    ours = stores.run(stores.data.upsert_clients(changed()))
    theirs = stores.run(by_hand(changed()))
    assert ours.data is not None, ours
    assert {row.yclients_id for row in ours.data} == {row["yclients_id"] for row in theirs}, "not the same rows"
    ways: dict[str, Call] = {
        "data layer": lambda: stores.data.upsert_clients(changed()),
        _HAND: lambda: by_hand(changed()),
    }
    figures = _p50(stores, size.of(11, 1), size.of(4, 1), ways)
    against = "one statement of 500 rows by hand, in a transaction: json_to_recordset, RETURNING, dict rows"
    yield at_most(1.5, f"`upsert_clients` of {_BATCH}, p50", against, figures, *ways)


def _upsert(columns: list[str]) -> str:
    types = {name: _CLIENTS.c[name].type.compile(dialect=postgresql.dialect()) for name in columns}
    return (
        f"INSERT INTO clients ({', '.join(columns)}) SELECT {', '.join(columns)} "
        f"FROM json_to_recordset(%s::json) AS given({', '.join(f'{name} {kind}' for name, kind in types.items())}) "
        f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET "
        f"{', '.join(f'{name} = excluded.{name}' for name in columns if name not in _KEY)} RETURNING {_CLIENT_COLUMNS}"
    )


def _p50(stores: Stores, rounds: int, calls: int, ways: dict[str, Call]) -> dict[str, list[float]]:
    """The median seconds of a call, of each block of calls one after the other."""

    async def block(call: Call) -> float:
        seconds = []
        for _ in range(calls):
            began = perf_counter()
            await call()
            seconds.append(perf_counter() - began)
        return median(seconds)

    for call in ways.values():
        stores.run(block(call))  # connections are made and statements prepared
    return by_turns(rounds, {name: partial(lambda call: stores.run(block(call)), call) for name, call in ways.items()})
