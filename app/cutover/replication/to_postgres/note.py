"""The note of one write to Supabase: which rows PostgreSQL may lack until their mirror."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from app import models
from app.common.keys import Key
from app.cutover.replication.write_queue import WaitingWrite
from app.state.cutover.journal import Ids, State

_MOMENT = 5.0  # seconds from a note to its mirror in which it is no failure to remember, whatever was tried again


@dataclass(eq=False, slots=True, kw_only=True)
class Note(WaitingWrite):
    """The note of one write.

    Attributes:
        ids: of its rows in the target, by key; empty while it is not there.
        left: a sync may repair it, and take it away then.
        attempts: mirrors that failed.
        line: the task that writes it to the spool file.
        since: when it was taken, by the monotonic clock.
    """

    model: type[models.Base]
    state: State = "writing"
    ids: Ids = field(default_factory=dict)
    left: bool = False
    attempts: int = 0
    line: asyncio.Task[None] | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def is_ready(self) -> bool:
        """Whether it is in the target."""
        return bool(self.ids)

    @property
    def is_pending(self) -> bool:
        """Whether its mirror is to come; one of unknown outcome that was left in the target is a sync's as well."""
        return not (self.settled.is_set() or (self.state == "unknown" and self.ids and self.left))

    def drop_keys(self, keys: Collection[Key]) -> None:
        """Take out the keys whose rows are mirrored; without any left it is settled."""
        self.keys = [key for key in self.keys if key not in keys]
        self.ids = {key: number for key, number in self.ids.items() if key not in keys}
        if not self.keys:
            self.settled.set()

    @property
    def spoils_proofs(self) -> bool:
        """Whether what was proven before its mirror is worth nothing; one that comes soon is as if at once."""
        return self.state == "unknown" or time.monotonic() - self.since > _MOMENT
