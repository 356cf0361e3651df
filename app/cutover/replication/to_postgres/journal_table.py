"""The journal of one process in the target: its notes there, each change of them in a transaction."""

from collections.abc import Sequence

from app.common.keys import Key
from app.cutover.replication.to_postgres.fallback_file import Left
from app.state.cutover import journal
from app.state.cutover.journal import SPOIL_PROOFS, Ids, State
from app.state.cutover.stage import read_stage_row
from app.state.fetching import Connection
from app.stores.codec.json_rows import encode
from app.stores.postgres.database import Database

_KEYS_AT_ONCE = 1000


class JournalTable:
    """The notes of one process there. Methods raise StoreError, of PostgreSQL's kinds."""

    def __init__(self, database: Database, process: str) -> None:
        self._database = database
        self._process = process

    async def probe(self) -> None:
        """A tiny read."""
        async with self._database.statements() as connection:
            await read_stage_row(connection)

    async def insert(self, table: str, keys: Sequence[Key]) -> Ids:
        """Note keys that are to be written.

        Raises:
            AuthorityMovedError: Supabase is no longer the store to write to. The stage is read under a lock, so that
                one who moves it afterwards sees the notes.
        """
        async with self._database.statements() as alone:
            return await journal.note(alone, self._process, table, encode(keys))

    async def bring_in(
        self, notes: Sequence[tuple[str, Sequence[Key], State]], *, spoils_proofs: bool = True
    ) -> list[Ids]:
        """Insert notes that were kept elsewhere; `spoils_proofs`: proofs of before are worth nothing."""
        async with self._database.transaction() as transaction:
            ids = [
                await journal.insert(transaction, self._process, table, encode(keys), state)
                for table, keys, state in notes
            ]
            if spoils_proofs:
                await transaction.execute(SPOIL_PROOFS)
        return ids

    async def bring_in_left(self, left: Left) -> None:
        """Insert what a dead process left: what came of its writes is unknown."""
        by_table: dict[str, dict[Key, None]] = {}
        for table, keys in left.writes:
            by_table.setdefault(table, {}).update(dict.fromkeys(keys))
        async with self._database.transaction() as transaction:
            for table, distinct in by_table.items():
                keys = list(distinct)
                for start in range(0, len(keys), _KEYS_AT_ONCE):
                    part = encode(keys[start : start + _KEYS_AT_ONCE])
                    await journal.insert(transaction, left.process, table, part, "unknown")
            await transaction.execute(SPOIL_PROOFS)

    async def delete(self, ids: Sequence[int]) -> None:
        """Delete notes whose writes were not made."""
        async with self._database.transaction() as transaction:
            await self.clear(transaction, ids)

    async def clear(self, transaction: Connection, ids: Sequence[int], *, spoils_proofs: bool = False) -> None:
        """Delete notes in the transaction of another; `spoils_proofs`: proofs of before are worth nothing."""
        await journal.delete(transaction, ids)
        if spoils_proofs:
            await transaction.execute(SPOIL_PROOFS)

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
                and looked at the row too early: such a sync takes away no more than the notes that it saw.
            spoils_proofs: proofs of before are worth nothing. Else the notes are an objection for as long as they are
                there, and their mirror, or the sync that repairs them, says the rest.
        """
        async with self._database.transaction() as transaction:
            if anew:
                await journal.delete(transaction, ids.values())
                left = await journal.insert(
                    transaction, self._process, table, encode(list(ids)), state, attempts, error
                )
            else:
                there = await journal.leave(transaction, ids.values(), state, attempts, error)
                left = {key: number for key, number in ids.items() if number in there}
            if spoils_proofs:
                await transaction.execute(SPOIL_PROOFS)
        return left
