"""The command's work: reads a database's schema, writes the project, and proves its revisions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from psycopg import AsyncConnection

from app.adopt.dump import read_statements
from app.adopt.models.described_tables import describe_tables
from app.adopt.models.package import write_models
from app.adopt.project import (
    PACKAGE,
    finish,
    last_revision,
    project_files,
    refuse_other_directory,
    remembered,
    revision_files,
    take_back_unfinished,
    write_project,
)
from app.adopt.proof import Difference, Proof, prove, source_catalog
from app.adopt.revision import SETTINGS, first_statements, statements_for, that_work
from app.adopt.scope import NOTHING_WRITTEN, STEP, Scope, read_scope
from app.adopt.scratch import ScratchPlaces, scratch_database
from app.errors import MigrationError
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.schema.pg_dump import PgDump, find_pg_dump
from app.state.fetching import fetch_rows
from app.stores.postgres.session import connect, source_errors

# What Supabase's tables of users hold to let somebody in once: it stays unless it is asked for.
_SECRETS = {
    "auth.users": {
        "confirmation_token", "recovery_token", "email_change_token_new", "email_change_token_current",
        "phone_change_token", "reauthentication_token",
    }
}  # fmt: skip
_TITLES = {
    True: ("The schema as it was at the source.", "schema"),
    False: ("What has changed at the source since.", "changes"),
}
_OUTSIDE = """
SELECT 'event trigger ' || quote_ident(evtname) FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
WHERE p.pronamespace = ANY (ARRAY(SELECT oid FROM pg_namespace WHERE nspname = ANY (%(schemas)s)))
UNION ALL SELECT format('cast of %%s to %%s', castsource::regtype, casttarget::regtype) FROM pg_cast c
JOIN pg_type s ON s.oid = c.castsource JOIN pg_type t ON t.oid = c.casttarget
JOIN pg_namespace n ON n.oid IN (s.typnamespace, t.typnamespace) WHERE n.nspname = ANY (%(schemas)s)
AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = 'pg_cast'::regclass AND e.objid = c.oid AND e.deptype IN ('e', 'i'))
UNION ALL SELECT 'what ' || pg_get_userbyid(defaclrole) || ' grants or revokes of all that it makes (ALTER DEFAULT '
    || 'PRIVILEGES)' FROM pg_default_acl WHERE defaclnamespace = 0 AND %(grants)s GROUP BY defaclrole
ORDER BY 1
"""
_DEFINERS = """
SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname = ANY (%(schemas)s) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """How to adopt.

    Attributes:
        schemas: None: all that are the user's own.
        with_auth, with_auth_secrets: the tables of Supabase's users come along, and the tokens in them.
        grants: who may do what comes along.
        told: is given a sentence before each part that can take long.
        pg_dumps: paths of pg_dump to try, in this order.
    """

    schemas: Sequence[str] | None
    with_auth: bool
    with_auth_secrets: bool
    grants: bool
    pg_dumps: Sequence[str | None]
    places: ScratchPlaces
    told: Callable[[str], None]

    @property
    def taken_along(self) -> dict[str, Any]:
        """What a later `adopt` of the same project takes along, too."""
        flags = ("with_auth", "with_auth_secrets", "grants")
        return {"schemas": self.schemas and list(self.schemas)} | {flag: getattr(self, flag) for flag in flags}

    def with_earlier(self, earlier: Mapping[str, Any]) -> Self:
        """The same, with what an earlier `adopt` took along."""
        taken: dict[str, Any] = {name: value or earlier.get(name) for name, value in self.taken_along.items()}
        return replace(self, **taken)


@dataclass(frozen=True, slots=True)
class AdoptReport:
    """What was adopted.

    Attributes:
        revision: the one that was written; None: nothing had changed that a revision can make up for.
        changes: what has changed at the source since the last revision.
        beside: files that were written beside one that a person had changed.
        administrator: statements that need more than the owner's rights.
        proof: None where no server could tell, and `not_proved` says why.
    """

    directory: Path
    scope: Scope
    tables: int
    revision: str | None
    changes: tuple[Difference, ...]
    beside: tuple[str, ...]
    administrator: tuple[str, ...]
    notes: tuple[str, ...]
    proof: Proof | None
    not_proved: str | None

    @property
    def proved(self) -> bool:
        """Whether the revisions were run, and made the same schema."""
        return self.proof is not None and not self.proof.differences


async def adopt(source_url: str, directory: Path, options: AdoptOptions) -> AdoptReport:
    """Write a project for a database, and prove it.

    Raises:
        MigrationError: the source cannot be read, the directory cannot be written, or the revisions cannot be run.
    """
    refuse_other_directory(directory)
    options = options.with_earlier(remembered(directory))
    with explained(STEP, setting="--source", pending=NOTHING_WRITTEN), source_errors():
        connection = await connect(source_url, setting="--source", step=STEP)
    async with connection:
        with explained(STEP, setting="--source", pending=NOTHING_WRITTEN), source_errors():
            scope = await read_scope(connection, options.schemas, with_auth=options.with_auth, grants=options.grants)
            pg_dump = await _pg_dump(options.pg_dumps, connection.info.server_version // 10000)
            options.told(f"reading the schemas {', '.join(scope.schemas)}")
            tables, types = await describe_tables(connection, scope.schemas, list(scope.auth_tables))
            if not tables:
                raise MigrationError(
                    f"the schemas {', '.join(scope.schemas)} hold no table that the role of --source can see",
                    step=STEP,
                    pending=NOTHING_WRITTEN,
                    next_step=NextStep(Command(STEP), " with the --schemas that hold the project's tables"),
                )
            catalog = await source_catalog(connection, scope)
            notes = await _notes(connection, scope)
        hidden = {} if options.with_auth_secrets else _SECRETS
        contents = project_files(directory, scope.schemas, len(tables), notes)
        models = write_models(PACKAGE, tables, types, hidden)
        contents |= {f"{PACKAGE}/{name}": text for name, text in models.items()}
        take_back_unfinished(directory)
        number = last_revision(directory) + 1
        changes: tuple[Difference, ...] = ()
        roles, extensions = [role.name for role in scope.roles], [name for name, _ in scope.extensions]
        async with scratch_database(options.places, roles, extensions) as scratch:
            values: list[str] = []
            statements: list[str] = []
            if number == 1:
                statements = [first_statements(scope, await read_statements(source_url, scope, pg_dump))]
            elif not isinstance(scratch, str):
                changes = (await prove(catalog, scope, scratch, directory)).differences
                wanted = await statements_for(connection, source_url, scope, changes, pg_dump)
                values, working = await that_work(scratch.url, *wanted)
                statements = [SETTINGS, *working] if values or working else []
            if statements:
                title, slug = _TITLES[number == 1]
                contents |= revision_files(number, title, slug, "\n".join(statements), scope.roles, values)
            if not isinstance(scratch, str):
                options.told(f"running the revisions for {len(tables):,} tables on {scratch.where}, and comparing")
            beside = write_project(directory, contents, options.taken_along)
            proof = None if isinstance(scratch, str) else await prove(catalog, scope, scratch, directory)
            finish(directory)
    return AdoptReport(
        directory,
        scope,
        len(tables),
        f"{number:04}" if statements else None,
        changes,
        tuple(beside),
        tuple(role.statement for role in scope.roles),
        tuple(notes),
        proof,
        scratch if isinstance(scratch, str) else None,
    )


async def _pg_dump(paths: Sequence[str | None], server_version: int) -> PgDump:
    otherwise = NextStep(
        f"install PostgreSQL's client programs, version {server_version} or later, or name a pg_dump: ",
        Command(STEP, "--pg-dump PATH"),
    )
    for path in paths:
        if found := await find_pg_dump(path, server_version, step=STEP, otherwise=otherwise):
            return found
    raise MigrationError(
        f"no pg_dump of version {server_version} or later was found, which the source's server needs",
        step=STEP,
        pending=NOTHING_WRITTEN,
        next_step=otherwise,
    )


async def _notes(connection: AsyncConnection, scope: Scope) -> list[str]:
    """What a person should look at, one sentence each."""
    notes = [
        f"{outside.schema}.{outside.name} is not part of the move: the target gets its key columns, without rows, and "
        f"foreign keys to it stay NOT VALID"
        + ("; --with-auth moves it" if (outside.schema, outside.name) == ("auth", "users") else "")
        for outside in {
            (outside.schema, outside.name): outside for outside in scope.referenced if outside.is_key
        }.values()
    ]
    read = {f"{outside.schema}.{outside.name}" for outside in scope.referenced if not outside.is_key}
    notes += [
        f"{name} is read by a view, a policy or a function, and is not part of the move: the target gets the columns "
        "that these name, without rows"
        for name in sorted(read)
    ]
    notes += [
        f"{column} is left out of these columns, since its type is not part of the move"
        for column in scope.left_columns
    ]
    notes += [
        f"the function {name} is called, and comes along, though its schema {schema} is not part of the move"
        for schema, name, _ in scope.functions
    ]
    given = {"schemas": list(scope.schemas), "grants": scope.grants}
    notes += [
        f"{name} runs with the rights of its owner (SECURITY DEFINER), who was {owner}"
        for name, owner in await fetch_rows(connection, _DEFINERS, given)
    ]
    notes += [
        f"trigger {name} calls Supabase's {function}: it is left out, and what it does is made by hand"
        for name, function in scope.strange_triggers.values()
    ]
    notes += [
        f"{schema}.{name} is a foreign table: its server, and the password for it, are made by hand, and the table then"
        for schema, name in scope.foreign_tables
    ]
    notes += [
        f"{name} lies in no schema, and is made by hand" for (name,) in await fetch_rows(connection, _OUTSIDE, given)
    ]
    if scope.left_extensions:
        notes.append(f"left out, since they serve Supabase itself: extensions {', '.join(scope.left_extensions)}")
    return notes
