"""What waits in tables `notes` and `outbox`, counted by the bot's tables: for gates, moves and the status."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.state.fetching import fetch_each, fetch_row
from app.state.schema_name import SCHEMA

_NOTES = (
    "SELECT table_name, count(*), extract(epoch FROM clock_timestamp() - min(noted_at))::double precision, "
    f"count(*) FILTER (WHERE last_error IS NOT NULL OR state = 'unknown'), max(last_error) FROM {SCHEMA}.notes"
)
_BY_TABLE = "GROUP BY table_name ORDER BY table_name"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Notes or entries of a table.

    Attributes:
        oldest: seconds.
        failed: those whose mirror failed, or whose write's outcome is unknown.
        settling: their processes are just sending them for the first time.
    """

    table: str
    count: int
    oldest: float
    failed: int
    last_error: str | None
    settling: bool = False

    @property
    def error_told(self) -> str:
        """The last error as the end of a sentence; empty where there is none."""
        return f" (last error: {self.last_error})" if self.last_error else ""


async def notes(connection: AsyncConnection) -> tuple[Waiting, ...]:
    """Notes of the journal."""
    return await _read(connection, f"{_NOTES} {_BY_TABLE}")


async def left_notes(connection: AsyncConnection, seconds: float) -> tuple[Waiting, ...]:
    """Notes that are left to a sync: a mirror of a write that was just made is not, for so many seconds."""
    return await _read(
        connection,
        f"{_NOTES} WHERE attempts > 0 OR state = 'unknown' OR noted_at < clock_timestamp() - make_interval(secs => "
        f"%(seconds)s) OR process NOT IN (SELECT name FROM {SCHEMA}.processes) {_BY_TABLE}",
        seconds,
    )


async def entries(connection: AsyncConnection) -> tuple[Waiting, ...]:
    """Entries of the outbox: one statement, since they come and go all the time."""
    return await _read(
        connection,
        "SELECT table_name, count(*), extract(epoch FROM clock_timestamp() - min(recorded_at))::double precision, "
        "count(*) FILTER (WHERE last_error IS NOT NULL), max(last_error), "
        "bool_and(attempts = 0 AND recorded_at > clock_timestamp() - interval '10 s' "
        f"AND process IN (SELECT name FROM {SCHEMA}.processes)) FROM {SCHEMA}.outbox {_BY_TABLE}",
    )


async def overdue_entries(connection: AsyncConnection, seconds: float) -> tuple[int, float | None]:
    """Entries of the outbox without an error that are older than so many seconds: how many, and the oldest's age."""
    return await fetch_row(
        connection,
        "SELECT count(*), extract(epoch FROM clock_timestamp() - min(recorded_at))::double precision "
        f"FROM {SCHEMA}.outbox "
        "WHERE last_error IS NULL AND recorded_at < clock_timestamp() - make_interval(secs => %(seconds)s)",
        {"seconds": seconds},
    )


async def drop_entries(connection: AsyncConnection) -> None:
    """Empty the outbox: Supabase does not get what is in it."""
    await connection.execute(f"DELETE FROM {SCHEMA}.outbox")


async def _read(connection: AsyncConnection, statement: str, seconds: float | None = None) -> tuple[Waiting, ...]:
    return tuple(await fetch_each(connection, Waiting, statement, {"seconds": seconds}))
