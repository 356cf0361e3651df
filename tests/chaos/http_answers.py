"""Chaos over HTTP: between Supabase and the program, whatever gateways, networks, caches and PostgREST itself can do.

Most faults are met by the engine's functions in this process, which wait for milliseconds before they try again; a part
by the data layer; and some by the commands in processes of their own, at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.chaos.http_calls import run_calls
from tests.chaos.http_commands import KINDS, run_move
from tests.chaos.http_moves import run_episode
from tests.chaos.http_trouble import Rates
from tests.chaos.http_world import Ended, World, recorded
from tests.chaos.scenario import Chaos, Scenario

_FAULTS = 10_000
_MOVES = ("copy", "verify", "sync", "reverse")
_CALLS_SHARE = 0.2  # of the faults meet the data layer
_READS = 250  # of an episode of calls
_COMMANDS = 20  # ways through the commands
_DETAILED = 10  # one episode in so many logs all that its libraries say


def run(chaos: Chaos) -> None:
    """Episodes until there were faults enough, and the commands beside them."""
    outcome = chaos.outcome

    def add(ended: Ended) -> None:
        outcome.injected += ended.injected
        outcome.survived += 0 if ended.wrong or ended.lost else ended.injected
        outcome.lost += ended.lost
        outcome.wrong += ended.wrong

    logging.getLogger("stamina").setLevel(logging.ERROR)  # as the commands do: retries are told as notices
    with World(chaos.transcript) as world, ThreadPoolExecutor(2) as beside:
        commands = []
        for number in range(chaos.of(_COMMANDS)):
            name = f"{chaos.seed}:commands:{number}"
            kind = KINDS[number % len(KINDS)]
            directory = chaos.directory / f"commands{number}"
            commands.append(beside.submit(run_move, world, directory, name, kind, chaos.chance(name)))

        def episodes(faults: int, run_one: Callable[[int], Ended]) -> None:
            number, before = 0, outcome.injected
            while outcome.injected - before < faults and len(outcome.wrong) < 50:
                level = logging.DEBUG if number % _DETAILED == 0 else logging.INFO
                with recorded(chaos.transcript, level):
                    add(run_one(number))
                number += 1

        episodes(chaos.of(round(_FAULTS * (1 - _CALLS_SHARE))), partial(_move, chaos, world))
        episodes(chaos.of(round(_FAULTS * _CALLS_SHARE)), partial(_calls, chaos, world))
        for command in commands:
            add(command.result())


def _move(chaos: Chaos, world: World, number: int) -> Ended:
    kind = _MOVES[number % len(_MOVES)]
    name = f"{chaos.seed}:{kind}:{number}"
    return asyncio.run(run_episode(world, name, kind, chaos.chance(name), Rates()))


def _calls(chaos: Chaos, world: World, number: int) -> Ended:
    name = f"{chaos.seed}:calls:{number}"
    return asyncio.run(run_calls(world, name, chaos.chance(name), chaos.of(_READS, least=40)))


SCENARIO = Scenario(
    "http",
    "rates, gateways, resets, cut and garbled bodies, answers that lie, a key that expires, another row cap, a restart",
    run,
)
