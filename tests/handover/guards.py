"""What the steps of the handover ask before they act: one line each, which a test deletes from the model."""

from __future__ import annotations

from collections.abc import Iterable

# By the name under which the model asks for it.
GUARDS = {
    "registered": "a process writes only after it has registered itself",
    "holds": "a process that holds begins no write",
    "in flight": "a process reports its hold only when no write of its own is in flight and no mirror is pending",
    "reported": "a process that has reported its hold holds until it has read how the move ended",
    "acknowledged": "the authority moves only when every registered process has reported that it holds",
    "forgets the dead": "while Supabase is the authority, only a process that has ended is forgotten",
    "forgets late": "and only when no request of it can land any more",
    "in time": "the command moves the stage only while its own move holds and its time is not up",
    "deadline": "a hold ends when its time is up",
    "given up": "a process that finds a move whose time is up gives it up",
    "note first": "a key is noted before it is written to Supabase",
    "note with its row": "a note is taken away in the transaction that brings its row",
    "noted anew": "a process that ends leaves a note of each mirror that has not come",
    "one mirror": "one mirror at a time holds a key while it reads and writes its row",
    "settled": "a note of a dead process is repaired only when its write can land no more",
    "no notes": "the authority moves to PostgreSQL only when there is no note",
    "no spool": "the authority moves to PostgreSQL only when no process has notes in its spool file",
    "proved": "a move to PostgreSQL begins only after a sync and a clean verify since a process was forgotten",
    "still proved": "it ends only if no process was forgotten since that was asked",
    "proved anew": "what was proved before a failover counts no more",
    "fence": "a write's transaction asks the stage's row",
    "share lock": "the authority moves only after the transactions that hold the stage's row",
    "entry": "a write to PostgreSQL leaves its entry in the same transaction",
    "no entries": "the authority moves back only when the outbox is empty",
    "read back": "an entry whose send may still land is taken out only after it was read back",
    "stood still": "a sender that stood still does not send",
    "report and read": "what is read of the stage is taken only with a report that was committed",
    "warning": "a commit that comes with a warning is of unknown outcome",
}
# Guards that stand beside another one: nothing is broken where one of both is left out.
BESIDE = {"note with its row": "noted anew"}


class Guards:
    """The guards of a model.

    Args:
        deleted: those that it lacks.
    """

    def __init__(self, deleted: Iterable[str] = ()) -> None:
        self._deleted = frozenset(deleted)
        assert self._deleted <= GUARDS.keys()

    def asks(self, guard: str) -> bool:
        """Whether the model has this guard."""
        assert guard in GUARDS
        return guard not in self._deleted
