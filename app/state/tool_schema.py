"""Makes, upgrades and drops schema `botdata` of the target."""

from psycopg import AsyncConnection

from app.common.schemas import schemas_of
from app.errors import MigrationError
from app.next_step import Command, NextStep
from app.state.fetching import fetch_value
from app.state.schema_name import SCHEMA
from app.state.versions import VERSIONS

# Two first starts at once must not both make the schema; any constant that no other program uses will do.
_LOCK = 5_287_410_331
# Until the transaction ends, Citus distributes no schema that is made; nothing where there is no Citus.
LEAVE_LOCAL = "SELECT set_config(name, 'off', true) FROM pg_settings WHERE name = 'citus.enable_schema_based_sharding'"


class OlderSchemaError(MigrationError):
    """An older version made the schema, which lacks what this one reads."""

    def __init__(self, step: str | None = None, *, pending: str = "everything; nothing was written") -> None:
        super().__init__(
            "the tool's schema in the target was made by an older botdata",
            step=step,
            pending=pending,
            next_step=NextStep(
                Command("upgrade"),
                ", as the owner of the target's schema; then: ",
                Command(step) if step is not None else "the same command",
            ),
        )


def newest_version() -> int:
    """The version of the schema that this botdata makes."""
    return len(VERSIONS)


async def is_current(connection: AsyncConnection) -> bool:
    """Whether the schema is there, of this version."""
    return await version(connection) == newest_version()


async def ensure_tool_schema(connection: AsyncConnection) -> None:
    """Make the schema or bring it to this version; nothing where it is current.

    Raises:
        psycopg.Error: the role may not create a schema, or the server refuses.
    """
    if await is_current(connection):
        return  # asks for no right to create anything
    await bring_to_version(connection, newest_version())


async def bring_to_version(connection: AsyncConnection, wanted: int) -> None:
    """Make the schema of this version, or bring an older one to it. Errors are those of `ensure_tool_schema`."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": schemas_of(connection).lock(_LOCK)})
        await connection.execute(LEAVE_LOCAL)
        # Not by IF NOT EXISTS, which asks for the right to make one where there is one.
        if not await _is_there(connection):
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.version (version integer NOT NULL)")
        current = await version(connection)
        for number, ddl in enumerate(VERSIONS[:wanted], start=1):
            if number > current:
                await connection.execute(ddl)
                await connection.execute(f"INSERT INTO {SCHEMA}.version VALUES (%(number)s)", {"number": number})


async def version(connection: AsyncConnection) -> int:
    """The version of the schema that is there; 0 for none."""
    if not await fetch_value(connection, f"SELECT to_regclass('{SCHEMA}.version') IS NOT NULL"):
        return 0
    return await fetch_value(connection, f"SELECT max(version) FROM {SCHEMA}.version") or 0


async def may_read(connection: AsyncConnection, table: str) -> bool:
    """Whether the schema has this table, and the role may read it."""
    cursor = await connection.execute(
        f"SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = '{SCHEMA}' "
        "AND relname = %(table)s AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')",
        {"table": table},
    )
    return await cursor.fetchone() is not None


async def drop_tool_schema(connection: AsyncConnection) -> bool:
    """Drop the schema with all it remembers; False where there was none."""
    async with connection.transaction():
        was_there = await _is_there(connection)
        await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    return was_there


async def _is_there(connection: AsyncConnection) -> bool:
    return bool(await fetch_value(connection, f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL"))
