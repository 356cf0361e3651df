"""The table `botdata.notes`: natural keys that are being written to Supabase, until PostgreSQL has the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.common.keys import Key
from app.cutover.fencing import read_stage
from app.cutover.locks import IN_TURN
from app.cutover.replication.to_postgres.fallback_file import Left
from app.cutover.stages import Stage, Store
from app.errors import AuthorityMovedError, SchemaMismatchError
from app.stores.codec.json_rows import encode
from app.stores.postgres.database import Database

State: TypeAlias = Literal["writing", "written", "unknown"]
Ids: TypeAlias = dict[Key, int]  # of notes, by key

_KEYS_AT_ONCE = 1000
_INSERT = text(
    "INSERT INTO botdata.notes (process, table_name, key, state, attempts, last_error) "
    "SELECT :process, :table, ARRAY(SELECT json_array_elements_text(k)), :state, :attempts, :error "
    "FROM json_array_elements(CAST(:keys AS json)) k RETURNING id, key"
)
# One statement, thus one round trip, since every write waits for it. A row that was locked is read as it is then.
_NOTE = text(
    "WITH stage AS MATERIALIZED (SELECT stage, stage = ANY(:stages) OR moved_at IS NULL AS may_write "  # noqa: S608
    f"FROM botdata.stage WHERE {IN_TURN} FOR SHARE), noted AS (INSERT INTO botdata.notes (process, table_name, key) "
    "SELECT :process, :table, ARRAY(SELECT json_array_elements_text(k)) "
    "FROM stage, json_array_elements(CAST(:keys AS json)) k WHERE may_write RETURNING id, key) "
    "SELECT stage, may_write, id, key FROM stage LEFT JOIN noted ON true"
)
_OF_SUPABASE = [str(stage) for stage in Stage if stage.authority is Store.SUPABASE]
_DELETE = text("DELETE FROM botdata.notes WHERE id = ANY(:ids)")
_LEAVE = text(
    "UPDATE botdata.notes SET state = :state, attempts = :attempts, last_error = :error WHERE id = ANY(:ids) "
    "RETURNING id"
)
_LEFT = text("UPDATE botdata.last_left_note SET left_at = clock_timestamp()")


class JournalTable:
    """The notes of one process there. Methods raise StoreError, of PostgreSQL's kinds."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process

    async def probe(self) -> None:
        """A tiny read."""
        async with self._database.reader() as connection:
            await read_stage(connection)

    async def insert(self, table: str, keys: Sequence[Key]) -> Ids:
        """Note keys that are to be written.

        Raises:
            AuthorityMovedError: Supabase is no longer the store to write to. The stage is read under a lock, so that
                one who moves it afterwards sees the notes.
        """
        parameters = {"process": self._process, "table": table, "keys": encode(keys), "stages": _OF_SUPABASE}
        async with self._database.reader() as connection:
            rows = (await connection.execute(_NOTE, parameters)).all()
        if not rows:
            raise SchemaMismatchError("botdata.stage has no row")
        stage, may_write = rows[0][:2]
        if not may_write:
            raise AuthorityMovedError(
                f"the cutover stands at {stage}, where writes go to PostgreSQL first; nothing was written"
            )
        return {tuple(key): number for _, _, number, key in rows}

    async def bring_in(
        self, notes: Sequence[tuple[str, Sequence[Key], State]], *, spoils_proofs: bool = True
    ) -> list[Ids]:
        """Insert notes that were kept elsewhere; `spoils_proofs`: proofs of before are worth nothing."""
        async with self._database.writer() as connection:
            ids = [await self._insert(connection, self._process, *note) for note in notes]
            if spoils_proofs:
                await connection.execute(_LEFT)
            await connection.commit()
        return ids

    async def bring_in_left(self, left: Left) -> None:
        """Insert what a dead process left: what came of its writes is unknown."""
        by_table: dict[str, dict[Key, None]] = {}
        for table, keys in left.writes:
            by_table.setdefault(table, {}).update(dict.fromkeys(keys))
        async with self._database.writer() as connection:
            for table, distinct in by_table.items():
                keys = list(distinct)
                for start in range(0, len(keys), _KEYS_AT_ONCE):
                    part = keys[start : start + _KEYS_AT_ONCE]
                    await self._insert(connection, left.process, table, part, "unknown")
            await connection.execute(_LEFT)
            await connection.commit()

    async def delete(self, ids: Sequence[int]) -> None:
        """Delete notes whose writes were not made."""
        async with self._database.writer() as connection:
            await self.clear(connection, ids)
            await connection.commit()

    async def clear(self, connection: AsyncConnection, ids: Sequence[int], *, spoils_proofs: bool = False) -> None:
        """Delete notes in the transaction of another; `spoils_proofs`: proofs of before are worth nothing."""
        await connection.execute(_DELETE, {"ids": list(ids)})
        if spoils_proofs:
            await connection.execute(_LEFT)

    async def leave(
        self,
        table: str,
        ids: Ids,
        state: State,
        *,
        attempts: int = 0,
        error: str | None = None,
        anew: bool,
        spoils_proofs: bool = True,
    ) -> Ids:
        """Say that notes are left to be repaired; those that are there then.

        Args:
            anew: in notes of other ids, noted now. While the write went on, a sync may have taken the process for dead
                and looked at the row too early: that one takes away no more than the notes that it saw.
            spoils_proofs: proofs of before are worth nothing. Else the notes are an objection for as long as they are
                there, and their mirror, or the sync that repairs them, says the rest.
        """
        async with self._database.writer() as connection:
            if anew:
                await connection.execute(_DELETE, {"ids": list(ids.values())})
                left = await self._insert(connection, self._process, table, list(ids), state, attempts, error)
            else:
                parameters = {"ids": list(ids.values()), "state": state, "attempts": attempts, "error": error}
                there = set((await connection.execute(_LEAVE, parameters)).scalars())
                left = {key: number for key, number in ids.items() if number in there}
            if spoils_proofs:
                await connection.execute(_LEFT)
            await connection.commit()
        return left

    async def _insert(
        self,
        connection: AsyncConnection,
        process: str,
        table: str,
        keys: Sequence[Key],
        state: State,
        attempts: int = 0,
        error: str | None = None,
    ) -> Ids:
        parameters = {
            "process": process,
            "table": table,
            "keys": encode(keys),
            "state": state,
            "attempts": attempts,
            "error": error,
        }
        return {tuple(key): number for number, key in (await connection.execute(_INSERT, parameters)).all()}
