"""The replication slot at the source: made, looked at, peeked into, advanced, dropped; and places in its log (LSNs)."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.schemas import schemas_of
from app.errors import StoreError, UnavailableError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.stream.source.messages import Message, decode
from app.state.fetching import fetch_value
from app.stores.postgres.poolers.pooled_reader import PooledReader
from app.stores.postgres.session import source_errors

PLUGIN = "pgoutput"
_FETCH_BYTES = 1_000_000  # of a fetch from the cursor
_FIRST_ROWS, _MOST_ROWS = 500, 5_000
_TRIES = 40  # to drop a slot that another session is reading still, as one that was killed does for a moment
_BETWEEN_TRIES = 0.5  # seconds

# The settings that shape values as text, for the transaction of one peek: a database or a role may have others, and a
# pooler in transaction mode keeps none from one transaction to the next.
_TEXT = """
SET LOCAL client_encoding = 'UTF8'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex';
SET LOCAL xmloption = 'content'; SET LOCAL lc_monetary = 'C'; SET LOCAL quote_all_identifiers = off;
SET LOCAL statement_timeout = 0
"""
_PEEK = (
    "SELECT data FROM pg_logical_slot_peek_binary_changes({slot}, {upto}, {most}, 'proto_version', '1', "
    "'publication_names', {publication})"
)
_PLACES = "SELECT pg_current_wal_flush_lsn()::text, pg_current_wal_insert_lsn()::text"
_LOOK = """
SELECT slot_type, plugin, database = current_database(), active, wal_status, confirmed_flush_lsn::text,
    to_jsonb(s) ->> 'invalidation_reason', pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
FROM pg_replication_slots s WHERE slot_name = {}
"""
_SERVER = "SELECT {} || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_postmaster_start_time()::text"
# The oldest transaction that could be why the slot cannot go on: its place in the log is kept for it.
_OLDEST = """
SELECT pid, extract(epoch FROM now() - xact_start)::float8, application_name, datname FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1
"""


def stream_name(target: str) -> str:
    """The name of the slot and of the publication: a hash of the target's identity."""
    return f"botdata_{hashlib.sha256(target.encode()).hexdigest()[:16]}"


async def target_identity(connection: AsyncConnection) -> str:
    """What tells one target from another, whatever its address: server, database and schema, also after a failover."""
    allowed = await fetch_value(connection, "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
    server = "(SELECT system_identifier FROM pg_control_system())::text" if allowed else "''"
    query = sql.SQL("SELECT concat_ws('/', {}, oid, datname) FROM pg_database WHERE datname = current_database()")
    identity = await fetch_value(connection, query.format(sql.SQL(server)))
    return f"{identity}/{schemas_of(connection).tool}"


@dataclass(frozen=True, slots=True)
class SlotLook:
    """A slot as it is.

    Attributes:
        confirmed: up to where its changes were confirmed; None where it is lost.
        lost: why it gives no changes any more; None: it does.
        held: bytes of the log that the source keeps for it.
        active: a session is reading it.
    """

    confirmed: int | None
    lost: str | None
    held: int | None
    active: bool


class OtherServerError(UnavailableError):
    """What is asked is another server than before."""


class StreamSlot:
    """One slot.

    Args:
        source: where everything but changes is asked for.
        connection: another session there, in autocommit, for the changes; None: none are read.
        name: of the slot and of its publication.
    """

    def __init__(self, source: PostgresSource, connection: AsyncConnection | None, name: str) -> None:
        self._source = source
        self._connection = connection
        self.name = name
        self._which_server: sql.Composed | None = None  # asks for it
        self._server: tuple[str, str] | None = None  # and when it was started, as it was when asked last
        self.peek_seconds = 0.0  # that the source took to decode for the last peek

    async def look(self) -> SlotLook | None:
        """The slot; None where there is none.

        Raises:
            StoreError: somebody else's slot has this name.
        """
        rows = await self._fetch(_LOOK, sql.Literal(self.name))
        if not rows:
            return None
        kind, plugin, here, active, status, confirmed, reason, held = rows[0]
        if (kind, plugin, here) != ("logical", PLUGIN, True):
            raise StoreError(f"the replication slot {self.name} is not one of botdata's, and is left alone")
        lost = reason or ("lost" if status == "lost" else None)
        return SlotLook(parse_lsn(confirmed) if confirmed and not lost else None, lost, held, active)

    async def create(self) -> int:
        """Make it; returns the LSN from which on it gives changes. Waits for the transactions that are open."""
        rows = await self._fetch(
            "SELECT lsn::text FROM pg_create_logical_replication_slot({}, {})",
            sql.Literal(self.name),
            sql.Literal(PLUGIN),
        )
        return parse_lsn(rows[0][0])

    async def drop(self) -> None:
        """Drop it, once no session reads it any more; nothing where it is not there."""
        for _ in range(_TRIES):
            look = await self.look()
            if look is None:
                return
            if not look.active:
                break
            await asyncio.sleep(_BETWEEN_TRIES)
        await self._fetch(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
            sql.Literal(self.name),
        )

    async def advance(self, lsn: int) -> None:
        """Let the source forget the log up to an LSN, which the target must have committed."""
        await self._fetch(
            "SELECT pg_replication_slot_advance({}, {}::pg_lsn)", sql.Literal(self.name), sql.Literal(lsn_text(lsn))
        )

    async def flushed(self) -> int:
        """The LSN up to which the source's log is on disk."""
        return (await self.places())[0]

    async def places(self) -> tuple[int, int]:
        """The same, and where its log ends: the commit record of what is committed from now on begins there or later.

        The log's end may be on disk some seconds later, or be a place that nothing is ever written at.
        """
        if self._connection is None:
            ((flushed, end),) = await self._fetch(_PLACES)
        else:
            with source_errors():  # by the session that peeks: another one may have come to another server since
                ((flushed, end),) = await (await self._connection.execute(_PLACES)).fetchall()
        return parse_lsn(flushed), parse_lsn(end)

    async def flushed_after(self) -> float:
        """Seconds after which a commit is on disk whose session did not wait for that (synchronous_commit = off)."""
        delay = "SELECT setting::float8 * 3 / 1000 FROM pg_settings WHERE name = 'wal_writer_delay'"
        return float((await self._fetch(delay))[0][0])

    async def server(self) -> str:
        """The source's system identifier, where the role may read it, and the timeline of its log."""
        ((allowed,),) = await self._fetch("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
        system = sql.SQL("(SELECT system_identifier FROM pg_control_system())::text" if allowed else "'?'")
        self._which_server = sql.SQL(_SERVER).format(system)
        ((server, started),) = await self._source.fetch(self._which_server)
        self._server = str(server), started
        return str(server)

    async def oldest_transaction(self) -> str | None:
        """The transaction at the source that has been open for longest, in words; None where there is none."""
        rows = await self._fetch(_OLDEST)
        if not rows or rows[0][1] is None:
            return None
        pid, seconds, name, database = rows[0]
        return f"process {pid} ({name or 'no name'}, database {database}) for {seconds:.0f} s"

    async def are_seen(self, xids: Collection[int]) -> bool:
        """Whether transactions, whose commits are in the log, can be seen by a statement that begins now.

        With a synchronous standby a commit is in the log some time before anybody sees it.
        """
        rows = await self._fetch(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND granted "
            "AND transactionid::text = ANY ({})",
            sql.Literal([str(xid) for xid in xids]),
        )
        return not rows[0][0]

    async def peek(self, *, upto: int, most: int) -> AsyncGenerator[list[tuple[Message, int]], None]:
        """The changes that are not confirmed yet, in one transaction that takes none away; with their sizes in bytes.

        Args:
            upto: an LSN; no record that begins after it is looked at.
            most: messages; it ends with the transaction in which so many are reached.

        Raises:
            OtherServerError: a pooler leads to another server than before.
            StoreError: the slot gives none, or the source failed.
        """
        query = sql.SQL(_PEEK).format(
            slot=sql.Literal(self.name),
            upto=sql.Literal(lsn_text(upto)),
            most=sql.Literal(most),
            publication=sql.Literal(f'"{self.name}"'),
        )
        connection = self._connection
        assert connection is not None
        self.peek_seconds = 0.0
        with source_errors():
            async with connection.transaction(force_rollback=True):
                await connection.execute(_TEXT)
                if isinstance(connection, PooledReader):
                    await self._refuse_other_server(connection)
                began, rows = monotonic(), _FIRST_ROWS
                await connection.execute(sql.SQL("DECLARE botdata_changes NO SCROLL CURSOR FOR {}").format(query))
                while True:
                    fetch = sql.SQL("FETCH {} FROM botdata_changes").format(sql.Literal(rows))
                    batch = await (await connection.execute(fetch, binary=True)).fetchall()
                    self.peek_seconds = self.peek_seconds or monotonic() - began
                    if not batch:
                        break
                    size = sum(len(data) for (data,) in batch)
                    rows = max(1, min(_MOST_ROWS, _FETCH_BYTES * len(batch) // max(size, 1), 4 * rows))
                    yield [(decode(data), len(data)) for (data,) in batch]

    async def _refuse_other_server(self, connection: AsyncConnection) -> None:
        """A session ends with its server; through a pooler, a server that was restarted or restored is not noticed."""
        if self._which_server is not None:
            row = await (await connection.execute(self._which_server)).fetchone()
            if row != self._server:
                raise OtherServerError("the pooler leads to another server than before, or that was started anew")

    async def _fetch(self, query: str, *parts: sql.Composable) -> list[tuple[Any, ...]]:
        with self._source.pace.at_once():  # a pause and a rate are for rows; the log grows meanwhile
            return await self._source.fetch(sql.SQL(query).format(*parts))


_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> int:
    """The number of a text such as 16/B374D848.

    Raises:
        ValueError: it is no such text.
    """
    found = _LSN.fullmatch(text.strip())
    if found is None:
        raise ValueError("an LSN is two hexadecimal numbers with a slash between them, as 16/B374D848")
    return (int(found[1], 16) << 32) | int(found[2], 16)


def lsn_text(lsn: int) -> str:
    """The text of a number."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
