"""Generated databases by every path of the program, each judged by an oracle that shares no code with it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from app.embedded import EmbeddedPostgres
from tests.chaos.scenario import Chaos, Scenario
from tests.chaos.transcript import PASSWORD
from tests.fidelity.generate import generate
from tests.fidelity.pair import Offers
from tests.fidelity.paths import travel
from tests.fidelity.places import make_owner, offers_of

_FULL = 1000
_LEAST = 6  # one by each path
_AT_A_TIME = 10  # seeds that a worker takes
_FEW = 12  # up to so many no worker is worth its start


@dataclass(frozen=True)
class Travelled:
    """What came of one seed."""

    wrong: tuple[str, ...]
    lost: int
    reached: tuple[str, ...]
    said: str


def run(chaos: Chaos) -> None:
    """Each seed by one of the paths, by turns; in processes, since a command takes its process as its own."""
    outcome, reached = chaos.outcome, Counter[str]()
    first = (chaos.seed - 1) * _FULL
    seeds = list(range(first, first + chaos.of(_FULL, _LEAST)))
    with EmbeddedPostgres.start(chaos.directory / "postgres", durable=False, max_connections=200) as postgres:
        address = postgres.url().replace("postgres@", f"postgres:{PASSWORD}@", 1)
        make_owner(address)
        for travelled in _travelled(address, offers_of(address), seeds):
            outcome.injected += 1
            outcome.survived += not travelled.wrong
            outcome.wrong += travelled.wrong
            outcome.lost += travelled.lost
            reached.update(travelled.reached)
            chaos.transcript.record("fidelity", travelled.said, shows_rows=True)
    print("  fidelity:", ", ".join(f"{n} {what}" for what, n in sorted(reached.items())), flush=True)  # noqa: T201


def _travelled(admin_url: str, offers: Offers, seeds: list[int]) -> Iterator[Travelled]:
    parts = [seeds[n : n + _AT_A_TIME] for n in range(0, len(seeds), _AT_A_TIME)]
    if len(seeds) <= _FEW:
        yield from _travel_all(admin_url, offers, seeds)
        return
    workers = max(2, os.cpu_count() or 2)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in pool.map(_travel_all, [admin_url] * len(parts), [offers] * len(parts), parts):
            yield from done


def _travel_all(admin_url: str, offers: Offers, seeds: list[int]) -> list[Travelled]:
    found = []
    with tempfile.TemporaryDirectory(prefix="botdata-fidelity-") as directory:
        for seed in seeds:
            result = travel(admin_url, generate(seed, offers), Path(directory))
            wrong = (str(result),) if result.wrong else ()
            found.append(Travelled(wrong, result.lost, tuple(set(result.reached)), "\n".join(result.said)))
    return found


SCENARIO = Scenario(
    "fidelity",
    "generated pairs of databases (settings, types, keys, tables, triggers) by every path; claims against an oracle",
    run,
)
