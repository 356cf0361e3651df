"""Tables `pauses` and `paces`: who asked for a pause, and what each command at work says of its pace."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from app.state.fetching import fetch_each, fetch_rows, fetch_value
from app.state.schema_name import SCHEMA

_LIVES = 10  # seconds after which a command that said nothing is at work no longer


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that holds until `resume`, also for what is started meanwhile.

    Attributes:
        asked_by: the account, and its machine.
        reason: as it was given, masked; None for none.
    """

    asked_by: str
    asked_at: datetime
    reason: str | None

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"by {self.asked_by} since {self.asked_at:%Y-%m-%d %H:%M:%S} UTC{why}"

    @property
    def document(self) -> dict[str, Any]:
        """The same for `--json`, the report and the page of watch."""
        return {"by": self.asked_by, "since": f"{self.asked_at:%Y-%m-%dT%H:%M:%SZ}", "reason": self.reason}


@dataclass(frozen=True, slots=True)
class WorkingPace:
    """The pace of a command that is at work.

    Attributes:
        command: as "copy".
        max_rate: in words; None where it has no limit.
        slowdown: how many times as long as at first the source takes to answer; 1 where it has not slowed down.
        is_held: a pause has taken hold of it.
    """

    command: str
    max_rate: str | None
    slowdown: float
    is_held: bool

    @property
    def document(self) -> dict[str, Any]:
        """The same for `--json`, the report and the page of watch."""
        return {
            "command": self.command,
            "max_rate": self.max_rate,
            "slowdown": round(self.slowdown, 1),
            "held": self.is_held,
        }


async def wait_for_no_standby(connection: AsyncConnection) -> None:
    """Have what this session says of pauses and paces wait for no synchronous standby that is away."""
    await connection.execute("SET synchronous_commit = local")


async def read_pause(connection: AsyncConnection) -> Pause | None:
    """The pause that was asked for; None where there is none."""
    rows = await fetch_rows(connection, f"SELECT asked_by, asked_at AT TIME ZONE 'UTC', reason FROM {SCHEMA}.pauses")
    return Pause(*rows[0]) if rows else None


async def ask_for_pause(connection: AsyncConnection, asked_by: str, reason: str | None) -> bool:
    """Ask for a pause; False where one was asked for before, which stays as it is."""
    cursor = await connection.execute(
        f"INSERT INTO {SCHEMA}.pauses (asked_by, reason) VALUES (%(by)s, %(reason)s) ON CONFLICT DO NOTHING",
        {"by": asked_by, "reason": reason},
    )
    return cursor.rowcount == 1


async def end_pause(connection: AsyncConnection) -> None:
    """Let everything go on."""
    await connection.execute(f"DELETE FROM {SCHEMA}.pauses")


async def say_pace(connection: AsyncConnection, pace: WorkingPace) -> bool:
    """Say what this session's command does; it is held only where no session of its has a transaction open.

    Returns:
        Whether the pause was said to have taken hold.
    """
    held = await fetch_value(
        connection,
        f"INSERT INTO {SCHEMA}.paces AS p (pid, command, max_rate, slowdown, held) "
        "SELECT pg_backend_pid(), %(command)s, %(rate)s, %(slowdown)s, %(held)s AND NOT EXISTS ("
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user "
        "AND application_name = current_setting('application_name') AND pid <> pg_backend_pid() "
        "AND xact_start IS NOT NULL) ON CONFLICT (pid) DO UPDATE SET command = excluded.command, "
        "max_rate = excluded.max_rate, slowdown = excluded.slowdown, held = excluded.held, "
        "said_at = clock_timestamp() RETURNING held",
        {"command": pace.command, "rate": pace.max_rate, "slowdown": pace.slowdown, "held": pace.is_held},
    )
    return bool(held)


async def end_pace(connection: AsyncConnection) -> None:
    """This session's command is at work no longer; nor are those that were killed."""
    await connection.execute(
        f"DELETE FROM {SCHEMA}.paces WHERE pid = pg_backend_pid() "
        "OR said_at < clock_timestamp() - make_interval(secs => %(lives)s)",
        {"lives": _LIVES},
    )


async def read_paces(connection: AsyncConnection) -> tuple[WorkingPace, ...]:
    """The commands that are at work."""
    return tuple(
        await fetch_each(
            connection,
            WorkingPace,
            f"SELECT command, max_rate, slowdown, held FROM {SCHEMA}.paces p "
            "WHERE said_at > clock_timestamp() - make_interval(secs => %(lives)s) "
            "AND EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = p.pid) ORDER BY command, pid",
            {"lives": _LIVES},
        )
    )
