"""Troubles of one store in the middle of a load, and what the callers may see of them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.cutover.stages import Stage, Store
from tests.cutover.history import History
from tests.cutover.load import Bots, settle, step, there_and_back
from tests.cutover.servers import Servers

KINDS = ("kill", "hang", "slow", "cut")
_SETTINGS = {"NOTE_TIMEOUT": "1", "MIRROR_TIMEOUT": "4", "QUERY_TIMEOUT": "12"}  # so that seconds are long
# What a caller may be answered while the store with the authority is away.
_ALLOWED = {"unavailable", "timeout", "outcome_unknown"}
_RECOVERY = 30.0  # seconds for the callers to be answered again, once the authority is back: QUERY_TIMEOUT and a bit


@dataclass(frozen=True)
class Trouble:
    """One that happened. Times are in seconds of the monotonic clock."""

    stage: Stage
    store: Store
    kind: str
    began: float
    ended: float

    @property
    def of_the_authority(self) -> bool:
        return self.store is self.stage.authority

    def __str__(self) -> str:
        return f"{self.kind} {self.store} at {self.stage}, {self.ended - self.began:.1f} s"


# A stage, a store and a kind of trouble.
Planned = tuple[Stage, Store, str]


def load_in_trouble(
    servers: Servers, processes: int, seed: int, planned: Iterable[Planned]
) -> tuple[History, list[Trouble], str]:
    """Troubles one after the other under load, a stage after its neighbour; the history, what happened, the latencies.

    Args:
        seed: of the moments, and of how long each lasts.
    """
    servers.settings |= _SETTINGS
    chance = random.Random(seed)
    troubles: list[Trouble] = []
    began = time.monotonic()
    with Bots(servers, processes) as bots:
        for stage, store, kind in planned:
            if servers.stage != stage:
                step(servers, stage)
            troubles.append(make_trouble(servers, stage, store, kind, chance))
            settle(servers, bots)
    history = bots.history
    return history, troubles, latencies(history, troubles, began, time.monotonic())


def by_chance(seed: int, *, at_each_stage: int = 1) -> Iterator[Planned]:
    """Every stage there and back; `at_each_stage` troubles on each way, of the two stores by turns."""
    chance = random.Random(seed)
    for position, stage in enumerate([Stage.OFF, *there_and_back()]):
        for number in range(at_each_stage):
            # A stage is passed twice: one store is in trouble on the way there, the other on the way back.
            yield stage, list(Store)[(seed + position + (position > 5) + number) % 2], chance.choice(KINDS)


def make_trouble(servers: Servers, stage: Stage, store: Store, kind: str, chance: random.Random) -> Trouble:
    """Let a store be killed, hang, be slow or be cut off for some seconds, from a random moment on."""
    time.sleep(chance.uniform(0.2, 1.5))
    seconds = chance.uniform(2, 4)
    began = time.monotonic()
    if kind == "kill":
        servers.kill(store)
        time.sleep(seconds)
        servers.start_again(store)
    else:
        relay = servers.relays[store]
        if kind == "slow":
            relay.slow(chance.uniform(0.8, 2))
        else:
            relay.hang() if kind == "hang" else relay.cut()
        time.sleep(seconds)
        relay.heal()
    return Trouble(stage, store, kind, began, time.monotonic())


def unexpected(history: History, troubles: list[Trouble]) -> list[str]:
    """The answers that no trouble of the authority explains, in words."""
    windows = [(one.began, one.ended + _RECOVERY) for one in troubles if one.of_the_authority]
    return [
        str(answer)
        for answer in history.errors
        if answer.code not in _ALLOWED or not any(start <= answer.ended <= end for start, end in windows)
    ]


def latencies(history: History, troubles: list[Trouble], began: float, ended: float) -> str:
    """The authority's p50 and p99 while the other store was in trouble, and while neither was, as lines of a table."""
    other = [(one.began, one.ended) for one in troubles if not one.of_the_authority]
    quiet, start = [], began
    for one in sorted(troubles, key=lambda trouble: trouble.began):
        quiet.append((start, one.began))
        start = one.ended + _RECOVERY / 4
    quiet.append((start, ended))
    lines = []
    for name, windows in (("both well", quiet), ("the other store in trouble", other)):
        for writes in (False, True):
            p50, p99 = (history.percentile(share, windows, writes=writes) for share in (0.5, 0.99))
            if p50 is not None and p99 is not None:
                lines.append(f"{name:28} {'writes' if writes else 'reads':7} p50 {p50:7.1f} ms  p99 {p99:7.1f} ms")
    return "\n".join(lines)
