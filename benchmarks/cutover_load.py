"""The cutover there and back under load: what callers see, what is lost, and how long the authority takes to answer.

    python benchmarks/cutover_load.py [--cycles 10] [--processes 8] [--pause 0.2]
    python benchmarks/cutover_load.py --outages [--cycles 4] [--seed 1]

Bot processes read and write through the data layer while the owner's commands move the stage from `off` to `complete`
and back. With --outages each store is also killed and started again, hung, slowed by seconds or cut off, once each at
each stage on each way, at a random moment. It ends with exit code 1 where anything is not as promised.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from app.cutover.stages import Store
from tests.cutover.history import History
from tests.cutover.load import Bots, step, there_and_back
from tests.cutover.outages import by_chance, load_in_trouble, unexpected
from tests.cutover.servers import Servers


def wrongs(servers: Servers, history: History) -> list[str]:
    """What is not as promised of the stores and of the answers that were a success."""
    found = [f"stale: {line}" for line in history.stale]
    for store in Store:
        found += [f"lost in {store}: {line}" for line in history.lost(servers.tokens(store))]
    return found + servers.differing()


def quietly(servers: Servers, processes: int) -> tuple[History, list[str]]:
    """All stages there and back, with nothing in the way; the history and what is wrong."""
    with Bots(servers, processes) as bots:
        for stage in there_and_back():
            last = time.monotonic()
            step(servers, stage)
    history = bots.history
    found = [f"error: {answer}" for answer in history.errors]
    found += [f"not mirrored: {line}" for line in history.lost(servers.tokens(Store.POSTGRES), before=last)]
    servers.botdata("sync")  # what was written at `off` since
    found += wrongs(servers, history)
    report = json.loads(servers.botdata("cutover", "report", "--json").out)
    print(f"  compared: {sum(method['equal'] for method in report['methods'])} equal")
    return history, found + [f"difference: {line}" for line in report["differences"]]


def in_trouble(servers: Servers, processes: int, seed: int) -> tuple[History, list[str]]:
    """The same with outages."""
    history, troubles, latencies = load_in_trouble(servers, processes, seed, by_chance(seed, at_each_stage=2))
    servers.botdata("sync")
    for trouble in troubles:
        seen = history.errors_within(trouble.began, trouble.ended + 5)
        print(f"  {trouble}: {dict(seen) or 'no error'}")
    print("  " + latencies.replace("\n", "\n  "))
    return history, [f"error: {line}" for line in unexpected(history, troubles)] + wrongs(servers, history)


def main(cycles: int, processes: int, seed: int, pause: float, *, outages: bool) -> int:
    """Print a line for each cycle; how many things were wrong. `pause` is in seconds, between the calls of a task."""
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="botdata-load-") as directory:
        Path(directory).chmod(0o755)
        with Servers(Path(directory)) as servers:
            for cycle in range(1, cycles + 1):
                servers.reset()
                servers.settings["LOAD_PAUSE"] = str(pause)
                began = time.monotonic()
                history, found = (
                    in_trouble(servers, processes, seed + cycle) if outages else quietly(servers, processes)
                )
                total += Counter(calls=len(history.answers), writes=history.acknowledged)
                total += Counter(errors=len(history.errors), wrong=len(found))
                times = []
                for writes in (False, True):
                    for share in (0.5, 0.99):
                        milliseconds = history.percentile(share, [(began, time.monotonic())], writes=writes)
                        times.append(f"{'writes' if writes else 'reads'} p{share * 100:g} {milliseconds or 0:.0f} ms")
                print(
                    f"cycle {cycle}: {time.monotonic() - began:.0f} s, {len(history.answers)} calls, "
                    f"{history.acknowledged} writes acknowledged, {len(history.errors)} errors; {', '.join(times)}; "
                    f"{len(found)} wrong",
                    flush=True,
                )
                for line in found[:20]:
                    print(f"  {line}", flush=True)
    print(", ".join(f"{count} {name}" for name, count in total.items()))
    return total["wrong"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The cutover there and back under load.")
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--outages", action="store_true")
    given = parser.parse_args()
    sys.exit(bool(main(given.cycles, given.processes, given.seed, given.pause, outages=given.outages)))
