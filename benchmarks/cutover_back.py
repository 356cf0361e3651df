"""`cutover back` from `complete` with many recorded keys, beside bots that write: how long it takes and holds writes.

    python benchmarks/cutover_back.py [--keys 10000] [--processes 8] [--latency 0.02]

Each process makes five writes a second. Supabase's answers come late by the latency. It ends with exit code 1 where
the command takes more than a minute, a write waits for more than three seconds, or anything is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from app.cutover.stages import Stage, Store
from app.data_layer import open_data_layer
from app.settings import Settings
from tests.cutover.bot_process import COMPANY
from tests.cutover.load import Bots, go_to
from tests.cutover.servers import Servers

_AT_ONCE = 500
_FIRST_KEY = 10_000_000
_LONGEST_COMMAND = 60.0  # seconds
_LONGEST_WRITE = 3.0


async def record(servers: Servers, keys: int) -> None:
    """Write so many clients at the stage `complete`, which records them for Supabase."""
    given = {name.lower(): value for name, value in servers.environment().items()}
    known = {name: value for name, value in given.items() if name in Settings.model_fields}
    settings = Settings(_env_file=None, **known)
    async with open_data_layer(settings) as data:
        for first in range(0, keys, _AT_ONCE):
            rows = [
                {"yclients_id": _FIRST_KEY + n, "company_id": COMPANY, "phone": f"78{n:09d}", "name": f"Клиент {n}"}
                for n in range(first, min(first + _AT_ONCE, keys))
            ]
            answer = await data.upsert_clients(rows)
            if not answer.success:
                sys.exit(f"the clients could not be recorded: {answer.error}")


def main(keys: int, processes: int, latency: float) -> int:
    """Print what was seen; how many things are not as promised."""
    with tempfile.TemporaryDirectory(prefix="botdata-back-") as directory:
        Path(directory).chmod(0o755)
        with Servers(Path(directory)) as servers:
            servers.reset()
            go_to(servers, Stage.COMPLETE)
            servers.settings |= {"LOAD_READS": "0", "LOAD_PAUSE": "0.4"}
            asyncio.run(record(servers, keys))
            servers.relays[Store.SUPABASE].slow(latency)
            with Bots(servers, processes) as bots:
                bots.write_on(5 * processes)
                began = time.monotonic()
                said = servers.botdata("cutover", "back", seconds=600)
                ended = time.monotonic()
                bots.write_on(5 * processes)
            history = bots.history
            lost = history.lost(servers.tokens(Store.POSTGRES))
    during = [answer for answer in history.answers if answer.began <= ended and answer.ended >= began]
    longest = max(answer.ended - answer.began for answer in during)
    wrong = [f"error: {answer}" for answer in history.errors] + [f"lost: {line}" for line in lost]
    if ended - began > _LONGEST_COMMAND:
        wrong.append(f"the command took more than {_LONGEST_COMMAND:g} s")
    if longest > _LONGEST_WRITE:
        wrong.append(f"a write took more than {_LONGEST_WRITE:g} s")
    print(said.out.strip())
    print(
        f"cutover back with {keys:,} recorded keys took {ended - began:.1f} s; "
        f"{len(during):,} writes of {processes} processes meanwhile, the longest {longest:.2f} s"
    )
    for line in wrong[:20]:
        print(f"  {line}")
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The way back from complete with many recorded keys.")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds that each request to Supabase waits")
    given = parser.parse_args()
    sys.exit(bool(main(given.keys, given.processes, given.latency)))
