"""How far a scenario is, said every minute."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.chaos.scenario import Outcome

_BETWEEN_WORDS = 60.0  # seconds


@contextmanager
def progress(name: str, outcome: Outcome) -> Iterator[None]:
    """Say every minute how far a scenario is, and what was wrong."""
    ended, out = Event(), sys.stdout  # which a scenario may redirect

    def say() -> None:
        shown = 0
        while True:
            at_end = ended.wait(_BETWEEN_WORDS)
            wrong = outcome.wrong[shown:]
            shown += len(wrong)
            for line in wrong:
                print(f"  {line}", flush=True, file=out)
            if at_end:
                return
            if outcome.injected:
                so_far = f"{outcome.injected:,} injected, {outcome.survived:,} survived so far"
                print(f"  {name}: {so_far}", flush=True, file=out)

    thread = Thread(target=say)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
