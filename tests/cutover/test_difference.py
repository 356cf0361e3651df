"""Two answers held against each other: strictly, and without keeping the callers waiting."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.cutover.shadow.diff import are_the_same, difference
from app.errors import AmbiguousError
from app.stores.backend import Upcoming
from app.stores.codec.rows import ServiceRow

ARGUMENTS = {"company_id": 5}


def service(number: int, **given: Any) -> ServiceRow:
    empty = dict.fromkeys(ServiceRow._fields)
    return ServiceRow(
        **{**empty, "id": number, "yclients_id": number, "company_id": 5, "title": f"Cut {number}", **given}
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        (Decimal("1.0"), Decimal("1.0"), True),
        (Decimal("1.0"), Decimal("1.00"), False),
        (Decimal("NaN"), Decimal("NaN"), True),
        (Decimal(1), 1, False),
        (1, True, False),
        ({"a": [1, None], "b": "x"}, {"b": "x", "a": [1, None]}, True),
        ({"a": [1]}, {"a": [1.0]}, False),
        ({"a": [1]}, {"a": [True]}, False),
        (None, {}, False),
    ],
)
@pytest.mark.parametrize("others", [0, 120])
async def test_values_of_one_type(left: object, right: object, is_same: bool, others: int) -> None:
    one, other = ([*map(service, range(others)), service(999, raw_data=value)] for value in (left, right))
    assert bool(difference(one, other, ARGUMENTS)) is not is_same
    assert is_same or not await are_the_same(one, other)


async def test_answers_of_other_forms() -> None:
    rows = [service(1), service(2)]
    assert await are_the_same(rows, [service(1), service(2)])
    assert not await are_the_same(rows, rows[::-1])
    assert not await are_the_same(rows, rows[:1])
    assert await are_the_same(None, None)
    assert not await are_the_same(rows[0], None)
    assert not await are_the_same(None, rows[0])
    assert not await are_the_same(AmbiguousError("several"), None)
    assert await are_the_same(Upcoming([], False), Upcoming([], False))  # type: ignore[arg-type]
    assert not await are_the_same(Upcoming([], False), Upcoming([], True))  # type: ignore[arg-type]


async def test_a_long_answer_leaves_turns_to_the_callers() -> None:
    turns = 0

    async def calls() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    calling = asyncio.create_task(calls())
    assert await are_the_same([*map(service, range(500))], [*map(service, range(500))])
    calling.cancel()
    assert turns >= 9
