"""What an end makes of rows that are written to it: keys, triggers, rules, row-level security, webhooks."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.schemas import said, schemas_of
from app.errors import MigrationError
from app.migration.preflight.findings import Accepted, Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.preflight.sources.postgres_source import connect_to_source
from app.migration.sources.moved_tables import WITHOUT_COLUMNS, WITHOUT_COLUMNS_REMEDY, WITHOUT_KEY, WITHOUT_KEY_REMEDY
from app.migration.tables.copy_table import (
    identifier_of,
    key_columns,
    key_trouble,
    label,
    named,
    quoted,
    read_unique_indexes,
)
from app.migration.tables.put_aside import UnvalidatedCheck, find_unvalidated, grant_of_silence, silence
from app.migration.tables.row_level_security import hides_rows, remedy
from app.migration.target.interference import Interference, find_interference
from app.migration.target.target_session import explained
from app.next_step import Command, NextStep
from app.state.fetching import fetch_rows


async def examine_writes(
    connection: AsyncConnection, table: Table, there: CatalogTable, *, over_rest: bool
) -> list[Finding]:
    """All of it that would change, keep, refuse or hide rows.

    Args:
        over_rest: the rows come from a REST source.
    """
    qualified = named(connection, identifier_of(table))
    found = []
    if there.kind in "rp":
        unique = await read_unique_indexes(connection, qualified)
        key = key_columns(table, unique)
        if not len(table.columns):
            message = f"{there.name}: {WITHOUT_COLUMNS}; it is left out"
            found.append(finding("target-without-key", message, WITHOUT_COLUMNS_REMEDY, table=there.name))
        elif not key:
            found.append(_without_key(there, over_rest=over_rest))
        elif trouble := key_trouble(there.quoted, key, unique):
            message = f"the target's {there.name}: {trouble[0]}"
            found.append(finding("target-key-missing", message, trouble[1], table=there.name))
    if await hides_rows(connection, qualified):
        found.append(
            finding(
                "target-rows-hidden",
                f"row-level security of the target's {there.name} applies to the role: it may hide or refuse rows",
                remedy(there.quoted),
                table=there.name,
            )
        )
    if there.kind in "rp":
        found += [_unvalidated(one, there.name) for one in await find_unvalidated(connection, qualified)]
    return found + await _interference(connection, qualified, there.name)


async def _interference(connection: AsyncConnection, qualified: str, table: str) -> list[Finding]:
    """Its triggers and rules: those that are silent while this program writes, and those that fire."""
    there = await find_interference(connection, qualified)
    quiet = await silence(connection, qualified)
    lacks = quiet.wanted and not (quiet.granted or quiet.unsafe)
    grant = await grant_of_silence(connection) if lacks else None
    found = []
    for one in there:
        if one.fires(silent=quiet.holds):
            found.append(_firing(one, table, grant, unsafe=quiet.unsafe))
        elif one.enabled == "O":
            found.append(_silent(one, table))
    return found


def _without_key(there: CatalogTable, *, over_rest: bool) -> Finding:
    message = f"{there.name}: {WITHOUT_KEY}"
    if over_rest:
        columns = ", ".join(map(quoted, there.columns))
        return finding(
            "target-without-key",
            f"{message}, so that it is left out",
            f"{WITHOUT_KEY_REMEDY}, of some of these columns: {columns}",
            table=there.name,
        )
    return finding(
        "target-without-key",
        f"{message}, so that it is moved as a whole",
        "nothing: it is copied in one transaction and compared by how often each row occurs; it has no way back",
        table=there.name,
        severity="notice",
    )


def _unvalidated(one: UnvalidatedCheck, table: str) -> Finding:
    told = f"check {one.name} on {one.place} of the target is NOT VALID, and rows that the source has may break it: "
    if one.owned:
        return finding(
            "target-check-not-valid",
            f"{told}it is away in this program's own transactions that bring rows; for all others it goes on",
            "nothing: each of these transactions puts it back as it is, and nobody reads the table meanwhile",
            table=table,
            severity="notice",
        )
    return finding(
        "target-check-not-valid",
        f"{told}such rows are refused, since the role does not own it and so cannot take it away",
        f"let its owner run it; or, as its owner, before the move: {one.drop}; after it: {one.add}",
        table=table,
    )


def _silent(one: Interference, table: str) -> Finding:
    does = one.runs if one.kind == "TRIGGER" else "rewrites"
    return finding(
        f"target-{one.kind.lower()}-silent",
        f"{one.kind.lower()} {one.name} of the target's {one.relation} {does} on {'/'.join(sorted(one.events))}: not "
        "when this program copies rows, in whose own transactions it is silent; for all others it goes on",
        "nothing: foreign keys that are not checked meanwhile are proved afterwards",
        table=table,
        name=one.name,
    )


def _firing(one: Interference, table: str, grant: str | None, *, unsafe: bool) -> Finding:
    remedy = _disable(one)
    if one.enabled == "O" and unsafe:
        remedy += "; it cannot be silent for this program alone, since a deferrable constraint would not be kept then"
    elif one.enabled == "O" and grant:
        remedy += f"; or, so that it is silent in this program's own transactions and goes on for all others: {grant}"
    if one.kind == "RULE":
        message = f"rule {one.name} of the target's {one.relation} rewrites each {'/'.join(one.events)}"
        return finding("target-rule", message, remedy, table=table, name=one.name)
    runs = f"trigger {one.name} of the target's {one.relation} {one.runs}"
    if "insert" in one.events:
        return _acceptable(
            "target-trigger-on-insert",
            f"{runs} when rows are inserted: it may change or skip them, or write rows that are copied as well",
            remedy,
            table,
            one,
        )
    if "delete" in one.events:
        return _acceptable(
            "target-trigger-on-delete",
            f"{runs} when rows are deleted: it may keep what is gone from the source, or write other rows",
            remedy,
            table,
            one,
        )
    return finding(
        "target-trigger-on-update",
        f"{runs} on updates",
        "nothing: a changed row is deleted and inserted instead",
        table=table,
        name=one.name,
    )


def _acceptable(code: str, message: str, remedy: str, table: str, one: Interference) -> Finding:
    named = finding(code, message, remedy, table=table, name=one.name)
    return replace(named, remedy=f"{remedy}; or, if it is harmless: --accept {shlex.quote(named.accepted_as)}")


def _disable(one: Interference) -> str:
    what = f"{one.kind} {quoted(one.name)}"
    mode = {"A": "ALWAYS ", "R": "REPLICA "}.get(one.enabled, "")
    return (
        f"as the table's owner, before the move: ALTER TABLE {one.quoted} DISABLE {what}; "
        f"after it: ALTER TABLE {one.quoted} ENABLE {mode}{what}"
    )


# The tables, and those whose rows a foreign key deletes or changes with theirs: of other schemas too.
# pg_constraint.confdeltype, confupdtype: c cascade, n set null, d set default.
_REACHED = """
WITH RECURSIVE reached (oid) AS (
    SELECT to_regclass(quote_ident(s) || '.' || quote_ident(t))::oid
    FROM unnest(%(schemas)s::text[], %(names)s::text[]) AS named (s, t)
    UNION
    SELECT k.conrelid FROM reached JOIN pg_constraint k ON k.confrelid = reached.oid
    WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
)
SELECT SAID, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
    is_named AND c.relkind NOT IN ('r', 'f')
FROM reached JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT (n.nspname, c.relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[])) AS is_named) named
WHERE is_named OR NOT c.relispartition
ORDER BY 1, 2
""".replace("SAID", said("n.nspname"))
# A sync connects; and for a table that is none of the plain ones it makes a temporary table.
_EVENT_TRIGGERS = """
SELECT evtname, evtfoid::regproc::text FROM pg_event_trigger WHERE evtenabled IN ('O', 'A')
AND (evtevent = 'login' OR %(makes)s AND evtevent IN ('ddl_command_start', 'ddl_command_end')
    AND (evttags IS NULL OR 'CREATE TABLE' = ANY (evttags)))
ORDER BY 1
"""


async def examine_source_writes(url: str | None, tables: Sequence[Table]) -> list[Finding]:
    """What fires at the source when rows of these tables are written there.

    Args:
        url: of the source's PostgreSQL; None: Supabase over REST, which shows nothing of it.

    Raises:
        MigrationError: the source cannot be read.
    """
    if url is None:
        return [
            _source_finding(
                "source-triggers-unseen",
                "over REST the triggers, webhooks, rules and event triggers of the source are not seen: what goes back "
                "fires them, so that mails may be sent and other services called",
                None,
                None,
            )
        ]
    with explained("sync", setting="--source", pending="everything; nothing was written"):
        async with connect_to_source(url) as connection:
            return await _examine_source(connection, tables)


async def _examine_source(connection: AsyncConnection, tables: Sequence[Table]) -> list[Finding]:
    here = schemas_of(connection).data
    named = {"schemas": [table.schema or here for table in tables], "names": [table.name for table in tables]}
    reached = await fetch_rows(connection, _REACHED, named)
    found = {}
    for schema, name, place, _ in reached:
        for one in await find_interference(connection, place):
            if one.fires(silent=False):
                of_table = one.quoted == place  # and not of a partition
                found[one.kind, one.name, one.quoted] = _of_source(
                    one, label(schema, name) if of_table else one.relation
                )
    makes = any(partitioned for *_, partitioned in reached)
    events = await fetch_rows(connection, _EVENT_TRIGGERS, {"makes": makes})
    return [
        *found.values(),
        *(
            _source_finding("source-event-trigger", f"event trigger {name} of the source runs {function}", None, name)
            for name, function in events
        ),
    ]


def _of_source(one: Interference, table: str) -> Finding:
    when = "/".join(sorted(one.events))
    if one.kind == "RULE":
        return _source_finding(
            "source-rule", f"rule {one.name} of the source's {one.relation} rewrites {when}", table, one.name
        )
    message = f"trigger {one.name} of the source's {one.relation} {one.runs} on {when}"
    return _source_finding("source-trigger", message, table, one.name)


def _source_finding(code: str, message: str, table: str | None, name: str | None) -> Finding:
    found = finding(code, message, "", table=table, name=name)
    accept = f"--accept {shlex.quote(found.accepted_as)}"
    return replace(
        found, remedy=f"if it may happen to every row that goes back: {accept}; else disable it at the source"
    )


def refuse_unaccepted(found: Sequence[Finding], accepted: Accepted) -> tuple[Finding, ...]:
    """Stop where one was not accepted; gives those that were.

    Raises:
        MigrationError: names the ones that were not, and the options for all.
    """
    settled = accepted.apply(found)
    if open_ones := [one for one in settled if one.severity == "error"]:
        options = " ".join(f"--accept {shlex.quote(one.accepted_as)}" for one in found)
        raise MigrationError(
            "rows that go back would fire what the source does by itself: "
            + "; ".join(f"{one.message} ({one.code})" for one in open_ones),
            step="sync",
            table=open_ones[0].table if len(open_ones) == 1 else None,
            pending="everything; nothing was written",
            next_step=NextStep("disable them at the source; or, if all of it may happen: ", Command("sync", options)),
        )
    return settled
