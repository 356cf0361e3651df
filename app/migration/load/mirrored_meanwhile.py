"""Rows that a mirror wrote after a page of the source was read: the page may be older than they are.

A sync and `verify --fix` read the source without any lock, so that no mirror waits for a request. Before they write
what they read, they have the table to themselves, and ask which of the rows a mirror has written since: those are read
again. A row that a mirror wrote bears the transaction of it. A row that a mirror deleted bears nothing, but each mirror
takes a note away.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.statements import aliases, listed, names_of, same_key
from app.migration.load.table_authority import Authority, Permit, read_authority
from app.migration.sources.pace import Pace
from app.migration.sources.source import Page, key_of, records_of
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import as_json
from app.state.fetching import fetch_row, fetch_rows
from app.state.runs import synced_tables

_MORE_READINGS = 4  # of rows that mirrors write all the time
_PATIENCE = 2.0  # seconds for a request while mirrors wait


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment before a reading of the source.

    Attributes:
        authority: where the cutover stood.
        next_xid: the target's transactions from this one on had not begun; None: no mirror was expected.
        running: those before it that had not ended.
        notes: how many notes there had ever been, and how many of the table there were.
    """

    authority: Authority
    next_xid: str | None
    running: Sequence[str]
    notes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outdated:
    """Keys of a page, as the source sent them.

    Attributes:
        written: a mirror has written their rows since.
        absent: the target does not hold their rows, and a mirror may have deleted them since.
    """

    written: frozenset[Key] = frozenset()
    absent: frozenset[Key] = frozenset()


async def this_moment(connection: AsyncConnection, table: CopyTable, authority: Authority | None = None) -> Moment:
    """To be asked before the source is read, outside of a transaction.

    Args:
        authority: where the cutover stands, where that was just asked.
    """
    authority = authority or await read_authority(connection)
    if authority.mirrored(table.name) is None:
        return Moment(authority, None, (), (0, 0))
    notes = await synced_tables.noted(connection, table.name)
    next_xid, running = await fetch_row(
        connection,
        "SELECT pg_snapshot_xmax(now)::xid::text, ARRAY(SELECT running::xid::text FROM pg_snapshot_xip(now) running) "
        "FROM pg_current_snapshot() now",
    )
    return Moment(authority, next_xid, running, notes)


async def outdated(
    connection: AsyncConnection, table: CopyTable, body: bytes, moment: Moment, now: Authority
) -> Outdated:
    """Rows of a page that was read after a moment, in a transaction that has the table to itself.

    Args:
        now: where the cutover stands in this transaction.
    """
    if moment.authority.mirrored(table.name) is None and now.mirrored(table.name) is None:
        return Outdated()
    key = table.columns[: table.key_size]
    query = sql.SQL(
        "WITH page ({names}) AS MATERIALIZED (SELECT * FROM json_to_recordset(%(page)s::json) AS x ({aliases})) "
        "SELECT ARRAY[{key}], t.xmin IS NULL FROM page p LEFT JOIN {rows} t ON {same} WHERE t.xmin IS NULL "
        "OR t.xmin::text = ANY (%(running)s) OR %(next)s::xid IS NULL OR age(t.xmin) <= age(%(next)s::xid)"
    ).format(
        names=names_of(key),
        aliases=aliases(key),
        key=listed(sql.SQL("p.{}").format(sql.Identifier(column.name)) for column in key),
        rows=table.rows,
        same=same_key(table),
    )
    given = {"page": as_json(body), "running": list(moment.running), "next": moment.next_xid}
    rows = await fetch_rows(connection, query, given)
    absent = frozenset(tuple(row[0]) for row in rows if row[1])
    is_known = moment.next_xid is not None
    if absent and is_known and await synced_tables.noted(connection, table.name) == moment.notes:
        absent = frozenset()  # no mirror has come to its end since
    return Outdated(frozenset(tuple(row[0]) for row in rows if not row[1]), absent)


@dataclass(frozen=True, slots=True)
class UnlockedReading:
    """Loads pages of a table that were read without a lock.

    Attributes:
        read: gives the source's rows of some keys, as they are now.
        load: loads a page in a transaction that has the table to itself.
        pace: the source's.
    """

    connection: AsyncConnection
    permit: Permit
    table: CopyTable
    read: Callable[[Sequence[Key]], AsyncIterator[Page]]
    load: Callable[[Page], Awaitable[None]]
    pace: Pace

    async def bring(self, page: Page, moment: Moment) -> set[Key]:
        """Load a page that was read after a moment; the keys of rows that mirrors write again and again.

        Raises:
            TableMovedError: the authority of the table moved meanwhile.
        """
        left = await self._load_current(page, moment)
        for _ in range(_MORE_READINGS):
            if not left:
                break
            moment = await this_moment(self.connection, self.table)
            keys, left = sorted(left), set()
            async for newer in self.read(keys):
                left |= await self._load_current(newer, moment)
        return left

    async def _load_current(self, page: Page, moment: Moment) -> set[Key]:
        """Load the rows of a page that are not older than a mirror's; the keys of the others."""
        table = self.table
        async with self.permit.held(self.connection, table.name, moment.authority) as confirm:
            now = await confirm()
            old = await outdated(self.connection, table, page.body, moment, now)
            left = set(old.written | old.absent)
            if not left:
                await self.load(page)
                return left
            records = [record for record in records_of(page.body) if key_of(record, table) not in left]
            if records:
                await self.load(page_of(records, table))
            if old.absent:
                # No trace tells whether a mirror deleted them. What is read with the table to itself is not older.
                with suppress(TimeoutError), self.pace.at_once():
                    async with asyncio.timeout(_PATIENCE):
                        pages = self.read(sorted(old.absent))
                        newest = [record async for newer in pages for record in records_of(newer.body)]
                    left -= old.absent
                    if newest:
                        await self.load(page_of(newest, table))
        return left


def page_of(records: Sequence[dict[str, Any]], table: CopyTable) -> Page:
    """Rows as a page."""
    return Page(json.dumps(records).encode(), len(records), key_of(records[-1], table))
