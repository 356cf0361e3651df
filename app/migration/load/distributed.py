"""Tables that Citus keeps on the nodes of a cluster, to which no command brings rows.

Which rows have changed is told by `xmin`, which each node counts for itself; and Citus takes no statement that joins
its tables with the tool's own as a copy or a sync does. So rows are brought before a schema is distributed.
"""

from collections.abc import Sequence

from psycopg import AsyncConnection
from sqlalchemy import Table

from app.common.schemas import schemas_of
from app.errors import MigrationError
from app.migration.tables.copy_table import label
from app.next_step import Command, NextStep

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
    found = await (await connection.execute(_TABLES, named)).fetchall()
    return [label(None if schema == here else schema, name) for schema, name in found]


async def is_schema_distributed(connection: AsyncConnection) -> bool:
    """Whether Citus distributes the schema, so that each table that is made in it is distributed too."""
    if not await _is_there(connection, _SCHEMAS):
        return False
    return await (await connection.execute(_SCHEMA, [schemas_of(connection).data])).fetchone() is not None


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
    row = await (await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table])).fetchone()
    return bool(row and row[0])
