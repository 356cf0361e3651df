"""Asking both stores the same, and whether the answers are: counts and times by method, and the first difference."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import median
from time import perf_counter
from typing import Any

from app.common.background import end_all
from app.cutover.shadow.value_diff import ValueDifference, value_differences
from app.data_layer import DataLayer, Result
from app.errors import StoreError, StoreTimeoutError, UnavailableError
from app.parity.reads import Call
from app.privacy import mask_phones

# Two stores that fail alike prove nothing: these answers are never equal.
_FAILURES = {StoreError.code, *(kind.code for kind in StoreError.__subclasses__())}
_SILENT = {UnavailableError.code, StoreTimeoutError.code}
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(slots=True)
class MethodParity:
    """One method's counts.

    Attributes:
        first_difference: the first call that was answered differently (phones masked) and the fields that differ.
        supabase_seconds, postgresql_seconds: of each call that both stores answered with success.
    """

    method: str
    equal: int = 0
    different: int = 0
    first_difference: str | None = None
    supabase_seconds: list[float] = field(default_factory=list)
    postgresql_seconds: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Calls compared."""
        return self.equal + self.different

    @property
    def p50(self) -> tuple[float, float] | None:
        """Median seconds of Supabase and of PostgreSQL; None when no call was answered with success."""
        if not self.supabase_seconds:
            return None
        return median(self.supabase_seconds), median(self.postgresql_seconds)


class Comparison:
    """Asks both data layers the same and keeps the counts by method.

    Attributes:
        unanswered: answers that differ since a store gave none, which says nothing of its rows.
        stage_moves: whether a command has moved the stage of a cutover.
    """

    def __init__(self, supabase: DataLayer, postgresql: DataLayer) -> None:
        self._supabase = supabase
        self._postgresql = postgresql
        self.methods: dict[str, MethodParity] = {}
        self.unanswered = 0
        self.stage_moves = False

    @property
    def all_equal(self) -> bool:
        """Whether every answer compared so far was equal, and there was one."""
        return bool(self.methods) and not any(method.different for method in self.methods.values())

    async def close(self) -> None:
        """Close both data layers."""
        await end_all(self._supabase.close, self._postgresql.close)

    async def run(self, calls: Iterable[Call], *, reading: bool) -> None:
        """Carry the calls out, one after the other.

        Args:
            reading: the stores hold the same rows; an answer that differs is read again on both sides before it
                counts, since rows may change in between. False: each store made the rows, and their ids, itself.
        """
        for call in calls:
            method = self.methods.setdefault(call.method, MethodParity(call.method))
            found, is_answered = await self._compare(call, method, reading=reading)
            if found and reading:
                found, is_answered = await self._compare(call, None, reading=reading)
            if not found:
                method.equal += 1
                continue
            method.different += 1
            self.unanswered += not is_answered
            if method.first_difference is None:
                method.first_difference = f"{_shown(call)}: {', '.join(found[:5])}"

    async def _compare(self, call: Call, method: MethodParity | None, *, reading: bool) -> tuple[list[str], bool]:
        """Where the answers differ, and whether both stores gave one."""
        theirs, supabase_seconds = await _ask(self._supabase, call)
        ours, postgresql_seconds = await _ask(self._postgresql, call)
        # Bad input is refused before any store is asked: its time says nothing about them.
        if method is not None and theirs.success and ours.success:
            method.supabase_seconds.append(supabase_seconds)
            method.postgresql_seconds.append(postgresql_seconds)
        failed = [
            f"{store} answered {answer.error_code}"
            for store, answer in (("Supabase", theirs), ("PostgreSQL", ours))
            if answer.error_code in _FAILURES
        ]
        is_answered = _SILENT.isdisjoint({theirs.error_code, ours.error_code})
        return failed or differences(theirs, ours, None if reading else call.arguments), is_answered


async def _ask(data: DataLayer, call: Call) -> tuple[Result[Any], float]:
    began = perf_counter()
    answer = await getattr(data, call.method)(*call.arguments, **call.options)
    return answer, perf_counter() - began


def _shown(call: Call) -> str:
    """The call with what identifies people masked: phone numbers, and everything but the size of rows."""
    words = [_masked(call.method, argument) for argument in call.arguments]
    words += [f"{name}={_masked(call.method, value)}" for name, value in call.options.items()]
    return f"{call.method}({', '.join(words)})"


def _masked(method: str, argument: object) -> str:
    """Ids and dates stay as they are: only a text can hold a phone, or a number where a phone is asked for."""
    match argument:
        case dict():
            return f"<{len(argument)} columns>"
        case list():
            return f"<{len(argument)} rows>"
        case str():
            return repr(argument if _ISO_DATE.fullmatch(argument) else mask_phones(argument))
        case int() if method == "get_client_by_phone":
            return mask_phones(str(argument))
    return str(argument)


_TIMED = frozenset({"response_time"})  # what a health check says of its time, and no column is called


def differences(left: Result[Any], right: Result[Any], arguments: Sequence[Any] | None = None) -> list[str]:
    """Where two answers to one call differ, as paths such as `data[3].total_spent`; empty when they are the same.

    Values must be equal and of one type; NaN equals NaN. Messages and timestamps are not compared, nor is the time that
    a health check took.

    Args:
        arguments: those of the call. With them, columns that a store fills by itself (ids, and defaults from its
            clock, as the models say) are compared by type only, unless a row among the arguments gives them. Without
            them everything is compared, as between a store and its copy.
    """
    found: list[ValueDifference] = []
    for name in ("success", "error_code", "operation"):
        found += value_differences(name, getattr(left, name), getattr(right, name))
    found += value_differences("metadata", _timeless(left), _timeless(right))
    filled = _TIMED if arguments is None else _store_filled() | _TIMED
    given = next((argument for argument in arguments or () if isinstance(argument, (Mapping, list, tuple))), {})
    if not (isinstance(left.data, list) and isinstance(right.data, list)):
        found += value_differences("data", left.data, right.data, _without(filled, given))
        return [difference.path for difference in found]
    if len(left.data) != len(right.data):
        return [*[difference.path for difference in found], "data (length)"]
    per_row = isinstance(given, (list, tuple)) and len(given) == len(left.data)
    for index, (one, other) in enumerate(zip(left.data, right.data, strict=True)):
        free = _without(filled, given[index] if per_row else {})
        found += value_differences(f"data[{index}]", one, other, free)
    return [difference.path for difference in found]


def _timeless(answer: Result[Any]) -> Mapping[str, Any]:
    timed = _TIMED if answer.operation == "health_check" else frozenset()
    return {name: value for name, value in answer.metadata.items() if name not in timed}


@cache
def _store_filled() -> frozenset[str]:
    from app import models

    tables = models.Base.metadata.tables.values()
    return frozenset(column.name for table in tables for column in table.columns if models.store_filled(column))


def _without(names: frozenset[str], row: Any) -> frozenset[str]:
    return names - row.keys() if isinstance(row, Mapping) else names
