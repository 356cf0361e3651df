"""What waits in the outbox, and why: for `botdata mirror` and for the drain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg

from app.common.keys import Key
from app.cutover.stages import Stage
from app.errors import MigrationError
from app.models import Base
from app.next_step import Command, NextStep
from app.privacy import mask_phones
from app.state.cutover.outbox import LAST, FailedEntry, TableWaiting, failed_entries, waiting_tables
from app.state.cutover.stage import can_read_stage, read_stage_row
from app.state.fetching import Connection
from app.state.tool_schema import OlderSchemaError


@dataclass(frozen=True, slots=True)
class OutboxState:
    """The outbox, and the stage of the target's row.

    Attributes:
        is_managed: a command has moved the row; until then a stage that the environment fixes holds.
        is_finished: the way back was ended.
        failed: of those in error the first; phone numbers in their keys are masked.
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
    connection: Connection, *, fixed: Stage | None, step: str, most: int, last: int = LAST
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
            next_step=NextStep(Command("upgrade"), ", as the owner of the target's schema"),
        )
    try:
        row = await read_stage_row(connection)
    except psycopg.errors.UndefinedColumn:
        raise OlderSchemaError(step, pending="all of it; nothing was sent") from None
    tables = await waiting_tables(connection, last)
    failed = [
        replace(entry, key=masked(entry.table, entry.key)) for entry in await failed_entries(connection, last, most)
    ]
    stage = row.stage if row.managed else fixed or Stage.OFF
    return OutboxState(stage, row.managed, row.finished, tables, tuple(failed))


def masked(table: str, key: Sequence[str]) -> Key:
    """A natural key with its phone numbers masked."""
    described = Base.metadata.tables.get(table)
    names = described.info["natural_key"] if described is not None else ()
    phones = [described is not None and "phone" in described.c[name].info for name in names] or [True] * len(key)
    return tuple(mask_phones(part) if phone else part for part, phone in zip(key, phones, strict=True))
