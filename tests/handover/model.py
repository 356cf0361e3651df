"""The handover as states and steps: see docs/handover.md, whose names these are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.handover.command_steps import command_steps, late_requests, sync_steps
from tests.handover.faults import FAULTS, process_faults, shared_faults
from tests.handover.guards import Guards
from tests.handover.last_stage import MOVES, shortened, steps_at_the_end
from tests.handover.process_steps import process_steps
from tests.handover.state import Process, Shared
from tests.handover.steps import About, Step


class Model:
    """The handover, without the guards that are deleted.

    Args:
        faults: the kinds that may happen.
    """

    def __init__(self, deleted: Iterable[str] = (), faults: Iterable[str] = FAULTS) -> None:
        self._guards = Guards(deleted)
        self._faults = frozenset(faults)

    def shared_steps(self, shared: Shared, about: About) -> Iterator[Step]:
        """What may happen without any process, beside those of which this holds."""
        for step in command_steps(shared, about, self._guards):
            yield shortened(step) if step.shared.moves == MOVES else step
        yield from sync_steps(shared, about, self._guards)
        yield from late_requests(shared)
        if shared.faults:
            yield from shared_faults(shared, about, self._faults, self._guards)

    def process_steps(self, shared: Shared, process: Process, about: About) -> Iterator[Step]:
        """What one process may do, or suffer, beside those of which this holds."""
        steps = process_steps(shared, process, about, self._guards)
        yield from steps_at_the_end(shared, process, steps) if shared.moves == MOVES else steps
        if shared.faults:
            yield from process_faults(shared, process, about, self._faults, self._guards)

    def broken(self, shared: Shared) -> str | None:
        """The promise that is broken where these are the stores' rows."""
        if not shared.is_back and not shared.supabase:
            return "lost: Supabase is the authority, and lacks the newest write"
        if shared.is_back and not shared.postgres:
            return "lost: PostgreSQL is the authority, and lacks the newest write"
        return None
