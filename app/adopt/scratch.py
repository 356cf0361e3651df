"""Finds an empty database to try revisions on: the one that was named, one of its own, or an embedded one."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from psycopg import AsyncConnection, sql
from sqlalchemy.engine import make_url

from app.adopt.scope import NOTHING_WRITTEN, STEP, Scope
from app.common.background import end_all
from app.errors import MigrationError
from app.migration.target.target_session import connect_named, explained
from app.next_step import Command, NextStep
from app.state.fetching import fetch_column, fetch_value
from app.stores.postgres.database_url import libpq_url, shown_url

# A server of our own for as long as the context lasts: gives the URL of an empty database.
Embedded = Callable[[], AbstractContextManager[str]]
_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
        SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))
"""
_MISSING = """
SELECT 'role ' || r FROM unnest(%(roles)s::text[]) r WHERE r NOT IN (SELECT rolname FROM pg_roles)
UNION ALL SELECT 'extension ' || e FROM unnest(%(extensions)s::text[]) e
WHERE e NOT IN (SELECT name FROM pg_available_extensions)
"""
_MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"


@dataclass(frozen=True, slots=True)
class ScratchPlaces:
    """Where revisions may be tried.

    Attributes:
        named: the URL of a database that is meant for it.
        target: the URL of the target, on whose server a database can be made.
        setting: what gives that URL.
        embedded: starts a server for it; None where none is installed.
    """

    named: str | None
    target: str | None
    embedded: Embedded | None
    setting: str = "DATABASE_URL"

    @property
    def for_another(self) -> "ScratchPlaces":
        """Where there is room for one more, beside the database that is named."""
        return self if self.named is None else replace(self, named=None, target=self.named, setting="--scratch")


@dataclass(frozen=True, slots=True)
class Scratch:
    """An empty database; `where` names it for a person."""

    url: str
    where: str


@asynccontextmanager
async def scratch_database(places: ScratchPlaces, scope: Scope) -> AsyncIterator[Scratch | str]:
    """An empty database with the roles and extensions that the schema needs, or why there is none.

    A database that was made for it is dropped afterwards; the one that was named is left as it is then.

    Raises:
        MigrationError: the database that was named cannot be reached, or is not empty.
    """
    reasons = []
    if places.named is not None:
        async with await _session(places.named, "--scratch") as connection:
            with explained(STEP, setting="--scratch", pending=NOTHING_WRITTEN):
                await _require_empty(connection, places.named)
                missing = await _missing(connection, scope)
        shown = shown_url(places.named)
        yield f"{shown} lacks {', '.join(missing)}" if missing else Scratch(places.named, shown)
        return
    if places.target is None:
        reasons.append("DATABASE_URL is not set")
    else:
        async with await _session(places.target, places.setting) as connection:
            with explained(STEP, setting=places.setting, pending=NOTHING_WRITTEN):
                missing = await _missing(connection, scope)
                if await fetch_value(connection, _MAY_CREATE) and not missing:
                    async with _made(connection, places.target, places.setting) as scratch:
                        yield scratch
                    return
        why = f"lacks {', '.join(missing)}" if missing else "lets its role make no database"
        reasons.append(f"the server of {places.setting} {why}")
    if places.embedded is None:
        reasons.append("no embedded server is installed")
    else:
        with places.embedded() as url:
            async with await _session(url, "the embedded server") as connection:
                for role in scope.roles:
                    statement = sql.SQL("CREATE ROLE {}").format(sql.Identifier(role.name))
                    await connection.execute(statement)
                missing = await _missing(connection, scope)
            if not missing:
                yield Scratch(url, "the embedded server")
                return
        reasons.append(f"the embedded server lacks {', '.join(missing)}")
    yield "; ".join(reasons)


async def _session(url: str, setting: str) -> AsyncConnection:
    return await connect_named(url, setting=setting, step=STEP, pending=NOTHING_WRITTEN)


async def _require_empty(connection: AsyncConnection, url: str) -> None:
    if not await fetch_value(connection, _EMPTY):
        raise MigrationError(
            f"--scratch {shown_url(url)} is not empty",
            step=STEP,
            pending=NOTHING_WRITTEN,
            next_step=NextStep("make a new database for it, then: ", Command(STEP)),
        )


async def _missing(connection: AsyncConnection, scope: Scope) -> list[str]:
    needed = {"roles": [role.name for role in scope.roles], "extensions": [name for name, _ in scope.extensions]}
    return await fetch_column(connection, _MISSING, needed)


@asynccontextmanager
async def _made(connection: AsyncConnection, target: str, setting: str) -> AsyncIterator[Scratch]:
    """A database of a name of its own beside the target, dropped at the end."""
    name = f"botdata_scratch_{secrets.token_hex(6)}"
    identifier = sql.Identifier(name)
    try:  # a stop may come when the server has made it, and before that is known here
        await connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
        url = make_url(libpq_url(target)).set(database=name).render_as_string(hide_password=False)
        yield Scratch(url, f"the server of {setting} ({name})")
    finally:
        if connection.closed:  # a task that is cancelled may take its session with it
            connection = await _session(target, setting)
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier)
        await end_all(lambda: connection.execute(drop), connection.close)
