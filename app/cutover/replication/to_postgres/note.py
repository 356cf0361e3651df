"""The note of one write to Supabase: which rows PostgreSQL may lack until their mirror."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace

from app import models
from app.common.keys import Key
from app.state.cutover.journal import Ids, State
from app.stores.codec.rows import table_of

_MOMENT = 5.0  # seconds from a note to its mirror in which it is no failure to remember, whatever was tried again


@dataclass(eq=False, slots=True)
class Note:
    """The note of one write.

    Attributes:
        ids: of its rows in the target, by key; empty while it is not there.
        left: a sync may repair it, and take it away then.
        attempts: mirrors that failed.
        line: the task that writes it to the spool file.
        settled: set by `settle` when the rows are mirrored, or the note is not needed.
        whole: the note that this is a part of; None: it is no part.
        parts: how many parts of this one are not settled.
        since: when it was taken, by the monotonic clock.
    """

    model: type[models.Base]
    keys: list[Key]
    state: State = "writing"
    ids: Ids = field(default_factory=dict)
    left: bool = False
    attempts: int = 0
    line: asyncio.Task[None] | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    since: float = field(default_factory=time.monotonic)
    whole: Note | None = None
    parts: int = 0

    def settle(self) -> None:
        """Say that nothing is left to be done for it; with the last of its parts, the whole is settled too."""
        if self.settled.is_set():
            return
        self.settled.set()
        if self.whole is not None:
            self.whole.parts -= 1
            if self.whole.parts == 0:
                self.whole.settle()

    def halves(self) -> list[Note]:
        """Two notes instead of this one."""
        middle = len(self.keys) // 2
        halves = []
        for keys in (self.keys[:middle], self.keys[middle:]):
            ids = {key: self.ids[key] for key in keys}
            halves.append(replace(self, keys=keys, ids=ids, line=None, settled=asyncio.Event(), whole=self, parts=0))
        self.parts = len(halves)
        return halves

    @property
    def spoils_proofs(self) -> bool:
        """Whether what was proven before its mirror is worth nothing; one that comes soon is as if at once."""
        return self.state == "unknown" or time.monotonic() - self.since > _MOMENT

    @property
    def table(self) -> str:
        """The name of its table."""
        return table_of(self.model).name
