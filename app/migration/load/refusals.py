"""Tables to which rows are not brought: those that Citus keeps, and those with rows that this source did not bring.

Of tables on the nodes of a cluster, `xmin` does not tell which rows have changed, since each node counts for itself;
and Citus takes no statement that joins its tables with the tool's own as a copy or a sync does. So rows are brought
before a schema is distributed.
"""

from collections.abc import Sequence

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.errors import MigrationError
from app.migration.tables.copy_table import CopyTable, label
from app.next_step import Command, NextStep
from app.state.fetching import fetch_rows, fetch_value
from app.state.runs import writes

# Citus' own tables: its documentation, "Citus Tables and Views". The second came with version 12.
_PARTITIONS, _SCHEMAS = "pg_catalog.pg_dist_partition", "pg_catalog.pg_dist_schema"
_TABLES = f"""
SELECT n.nspname, c.relname FROM {_PARTITIONS} p JOIN pg_class c ON c.oid = p.logicalrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[])) ORDER BY 1, 2
"""  # noqa: S608
_SCHEMA = f"SELECT FROM {_SCHEMAS} JOIN pg_namespace n ON n.oid = schemaid WHERE n.nspname = %s"
_WHY = "rows are brought to a schema before Citus distributes it, since xmin belongs to each node"


async def distributed_tables(connection: AsyncConnection, tables: Sequence[Table]) -> list[str]:
    """Those of the target's tables that Citus keeps, by name; none where there is no Citus."""
    if not await _is_there(connection, _PARTITIONS):
        return []
    here = schemas_of(connection).data
    named = [[table.schema or here for table in tables], [table.name for table in tables]]
    found = await fetch_rows(connection, _TABLES, named)
    return [label(None if schema == here else schema, name) for schema, name in found]


async def is_schema_distributed(connection: AsyncConnection) -> bool:
    """Whether Citus distributes the schema, so that each table that is made in it is distributed too."""
    if not await _is_there(connection, _SCHEMAS):
        return False
    return bool(await fetch_rows(connection, _SCHEMA, [schemas_of(connection).data]))


async def refuse_distributed(connection: AsyncConnection, tables: Sequence[Table], *, step: str) -> None:
    """Stop before rows are brought to tables that Citus keeps.

    Raises:
        MigrationError: names them.
    """
    if found := await distributed_tables(connection, tables):
        raise MigrationError(
            f"Citus keeps these tables on the nodes of a cluster: {', '.join(found)}; {_WHY}",
            step=step,
            pending="everything; nothing was written",
            next_step=NextStep(f"{await undistribute(connection)}, then: ", Command(step)),
        )


async def undistribute(connection: AsyncConnection) -> str:
    """What brings the tables back to the coordinator, in words."""
    if await is_schema_distributed(connection):
        statement, which = f"citus_schema_undistribute('{schemas_of(connection).data}')", ""
    else:
        statement, which = "undistribute_table('TABLE', cascade_via_foreign_keys => true)", ", for each of them"
    return f"SELECT {statement} at the coordinator{which} (docs/scale-out.md)"


async def _is_there(connection: AsyncConnection, table: str) -> bool:
    return bool(await fetch_value(connection, "SELECT to_regclass(%s) IS NOT NULL", [table]))


async def refuse_foreign_rows(
    connection: AsyncConnection, source: str, tables: list[CopyTable], *, step: str = "copy"
) -> None:
    """Stop where a table holds rows, or versions of rows, that no copy from this source wrote, as their xmin tells.

    Args:
        source: its label, which is its address for people: one database may have several.

    Raises:
        MigrationError: names the tables and their counts, and where rows came from another source.
    """
    held = []
    others: dict[str, int] = {}
    foreign = 0
    for table in tables:
        if count := await writes.count_foreign_rows(connection, source, table.all_names, table.rows):
            held.append(f"{table.name} ({count})")
            foreign += count
            for label, rows in (await writes.rows_by_others(connection, source, table.all_names, table.rows)).items():
                others[label] = others.get(label, 0) + rows
    if not held:
        return
    message = f"the target holds rows that no copy from {source} wrote: {', '.join(held)}"
    remedy = NextStep(Command(step, "--overwrite"), ", if the source's rows may replace them")
    if others:
        came = "; ".join(f"{rows:,} from {label}" for label, rows in others.items())
        if list(others.values()) == [foreign]:
            came = f"all of them from {next(iter(others))}"
        message += f". These came by another address: {came}. It may be the same database"
        known = sum(others.values()) >= foreign
        lost = (
            "its rows replace their own copies, so nothing is lost" if known else "its rows replace those of the target"
        )
        remedy = NextStep(
            "if it is the same one, ",
            Command(step, "--overwrite"),
            f" ({lost}), or ",
            Command(step),
            " by the address of before; if it is another one, a target of its own",
        )
    raise MigrationError(message, step=step, pending="everything; nothing was written", next_step=remedy)
