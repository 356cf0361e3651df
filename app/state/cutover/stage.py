"""Table `stage`: its one row says where the cutover stands, and each write to PostgreSQL reads it under a lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from app.common.schemas import Schemas
from app.cutover.locks import IN_TURN
from app.cutover.stages import Stage
from app.errors import MigrationError, SchemaMismatchError
from app.next_step import Command, NextStep
from app.state.fetching import Connection, fetch_rows
from app.state.schema_name import SCHEMA
from app.state.wal import INSERT_LSN, TIMELINE, WalPlace, lsn_as_number

# What `StageRow.of` reads.
COLUMNS = "stage, moved_at, finished_at, moves, timeline, lsn, server_timeline, moved_out_at"
READ = (
    f"SELECT stage, moved_at, finished_at, moves, timeline, {lsn_as_number('lsn')} AS lsn, "
    f"{TIMELINE} AS server_timeline, moved_out_at FROM {SCHEMA}.stage"
)
# What each change of the row leaves in it.
STAMP = f"moves = moves + 1, timeline = {TIMELINE}, lsn = {INSERT_LSN}"
# A row that was locked is read as it is then.
READ_IN_TURN = f"{READ} WHERE {IN_TURN} FOR SHARE"
# The catalog, since the name alone would be an error where the schema is not there or not to be used. FOR SHARE wants
# the right to UPDATE (PostgreSQL, "The Locking Clause").
_CAN_BE_READ = (
    f"SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = '{SCHEMA}' "
    "AND relname = 'stage' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') "
    "AND has_table_privilege(c.oid, 'UPDATE')"
)


@dataclass(frozen=True, slots=True)
class StageRow:
    """Where the cutover stands.

    Attributes:
        moved_at: when a command last moved it; None: none did, so a stage that an environment fixes holds there.
        finished_at: when the way back was ended, so that nothing is recorded any more; None: it was not.
        moves: how many moves there were: the number of the last one.
        place: where the log stood as the last one was made; None: there was none, or it was made by an older version.
        server_timeline: of the server that was asked, now; None: it is a standby.
        moved_out_at: since when the tables are another server's; None: they are this one's.
    """

    stage: Stage
    moved_at: datetime | None
    finished_at: datetime | None
    moves: int = 0
    place: WalPlace | None = None
    server_timeline: int | None = field(default=None, compare=False)
    moved_out_at: datetime | None = None

    @classmethod
    def of(cls, row: Sequence[Any] | None) -> StageRow:
        """What `READ` gave.

        Raises:
            SchemaMismatchError: no row.
        """
        if row is None:
            raise SchemaMismatchError("the tool's table stage has lost its row")
        stage, moved_at, finished_at, moves, timeline, lsn, server_timeline, moved_out_at = row
        place = None if timeline is None else WalPlace(timeline, lsn)
        return cls(Stage(stage), moved_at, finished_at, moves, place, server_timeline, moved_out_at)

    @property
    def managed(self) -> bool:
        """Whether a command has moved it, so it is the truth; until then a stage that the environment fixes is."""
        return self.moved_at is not None

    @property
    def moved_out(self) -> str | None:
        """Why nothing is to be read or written here; None where it may be."""
        if self.moved_out_at is None:
            return None
        return f"the tables have moved to another server, at {self.moved_out_at:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def finished(self) -> bool:
        """Whether the way back was ended."""
        return self.finished_at is not None


def where_it_lives(schemas: Schemas) -> NextStep:
    """What to do in place of a command that would change a salon which has moved to another server."""
    back = Command("schema move-out", f"{schemas.data} --cancel")
    return NextStep("the same command at the server where it lives now; or, to have it live here again: ", back)


def refuse_moved_out(row: StageRow, schemas: Schemas, *, step: str, pending: str) -> None:
    """Stop a command that would change a salon which has moved to another server; a MigrationError."""
    if row.moved_out:
        raise MigrationError(row.moved_out, step=step, pending=pending, next_step=where_it_lives(schemas))


async def can_read_stage(connection: Connection) -> bool:
    """Whether the row is there and may be read and locked."""
    return bool(await fetch_rows(connection, _CAN_BE_READ))


async def read_stage_row(connection: Connection, *, lock: str = "") -> StageRow:
    """The row, locked until the transaction ends where `lock` is "FOR SHARE" or "FOR UPDATE"."""
    return StageRow.of(await (await connection.execute(f"{READ} {lock}")).fetchone())


async def share_stage(connection: Connection) -> StageRow:
    """The row, locked against moves until the transaction ends, as the bot's writes do it: in turn."""
    return StageRow.of(await (await connection.execute(READ_IN_TURN)).fetchone())


async def move_stage(connection: AsyncConnection, to: Stage) -> None:
    """Let the cutover stand at a stage, with its way back open."""
    await connection.execute(
        f"UPDATE {SCHEMA}.stage SET stage = %(to)s, moved_at = clock_timestamp(), finished_at = NULL, {STAMP}",
        {"to": to},
    )


async def end_way_back(connection: AsyncConnection) -> None:
    """Keep that nothing is recorded for Supabase any more."""
    await connection.execute(f"UPDATE {SCHEMA}.stage SET finished_at = clock_timestamp(), {STAMP}")


async def lock_holders(connection: AsyncConnection) -> str:
    """The transactions that hold the row, the oldest first, in words."""
    cursor = await connection.execute(
        "SELECT coalesce(nullif(a.application_name, ''), 'a session'), a.pid, coalesce(a.client_addr::text, 'local') "
        f"FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = '{SCHEMA}.stage'::regclass "
        "AND a.datname = current_database() AND l.mode = 'RowShareLock' AND l.granted AND a.pid <> pg_backend_pid() "
        "ORDER BY a.xact_start LIMIT 5"
    )
    holders = [f"{name} (pid {pid}, {address})" for name, pid, address in await cursor.fetchall()]
    return ", ".join(holders) or "it has ended since"
