"""Empty databases that revisions are tried on, and one for a schema that was dumped to a file."""

import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy.engine import make_url

from app.adopt.scope import NOTHING_WRITTEN, PLATFORM_EXTENSIONS, STEP
from app.errors import MigrationError
from app.migration.target.database_drop import drop_database
from app.migration.target.target_session import connect_named, explained
from app.next_step import Command, NextStep
from app.state.fetching import fetch_column, fetch_value
from app.stores.postgres.database_url import libpq_url, shown_url
from app.stores.postgres.session import connect

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
async def scratch_database(
    places: ScratchPlaces, roles: Sequence[str], extensions: Sequence[str]
) -> AsyncIterator[Scratch | str]:
    """An empty database on a server that has these roles and extensions, or why there is none.

    A database that was made for it is dropped afterwards; the one that was named is left as it is then.

    Raises:
        MigrationError: the database that was named cannot be reached, or is not empty.
    """
    reasons = []
    needed = {"roles": list(roles), "extensions": list(extensions)}
    if places.named is not None:
        async with await _session(places.named, "--scratch") as connection:
            with explained(STEP, setting="--scratch", pending=NOTHING_WRITTEN):
                await _require_empty(connection, places.named)
                missing = await _missing(connection, needed)
        shown = shown_url(places.named)
        yield f"{shown} lacks {', '.join(missing)}" if missing else Scratch(places.named, shown)
        return
    if places.target is None:
        reasons.append("DATABASE_URL is not set")
    else:
        async with await _session(places.target, places.setting) as connection:
            with explained(STEP, setting=places.setting, pending=NOTHING_WRITTEN):
                missing = await _missing(connection, needed)
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
                for role in roles:
                    await connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
                missing = await _missing(connection, needed)
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


async def _missing(connection: AsyncConnection, needed: dict[str, list[str]]) -> list[str]:
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
        async with connection:
            left = await drop_database(connection, name, lambda: _session(target, setting))
        if left is not None:
            raise MigrationError(
                left,
                step=STEP,
                pending="to drop it",
                next_step=NextStep(f"DROP DATABASE {name}; then: ", Command(STEP)),
            )


# The roles that every project has; those that a dump names are made where it is loaded.
_ROLES = (
    *("anon", "authenticated", "service_role", "authenticator", "dashboard_user", "pgbouncer", "supabase_admin"),
    *("supabase_auth_admin", "supabase_storage_admin", "supabase_realtime_admin", "supabase_replication_admin"),
)
_EXTENSION = re.compile(r'^CREATE EXTENSION (?:IF NOT EXISTS )?"?([\w-]+)"?', re.MULTILINE)
_PLATFORM = re.compile(
    rf'^(CREATE|COMMENT ON) EXTENSION (IF NOT EXISTS )?"?({"|".join(sorted(PLATFORM_EXTENSIONS))}|plpgsql)"?[ ;].*\n',
    re.MULTILINE,
)
_RESTRICT = re.compile(r"^\\restrict (\S+)\n", re.MULTILINE)
_FIRST_FUNCTION = re.compile(r"^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE) ", re.MULTILINE)
_ROWS = re.compile(r"^COPY .* FROM stdin;$", re.MULTILINE)
_DUMP_IT = NextStep("supabase db dump --file schema.sql, or pg_dump --schema-only; then: ", Command(STEP))
_TELL_APART = NextStep(
    Command(STEP),
    " with --source postgresql://... in place of the file, which tells which function is meant; "
    "or rename one of those at the source, and dump again",
)
# What a dump of the user's schemas refers to, and leaves out.
_AROUND = """
CREATE SCHEMA IF NOT EXISTS extensions;
CREATE SCHEMA IF NOT EXISTS auth;
CREATE TABLE IF NOT EXISTS auth.users (id uuid PRIMARY KEY, email character varying(255));
CREATE PUBLICATION supabase_realtime;
CREATE SCHEMA IF NOT EXISTS supabase_functions;
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE SCHEMA IF NOT EXISTS storage;
CREATE TABLE IF NOT EXISTS storage.buckets (id text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS storage.objects (id uuid PRIMARY KEY, bucket_id text);
CREATE FUNCTION storage.foldername(name text) RETURNS text[] LANGUAGE sql AS 'SELECT NULL::text[]';
CREATE FUNCTION storage.filename(name text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
CREATE FUNCTION storage.extension(name text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT NULL::uuid';
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS 'SELECT NULL::text';
CREATE FUNCTION auth.email() RETURNS text LANGUAGE sql STABLE AS 'SELECT NULL::text';
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT NULL::jsonb';
"""


@asynccontextmanager
async def loaded(path: Path, places: ScratchPlaces) -> AsyncIterator[str]:
    """The URL of a database that holds the file's schema, for as long as the context lasts.

    Raises:
        MigrationError: the file cannot be read or loaded, or no server can take it; says why.
    """
    text = _without_what_is_not_sql(_read(path))
    roles = [name for name in _ROLES if re.search(rf"\b{name}\b", text)]
    extensions = _EXTENSION.findall(_before_functions(text))
    async with scratch_database(places.for_another, roles, extensions) as scratch:
        if isinstance(scratch, str):
            raise MigrationError(
                f"no server can take {path}: {scratch}",
                step=STEP,
                pending=NOTHING_WRITTEN,
                next_step=NextStep(
                    Command(STEP), " with --scratch URL, on a server that has these, of a role that may make databases"
                ),
            )
        with explained(STEP, setting="the scratch database", pending=NOTHING_WRITTEN):
            async with await connect(scratch.url, setting="the scratch database", step=STEP) as connection:
                if re.search(r"^CREATE SCHEMA public;", text, re.MULTILINE):
                    await connection.execute("DROP SCHEMA public")
                if not re.search(r'^CREATE SCHEMA (IF NOT EXISTS )?"?auth"?;', text, re.MULTILINE):
                    await connection.execute(_AROUND)
                try:
                    await connection.execute(text.encode())
                except psycopg.Error as error:
                    raise _refused(path, text, error) from error
        yield scratch.url


def _read(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(f"cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}", path) from error
    if text.count("\r\n") == text.count("\n"):  # the whole file was given another system's line ends
        text = text.replace("\r\n", "\n")
    if _ROWS.search(text):
        raise _unusable("holds rows", path)
    return text


def _without_what_is_not_sql(text: str) -> str:
    """Without psql's own commands, and without the extensions that serve Supabase itself."""
    if restrict := _RESTRICT.search(text):
        text = text.replace(restrict[0], "", 1).replace(f"\\unrestrict {restrict[1]}\n", "")
    head = _before_functions(text)
    return _PLATFORM.sub("", head) + text[len(head) :]


def _before_functions(text: str) -> str:
    """Where a dump has its extensions; a function's body may say anything."""
    first = _FIRST_FUNCTION.search(text)
    return text[: first.start()] if first else text


def _unusable(why: str, path: Path, otherwise: NextStep = _DUMP_IT) -> MigrationError:
    return MigrationError(
        f"--schema-file {path} {why}",
        step=STEP,
        pending=NOTHING_WRITTEN,
        next_step=otherwise,
    )


def _refused(path: Path, text: str, error: psycopg.Error) -> MigrationError:
    place = error.diag.statement_position
    line = f", line {text.count(chr(10), 0, int(place)) + 1}" if place else ""
    otherwise = _TELL_APART if isinstance(error, psycopg.errors.AmbiguousFunction) else _DUMP_IT
    return _unusable(f"cannot be loaded{line}: {error.diag.message_primary}", path, otherwise)
