"""Loads a schema that was dumped to a file into a database of its own, which is then adopted as a project's is."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from app.adopt.scope import NOTHING_WRITTEN, PLATFORM_EXTENSIONS, STEP, Role, Scope
from app.adopt.scratch import ScratchPlaces, scratch_database
from app.errors import MigrationError
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.stores.postgres.session import connect

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
    named = [Role(name, False, False) for name in _ROLES if re.search(rf"\b{name}\b", text)]
    extensions = tuple((name, "extensions") for name in _EXTENSION.findall(_before_functions(text)))
    scope = Scope((), {}, extensions, (), tuple(named), (), (), {}, (), (), grants=False)
    async with scratch_database(places.for_another, scope) as scratch:
        if not hasattr(scratch, "url"):
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
