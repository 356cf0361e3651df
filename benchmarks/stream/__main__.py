"""One measurement of the change stream at a size of its own; `python -m benchmarks --only stream` makes them all.

    python -m benchmarks.stream lag [--clients 1000000] [--seconds 300] [--rate 2000]
    python -m benchmarks.stream idle [--clients 1000000] [--seconds 60]
    python -m benchmarks.stream subscription [--clients 1000000] [--changes 200000] [--rounds 3]

Nothing is written down.
"""

from __future__ import annotations

import argparse
import os

from benchmarks import machine
from benchmarks.stream import idle, lag, subscription

parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__.partition("\n")[0])
parser.add_argument("what", choices=("lag", "idle", "subscription"))
parser.add_argument("--clients", type=int)
parser.add_argument("--seconds", type=int)
parser.add_argument("--rate", type=int, default=2000, help="changes a second")
parser.add_argument("--changes", type=int, default=200_000)
parser.add_argument("--rounds", type=int, default=3)
given = parser.parse_args()
print(f"on {machine.describe()}, load average {os.getloadavg()[0]:.1f}", flush=True)
if given.what == "lag":
    found = lag.rows(clients=given.clients or 1_000_000, seconds=given.seconds or 300, rate=given.rate)
elif given.what == "idle":
    found = idle.rows(few=10_000, many=given.clients or 1_000_000, seconds=given.seconds or 60)
else:
    found = subscription.rows(clients=given.clients or 1_000_000, changes=given.changes, rounds=given.rounds)
for row in found:
    print(f"{row.what}: {row.measured}; to reach: {row.to_reach}; {'yes' if row.reached else 'NO'}", flush=True)
