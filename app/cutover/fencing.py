"""The guard of every write to PostgreSQL: it reads the stage under a lock, and records what was written in the outbox.

A move of the stage waits for the transactions that hold the lock; those that come later see the new stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.common.driver_errors import without_values
from app.cutover.locks import IN_TURN
from app.cutover.stages import Stage, Store
from app.errors import AuthorityMovedError, SchemaMismatchError, StoreTimeoutError, UnavailableError
from app.stores.codec.json_rows import encode

GUARD_OPTION = "botdata_guard"  # the execution option under which an engine's connections find their guard
_LOOK_AGAIN = 1.0  # seconds between looks for a row that was not there
_GONE = {"42P01", "3F000", "42501"}  # no such table, no such schema, no right to it
_ROLLED_BACK = "40001"  # the code for a call that can be repeated
NO_STAGE = "the target has no stage to read, or the role may not; `botdata upgrade` makes it"

# The catalog, since the name alone would be an error where the schema is not there or not to be used. FOR SHARE wants
# the right to UPDATE (PostgreSQL, "The Locking Clause").
_CAN_BE_READ = text(
    "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'botdata' "
    "AND relname = 'stage' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') "
    "AND has_table_privilege(c.oid, 'UPDATE')"
)
_READ = text("SELECT stage, moved_at IS NOT NULL, finished_at IS NOT NULL FROM botdata.stage")
_SHARE = text(f"{_READ} WHERE {IN_TURN} FOR SHARE")
# One statement, thus one round trip. A row that was locked is read as it is then.
# Nothing is sent at complete, so that no send of an entry of that stage can be under way until it is claimed, and a new
# one takes the place of the key's older one: the outbox grows with the keys, not with the writes.
_ENTER = text(
    "WITH stage AS MATERIALIZED ("  # noqa: S608
    "SELECT stage, moved_at IS NOT NULL AS managed, finished_at IS NOT NULL AS finished "
    f"FROM botdata.stage WHERE {IN_TURN} FOR SHARE), "
    "written AS MATERIALIZED ("
    "SELECT ARRAY(SELECT json_array_elements_text(k)) AS key, managed AND stage = 'complete' AS is_sure "
    "FROM stage, json_array_elements(CAST(:keys AS json)) k "
    "WHERE NOT finished AND CASE WHEN managed THEN stage ELSE :fixed END = ANY(:recording)), "
    "replaced AS (DELETE FROM botdata.outbox WHERE id = ANY(ARRAY("  # by the index of keys, whatever the statistics say
    "SELECT o.id FROM written w CROSS JOIN LATERAL (SELECT id FROM botdata.outbox WHERE table_name = :table "
    "AND key = w.key AND NOT unsure AND attempts = 0 FOR UPDATE SKIP LOCKED) o WHERE w.is_sure))), "
    "recorded AS (INSERT INTO botdata.outbox (process, table_name, key, unsure) "
    "SELECT :process, :table, key, NOT is_sure FROM written) "
    "SELECT stage, managed, finished FROM stage"
)
_RECORDING = [str(stage) for stage in Stage if stage.records]


@dataclass(frozen=True, slots=True)
class StageRow:
    """The row `botdata.stage`.

    Attributes:
        managed: a command has moved it, so it is the truth; until then a stage that the environment fixes is.
        finished: the way back was ended, so nothing is recorded any more.
    """

    stage: Stage
    managed: bool
    finished: bool


async def read_stage(connection: AsyncConnection, *, share: bool = False) -> StageRow:
    """The row, which must be there; locked against moves until the transaction ends, if it is to be shared."""
    return _stage_row((await connection.execute(_SHARE if share else _READ)).first())


def _stage_row(row: Sequence[Any] | None) -> StageRow:
    if row is None:
        raise SchemaMismatchError("botdata.stage has lost its row")
    return StageRow(Stage(row[0]), row[1], row[2])


async def can_read_stage(connection: AsyncConnection) -> bool:
    """Whether the row is there and may be read and locked."""
    return (await connection.execute(_CAN_BE_READ)).first() is not None


class WriteGuard:
    """Asked before each write to PostgreSQL, which it records in the outbox.

    Args:
        fixed: the stage that the environment fixed, which holds while the row is not managed; None: the row's.
        process: the name of this process, for the outbox.
    """

    def __init__(self, fixed: Stage | None = None, process: str = "") -> None:
        self._fixed = fixed
        self.process = process
        self._is_there = False
        self._looked = float("-inf")
        self._suspected = float("-inf")  # when something of it was last found to be missing

    async def enter(self, connection: AsyncConnection, table: str, keys: Sequence[Sequence[object]]) -> None:
        """Lock the stage until the transaction ends, and leave an entry in the outbox for each key to be written.

        Raises:
            AuthorityMovedError: Supabase is the store to write to; nothing may be written here.
            UnavailableError: there is no row that says which is, nor where to record; nothing may be written either.
            StoreTimeoutError: the row, or the outbox, is not there any more or not to be used; the transaction can be
                repeated, and says then what is missing.
        """
        if not self._is_there and monotonic() - self._looked > _LOOK_AGAIN:
            self._is_there = await can_read_stage(connection)
            self._looked = monotonic()
        if not self._is_there:
            if self._fixed in {None, Stage.COMPLETE}:
                return  # before there was a cutover, or when all of it has been taken away
            raise UnavailableError(f"{NO_STAGE}; nothing was written")
        given = {
            "process": self.process,
            "table": table,
            "keys": encode([[str(part) for part in key] for key in keys]),
            "fixed": self._fixed,
            "recording": _RECORDING,
        }
        try:
            row = _stage_row((await connection.execute(_ENTER, given)).first())
        except DBAPIError as error:
            is_gone = getattr(error.orig, "sqlstate", None) in _GONE
            # Found there again since, the row is not what is missing; other writes of the same moment are as this one.
            if not is_gone or (self._is_there and monotonic() - self._suspected < _LOOK_AGAIN):
                raise
            self._is_there, self._looked, self._suspected = False, float("-inf"), monotonic()
            raise StoreTimeoutError(
                "the cutover's tables, or the right to them, were taken away meanwhile; the call can be repeated",
                sqlstate=_ROLLED_BACK,
            ) from without_values(error.orig)
        stage = row.stage if row.managed else self._fixed
        if stage is not None and stage.authority is not Store.POSTGRES:
            raise AuthorityMovedError(
                f"the cutover stands at {stage}, where writes go to Supabase first; nothing was written"
            )


def guard_of(connection: AsyncConnection) -> WriteGuard:
    """The guard of a connection's engine."""
    guard = connection.sync_connection.get_execution_options().get(GUARD_OPTION) if connection.sync_connection else None
    return guard if isinstance(guard, WriteGuard) else WriteGuard()
