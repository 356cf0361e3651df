"""What waits in the outbox, and why: for `botdata mirror` and for whoever drains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.common.keys import Key
from app.cutover.fencing import can_read_stage, read_stage
from app.cutover.replication.to_supabase.outbox import LAST
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.models import Base
from app.privacy import mask_phones

_TABLES = text(
    "SELECT table_name, count(*), count(DISTINCT key), count(last_error), count(recheck_at), "
    "EXTRACT(epoch FROM clock_timestamp() - min(recorded_at))::double precision FROM botdata.outbox "
    "WHERE id <= :last GROUP BY table_name ORDER BY table_name"
)
_FAILED = text(
    "SELECT id, table_name, key, attempts, last_error, recorded_at, next_attempt_at FROM botdata.outbox "
    "WHERE id <= :last AND last_error IS NOT NULL ORDER BY id LIMIT :most"
)


@dataclass(frozen=True, slots=True)
class TableWaiting:
    """The entries of one table: all; of how many keys; those in error; those sent, which are to be read back.

    Attributes:
        oldest: seconds since the oldest was recorded.
    """

    table: str
    entries: int
    keys: int
    failed: int
    sent: int
    oldest: float


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry that Supabase did not take; phone numbers in the key are masked."""

    number: int
    table: str
    key: Key
    attempts: int
    error: str
    recorded_at: datetime
    next_attempt_at: datetime


@dataclass(frozen=True, slots=True)
class OutboxState:
    """The outbox, and the stage of the target's row.

    Attributes:
        is_managed: a command has moved the row; until then a stage that the environment fixes holds.
        is_finished: the way back was ended.
        failed: of those in error the first.
    """

    stage: Stage
    is_managed: bool
    is_finished: bool
    tables: tuple[TableWaiting, ...]
    failed: tuple[FailedEntry, ...]

    @property
    def entries(self) -> int:
        """All of them."""
        return sum(table.entries for table in self.tables)

    @property
    def in_error(self) -> int:
        """Those that Supabase did not take."""
        return sum(table.failed for table in self.tables)

    @property
    def sends(self) -> bool:
        """Whether the processes send at this stage."""
        return self.stage.records and self.stage.mirrors and not self.is_finished

    @property
    def oldest(self) -> float:
        """Seconds since the oldest entry was recorded; 0 where there is none."""
        return max((table.oldest for table in self.tables), default=0.0)


async def read_state(
    connection: AsyncConnection, *, fixed: Stage | None, step: str, most: int, last: int = LAST
) -> OutboxState:
    """The outbox as it is.

    Args:
        fixed: the stage that the environment fixed.
        step: the command, for the error.
        most: entries in error to give at most.
        last: entries with a higher id are left out.

    Raises:
        MigrationError: the target has no outbox, or this role may not read it.
        StoreError: PostgreSQL's.
    """
    if not await can_read_stage(connection):
        raise MigrationError(
            "the target has no outbox that this role may use",
            step=step,
            pending="all of it; nothing was sent",
            next_command="botdata upgrade, as the owner of the target's schema",
        )
    row = await read_stage(connection)
    tables = tuple(TableWaiting(*found) for found in await connection.execute(_TABLES, {"last": last}))
    failed = tuple(_failed(*found) for found in await connection.execute(_FAILED, {"last": last, "most": most}))
    stage = row.stage if row.managed else fixed or Stage.OFF
    return OutboxState(stage, row.managed, row.finished, tables, failed)


def _failed(
    number: int, table: str, key: Sequence[str], attempts: int, error: str, recorded: datetime, next_: datetime
) -> FailedEntry:
    return FailedEntry(number, table, masked(table, key), attempts, error, recorded, next_)


def masked(table: str, key: Sequence[str]) -> Key:
    """A natural key with its phone numbers masked."""
    described = Base.metadata.tables.get(table)
    names = described.info["natural_key"] if described is not None else ()
    phones = [described is not None and "phone" in described.c[name].info for name in names] or [True] * len(key)
    return tuple(mask_phones(part) if phone else part for part, phone in zip(key, phones, strict=True))
