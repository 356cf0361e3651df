"""The history of the moves: what each command did, when, and why."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

_READ = (
    "SELECT id, kind, from_stage, to_stage, subject, state, begun_at, hold_until, ended_at, done_by, reason, said, "
    "extract(epoch FROM hold_until - clock_timestamp())::double precision FROM botdata.moves "
)


@dataclass(frozen=True, slots=True)
class PastMove:
    """What a command did, or is doing.

    Attributes:
        kind: "advance", "back", "finish", "forget" or "table".
        subject: the process that was forgotten, or the table.
        state: "holding", "done" or "given up".
        begun_at, hold_until, ended_at: ISO 8601, in UTC.
        reason: why it was forced.
        said: the reasons against it, or why it was given up.
        remaining: seconds until its hold expires; None where it holds nothing.
    """

    number: int
    kind: str
    from_stage: str | None
    to_stage: str | None
    subject: str | None
    state: str
    begun_at: str
    hold_until: str | None
    ended_at: str | None
    done_by: str
    reason: str | None
    said: str | None
    remaining: float | None

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        if self.to_stage is not None:
            return f"{self.kind} from {self.from_stage} to {self.to_stage}"
        return f"{self.kind} {self.subject}" if self.subject else self.kind


async def read_moves(connection: AsyncConnection, limit: int) -> tuple[PastMove, ...]:
    """The newest first."""
    cursor = await connection.execute((_READ + "ORDER BY id DESC LIMIT %s").encode(), [limit])
    return tuple([_move(row) for row in await cursor.fetchall()])


async def open_move(connection: AsyncConnection) -> PastMove | None:
    """The move that holds writes now, its time run out or not."""
    cursor = await connection.execute((_READ + "WHERE state = 'holding'").encode())
    row = await cursor.fetchone()
    return _move(row) if row else None


async def give_up_expired(connection: AsyncConnection) -> None:
    """End a move whose command did not: it was killed, or lost the target. The bot's processes may do the same."""
    await connection.execute(
        "UPDATE botdata.moves SET state = 'given up', ended_at = clock_timestamp(), "
        "said = 'its command ended before the move was done' WHERE state = 'holding' AND hold_until < clock_timestamp()"
    )


async def record(
    connection: AsyncConnection,
    kind: str,
    *,
    stages: tuple[str, str] | None = None,
    subject: str | None = None,
    reason: str | None = None,
    said: str | None = None,
) -> None:
    """Keep what was done, in the caller's transaction."""
    before, after = stages or (None, None)
    await connection.execute(
        "INSERT INTO botdata.moves (kind, from_stage, to_stage, subject, state, ended_at, done_by, reason, said) "
        "VALUES (%s, %s, %s, %s, 'done', clock_timestamp(), %s, %s, %s)",
        [kind, before, after, subject, who(), reason, said],
    )


def who() -> str:
    """The person at the keyboard: the account, and its machine."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        account = str(os.getuid())
    return f"{account}@{socket.gethostname()}"


def _move(row: tuple[Any, ...]) -> PastMove:
    moments = [None if row[n] is None else row[n].strftime("%Y-%m-%dT%H:%M:%SZ") for n in (6, 7, 8)]
    return PastMove(*row[:6], *moments, *row[9:])
