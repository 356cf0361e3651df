"""Preflight as a whole: both ends examined, whatever is wrong with either, and nothing written."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import monotonic

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.cutover.stages import Stage
from app.errors import BotdataError, MigrationError, SettingsError, StoreError, error_for_sqlstate
from app.migration.load.table_authority import read_authority
from app.migration.preflight.app_role import examine_app_role
from app.migration.preflight.duplicates import found_by_pages, found_by_query
from app.migration.preflight.findings import (
    Accepted,
    AppRole,
    Finding,
    PreflightReport,
    TableSeen,
    finding,
)
from app.migration.preflight.parents import (
    LeadingOut,
    keys_leading_out,
    keys_of_models_alone,
    parent_findings,
)
from app.migration.preflight.schemas.catalog import CatalogTable, read_all
from app.migration.preflight.schemas.source_schema import SourceSeen, schema_findings
from app.migration.preflight.schemas.target_schema import Examine, TargetState
from app.migration.preflight.sources.postgres_source import connect_to_source, see_postgres
from app.migration.preflight.sources.rest_settings import key_findings, settings_findings
from app.migration.preflight.sources.rest_source import see_rest
from app.migration.preflight.surroundings import Server, examine_source, examine_target
from app.migration.retry import Limits, patiently
from app.migration.sources.moved_tables import partitions_among
from app.migration.sources.opening import Supabase, open_source
from app.migration.sources.rest.key_role import key_role, require_service_key
from app.migration.sources.rest.rest_source import RestSource
from app.migration.tables.copy_table import identifier_of, name_of
from app.migration.tables.grants import SERVICE_ROLE
from app.migration.target.target_session import open_target, remedy_at_source
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value
from app.state.runs.runs import has_brought_whole
from app.state.tool_schema import may_read
from app.stores.postgres.database_url import shown_url, source_label
from app.stores.supabase.client import SupabaseRest

FIRST_THE_ERRORS = NextStep("put the errors right, then: ", Command("preflight"))

# Rows of a table past which a copy does not look for duplicates over REST beforehand: it would read all keys twice.
_MOST_KEYS_WHEN_QUICK = 20_000
_LIMITS = Limits(page_rows=20_000, attempts=4)


@dataclass(slots=True)
class _Look:
    """A look at the two ends: at what, and what was seen of them."""

    of_source: Supabase | str
    of_target: str
    tables: Sequence[Table]
    limits: Limits
    on_retry: Callable[[str], None]
    source: SourceSeen = field(default_factory=lambda: SourceSeen(reached=False))
    source_server: Server | None = None
    catalog: dict[str, CatalogTable] = field(default_factory=dict)
    state: TargetState = field(default_factory=TargetState)
    target_server: Server | None = None
    target_rows: dict[str, int] = field(default_factory=dict)
    leading_out: list[LeadingOut] = field(default_factory=list)
    app_role: AppRole | None = None
    following: NextStep = field(default_factory=lambda: NextStep(Command("copy")))
    partitions: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    async def at_target(self, examine: Examine, connections: int, app_role: str | None, *, quick: bool) -> None:
        """See where its schema stands, its server, its rows, and what the application's role may do."""
        try:
            async with open_target(self.of_target, step="preflight") as connection:
                await connection.execute("SET default_transaction_read_only = on")
                self.catalog = await read_all(connection, self.tables)
                self.partitions = await partitions_among(connection, self.tables)
                self.state = await examine(connection, self.catalog)
                self.target_server = await examine_target(
                    connection,
                    self.tables,
                    self.catalog if self.state.usable else {},
                    connections=connections,
                    creates_tables=self.state.creates_tables,
                    over_rest=isinstance(self.of_source, Supabase),
                )
                self.findings += self.target_server.findings
                if self.state.usable:
                    await self._count_target(connection)
                    if not quick:
                        self.following = await self._next_at(connection)
                    self.leading_out = await keys_leading_out(connection, self.tables, self.catalog)
                    self.findings += keys_of_models_alone(self.tables, self.catalog)
                if app_role is not None:
                    self.app_role = await examine_app_role(connection, app_role, self.tables, self.catalog)
                    self.findings += self.app_role.findings
        except MigrationError as error:
            remedy = str(error.next_step or "correct DATABASE_URL, or start the server")
            self.findings.append(finding("target-unreachable", error.message, remedy))
        except psycopg.Error as error:
            said = error_for_sqlstate(error.sqlstate) if error.sqlstate else "the connection was lost"
            message = f"the target could not be examined: {said}"
            self.findings.append(finding("target-unreachable", message, "botdata preflight, once more"))

    async def _next_at(self, connection: AsyncConnection) -> NextStep:
        """What comes next where nothing is in the way: a target may hold the rows already, or be the store."""
        if not await may_read(connection, "row_versions"):
            return NextStep(Command("copy"))
        authority = await read_authority(connection)
        if authority.managed and authority.stage is not Stage.OFF:
            return NextStep(Command("cutover status"))
        copied = [False]
        with suppress(SettingsError):  # an address that is none is found at the source
            label = source_label(self.of_source if isinstance(self.of_source, str) else self.of_source.url)
            copied = [await has_brought_whole(connection, label, name_of(table)) for table in self.tables]
        return NextStep(Command("verify" if copied and all(copied) else "copy"))

    async def _count_target(self, connection: AsyncConnection) -> None:
        for table in self.tables:
            if (there := self.catalog.get(name_of(table))) is not None:
                query = sql.SQL("SELECT count(*) FROM {}{}").format(sql.SQL(there.own), identifier_of(table))
                with suppress(psycopg.errors.InsufficientPrivilege):  # a finding already
                    self.target_rows[there.name] = await fetch_value(connection, query)

    async def at_parents(self) -> list[Finding]:
        """Both ends once more: what the source's rows refer to against what the target holds."""
        try:
            async with (
                open_source(self.of_source, self.on_retry, step="preflight", limits=self.limits) as source,
                open_target(self.of_target, step="preflight") as target,
            ):
                return await parent_findings(self.tables, self.leading_out, (target, source))
        except (BotdataError, psycopg.Error):  # an end that was there a moment ago: nothing is counted
            return await parent_findings(self.tables, self.leading_out)

    async def at_source(self, *, quick: bool) -> None:
        """See its tables, its server and its rows, whichever kind it is."""
        setting = "--source" if isinstance(self.of_source, str) else "SUPABASE_URL"
        try:
            if isinstance(self.of_source, str):
                url = self.of_source
                # A lost connection ends the whole look, so that it is the look that is tried again.
                seen = await patiently(lambda: self._at_postgres(url), self.limits, self.on_retry, shown_url(url))
                self.source, self.source_server = seen
                self.findings += self.source_server.findings
            else:
                await self._at_supabase(self.of_source, quick=quick)
        except StoreError as error:
            first = remedy_at_source(error, setting) or (f"correct {setting}, or start the server, then: ",)
            remedy = str(NextStep(*first, Command("preflight")))
            self.findings.append(finding("source-unreachable", f"the source ({setting}): {error}", remedy))
        except MigrationError as error:
            remedy = str(error.next_step or f"correct {setting}")
            self.findings.append(finding("source-unreachable", error.message, remedy))

    async def _at_postgres(self, url: str) -> tuple[SourceSeen, Server]:
        """What was seen, and the server with what was found besides."""
        async with connect_to_source(url) as connection:
            server = await examine_source(connection, self.tables)
            seen = await see_postgres(connection, self.tables)
            server.findings.extend(await found_by_query(connection, self.tables, seen))
        return seen, server

    async def _at_supabase(self, source: Supabase, *, quick: bool) -> None:
        try:
            require_service_key(source.key, role_ok=source.role_ok, step="preflight")
        except MigrationError as error:
            remedy = str(error.next_step or "use the service key")
            self.findings.append(finding("source-key-role", error.message, remedy))
        try:
            rest = await SupabaseRest.open(source.url, source.key, request_timeout=60.0)
        except BotdataError as error:
            remedy = "correct SUPABASE_URL and SUPABASE_KEY"
            self.findings.append(finding("source-unreachable", str(error), remedy))
            return
        async with rest:
            pages = RestSource(rest, source.url, limits=self.limits, on_retry=self.on_retry)
            role = key_role(source.key.strip()) or SERVICE_ROLE
            self.source = await see_rest(pages, self.tables, role=role)
            self.findings += await settings_findings(pages, self.tables, self.source)
            self.findings += await key_findings(pages, self.tables, self.source)
            unusable = {str(one.table) for one in self.findings if one.code == "source-key-unusable"}
            most = _MOST_KEYS_WHEN_QUICK if quick else inf
            self.findings += await found_by_pages(pages, self.tables, self.source, unusable=unusable, most=most)

    def settled(self, accepted: Accepted) -> tuple[Finding, ...]:
        """All that was found, errors first."""
        found = self.findings + self.source.findings + self.state.findings
        if self.source.reached:
            target = self.catalog if self.state.usable else {}
            found += schema_findings(self.source, self.tables, target, ignored=accepted.ignored_columns)
        theirs, ours = self.source_server, self.target_server
        if theirs and ours and theirs.place == ours.place:
            # What is to be done about a target, such as to drop its tables, must not be done to the source.
            found = [one for one in found if not one.code.startswith("target-")]
            message = "DATABASE_URL and --source lead to the same tables, so that nothing would be moved"
            remedy = "set DATABASE_URL to the database that the rows are to move to"
            found.append(finding("target-is-source", message, remedy))
        if theirs and ours and theirs.version > ours.version:
            message = f"the target is PostgreSQL {ours.version}, the source {theirs.version}"
            found.append(finding("target-older", message, "nothing, unless something newer than the target is in use"))
        # What is to be said of a partition that is moved with its table is said of the table.
        found = [one for one in found if one.table not in self.partitions]
        found += [
            finding(
                "target-partition",
                f"{name} is a partition of another of the tables, and moved with it",
                "nothing; named alone, with --tables, its rows alone are moved",
                table=name,
            )
            for name in self.partitions
        ]
        return accepted.apply(found)


async def run_preflight(
    source: Supabase | str,
    target_url: str,
    tables: Sequence[Table],
    examine: Examine,
    *,
    accepted: Accepted,
    quick: bool = False,
    connections: int = 3,
    app_role: str | None = None,
    limits: Limits = _LIMITS,
    on_retry: Callable[[str], None] = lambda message: None,
) -> PreflightReport:
    """Examine both ends.

    Args:
        source: Supabase over REST, or the URL of a PostgreSQL.
        tables: those to be copied.
        examine: tells where the target's schema stands.
        quick: leave out what takes longer than a few requests: a copy is about to follow.
        connections: as many as the next step needs at the target.
        app_role: the role of the target as which the application will read and write, to be looked at too.
        limits: how often a request to the source is tried.
        on_retry: called with a sentence each time that one is to be tried again.

    Raises:
        SettingsError: an address is none.
    """
    began = monotonic()
    look = _Look(source, target_url, tables, limits, on_retry)
    for failure in await asyncio.gather(
        look.at_target(examine, connections, app_role, quick=quick), look.at_source(quick=quick), return_exceptions=True
    ):
        if failure is not None:
            raise failure
    if look.source.reached and not quick and look.leading_out:
        look.findings += await look.at_parents()
    else:
        look.findings += await parent_findings(tables, look.leading_out)
    found = look.settled(accepted)
    seen = look.source.tables
    return PreflightReport(
        findings=found,
        tables=tuple(
            TableSeen(name, seen[name].rows if name in seen else None, look.target_rows.get(name))
            for name in map(name_of, tables)
            if name not in look.partitions
        ),
        differences=tuple(look.state.differences),
        app_role=look.app_role,
        next_step=_next(found, look.state, look.following),
        seconds=monotonic() - began,
    )


def _next(found: tuple[Finding, ...], state: TargetState, following: NextStep) -> NextStep:
    """The command that the state of the target asks for, unless there is other trouble to be put right first."""
    errors = {one.code for one in found if one.severity == "error"}
    if errors - {one.code for one in state.findings}:
        return FIRST_THE_ERRORS
    if state.next_step is not None:
        return state.next_step
    return FIRST_THE_ERRORS if errors else following
