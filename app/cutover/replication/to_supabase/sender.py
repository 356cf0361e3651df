"""Sends rows of the outbox's keys to Supabase, each batch in one transaction of PostgreSQL.

The transaction holds the stage, so that a move waits for it and a late sender is turned away; and the keys, so that one
sender at a time reads our row and sends it. Its entries are taken out at its end. A process may be killed, or cut off,
between any two steps: what it sent may land later, so an entry that was `unsure` before a send that went well is not
taken out but read back when nothing can land any more, since PostgREST has no compare-and-set.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from app.common.bisection import in_halves
from app.common.breaker import Breaker
from app.common.keys import Key
from app.cutover.replication.to_supabase import locked_rows
from app.cutover.replication.to_supabase.applier import SupabaseApplier
from app.cutover.stages import Stage
from app.errors import (
    AccessDeniedError,
    OutcomeUnknownError,
    SchemaMismatchError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)
from app.settings import Settings
from app.state.cutover import outbox
from app.state.cutover.outbox import Entry
from app.state.cutover.stage import can_read_stage, share_stage
from app.state.fetching import Connection
from app.stores.codec.json_rows import encode
from app.stores.postgres.database import Database
from app.stores.supabase.client import SupabaseRest
from app.stores.supabase.table import Record

logger = logging.getLogger("app.data_layer")

_LONGEST_PAUSE = 300.0  # seconds between attempts on a key that is refused
_LONGEST_PAUSE_AWAY = 10.0  # and while Supabase is away, which is asked whether it is back more often
_AWAY = (UnavailableError, OutcomeUnknownError)
_NO_ROW_IS_TO_BLAME = (*_AWAY, AccessDeniedError, SchemaMismatchError)
_LOCK_TIMEOUT = 2.0  # seconds to wait for a move of the stage, or for a sync of the table
_IDLE_BESIDE_SENDING = 5.0


@dataclass(slots=True)
class Sent:
    """What became of a batch.

    Attributes:
        done: keys that Supabase has, or whose entries were gone already.
        held: keys that another sender holds.
        failed: keys that Supabase did not take, or perhaps not; their entries say why.
    """

    done: list[Key] = field(default_factory=list)
    held: list[Key] = field(default_factory=list)
    failed: list[Key] = field(default_factory=list)


class Sender:
    """One process's sender.

    Args:
        process: the name under which its entries are recorded.
        sends_recorded: send at `complete` too, which records only.

    Attributes:
        timeout: seconds for one batch at Supabase.
        breaker: open while Supabase is known to be away.
    """

    def __init__(
        self, database: Database, rest: SupabaseRest, settings: Settings, process: str, *, sends_recorded: bool = False
    ) -> None:
        self.database = database
        self.timeout = settings.mirror_timeout
        self.mirror = SupabaseApplier(rest, timeout=self.timeout)
        self.breaker = Breaker()
        self._fixed = settings.flags.stage  # holds while no command has moved the row
        self._process = process
        self._settles_after = settings.outcome_settles_after
        self._sends_recorded = sends_recorded
        self._is_there = False
        # Entries whose first send was begun here and whose end is not in the outbox.
        self._begun: set[int] = set()
        # Keys that were sent in a transaction that was lost: others may have sent them since, and newer rows.
        self._lost: set[tuple[str, Key]] = set()

    async def enter(self, connection: Connection) -> bool:
        """Set a transaction up and hold the stage; whether it sends."""
        stage = await self._recording_stage(connection)
        return stage is not None and (stage.mirrors or self._sends_recorded)

    async def _recording_stage(self, connection: Connection) -> Stage | None:
        """The stage, held until the transaction ends; None where writes to PostgreSQL leave no entries."""
        await locked_rows.set_up(connection, lock_timeout=_LOCK_TIMEOUT, idle=self.timeout + _IDLE_BESIDE_SENDING)
        self._is_there = self._is_there or await can_read_stage(connection)
        if not self._is_there:
            return None
        row = await share_stage(connection)
        self.database.mark.check(row)
        stage = row.stage if row.managed else self._fixed
        return stage if stage is not None and stage.records and not row.finished else None

    async def send(self, table: str, keys: Sequence[Key], claimed: Mapping[int, Entry] | None = None) -> Sent:
        """Send the rows of these keys.

        Args:
            claimed: the entries by id, as they were before they were claimed; None: this process's own, for the first
                time.

        Raises:
            StoreError: PostgreSQL's; the entries stay as they are or, after a lost commit, may be gone.
        """
        sent = Sent()
        await in_halves(keys, lambda part: self._attempt(table, part, claimed, sent))
        return sent

    async def leave(self, table: str, keys: Sequence[Key]) -> None:
        """Say of this process's entries of these keys that no send was begun: they are the relay's."""
        async with self.database.transaction() as connection:
            await outbox.leave(connection, self._process, table, encode(keys), except_for=self._begun)

    async def record_lost(self) -> None:
        """Leave entries anew for what was sent in transactions that were lost."""
        lost, self._lost = self._lost, set()  # a key may be lost once more while its entry is written
        if not lost:
            return
        try:
            async with self.database.transaction() as connection:
                if await self._recording_stage(connection):
                    await outbox.record(connection, self._process, encode(list(lost)))
        except BaseException:
            self._lost |= lost
            raise

    async def _attempt(
        self, table: str, keys: Sequence[Key], claimed: Mapping[int, Entry] | None, sent: Sent
    ) -> Sequence[Key]:
        """Send keys in one transaction; those that Supabase refuses together, one of which is to blame."""
        refusal: StoreError | None = None
        is_parted = False
        rows: dict[Key, Record | None] = {}
        try:
            async with self.database.transaction() as connection:
                if not await self.enter(connection):
                    return ()
                entered = monotonic()
                free = await locked_rows.lock_keys(connection, table, keys)
                entries = await outbox.entries_of(connection, table, encode(free))  # before the rows, which are as new
                begun = self._of_this_send(entries, claimed)
                wanted = sorted({entry.key for entry in entries if entry.id in begun})
                rows = await locked_rows.rows_as_text(connection, self.mirror.table(table), wanted)
                if rows:
                    refusal = await self._bring(table, rows, begun, entered)
                is_parted = len(rows) > 1 and refusal is not None and not isinstance(refusal, _NO_ROW_IS_TO_BLAME)
                if refusal is None:
                    await self._take_out(connection, entries, begun)
                elif not is_parted:
                    await self._keep(connection, begun, refusal, counted=claimed is None)
            self._begun -= begun.keys()
        except BaseException:
            self._lost |= {(table, key) for key in rows}
            raise
        sent.done += set(free) - set(wanted)
        sent.held += set(keys) - set(free)
        if is_parted:
            return wanted
        if refusal is None:
            sent.done += wanted
        else:
            sent.failed += wanted
            logger.warning("%d mirrors of %s wait in the outbox: %s", len(wanted), table, refusal)
        return ()

    def _of_this_send(self, entries: Collection[Entry], claimed: Mapping[int, Entry] | None) -> dict[int, bool]:
        """The entries that are to be sent for, and whether an earlier send of theirs may still land."""
        if claimed is None:
            return {entry.id: False for entry in entries if self._is_first(entry)}
        # A claim that lasted too long is not ours any more: each one counts an attempt.
        return {e.id: was.unsure for e in entries if (was := claimed.get(e.id)) and e.attempts == was.attempts + 1}

    def _is_first(self, entry: Entry) -> bool:
        """Those that were recorded at `complete` are sure, and are claimed before they are sent."""
        is_own = entry.process == self._process and entry.id not in self._begun
        return is_own and entry.unsure and entry.attempts == 0

    async def _bring(
        self, table: str, rows: Mapping[Key, Record | None], begun: Mapping[int, bool], entered: float
    ) -> StoreError | None:
        if monotonic() - entered > self.timeout:  # this process stood still, and its locks may be gone
            return UnavailableError("the mirror was too late to be sent")
        self._begun |= begun.keys()
        refusal: StoreError | None = None
        try:
            await self.mirror.bring(table, rows)
        except StoreError as error:
            refusal = error
        except Exception as error:  # whatever it is, it is these entries': the others are to be sent
            refusal = OutcomeUnknownError(f"the mirror failed: {type(error).__name__}")
        silent = isinstance(refusal, _AWAY) or (isinstance(refusal, StoreTimeoutError) and refusal.sqlstate is None)
        (self.breaker.failed if silent else self.breaker.succeeded)()
        if not isinstance(refusal, OutcomeUnknownError):
            self._begun -= begun.keys()
        return refusal

    async def _take_out(self, connection: Connection, entries: Sequence[Entry], begun: Mapping[int, bool]) -> None:
        sent = {entry.key for entry in entries if entry.id in begun}
        sure = {entry.id for entry in entries if entry.key in sent and not entry.unsure}
        unsure = {id_ for id_, was_unsure in begun.items() if was_unsure}
        await outbox.delete(connection, (sure | begun.keys()) - unsure)
        await outbox.settle_later(connection, unsure, self._settles_after)

    async def _keep(
        self, connection: Connection, begun: Mapping[int, bool], refusal: StoreError, *, counted: bool
    ) -> None:
        is_unknown = isinstance(refusal, OutcomeUnknownError)
        for unsure in (False, True):
            await outbox.put_off(
                connection,
                [id_ for id_, was_unsure in begun.items() if (was_unsure or is_unknown) is unsure],
                unsure=unsure,
                error=str(refusal),
                longest=_LONGEST_PAUSE_AWAY if isinstance(refusal, _AWAY) else _LONGEST_PAUSE,
                counted=int(counted),
            )
