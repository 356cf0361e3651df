"""What the target makes of rows that are written to a table: its key, triggers, rules and row-level security."""

from psycopg import AsyncConnection, sql
from sqlalchemy import Table

from app.migration.preflight.findings import Finding, finding
from app.migration.preflight.schemas.catalog import CatalogTable
from app.migration.sources.moved_tables import WITHOUT_KEY, WITHOUT_KEY_REMEDY
from app.migration.tables import row_security
from app.migration.tables.quoting import quoted
from app.migration.tables.unique_keys import key_columns, key_trouble, read_unique_indexes
from app.migration.target.interference import Interference, find_interference


async def examine_writes(
    connection: AsyncConnection, table: Table, there: CatalogTable, *, over_rest: bool
) -> list[Finding]:
    """All of it that would change, keep, refuse or hide rows.

    Args:
        over_rest: the rows come from a REST source.
    """
    qualified = sql.Identifier(table.schema or "public", table.name).as_string(None)
    found = []
    if there.kind in "rp":
        unique = await read_unique_indexes(connection, qualified)
        key = key_columns(table, unique)
        if not key:
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
    found += [_of(one, there.name) for one in await find_interference(connection, qualified)]
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


def _of(one: Interference, table: str) -> Finding:
    if one.kind == "RULE":
        message = f"rule {one.name} of the target's {one.relation} rewrites each {'/'.join(one.events)}"
        return finding("target-rule", message, _disable(one), table=table)
    runs = f"trigger {one.name} of the target's {one.relation} runs {one.function}"
    if "insert" in one.events:
        return finding(
            "target-trigger-on-insert",
            f"{runs} when rows are inserted: it may change or skip them, or write rows that are copied as well",
            _disable(one),
            table=table,
        )
    if "delete" in one.events:
        return finding(
            "target-trigger-on-delete",
            f"{runs} when rows are deleted: it may keep what is gone from the source, or write other rows",
            _disable(one),
            table=table,
        )
    return finding(
        "target-trigger-on-update",
        f"{runs} on updates",
        "nothing: a changed row is deleted and inserted instead",
        table=table,
    )


def _disable(one: Interference) -> str:
    what = f"{one.kind} {quoted(one.name)}"
    always = "ALWAYS " if one.always else ""
    return (
        f"as the table's owner, before the move: ALTER TABLE {one.quoted} DISABLE {what}; "
        f"after it: ALTER TABLE {one.quoted} ENABLE {always}{what}"
    )
