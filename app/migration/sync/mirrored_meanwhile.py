"""Rows that a mirror wrote after a page of the source was read: the page may be older than they are.

A sync reads the source without any lock, so that no mirror waits for a request. Before it writes what it read, it has
the table to itself, and asks which of the rows a mirror has written since: those are read again. A row that a mirror
wrote bears the transaction of it. A row that a mirror deleted bears nothing, but each mirror takes a note away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection, sql

from app.common.keys import Key
from app.migration.load.statements import aliases, listed, names_of, same_key
from app.migration.load.table_authority import Authority, read_authority
from app.migration.tables.copy_table import CopyTable
from app.migration.target.target_session import JsonBytes
from app.state.runs import synced_tables


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


async def this_moment(connection: AsyncConnection, table: CopyTable) -> Moment:
    """To be asked before the source is read, outside of a transaction."""
    authority = await read_authority(connection)
    if authority.mirrored(table.name) is None:
        return Moment(authority, None, (), (0, 0))
    notes = await synced_tables.noted(connection, table.name)
    cursor = await connection.execute(
        "SELECT pg_snapshot_xmax(now)::xid::text, ARRAY(SELECT running::xid::text FROM pg_snapshot_xip(now) running) "
        "FROM pg_current_snapshot() now"
    )
    ((next_xid, running),) = await cursor.fetchall()
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
    given = {"page": JsonBytes(body), "running": list(moment.running), "next": moment.next_xid}
    rows = await (await connection.execute(query, given)).fetchall()
    absent = frozenset(tuple(row[0]) for row in rows if row[1])
    if absent and await synced_tables.noted(connection, table.name) == moment.notes:
        absent = frozenset()  # no mirror has come to its end since
    return Outdated(frozenset(tuple(row[0]) for row in rows if not row[1]), absent)
