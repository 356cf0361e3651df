"""How much a source holds, and whether there is room for it twice where a rehearsal lies."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.errors import AccessDeniedError, CountTimeoutError, SchemaMismatchError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source, records_of
from app.migration.tables.copy_table import identifier_of, schema_of
from app.state.fetching import fetch_row
from app.stores.supabase.answers import total_told

_TIMES = 2
_SAMPLED = 100  # rows of each table
# The tables with all that inherits from them; a partitioned one has no bytes of its own.
_BYTES = """
WITH RECURSIVE tree (oid) AS (SELECT to_regclass(name)::oid FROM unnest({}::text[]) name
    UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM tree WHERE oid IS NOT NULL
"""
_SERVER = "SELECT pg_backend_pid(), (SELECT setting FROM pg_settings WHERE name = 'data_directory'), current_database()"


@dataclass(frozen=True, slots=True)
class Room:
    """A place for rows.

    Attributes:
        where: for people.
        device: of its file system, and free: bytes on it; None where they cannot be known.
    """

    where: str
    device: int | None = None
    free: int | None = None


def table_bytes(tables: Sequence[Table]) -> sql.Composed:
    """The query for the bytes that tables take in a PostgreSQL, with indexes and all."""
    names = [identifier_of(table).as_string(None) for table in tables]
    return sql.SQL(_BYTES).format(sql.Literal(names))


async def source_bytes(source: Source, tables: Sequence[Table]) -> int | None:
    """The bytes of the tables in the source: over REST about, by the first rows of each; None: it does not tell.

    Raises:
        StoreError: the source cannot be read.
    """
    if isinstance(source, PostgresSource):
        ((found,),) = await source.fetch(table_bytes(tables))
        return int(found)
    assert isinstance(source, RestSource)
    whole = 0
    for table in tables:
        try:
            part = await source.patiently(partial(_told_bytes, source, table))
        except CountTimeoutError:
            return None
        except (SchemaMismatchError, AccessDeniedError):  # which preflight names
            continue
        if part is None:
            return None
        whole += part
    return whole


async def _told_bytes(source: RestSource, table: Table) -> int | None:
    builder = source.rest.table(table.name, schema_of(table)).select("*").limit(_SAMPLED)
    response = await source.rest.respond(builder, headers={"Prefer": "count=exact"})
    total, rows = total_told(response.headers), len(records_of(response.content))
    if total is None:
        return None
    return total * len(response.content) // rows if rows else 0


async def server_room(connection: AsyncConnection, where: str) -> Room:
    """The room on a server of this machine; of any other, and where the role may not see its directory, unknown."""
    process, directory, database = await fetch_row(connection, _SERVER)
    return _local_room(process, directory, database, where) or Room(where)


def _local_room(process: int, directory: str | None, database: str, where: str) -> Room | None:
    """By its session's process: a server of another machine, or in a container, has other process numbers."""
    try:
        title = Path(f"/proc/{process}/cmdline").read_bytes()
        if directory and title.startswith(b"postgres") and database.encode() in title:
            return room_at(Path(directory), where)
    except OSError:
        pass
    return None


def room_at(directory: Path, where: str) -> Room:
    """The room in a directory of this machine; raises OSError."""
    free = os.statvfs(directory)
    return Room(where, directory.stat().st_dev, free.f_bavail * free.f_frsize)


def too_little(size: int, rooms: Sequence[Room]) -> list[str]:
    """Where there is not twice the source's size free, in words; places on one file system share its room."""
    found = {}
    for room in rooms:
        sharing = [one for one in rooms if room.device is not None and one.device == room.device]
        if room.free is not None and room.free < (needed := _TIMES * size * len(sharing)):
            where = " and ".join(one.where for one in sharing)
            found[where] = f"{where}: {needed:,} bytes are needed, twice the source's size, and {room.free:,} are free"
    return list(found.values())
