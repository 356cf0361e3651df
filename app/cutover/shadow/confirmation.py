"""Tells a difference between the stores from a row that is merely on its way from one to the other."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.cutover.shadow.diff import AnswerDifference, RowDifference, RowKey, difference, keyed, row_fields
from app.cutover.shadow.settling import Settling
from app.cutover.stages import Stage
from app.errors import DataError, StoreError
from app.stores.backend import Backend
from app.stores.postgres.database import Database
from app.stores.reads import TABLES_READ

_MOST_ROWS = 10  # of one answer are followed up at a time
_FIRST_PAUSE = 0.02  # seconds between rounds
_LONGEST_PAUSE = 0.5

# A row by its natural key. Bookings have no such method, and no method that writes them.
_ROW: dict[str, tuple[str, dict[str, Callable[[str], Any]]]] = {
    "dialog_contexts": ("get_dialog_context", {"user_id": str}),
    "clients": ("get_client_by_id", {"yclients_id": int, "company_id": int}),
    "companies": ("get_company", {"company_id": int}),
    "services": ("get_service_by_id", {"yclients_id": int, "company_id": int}),
    "staff": ("get_staff_by_id", {"staff_id": int, "company_id": int}),
    "staff_schedules": ("get_staff_schedule", {"staff_id": int, "day": date.fromisoformat}),
}


@dataclass(frozen=True, slots=True)
class DoubtfulAnswer:
    """A call, and whom to ask it.

    Attributes:
        authority: the store that is written first.
        other: the one that is compared with it; of the same store, for the noise floor.
        database: where it stands what is on its way; None: nothing can be.
    """

    stage: Stage
    method: str
    arguments: Mapping[str, Any]
    authority: Backend
    other: Backend
    database: Database | None


async def confirm(question: DoubtfulAnswer, found: AnswerDifference) -> AnswerDifference:
    """Ask both stores again until they are the same, or differ for sure; falsy where they are the same.

    A difference is sure when both stores gave it twice, the same both times, and all that was written before the first
    time had arrived before the second. The rows are looked at whole in the authority before and after, by their
    stamps, so that a value that went and came back in between is noticed. The caller sees to it that this ends.

    Raises:
        UnsettledError: it cannot be known.
        DataError: a store cannot be asked.
    """
    pause = _FIRST_PAUSE
    tried: Counter[RowKey] = Counter()
    while True:
        keys = await _next_rows(question, found, tried)
        tried.update(keys)
        again, sure = await _once_more(question, found, keys)
        if not again or sure:
            return sure
        found = again
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _next_rows(question: DoubtfulAnswer, found: AnswerDifference, tried: Counter[RowKey]) -> list[RowKey]:
    """Those to follow up next: such as are not on their way, if there are any, and such as had no turn yet."""
    keys = sorted((row.key for row in found.rows), key=tried.__getitem__)
    if question.database is not None and len(keys) > _MOST_ROWS:
        on_their_way = await Settling(question.database, keys, (), ()).on_their_way()
        keys = [key for key in keys if key not in on_their_way] or keys
    return keys[:_MOST_ROWS]


async def _once_more(
    question: DoubtfulAnswer, found: AnswerDifference, keys: Sequence[RowKey]
) -> tuple[AnswerDifference, AnswerDifference]:
    """What differs now, and what of it is sure, of the rows with these keys."""
    tables = TABLES_READ[question.method]
    # "Now" at a company is by its time zone: every booking of the answer goes by that row.
    shared = [RowKey("companies", (str(question.arguments["company_id"]),))] if "bookings" in tables[:-1] else []
    # An error, or an order, may be owed to rows that are in neither answer.
    whole = tables if found.others else ()
    settling = None
    if question.database is not None:
        settling = Settling(question.database, [*keys, *shared], whole, tables)
        await settling.begin(question.stage)
    rows_before = [await _row(question.authority, key) for key in [*keys, *shared]]
    asked = question.method, question.arguments
    first = await _answer(question.authority, *asked), await _answer(question.other, *asked)
    unsettled = await settling.arrived() if settling is not None else set()
    other = await _answer(question.other, *asked)
    second = await _answer(question.authority, *asked), other
    again = difference(*second, question.arguments)
    if not again:
        return again, again
    missing = [row.key for row in again.rows if row.is_missing and row.key in keys]
    theirs = {key: await _row(question.other, key) for key in missing}
    rows_after = [await _row(question.authority, key) for key in [*keys, *shared]]
    stood = settling is None or await settling.stood()
    pairs = zip([*keys, *shared], rows_before, rows_after, strict=True)
    moved = unsettled | {key for key, before, after in pairs if difference(before, after, {})}
    if moved & set(shared):
        return again, AnswerDifference()
    held = [_rows_of(answer, question.arguments) for answer in (*first, *second)]
    sure = [
        row
        for row in again.rows
        if row.key in keys
        and row.key not in moved
        and not row_fields(held[0].get(row.key), held[2].get(row.key))
        and not row_fields(held[1].get(row.key), held[3].get(row.key))
    ]
    if again.is_cut and len(sure) < len(again.rows):
        sure = [row for row in sure if not row.is_missing]  # one of the others may have pushed it out
    ours = dict(zip(keys, rows_after, strict=False))
    sure = _explained(sure, {key: (ours[key], row) for key, row in theirs.items()})
    is_same = not any(difference(*both, question.arguments) for both in zip(first, second, strict=True))
    others = again.others if whole and stood and is_same and not moved else ()
    return again, AnswerDifference(tuple(sure), others, again.is_cut)


def _explained(sure: list[RowDifference], whole: Mapping[RowKey, tuple[Any, Any]]) -> list[RowDifference]:
    """Rows that an answer lacks, told by the columns that keep them out of it, as far as both stores have the row.

    Those that are the same in both stores made room for one of the others.
    """
    found = []
    for row in sure:
        left, right = whole.get(row.key, (None, None))
        if left is None or right is None or isinstance(left, DataError) or isinstance(right, DataError):
            found.append(row)
        elif fields := row_fields(left, right):
            found.append(RowDifference(row.key, left, right, fields))
    return found or sure


async def _answer(store: Backend, method: str, arguments: Mapping[str, Any]) -> object:
    """What a store answers; an error that is an answer too is returned.

    Raises:
        StoreError: the store could not answer.
    """
    try:
        return await store.read(method, arguments)
    except StoreError:
        raise
    except DataError as error:
        return error


async def _row(store: Backend, key: RowKey) -> object:
    """A whole row, with its stamps; None where there is no way to ask for one."""
    if key.table not in _ROW or str(None) in key.key:  # a row without a company is no method's
        return None
    method, parts = _ROW[key.table]
    arguments = {name: of_text(text) for (name, of_text), text in zip(parts.items(), key.key, strict=False)}
    return await _answer(
        store, method, {**arguments, "company_id": None} if method == "get_staff_schedule" else arguments
    )


def _rows_of(answer: object, arguments: Mapping[str, Any]) -> dict[RowKey, Any]:
    return {} if isinstance(answer, DataError) else keyed(answer, arguments)
