"""Preflight as a whole: both ends examined, whatever is wrong with either, and nothing written."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from time import monotonic

import psycopg
from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.errors import BotdataError, MigrationError, StoreError, error_for_sqlstate
from app.migration.preflight import duplicates
from app.migration.preflight.app_role import examine_app_role
from app.migration.preflight.findings import (
    Accepted,
    AppRole,
    Finding,
    PreflightReport,
    TableSeen,
    finding,
)
from app.migration.preflight.opening import Supabase, open_source
from app.migration.preflight.parents import (
    Counting,
    LeadingOut,
    keys_leading_out,
    keys_of_models_alone,
    parent_findings,
)
from app.migration.preflight.schemas.catalog import CatalogTable, read_all
from app.migration.preflight.schemas.source_schema import SourceSeen, schema_findings
from app.migration.preflight.schemas.target_state import Examine, TargetState
from app.migration.preflight.sources.postgres_source import connect_to_source, see_postgres
from app.migration.preflight.sources.rest_settings import key_findings, settings_findings
from app.migration.preflight.sources.rest_source import see_rest
from app.migration.preflight.surroundings import Server, examine_source, examine_target
from app.migration.retry import Limits, patiently
from app.migration.sources.moved_tables import partitions_among
from app.migration.sources.rest.key_role import key_role, require_service_key
from app.migration.sources.rest.rest_source import RestSource
from app.migration.tables.copy_table import name_of
from app.migration.tables.grants import SERVICE_ROLE
from app.migration.tables.quoting import identifier_of
from app.migration.tables.unique_keys import keeps_unique, key_columns
from app.migration.target.target_session import open_target, remedy_at_source
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value
from app.stores.postgres.database_url import shown_url
from app.stores.supabase.client import SupabaseRest

FIRST_THE_ERRORS = NextStep("put the errors right, then: ", Command("preflight"))

# Rows of a table past which a copy does not look for duplicates over REST beforehand: it would read all keys twice.
_MOST_KEYS_WHEN_QUICK = 20_000
_LIMITS = Limits(page_rows=20_000, attempts=4)


@dataclass(slots=True)
class _Ends:
    """What was seen of the two ends."""

    source: SourceSeen = field(default_factory=lambda: SourceSeen(reached=False))
    source_version: int | None = None
    places: list[str] = field(default_factory=list)
    catalog: dict[str, CatalogTable] = field(default_factory=dict)
    state: TargetState = field(default_factory=TargetState)
    target_version: int | None = None
    target_rows: dict[str, int] = field(default_factory=dict)
    leading_out: list[LeadingOut] = field(default_factory=list)
    app_role: AppRole | None = None
    partitions: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


async def run_preflight(
    source: Supabase | str,
    target_url: str,
    tables: Sequence[Table],
    examine: Examine,
    *,
    accepted: Accepted | None = None,
    quick: bool = False,
    connections: int = 3,
    next_command: str = "copy",
    app_role: str | None = None,
    limits: Limits | None = None,
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
        next_command: the name of the one for a report without errors.
        limits: how often a request to the source is tried.
        on_retry: called with a sentence each time that one is to be tried again.

    Raises:
        SettingsError: an address is none.
    """
    began = monotonic()
    accepted = accepted or Accepted()
    ends = _Ends()
    for failure in await asyncio.gather(
        _look_at_target(
            target_url,
            tables,
            examine,
            ends,
            connections=connections,
            app_role=app_role,
            over_rest=isinstance(source, Supabase),
        ),
        _look_at_source(source, tables, ends, limits or _LIMITS, on_retry, quick=quick),
        return_exceptions=True,
    ):
        if failure is not None:
            raise failure
    if ends.source.reached and not quick and ends.leading_out:
        ends.findings += await _look_at_parents(source, target_url, tables, ends, limits or _LIMITS, on_retry)
    else:
        ends.findings += await parent_findings(tables, ends.leading_out)
    found = ends.findings + ends.source.findings + ends.state.findings
    if ends.source.reached:
        target = ends.catalog if ends.state.usable else {}
        found += schema_findings(ends.source, tables, target, ignored=accepted.ignored_columns)
    if len(ends.places) > len(set(ends.places)):
        # What is to be done about a target, such as to drop its tables, must not be done to the source.
        found = [one for one in found if not one.code.startswith("target-")]
        found.append(
            finding(
                "target-is-source",
                "DATABASE_URL and --source lead to the same tables, so that nothing would be moved",
                "set DATABASE_URL to the database that the rows are to move to",
            )
        )
    if ends.source_version and ends.target_version and ends.source_version > ends.target_version:
        found.append(
            finding(
                "target-older",
                f"the target is PostgreSQL {ends.target_version}, the source {ends.source_version}",
                "nothing, unless something newer than the target is in use",
            )
        )
    # What is to be said of a partition that is moved with its table is said of the table.
    found = [one for one in found if one.table not in ends.partitions]
    found += [
        finding(
            "target-partition",
            f"{name} is a partition of another of the tables, and moved with it",
            "nothing; named alone, with --tables, its rows alone are moved",
            table=name,
        )
        for name in ends.partitions
    ]
    settled = accepted.apply(found)
    return PreflightReport(
        findings=settled,
        tables=tuple(
            TableSeen(
                name_of(table),
                ends.source.tables[name_of(table)].rows if name_of(table) in ends.source.tables else None,
                ends.target_rows.get(name_of(table)),
            )
            for table in tables
            if name_of(table) not in ends.partitions
        ),
        differences=tuple(ends.state.differences),
        app_role=ends.app_role,
        next_step=_next(settled, ends.state, next_command),
        seconds=monotonic() - began,
    )


def _next(found: tuple[Finding, ...], state: TargetState, wanted: str) -> NextStep:
    """The command that the state of the target asks for, unless there is other trouble to be put right first."""
    errors = {one.code for one in found if one.severity == "error"}
    if errors - {one.code for one in state.findings}:
        return FIRST_THE_ERRORS
    if state.next_step is not None:
        return state.next_step
    return FIRST_THE_ERRORS if errors else NextStep(Command(wanted))


async def _look_at_target(
    url: str,
    tables: Sequence[Table],
    examine: Examine,
    ends: _Ends,
    *,
    connections: int,
    app_role: str | None,
    over_rest: bool,
) -> None:
    try:
        async with open_target(url, step="preflight") as connection:
            await connection.execute("SET default_transaction_read_only = on")
            ends.catalog = await read_all(connection, tables)
            ends.partitions = await partitions_among(connection, tables)
            ends.state = await examine(connection, ends.catalog)
            server = await examine_target(
                connection,
                tables,
                ends.catalog if ends.state.usable else {},
                connections=connections,
                creates_tables=ends.state.creates_tables,
                over_rest=over_rest,
            )
            ends.target_version = server.version
            ends.places.append(server.place)
            ends.findings += server.findings
            await _count_target(connection, tables, ends)
            if ends.state.usable:
                ends.leading_out = await keys_leading_out(connection, tables, ends.catalog)
                ends.findings += keys_of_models_alone(tables, ends.catalog)
            if app_role is not None:
                ends.app_role = await examine_app_role(connection, app_role, tables, ends.catalog)
                ends.findings += ends.app_role.findings
    except MigrationError as error:
        remedy = str(error.next_step or "correct DATABASE_URL, or start the server")
        ends.findings.append(finding("target-unreachable", error.message, remedy))
    except psycopg.Error as error:
        said = error_for_sqlstate(error.sqlstate) if error.sqlstate else "the connection was lost"
        ends.findings.append(
            finding("target-unreachable", f"the target could not be examined: {said}", "botdata preflight, once more")
        )


async def _count_target(connection: AsyncConnection, tables: Sequence[Table], ends: _Ends) -> None:
    for table in tables:
        if name_of(table) in ends.catalog and ends.state.usable:
            query = sql.SQL("SELECT count(*) FROM {}{}").format(
                sql.SQL(ends.catalog[name_of(table)].own), identifier_of(table)
            )
            try:
                ends.target_rows[name_of(table)] = await fetch_value(connection, query)
            except psycopg.errors.InsufficientPrivilege:
                continue  # a finding already


async def _look_at_parents(
    source: Supabase | str,
    target_url: str,
    tables: Sequence[Table],
    ends: _Ends,
    limits: Limits,
    on_retry: Callable[[str], None],
) -> list[Finding]:
    """Both ends once more: what the source's rows refer to against what the target holds."""
    try:
        async with open_source(source, limits, on_retry) as opened, open_target(target_url, step="preflight") as target:
            return await parent_findings(tables, ends.leading_out, Counting(target, opened))
    except (BotdataError, psycopg.Error):  # an end that was there a moment ago: nothing is counted
        return await parent_findings(tables, ends.leading_out)


async def _look_at_source(
    source: Supabase | str,
    tables: Sequence[Table],
    ends: _Ends,
    limits: Limits,
    on_retry: Callable[[str], None],
    *,
    quick: bool,
) -> None:
    setting = "--source" if isinstance(source, str) else "SUPABASE_URL"
    try:
        if isinstance(source, str):
            # A lost connection ends the whole look, so that it is the look that is tried again.
            seen = await patiently(lambda: _look_at_postgres(source, tables), limits, on_retry, shown_url(source))
            ends.source, server = seen
            ends.source_version = server.version
            ends.places.append(server.place)
            ends.findings += server.findings
        else:
            await _look_at_supabase(source, tables, ends, limits, on_retry, quick=quick)
    except StoreError as error:
        first = remedy_at_source(error, setting) or (f"correct {setting}, or start the server, then: ",)
        remedy = str(NextStep(*first, Command("preflight")))
        ends.findings.append(finding("source-unreachable", f"the source ({setting}): {error}", remedy))
    except MigrationError as error:
        ends.findings.append(finding("source-unreachable", error.message, str(error.next_step or f"correct {setting}")))


async def _look_at_postgres(url: str, tables: Sequence[Table]) -> tuple[SourceSeen, Server]:
    """What was seen, and the server with what was found besides."""
    async with connect_to_source(url) as connection:
        server = await examine_source(connection, tables)
        found = list(server.findings)
        seen = await see_postgres(connection, tables)
        for table, key in _keys_to_check(tables, seen):
            if await keeps_unique(connection, table, key):
                continue
            repeated = await duplicates.by_query(connection, table, key, own=seen.tables[name_of(table)].own)
            if repeated.count or repeated.unseen:
                found.append(duplicates.duplicate_finding(table, key, repeated))
    return seen, replace(server, findings=tuple(found))


async def _look_at_supabase(
    source: Supabase,
    tables: Sequence[Table],
    ends: _Ends,
    limits: Limits,
    on_retry: Callable[[str], None],
    *,
    quick: bool,
) -> None:
    try:
        require_service_key(source.key, role_ok=source.role_ok, step="preflight")
    except MigrationError as error:
        ends.findings.append(finding("source-key-role", error.message, str(error.next_step or "use the service key")))
    async with AsyncExitStack() as stack:
        try:
            rest = await SupabaseRest.open(source.url, source.key, request_timeout=60.0)
        except BotdataError as error:
            ends.findings.append(finding("source-unreachable", str(error), "correct SUPABASE_URL and SUPABASE_KEY"))
            return
        await stack.enter_async_context(rest)
        pages = RestSource(rest, source.url, limits=limits, on_retry=on_retry)
        ends.source = await see_rest(rest, tables, pages.patiently, role=key_role(source.key.strip()) or SERVICE_ROLE)
        ends.findings += await settings_findings(pages, tables, ends.source)
        ends.findings += await key_findings(pages, tables, ends.source)
        unusable = {one.table for one in ends.findings if one.code == "source-key-unusable"}
        for table, key in _keys_to_check(tables, ends.source):
            there = ends.source.tables[name_of(table)]
            if name_of(table) in unusable or (there.primary_key and there.primary_key <= set(key)):
                continue
            if quick and (there.uncounted or (there.rows or 0) > _MOST_KEYS_WHEN_QUICK):
                ends.findings.append(
                    finding(
                        "source-duplicates-unchecked",
                        f"{name_of(table)} is large, so duplicates of ({', '.join(key)}) were not looked for",
                        "botdata preflight looks for them",
                        table=name_of(table),
                    )
                )
                continue
            found = await duplicates.by_pages(pages, table, key, counts=not there.uncounted)
            if found.count or found.unseen:
                ends.findings.append(duplicates.duplicate_finding(table, key, found))


def _keys_to_check(tables: Sequence[Table], seen: SourceSeen) -> list[tuple[Table, tuple[str, ...]]]:
    """The unique keys of the tables that hold more than one row and have the columns."""
    return [
        (table, key)
        for table in tables
        if (there := seen.tables.get(name_of(table)))
        and ((there.rows or 0) > 1 or there.uncounted)
        and key_columns(table)
        for key in duplicates.unique_keys(table)
        if not {*key, *key_columns(table)}.intersection([*there.missing, *there.denied])
    ]
