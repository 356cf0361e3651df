"""What the target makes of rows that are written to a table: its key, triggers, rules and row-level security."""

import shlex
from dataclasses import replace

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.sources.moved_tables import WITHOUT_COLUMNS, WITHOUT_COLUMNS_REMEDY, WITHOUT_KEY, WITHOUT_KEY_REMEDY
from app.migration.tables import row_security
from app.migration.tables.copy_table import identifier_of, key_columns, key_trouble, named, quoted, read_unique_indexes
from app.migration.tables.silence import grant_of_silence, silence
from app.migration.tables.unvalidated_checks import UnvalidatedCheck, find_unvalidated
from app.migration.target.interference import Interference, find_interference


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
    if await row_security.hides_rows(connection, qualified):
        found.append(
            finding(
                "target-rows-hidden",
                f"row-level security of the target's {there.name} applies to the role: it may hide or refuse rows",
                row_security.remedy(there.quoted),
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
