"""100,000 generated inputs to the 21 methods, each asked of both backends: never an exception, always the same answer.

Input number n is the same in every run with one seed, so that `--only generated_calls --seed SEED` repeats it. Inputs
go in lanes side by side, each with rows of its own; in a lane they go one after the other.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from app.data_layer import DataLayer, Result
from app.data_layer.sameness import differences
from app.data_layer.stores import open_repository, open_supabase
from app.parity.reads import Call
from app.settings import Settings
from tests.chaos.both_stores import BothStores
from tests.chaos.call_inputs import METHODS, Lane
from tests.chaos.listening import listening
from tests.chaos.scenario import Chaos, Outcome, Scenario
from tests.contract.stores import Clock

_FULL = 100_000
_LANES = 16
_LOGGED = 200  # inputs with everything logged; more would only take time
_EXACT = 50  # every so many inputs, one that lite would change: for PostgreSQL alone, compared with itself
_SHOWN = 20
# Checked input never fails like this; and two stores that fail alike prove nothing.
_ALLOWED = {None, "invalid_argument", "invalid_phone", "duplicate_in_batch", "ambiguous", "conflict"}
_REFUSED = {"invalid_argument", "invalid_phone", "duplicate_in_batch"}


@dataclass
class _Run:
    """The counts of one run."""

    chaos: Chaos
    layers: list[DataLayer]
    outcome: Outcome = field(default_factory=Outcome)
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
        answers = await asyncio.gather(*[self._ask(layer, call) for layer in self.layers])
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
        same_words = [] if theirs.error == ours.error or different else [f"{theirs.error!r} and {ours.error!r}"]
        return failed or different or same_words

    async def _ask_one(self, call: Call) -> list[str]:
        answer = await self._ask(self.layers[1], call)
        if isinstance(answer, BaseException):
            return [f"raised {answer!r}"]
        self.reached += 1
        if not answer.success:
            return [f"answered {answer.error_code}: {answer.error}"]
        (column, given), *_ = [(name, given) for name, given in call.arguments[0].items() if name in _JSON]
        return [] if _same_json(getattr(answer.data, column), given) else [f"{column} came back as another value"]

    async def _ask(self, layer: DataLayer, call: Call) -> Any:
        try:
            answer: Result[Any] = await getattr(layer, call.method)(*call.arguments, **call.options)
            said = f"{answer!r} {answer.error}"
        except Exception as error:
            answer, said = error, repr(error)
        self.chaos.transcript.record(f"generated_calls: {call.method}", said)
        return answer


_JSON = ("visit_history", "preferences", "ai_context", "goods_purchases")


def _same_json(stored: object, given: object) -> bool:
    """Equal, but that jsonb has no order of keys and no negative zero; a whole float may come back as an integer."""
    return json.dumps(stored, sort_keys=True, default=str) == json.dumps(given, sort_keys=True) or stored == given


def _as_expected(answer: Result[Any]) -> bool:
    return answer.error_code in _ALLOWED and answer.success == (answer.error_code is None)


def _shown(call: Call) -> str:
    try:
        return f"{call.method}{call.arguments!r:.600}{call.options!r:.200}"
    except (ValueError, RecursionError):
        return f"{call.method} with what cannot be printed"


def run(chaos: Chaos) -> Outcome:
    """Start both stores, ask everything, and look at what is in them."""
    with ExitStack() as exits:
        stores = exits.enter_context(BothStores.start(chaos.directory, _LANES))
        before = stores.catalogs(), stores.bystanders()
        total = chaos.of(_FULL)
        outcome, told = asyncio.run(_ask_all(chaos, stores.settings, total))
        if stores.catalogs() != before[0]:
            outcome.wrong.append(f"the schema is another after {total} inputs of seed {chaos.seed}")
        changed = [sorted(b - a) for a, b in zip(stores.bystanders(), before[1], strict=True)]
        for rows in changed:
            outcome.lost += len(rows)
            outcome.wrong += [f"a row that no call named was changed: {row[:200]}" for row in rows[:3]]
        theirs, ours = stores.written()
        for row in sorted(theirs ^ ours)[:6]:
            outcome.wrong.append(f"only in {'Supabase' if row in theirs else 'PostgreSQL'}: {row[:400]}")
    print(told, flush=True)  # noqa: T201 - how much of it was more than a refusal
    return outcome


async def _ask_all(chaos: Chaos, settings: Settings, total: int) -> tuple[Outcome, str]:
    layers = [DataLayer(await opened(settings), settings, clock=Clock()) for opened in (open_supabase, open_repository)]
    state = _Run(chaos, layers)
    try:
        with listening(chaos.transcript, "generated_calls") as noises:
            logged = min(_LOGGED, total)
            with noises.everything_logged():
                await _lanes(state, 0, logged)
            await _lanes(state, logged, total)
    finally:
        for layer in layers:
            await layer.close()
    state.outcome.wrong += noises.found
    unasked = set(METHODS) - set(state.asked)
    if unasked:
        state.outcome.wrong.append(f"never asked: {', '.join(sorted(unasked))}")
    if state.reached * 2 < total:
        state.outcome.wrong.append(f"only {state.reached} of {total} inputs reached the stores")
    told = ", ".join(f"{code or 'success'} {count:,}" for code, count in state.codes.most_common())
    return state.outcome, f"  generated_calls: {state.reached:,} of {total:,} reached the stores ({told})"


async def _lanes(state: _Run, first: int, end: int) -> None:
    lanes = [range(first + (lane - first) % _LANES, end, _LANES) for lane in range(_LANES)]
    await asyncio.gather(*[state.lane(lane, inputs) for lane, inputs in enumerate(lanes)])


SCENARIO = Scenario(
    "generated_calls",
    "generated inputs to the 21 methods on both backends (about nine in ten reach the stores)",
    run,
)
