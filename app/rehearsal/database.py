"""The throw-away database of a rehearsal, and the removal of what a rehearsal leaves.

A database is dropped only where three things hold: schema `botdata` of the real target has a record of it; it bears the
rehearsal's mark, a comment with its id; and the lock of the rehearsal's owner is free, or is held here. One that a
rehearsal was killed over before it was marked is known by its record, and is dropped only if there is nothing in it.
"""

import asyncio
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import psycopg
from psycopg import AsyncConnection, sql

from app.errors import BotdataError, UnavailableError
from app.migration.target.database_drop import drop_database
from app.migration.target.target_session import explained
from app.rehearsal.directories import delete_directory, directory_of, make_directory
from app.rehearsal.places import NOTHING_DONE, PREFIX, STEP, Places
from app.state import rehearsals
from app.state.fetching import fetch_row, fetch_value
from app.state.rehearsals import MAKER, OWNER, RehearsalRecord
from app.state.tool_schema import ensure_tool_schema

_RECOVERS, _LOOK = 10.0, 0.5  # seconds that a server may take to be back, and between looks
_FIND = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %(name)s"
_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
"""
# What a database is made with; the columns of locales have other names in each version of PostgreSQL.
_KIND = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, to_jsonb(d) ->> 'datlocprovider',
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
FROM pg_database d WHERE datname = current_database()
"""
_PROVIDERS = {"i": ("icu", "ICU_LOCALE"), "b": ("builtin", "BUILTIN_LOCALE")}


@dataclass(slots=True)
class ThrowAway:
    """A rehearsal's own database.

    Attributes:
        directory: for the stand-in source; None: there is to be none.
        left: what could not be removed at its end, in words; empty: nothing is left.
    """

    name: str
    url: str
    directory: Path | None
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found of rehearsals before this one.

    Attributes:
        removed: names of databases and directories of killed rehearsals that are gone now.
        left: what is not, and why.
    """

    removed: tuple[str, ...]
    left: tuple[str, ...]


@asynccontextmanager
async def throw_away_database(
    places: Places, notice: Callable[[str], None], *, stand_in: bool
) -> AsyncIterator[ThrowAway]:
    """Make the database; drop it at the end, however that comes.

    Args:
        notice: told what could not be removed.
        stand_in: a directory for a stand-in source, too.

    Raises:
        MigrationError: the record cannot be kept, or the database cannot be made.
    """
    rehearsal = secrets.token_hex(8)
    name = f"{PREFIX}{rehearsal}"
    made = ThrowAway(name, places.url(name), directory_of(rehearsal) if stand_in else None)
    directory = str(made.directory) if stand_in else None
    machine = socket.gethostname()
    async with await places.target_session() as owner, AsyncExitStack() as held:
        with explained(STEP, pending=NOTHING_DONE):
            await ensure_tool_schema(owner)
            await rehearsals.take_lock(owner, rehearsal, OWNER)
            await rehearsals.record_rehearsal(
                owner, rehearsal, server=places.label, machine=machine, directory=directory
            )
        try:
            await _make(places, owner, rehearsal, made, held)
            yield made
        finally:
            record = RehearsalRecord(rehearsal, places.label, machine, directory, made=False, began_at="")
            made.left += await _remove_at_the_end(places, record)
            for one in made.left:
                notice(f"LEFT: {one}")


async def _remove_at_the_end(places: Places, record: RehearsalRecord) -> list[str]:
    """As `_remove`, in new sessions: a task that is cancelled may take its own with it.

    A server whose disk was full starts again, and takes no sessions meanwhile.
    """
    deadline = monotonic() + _RECOVERS
    while True:
        try:
            async with await places.target_session() as target, await places.server_session() as server:
                return await _remove(target, server, places, record)
        except (BotdataError, psycopg.Error, OSError) as error:
            if monotonic() > deadline or not isinstance(error.__cause__, UnavailableError):
                return [f"{PREFIX}{record.id} on {places.shown}: {error}"]
        await asyncio.sleep(_LOOK)


async def remove_leftovers(places: Places, notice: Callable[[str], None]) -> Leftovers:
    """Remove what killed rehearsals left; those that live are left alone.

    Args:
        notice: told of rehearsals that are under way.

    Raises:
        MigrationError: the target or the server cannot be reached.
    """
    removed: list[str] = []
    left: list[str] = []
    async with await places.target_session() as target, await places.server_session() as server:
        with explained(STEP, pending=NOTHING_DONE):
            for record in await rehearsals.not_removed(target):
                if not await _is_free(target, server, record):
                    notice(f"a rehearsal is under way since {record.began_at}: {PREFIX}{record.id} is left alone")
                    continue
                try:
                    remains = await _remove(target, server, places, record)
                finally:
                    await rehearsals.give_lock_back(target, record.id, OWNER)
                    await rehearsals.give_lock_back(server, record.id, MAKER)
                left += remains
                if not remains:
                    removed.append(f"{PREFIX}{record.id}")
    return Leftovers(tuple(removed), tuple(left))


async def _is_free(target: AsyncConnection, server: AsyncConnection, record: RehearsalRecord) -> bool:
    """Whether its owner has ended; both of its locks are then held here.

    The second is held by the session that made the database: the server may be at it still after a kill, and a
    rehearsal that lost one session lives on.
    """
    if not await rehearsals.take_lock(target, record.id, OWNER):
        return False
    if await rehearsals.take_lock(server, record.id, MAKER):
        return True
    await rehearsals.give_lock_back(target, record.id, OWNER)
    return False


async def _make(places: Places, owner: AsyncConnection, rehearsal: str, made: ThrowAway, held: AsyncExitStack) -> None:
    if made.directory is not None:
        make_directory(rehearsal)
    with explained(STEP, pending=NOTHING_DONE):
        kind = await fetch_row(owner, _KIND)
        server = await held.enter_async_context(await places.server_session())
        await rehearsals.take_lock(server, rehearsal, MAKER)
        options = sql.SQL("") if places.on else _like(*kind)
        name = sql.Identifier(made.name)
        await server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(name, options))
        await server.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(_mark(rehearsal))))
        await server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        await rehearsals.note_made(owner, rehearsal)


def _like(encoding: str, collate: str, ctype: str, provider: str | None, locale: str | None) -> sql.Composed:
    """Made as the real target is."""
    options = [("ENCODING", encoding), ("LC_COLLATE", collate), ("LC_CTYPE", ctype)]
    if provider in _PROVIDERS and locale is not None:
        name, option = _PROVIDERS[provider]
        options += [("LOCALE_PROVIDER", name), (option, locale)]
    elif provider is not None:
        options.append(("LOCALE_PROVIDER", "libc"))
    return sql.SQL(" ").join(sql.SQL("{} {}").format(sql.SQL(key), sql.Literal(value)) for key, value in options)


async def _remove(
    target: AsyncConnection, server: AsyncConnection, places: Places, record: RehearsalRecord
) -> list[str]:
    """Remove what there is of a rehearsal whose lock is held; what is left, in words."""
    left = [*await _drop(server, places, record), *delete_directory(record)]
    if not left:
        await rehearsals.note_removed(target, record.id)
    return left


async def _drop(server: AsyncConnection, places: Places, record: RehearsalRecord) -> list[str]:
    name = f"{PREFIX}{record.id}"
    if record.server != places.label:
        where = "DATABASE_URL" if record.server is None else f"--on, an address of {record.server}"
        return [f"{name} is on another server: to remove it, give {where}"]
    found = await (await server.execute(_FIND, {"name": name})).fetchone()
    if found is None:
        return []
    if found[0] != _mark(record.id) and (record.made or found[0] is not None or not await _is_empty(places, name)):
        return [f"{name} does not bear the mark of the rehearsal that is recorded: it is left as it is"]
    left = await drop_database(server, name, places.server_session)
    return [left] if left else []


async def _is_empty(places: Places, name: str) -> bool:
    async with await places.server_session(name) as connection:
        return bool(await fetch_value(connection, _EMPTY))


def _mark(rehearsal: str) -> str:
    assert re.fullmatch("[0-9a-f]+", rehearsal)
    return f"botdata rehearsal {rehearsal}"


# PostgreSQL's own triggers, which keep foreign keys and deferrable constraints, are internal, and stay.
_TABLES = """
SELECT n.nspname, c.relname, count(*) FILTER (WHERE tgparentid = 0) FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT tgisinternal AND tgenabled <> 'D' AND relkind IN ('r', 'p', 'f') GROUP BY 1, 2 ORDER BY 1, 2
"""
_OF_EVENTS = "SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"


async def disable_triggers(connection: AsyncConnection) -> int:
    """Disable the triggers of users on tables, and those on events; gives how many there were."""
    disabled = 0
    async with connection.transaction():
        for (name,) in await (await connection.execute(_OF_EVENTS)).fetchall():
            await connection.execute(sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(sql.Identifier(name)))
            disabled += 1
        for schema, table, count in await (await connection.execute(_TABLES)).fetchall():
            name = sql.Identifier(schema, table)
            await connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
            disabled += count
    return disabled
