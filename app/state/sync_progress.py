"""Table `sync_progress`: how far the sync that is at work has come in each table, for whoever watches it."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from app.state.fetching import fetch_each
from app.state.schema_name import SCHEMA

_LIVES = 10  # seconds after which a sync that said nothing is at work no longer


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """A table of the sync that is at work.

    Attributes:
        rows: looked at in this round.
        total: rows of the side that is read; an estimate, or 0 where it is not known.
        seconds: since the round came to the table.
    """

    table: str
    rows: int
    total: int
    seconds: float

    @property
    def left(self) -> int:
        """Rows still to come."""
        return max(0, self.total - self.rows)

    @property
    def rows_per_second(self) -> float | None:
        """None where no time has passed."""
        return self.rows / self.seconds if self.seconds > 0 else None


async def keep_progress(connection: AsyncConnection, progress: SyncProgress) -> None:
    """Say how far a table is."""
    await connection.execute(
        f"INSERT INTO {SCHEMA}.sync_progress (table_name, rows, total, seconds) "
        "VALUES (%(table)s, %(rows)s, %(total)s, %(seconds)s) ON CONFLICT (table_name) DO UPDATE "
        "SET rows = excluded.rows, total = excluded.total, seconds = excluded.seconds, said_at = clock_timestamp()",
        {"table": progress.table, "rows": progress.rows, "total": progress.total, "seconds": progress.seconds},
    )


async def end_progress(connection: AsyncConnection) -> None:
    """The sync is at work no longer."""
    await connection.execute(f"DELETE FROM {SCHEMA}.sync_progress")


async def read_progress(connection: AsyncConnection) -> tuple[SyncProgress, ...]:
    """The tables of the sync that is at work, in the order in which it came to them."""
    return tuple(
        await fetch_each(
            connection,
            SyncProgress,
            f"SELECT table_name, rows, total, seconds FROM {SCHEMA}.sync_progress WHERE (SELECT max(said_at) "
            f"FROM {SCHEMA}.sync_progress) > clock_timestamp() - make_interval(secs => %(lives)s) ORDER BY began_at",
            {"lives": _LIVES},
        )
    )
