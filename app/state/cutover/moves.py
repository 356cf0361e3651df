"""Table `moves`: what each command did, when, and why; a move that is 'holding' asks the processes to hold writes."""

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from app.cutover.stages import Stage
from app.state.fetching import fetch_rows, fetch_value
from app.state.schema_name import SCHEMA

ONE_MOVE = "moves_holding"  # the unique index that lets one move hold at a time
# A move that is given up must not wait for a standby that is away. Should a failover bring it back, its time runs out.
_LOCALLY = "set_config('synchronous_commit', 'local', true) <> ''"
# Of the move of this number; of any where that is NULL. Either this or the move's own last statement comes first, and
# the other one then finds the move ended.
GIVE_UP_EXPIRED = (
    f"UPDATE {SCHEMA}.moves SET state = 'given up', ended_at = clock_timestamp(), said = %(said)s "
    "WHERE id = coalesce(%(number)s::bigint, id) AND state = 'holding' AND hold_until < clock_timestamp() "
    f"AND {_LOCALLY}"
)
_READ = (
    "SELECT id, kind, from_stage, to_stage, subject, state, begun_at, hold_until, ended_at, done_by, reason, said, "
    f"extract(epoch FROM hold_until - clock_timestamp())::double precision FROM {SCHEMA}.moves "
)


@dataclass(frozen=True, slots=True)
class PastMove:
    """What a command did, or is doing.

    Attributes:
        kind: "advance", "back", "finish", "forget", "table", "accept" or "withdraw".
        subject: the process that was forgotten, the table, or the method and field of a difference.
        state: "holding", "done" or "given up".
        begun_at, hold_until, ended_at: ISO 8601, in UTC.
        reason: why it was forced, or a difference accepted.
        said: the reasons against it, why it was given up, or what was accepted until when.
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
    def is_forced(self) -> bool:
        """Whether it was made in spite of its gate; a known difference is given a reason, and forces nothing."""
        return self.reason is not None and self.kind not in {"accept", "withdraw"}

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        if self.to_stage is not None:
            return f"{self.kind} from {self.from_stage} to {self.to_stage}"
        return f"{self.kind} {self.subject}" if self.subject else self.kind


async def read_moves(connection: AsyncConnection, limit: int) -> tuple[PastMove, ...]:
    """The newest first."""
    rows = await fetch_rows(connection, f"{_READ}ORDER BY id DESC LIMIT %(limit)s", {"limit": limit})
    return tuple(map(_move, rows))


async def open_move(connection: AsyncConnection) -> PastMove | None:
    """The move that holds writes now, its time run out or not."""
    rows = await fetch_rows(connection, f"{_READ}WHERE state = 'holding'")
    return _move(rows[0]) if rows else None


async def give_up_expired(connection: AsyncConnection) -> None:
    """End a move whose command did not: it was killed, or lost the target. The bot's processes may do the same."""
    given = {"number": None, "said": "its command ended before the move was done"}
    await connection.execute(GIVE_UP_EXPIRED, given)


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
    given = {"kind": kind, "subject": subject, "reason": reason, "said": said}
    await connection.execute(
        f"INSERT INTO {SCHEMA}.moves (kind, from_stage, to_stage, subject, state, ended_at, done_by, reason, said) "
        "VALUES (%(kind)s, %(before)s, %(after)s, %(subject)s, 'done', clock_timestamp(), %(who)s, %(reason)s, "
        "%(said)s)",
        {**given, "before": before, "after": after, "who": who()},
    )


async def begin_move(
    connection: AsyncConnection,
    kind: str,
    stages: tuple[Stage, Stage],
    *,
    hold: float,
    reason: str | None,
    said: str | None,
) -> int:
    """Ask every process to hold its writes for `hold` seconds; the number of the move.

    Raises:
        psycopg.errors.UniqueViolation: of `ONE_MOVE`: another move holds.
    """
    given = {"kind": kind, "hold": hold, "reason": reason, "said": said}
    number = await fetch_value(
        connection,
        f"INSERT INTO {SCHEMA}.moves (kind, from_stage, to_stage, state, hold_until, done_by, reason, said) "
        "VALUES (%(kind)s, %(before)s, %(after)s, 'holding', clock_timestamp() + make_interval(secs => %(hold)s), "
        "%(who)s, %(reason)s, %(said)s) RETURNING id",
        {**given, "before": stages[0], "after": stages[1], "who": who()},
    )
    return int(number)


async def seconds_left(connection: AsyncConnection, number: int) -> float | None:
    """Until the move is to be given up; None where it does not hold any more."""
    left: float | None = await fetch_value(
        connection,
        f"SELECT extract(epoch FROM hold_until - clock_timestamp())::double precision FROM {SCHEMA}.moves "
        "WHERE id = %(number)s AND state = 'holding'",
        {"number": number},
    )
    return left


async def end_move(connection: AsyncConnection, number: int) -> bool:
    """Keep that the move was done, if it holds and its time is not up; whether that is so."""
    ended = await connection.execute(
        f"UPDATE {SCHEMA}.moves SET state = 'done', ended_at = clock_timestamp() "
        "WHERE id = %(number)s AND state = 'holding' AND hold_until > clock_timestamp()",
        {"number": number},
    )
    return ended.rowcount == 1


async def give_up(connection: AsyncConnection, number: int, said: str) -> bool:
    """Let the old stage resume, unless it has moved, and keep why: a process that gave the move up could not say."""
    ended = await connection.execute(
        f"UPDATE {SCHEMA}.moves SET state = 'given up', ended_at = coalesce(ended_at, clock_timestamp()), "
        f"said = %(said)s WHERE id = %(number)s AND state <> 'done' AND {_LOCALLY}",
        {"said": said, "number": number},
    )
    return ended.rowcount == 1


async def try_commit(connection: AsyncConnection) -> None:
    """Write to the log, and nowhere else, so that the transaction's commit waits for the standbys as any other does."""
    await connection.execute(f"SELECT pg_logical_emit_message(true, '{SCHEMA}', '')")


async def is_done(connection: AsyncConnection, number: int) -> bool:
    """Whether the move was made."""
    query = f"SELECT state = 'done' FROM {SCHEMA}.moves WHERE id = %(number)s"
    return bool(await fetch_value(connection, query, {"number": number}))


async def recorded_again_since(connection: AsyncConnection) -> datetime | None:
    """When the step back from complete opened the way back that `finish` had ended; None where it did not.

    Recording began anew with that step. Who has left live since has answered for it already.
    """
    since: datetime | None = await fetch_value(
        connection,
        f"SELECT back.ended_at FROM {SCHEMA}.moves back WHERE back.state = 'done' AND back.from_stage = 'complete' "
        f"AND EXISTS (SELECT FROM {SCHEMA}.moves WHERE kind = 'finish' AND state = 'done' AND id < back.id) "
        f"AND NOT EXISTS (SELECT FROM {SCHEMA}.moves WHERE from_stage = 'live' AND to_stage = 'shadow' "
        f"AND state = 'done' AND id > (SELECT max(id) FROM {SCHEMA}.moves WHERE kind = 'finish' AND state = 'done')) "
        "ORDER BY back.id DESC LIMIT 1",
    )
    return since


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
