"""100,000 generated inputs to the 21 methods, each asked of both backends: never an exception, always the same answer.

Input number n is the same in every run with one seed, so that `--only generated_calls --seed SEED` repeats it. Inputs
go in lanes side by side, each with rows of its own; in a lane they go one after the other.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing import get_context
from typing import Any, NamedTuple

from app.data_layer import DataLayer, Result
from app.data_layer.store_wiring import open_repository, open_supabase
from app.parity.comparison import differences
from app.parity.reads import Call
from app.settings import Settings
from tests.chaos.both_stores import BothStores
from tests.chaos.call_inputs import METHODS, Lane
from tests.chaos.listening import listening
from tests.chaos.progress import progress
from tests.chaos.scenario import Chaos, Outcome, Scenario
from tests.contract.stores import Clock

_FULL = 100_000
_LANES = 16
_LOGGED = 200  # inputs with everything logged; more would only take time
_EXACT = 50  # every so many inputs, one that lite would change: for PostgreSQL alone, compared with itself
_SHOWN = 20
_CONSTRAINT = re.compile(r" \(\w+\)(?= \[SQLSTATE 23)")  # PostgREST tells its name in a message alone, beside values
_WORTH_TWO = 4_000  # inputs: from here on a second process saves more than its start takes
# Checked input never fails like this; and two stores that fail alike prove nothing.
_ALLOWED = {None, "invalid_argument", "invalid_phone", "duplicate_in_batch", "ambiguous", "conflict"}
_REFUSED = {"invalid_argument", "invalid_phone", "duplicate_in_batch"}


@dataclass
class _Run:
    """The counts of one run."""

    chaos: Chaos
    layers: list[DataLayer]
    outcome: Outcome
    reached: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    codes: Counter[str | None] = field(default_factory=Counter)

    async def lane(self, number: int, inputs: range) -> None:
        """Ask what falls to one lane."""
        lane = Lane(number)
        for n in inputs:
            chance = self.chaos.chance("input", n)
            if n % _EXACT == 0:
                call = lane.exact(chance, n)
                found = await self._ask_one(call)
            else:
                call = lane.call(chance)
                found = await self._ask_both(call)
            self.outcome.injected += 1
            self.asked[call.method] += 1
            if not found:
                self.outcome.survived += 1
            elif len(self.outcome.wrong) < _SHOWN:
                self.outcome.wrong.append(f"input {n} of seed {self.chaos.seed}: {_shown(call)}: {'; '.join(found)}")

    async def _ask_both(self, call: Call) -> list[str]:
        answers = await asyncio.gather(*[self._answer(layer, call) for layer in self.layers])
        raised = [f"raised {answer!r}" for answer in answers if isinstance(answer, BaseException)]
        if raised:
            return raised
        theirs, ours = answers
        self.codes[ours.error_code] += 1
        self.reached += ours.error_code not in _REFUSED
        failed = [f"answered {answer.error_code}: {answer.error}" for answer in answers if not _as_expected(answer)]
        different = differences(theirs, ours, call.arguments or ())
        if different and not failed:
            different = [*different[:5], f"{theirs.error_code} and {ours.error_code}"]
        words = [answer.error and _CONSTRAINT.sub("", answer.error) for answer in answers]
        same_words = [] if words[0] == words[1] or different else [f"{theirs.error!r} and {ours.error!r}"]
        return failed or different or same_words

    async def _ask_one(self, call: Call) -> list[str]:
        answer = await self._answer(self.layers[1], call)
        if isinstance(answer, BaseException):
            return [f"raised {answer!r}"]
        self.reached += 1
        if not answer.success:
            return [f"answered {answer.error_code}: {answer.error}"]
        (column, given), *_ = [(name, given) for name, given in call.arguments[0].items() if name in _JSON]
        return [] if _same_json(getattr(answer.data, column), given) else [f"{column} came back as another value"]

    async def _answer(self, layer: DataLayer, call: Call) -> Any:
        try:
            answer: Result[Any] = await getattr(layer, call.method)(*call.arguments, **call.options)
            said = f"{answer!r} {answer.error}"
        except Exception as error:
            answer, said = error, repr(error)
        self.chaos.transcript.record(f"generated_calls: {call.method}", said)
        return answer


class _Part(NamedTuple):
    """What a process made of its lanes."""

    outcome: Outcome
    reached: int
    asked: Counter[str]
    codes: Counter[str | None]
    lines: int
    leaks: list[str]


_JSON = ("visit_history", "preferences", "ai_context", "goods_purchases")


def _same_json(stored: object, given: object) -> bool:
    """Equal to the digit, but that jsonb has no order of keys, no exponents and no negative zero."""
    return _exactly(stored) == _exactly(given)


def _exactly(document: object) -> object:
    return json.loads(json.dumps(document), parse_int=Decimal, parse_float=Decimal)


def _as_expected(answer: Result[Any]) -> bool:
    return answer.error_code in _ALLOWED and answer.success == (answer.error_code is None)


def _shown(call: Call) -> str:
    try:
        return f"{call.method}{call.arguments!r:.600}{call.options!r:.200}"
    except (ValueError, RecursionError):
        return f"{call.method} with what cannot be printed"


def run(chaos: Chaos) -> None:
    """Start both stores, ask everything, and look at what is in them."""
    outcome, total = chaos.outcome, chaos.of(_FULL)
    asked: Counter[str] = Counter()
    codes: Counter[str | None] = Counter()
    reached = 0
    with BothStores.start(chaos.directory, _LANES) as stores:
        before = stores.catalogs(), stores.bystanders()
        for part in _in_parts(chaos, stores.settings, total):
            outcome.injected += part.outcome.injected
            outcome.survived += part.outcome.survived
            outcome.wrong += part.outcome.wrong
            asked += part.asked
            codes += part.codes
            reached += part.reached
        if stores.catalogs() != before[0]:
            outcome.wrong.append(f"the schema is another after {total} inputs of seed {chaos.seed}")
        changed = [sorted(b - a) for a, b in zip(stores.bystanders(), before[1], strict=True)]
        for rows in changed:
            outcome.lost += len(rows)
            outcome.wrong += [f"a row that no call named was changed: {row[:200]}" for row in rows[:3]]
        theirs, ours = stores.written()
    for row in sorted(theirs ^ ours)[:6]:
        outcome.wrong.append(f"only in {'Supabase' if row in theirs else 'PostgreSQL'}: {row[:400]}")
    if unasked := set(METHODS) - set(asked):
        outcome.wrong.append(f"never asked: {', '.join(sorted(unasked))}")
    if reached * 2 < total:
        outcome.wrong.append(f"only {reached} of {total} inputs reached the stores")
    told = ", ".join(f"{code or 'success'} {count:,}" for code, count in codes.most_common())
    print(f"  generated_calls: {reached:,} of {total:,} reached the stores ({told})", flush=True)  # noqa: T201


def _in_parts(chaos: Chaos, settings: Settings, total: int) -> list[_Part]:
    """What came of the inputs; many are shared by two processes, a half of the lanes each."""
    if total < _WORTH_TWO:
        parts = [_ask_all(chaos, settings, total, range(_LANES), Outcome())]
    else:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
            halves = [range(half, _LANES, 2) for half in range(2)]
            asking = [processes.submit(_ask_half, chaos, settings, total, lanes) for lanes in halves]
            parts = [each.result() for each in asking]
        for part in parts:
            chaos.transcript.lines += part.lines
            chaos.transcript.leaks += part.leaks
    return parts


def _ask_half(chaos: Chaos, settings: Settings, total: int, lanes: range) -> _Part:
    """In a process of its own, which says for itself how far it is; the outcome there is nobody else's."""
    with progress(f"generated_calls, process {lanes.start + 1} of 2", chaos.outcome):
        return _ask_all(chaos, settings, total, lanes, chaos.outcome)


def _ask_all(chaos: Chaos, settings: Settings, total: int, lanes: range, outcome: Outcome) -> _Part:
    already = chaos.transcript.lines, len(chaos.transcript.leaks)
    run = asyncio.run(_ask(chaos, settings, total, lanes, outcome))
    said = chaos.transcript
    return _Part(run.outcome, run.reached, run.asked, run.codes, said.lines - already[0], said.leaks[already[1] :])


async def _ask(chaos: Chaos, settings: Settings, total: int, lanes: range, outcome: Outcome) -> _Run:
    layers = [DataLayer(await opened(settings), settings, clock=Clock()) for opened in (open_supabase, open_repository)]
    state = _Run(chaos, layers, outcome)
    try:
        with listening(chaos.transcript, "generated_calls") as noises:
            logged = min(_LOGGED, total)
            with noises.everything_logged():
                await _lanes(state, lanes, 0, logged)
            await _lanes(state, lanes, logged, total)
    finally:
        for layer in layers:
            await layer.close()
    state.outcome.wrong += noises.found
    return state


async def _lanes(state: _Run, lanes: range, first: int, end: int) -> None:
    """Ask what falls to the lanes of the inputs from `first` on; each lane goes on for itself."""
    inputs = [range(first + (lane - first) % _LANES, end, _LANES) for lane in lanes]
    await asyncio.gather(*[state.lane(lane, mine) for lane, mine in zip(lanes, inputs, strict=True)])


SCENARIO = Scenario(
    "generated_calls",
    "generated inputs to the 21 methods on both backends, two in three past the checks; answers and rows compared",
    run,
)
