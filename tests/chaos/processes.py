"""Commands that are killed, or told to stop, at random moments of their work; then the same command again."""

from __future__ import annotations

import random
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from app.embedded import EmbeddedPostgres
from tests.chaos.moments import ENDED, Fell, Moment, end_at
from tests.chaos.process_kinds import KINDS, Kind
from tests.chaos.process_stage import Stage
from tests.chaos.scenario import Chaos, Outcome, Scenario
from tests.chaos.transcript import PASSWORD
from tests.support.relay import Relay

_FULL = 200
_LEAST = 6
_WORKERS = 6  # since most of a run is waiting
# Seconds that each statement is held back, so that most of a run is spent between statements: a moment falls there.
_HELD_BACK = 0.01
_INTERRUPTED = 130
_STOPPED = re.compile(r"^Stopped\.|^botdata\b.* stopped: ", re.MULTILINE)
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)


def run(chaos: Chaos) -> None:
    """Until enough signals have reached a command that had not ended by itself."""
    outcome, fell, wanted = chaos.outcome, Counter[str](), chaos.of(_FULL, _LEAST)
    every = wanted >= len(KINDS)
    kinds = KINDS if every else KINDS[:_LEAST]
    with (
        EmbeddedPostgres.start(chaos.directory / "postgres", durable=False) as postgres,
        _slow_way(postgres) as slow,
        Stage(chaos, kinds, _Server(postgres), _Server(postgres), slow_address=slow) as stage,
        ThreadPoolExecutor(_WORKERS) as workers,
    ):
        if every:
            stage.measure(workers.map)
        numbers = count()
        while outcome.injected < wanted:
            least = -(-(wanted - outcome.injected) // 2)  # a trial has up to three signals
            trials = [(number, kinds[number % len(kinds)]) for number, _ in zip(numbers, range(least), strict=False)]
            for trial in workers.map(lambda t: _trial(chaos, stage, *t), trials):
                outcome.injected += trial.injected
                outcome.survived += trial.survived
                outcome.lost += trial.lost
                outcome.wrong += trial.wrong
                fell.update(trial.fell)
        outcome.wrong += stage.left_at_source()
    print("  processes:", ", ".join(f"{n} {where}" for where, n in sorted(fell.items())), flush=True)  # noqa: T201


@dataclass(frozen=True)
class _Server:
    """Both ends on one, which is never disturbed itself."""

    postgres: EmbeddedPostgres

    def url(self, database: str = "postgres") -> str:
        return self.postgres.url(database)

    def address(self, database: str) -> str:
        return self.url(database).replace("postgres@", f"postgres:{PASSWORD}@", 1)


@contextmanager
def _slow_way(postgres: EmbeddedPostgres) -> Iterator[Callable[[str], str]]:
    """Addresses of databases by way of a relay that holds each statement back."""
    with Relay(str(postgres.socket_directory / ".s.PGSQL.5432")) as relay:
        relay.slow(_HELD_BACK)
        yield lambda database: f"postgresql://postgres:{PASSWORD}@127.0.0.1:{relay.port}/{database}"


class _Trial(Outcome):
    """One place, its signals, and what came of them."""

    def __init__(self) -> None:
        super().__init__()
        self.fell: Counter[str] = Counter()


def _trial(chaos: Chaos, stage: Stage, number: int, kind: Kind) -> _Trial:
    trial = _Trial()
    try:
        _carry_out(trial, stage, number, kind, chaos.chance("processes", number))
    except AssertionError as error:
        trial.wrong.append(str(error))
    trial.survived = 0 if trial.wrong or trial.lost else trial.injected
    trial.wrong = [f"{kind.name}, trial {number} of seed {chaos.seed}: {line}" for line in trial.wrong]
    return trial


def _carry_out(trial: _Trial, stage: Stage, number: int, kind: Kind, chance: random.Random) -> None:
    with stage.place(kind, number) as place:
        for _ in range(chance.choice((1, 1, 2, 3))):
            moment = _moment(chance)
            fell = end_at(place.slow_botdata, place.target, moment, stage.lengths(kind), *place.words)
            trial.fell[f"{fell.where} of {kind.name}"] += 1
            trial.injected += fell.where != ENDED
            trial.wrong += _ended_so(fell, moment, kind) + place.between()
        again = place.botdata(*place.words)
        if again.code != kind.code:
            trial.wrong.append(f"the same command again: exit code {again.code}, not {kind.code}: {again.out[-600:]}")
        lost, wrong = place.after()
        trial.lost += lost
        trial.wrong += wrong


def _moment(chance: random.Random) -> Moment:
    return Moment(chance.random(), chance.random() > 0.08, chance.random() < 0.4, chance.choice(_SIGNALS))


def _ended_so(fell: Fell, moment: Moment, kind: Kind) -> list[str]:
    """What is wrong with how it ended."""
    code = fell.done.code
    by_itself = code == kind.code and not _STOPPED.search(fell.done.out)  # the signal came too late for it
    if fell.where == ENDED or by_itself:
        return [] if code == kind.code else [f"it ended by itself with exit code {code}: {fell.done.out[-600:]}"]
    if moment.with_signal == signal.SIGKILL:
        return [] if code == -signal.SIGKILL else [f"exit code {code} after kill -9"]
    if code == _INTERRUPTED and "Stopped." in fell.done.out:
        return []
    # Before the program's first line Python's own handling holds.
    return [] if not moment.at_work and code == -signal.SIGTERM else [f"exit code {code}: {fell.done.out[-600:]}"]


SCENARIO = Scenario(
    "processes",
    "kill -9 and SIGTERM at random moments of copy, sync, sync --reverse, replay, schema replace, verify",
    run,
)
