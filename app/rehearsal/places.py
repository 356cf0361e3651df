"""Where a rehearsal lies, how much a source holds, and whether there is room for it twice there."""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, sql
from sqlalchemy import Table
from sqlalchemy.engine import make_url

from app.common.schemas import address_in
from app.errors import AccessDeniedError, CountTimeoutError, MigrationError, SchemaMismatchError
from app.migration.sources.postgres.postgres_source import PostgresSource
from app.migration.sources.rest.rest_source import RestSource
from app.migration.sources.source import Source, records_of
from app.migration.tables.copy_table import identifier_of, schema_of
from app.migration.target.target_session import connect_named
from app.next_step import Command, NextStep
from app.state.rehearsals import RehearsalRecord
from app.stores.postgres.database_url import libpq_url, schemas_of_url, shown_url
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
            part = await source.patiently(_asking(source, table))
        except CountTimeoutError:
            return None
        except (SchemaMismatchError, AccessDeniedError):  # which preflight names
            continue
        if part is None:
            return None
        whole += part
    return whole


def _asking(source: RestSource, table: Table) -> Callable[[], Awaitable[int | None]]:
    async def ask() -> int | None:
        builder = source.rest.table(table.name, schema_of(table)).select("*").limit(_SAMPLED)
        response = await source.rest.respond(builder, headers={"Prefer": "count=exact"})
        total, rows = total_told(response.headers), len(records_of(response.content))
        if total is None:
            return None
        return total * len(response.content) // rows if rows else 0

    return ask


async def server_room(connection: AsyncConnection, where: str) -> Room:
    """The room on a server of this machine; of any other, and where the role may not see its directory, unknown."""
    row: Any = await (await connection.execute(_SERVER)).fetchone()
    process, directory, database = row
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


STEP = "rehearse"
PREFIX = "botdata_rehearsal_"
NOTHING_DONE = "everything; nothing was copied"
_MAY_CREATE = "SELECT rolcreatedb OR rolsuper, rolname FROM pg_roles WHERE rolname = current_user"


@dataclass(frozen=True, slots=True)
class Places:
    """The servers.

    Attributes:
        target: DATABASE_URL, where the record is kept.
        on: of `--on`, a database of the server to rehearse on; None: the target's own server.
    """

    target: str
    on: str | None = None

    @property
    def label(self) -> str | None:
        """By what the record names the server: no user, no password; None for the target's own."""
        return None if self.on is None else shown_url(self.on).rpartition("/")[0]

    @property
    def setting(self) -> str:
        """What names the server."""
        return "DATABASE_URL" if self.on is None else "--on"

    @property
    def shown(self) -> str:
        """The server, for people."""
        return self.label or shown_url(self.target).rpartition("/")[0]

    def url(self, name: str) -> str:
        """The address of a database of the server, with the target's schema."""
        server = make_url(libpq_url(self.on or self.target, name=self.setting))
        address = libpq_url(server.set(database=name).render_as_string(hide_password=False))
        schema = schemas_of_url(self.target).data
        return address if schema == "public" else address_in(address, schema)

    async def target_session(self) -> AsyncConnection:
        """A session at the real target; the caller closes it, and raises as `server_session`."""
        return await _session(self.target, "DATABASE_URL")

    async def server_session(self, name: str | None = None) -> AsyncConnection:
        """A session at the server, in the database that was given or in another; the caller closes it.

        Raises:
            MigrationError: it cannot be reached, refuses the login, or is a transaction pooler.
        """
        return await _session((self.on or self.target) if name is None else self.url(name), self.setting)


async def _session(url: str, setting: str) -> AsyncConnection:
    return await connect_named(url, setting=setting, step=STEP, pending=NOTHING_DONE)


async def require_may_create(connection: AsyncConnection, setting: str) -> None:
    """Stop where the role may make no database.

    Raises:
        MigrationError: gives the statement that lets it.
    """
    row = await (await connection.execute(_MAY_CREATE)).fetchone()
    if row is None or not row[0]:
        role = sql.Identifier(row[1]).as_string(None) if row else "ROLE"
        raise MigrationError(
            f"the role in {setting} may not make a database, and a rehearsal has one of its own",
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep(f"ALTER ROLE {role} CREATEDB, or another server with --on, then: ", Command(STEP)),
        )


_MARK = "rehearsal"  # the file that says whose directory it is


_ENDING = 20.0  # seconds that the servers of a killed rehearsal may take to end


_POLL = 0.1


def temporary_directory() -> Path:
    """Where the directories of rehearsals are: TMPDIR, or the system's."""
    return Path(tempfile.gettempdir()).absolute()


def directory_of(rehearsal: str) -> Path:
    """Where it is to be."""
    return temporary_directory() / f"{PREFIX}{rehearsal}"


def make_directory(rehearsal: str) -> None:
    """Make it, and mark it; MigrationError where the system refuses."""
    directory = directory_of(rehearsal)
    try:
        directory.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700)  # a PostgreSQL of root's is another user's
        (directory / _MARK).write_text(rehearsal)
    except OSError as error:
        raise MigrationError(
            f"{directory} cannot be made: {error.strerror}",
            step=STEP,
            pending=NOTHING_DONE,
            next_step=NextStep("set TMPDIR to a directory that can be written, then: ", Command(STEP)),
        ) from error


def delete_directory(record: RehearsalRecord) -> list[str]:
    """Delete it where it is the rehearsal's, by its name and by the mark in it; what is left, in words."""
    if record.directory is None:
        return []
    directory = Path(record.directory)
    if record.machine != socket.gethostname():
        return [f"{directory} may be left on {record.machine}: to remove it, run this there"]
    if directory.name != f"{PREFIX}{record.id}" or directory.is_symlink() or not directory.is_dir():
        return []
    mark = directory / _MARK
    if any(directory.iterdir()) and not (mark.is_file() and mark.read_text() in {record.id, ""}):
        return [f"{directory} does not bear the mark of the rehearsal that is recorded: it is left as it is"]
    deadline = time.monotonic() + _ENDING
    while not _emptied(directory, mark):
        if time.monotonic() > deadline:
            return [f"{directory} cannot be deleted"]
        time.sleep(_POLL)  # a server that was left to stop by itself may still write
    shutil.rmtree(directory)
    return []


def _emptied(directory: Path, mark: Path) -> bool:
    """Delete all but the mark, which goes last, so that a deletion that is killed can go on."""
    for each in directory.iterdir():
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        elif each != mark:
            each.unlink(missing_ok=True)
    return set(directory.iterdir()) <= {mark}
