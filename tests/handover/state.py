"""A state of the model: what PostgreSQL and Supabase hold of one key, the command, and each process.

A row is told by one bit: whether it holds the newest write that was made to the store with the authority. What is on
its way between the stores is such a bit, too, and falls to 0 when a newer write is made.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Life(IntEnum):
    """Of a process; one that died keeps its row until a person forgets it."""

    ABSENT = 0
    RUNS = 1
    PAUSED = 2
    DEAD = 3


class Row(IntEnum):
    """A process's row in `botdata.processes`; FORGOTTEN: it is not there, and the process does not know that."""

    NONE = 0
    THERE = 1
    HELD = 2  # for the move that was begun last
    HELD_WITH_SPOOL = 3
    FORGOTTEN = 4


class Hold(IntEnum):
    """What a process knows of a move that asks it to hold; EARLIER: another move was begun since it reported that."""

    NONE = 0
    SEEN = 1
    REPORTED = 2
    EARLIER = 3


class Link(IntEnum):
    """A process's connection to PostgreSQL."""

    WELL = 0
    CUT = 1
    OLD_PRIMARY = 2  # it still talks to the one that a failover has replaced


class Doing(IntEnum):
    """What a process does; a 1 at the end: with a row that is the newest."""

    NOTHING = 0
    AT_SUPABASE = 1  # a write was admitted
    AT_POSTGRES = 2
    NOTED = 3  # in the journal
    NOTE_TAKEN = 4  # a sync took the note for a dead process's
    NOTED_IN_FILE = 5
    MIRROR_DUE = 6  # acknowledged, and noted
    MIRROR_DUE_UNNOTED = 7
    MIRRORS_0 = 8  # has read Supabase's row
    MIRRORS_1 = 9
    WRITES = 10  # a transaction with the stage's share lock
    SENDS_0 = 11  # likewise, and has read PostgreSQL's row
    SENDS_1 = 12
    SENDS_UNSURE_0 = 13  # an earlier send of the entry may still land
    SENDS_UNSURE_1 = 14
    STOOD_STILL_0 = 15  # the server has ended its transaction before it sent
    STOOD_STILL_1 = 16


class Process(NamedTuple):
    """One process of the bot.

    Attributes:
        view: how many moves it knows of.
        spool: notes in its file.
    """

    life: Life = Life.ABSENT
    row: Row = Row.NONE
    view: int = 0
    hold: Hold = Hold.NONE
    link: Link = Link.WELL
    doing: Doing = Doing.NOTHING
    spool: bool = False


class Entry(IntEnum):
    """The key's entries in the outbox."""

    NONE = 0
    SURE = 1
    UNSURE = 2  # a send may still land


class Holding(IntEnum):
    """The move that was begun last."""

    NO = 0
    YES = 1
    TIME_IS_UP = 2


class Command(IntEnum):
    """The command that began the last move; UNPROVED: since its gate, what that had proved was spoilt."""

    NONE = 0
    RUNS = 1
    UNPROVED = 2


class Shared(NamedTuple):
    """What is not of one process.

    Attributes:
        moves: that were made; the authority is Supabase where they are even.
        holding: whether a move asks for a hold.
        command: whether the command that began it still runs.
        proved: a sync and a clean verify were made since the last write whose mirror did not come.
        supabase, postgres: the store's row holds the newest write.
        orphan: a note of a dead process.
        file: a spool file of a process that was forgotten.
        write_in_the_air: a dead process's request, of a write, may still land at Supabase: 1 a note tells of it.
            2 PostgreSQL knows nothing of it.
        send_in_the_air: likewise of a row that was sent: 1 an older one, 2 the newest.
        old: the moves that an old primary knows of.
        faults: that may still happen.
    """

    moves: int = 0
    holding: Holding = Holding.NO
    command: Command = Command.NONE
    proved: bool = True
    supabase: bool = True
    postgres: bool = True
    orphan: bool = False
    file: bool = False
    entry: Entry = Entry.NONE
    write_in_the_air: int = 0
    send_in_the_air: int = 0
    old: int = 0
    faults: int = 0

    @property
    def is_back(self) -> bool:
        """PostgreSQL is the authority, and the next move is the one back."""
        return self.moves % 2 == 1

    def unproved(self) -> Shared:
        """A process was forgotten, or its notes came late: what was proved before is worth nothing."""
        return self._replace(proved=False, command=Command.UNPROVED if self.command else Command.NONE)
